"""Scores of several labels and of numbers against values computed by hand."""

import math

import numpy as np
import pytest

from seqnlp.metrics import (
    NUMBER_SCORES,
    SEVERAL_LABELS_SCORES,
    number_report,
    number_scores,
    several_labels_report,
    several_labels_scores,
)


LN2, LN3 = math.log(2), math.log(3)
# Three texts, three labels. The probabilities of these logits are 3/4, 1/2 and 1/4: a half is not above a half.
LOGITS = np.array([[LN3, -LN3, LN3], [0.0, LN3, -LN3], [LN3, -LN3, -LN3]])
RIGHT = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]])


def test_several_labels_by_hand():
    scores = several_labels_scores(LOGITS, RIGHT)
    # Given: 1 and 3; 2; 1. Right: 1; 1 and 2; 1. Three of four that are given are right, three of four that are right
    # are given.
    assert scores["micro_f1"] == pytest.approx(3 / 4)
    first = 2 * 1 * (2 / 3) / (1 + 2 / 3)  # precision 2/2, recall 2/3
    assert scores["macro_f1"] == pytest.approx((first + 1 + 0) / 3)  # the third is given once, and never right
    assert scores["subset_accuracy"] == pytest.approx(1 / 3)
    # Seven of nine have the probability 3/4 of what is right, one 1/2 and one 1/4.
    assert scores["loss"] == pytest.approx((7 * math.log(4 / 3) + LN2 + math.log(4)) / 9, rel=1e-6)
    assert list(scores) == [score.key for score in SEVERAL_LABELS_SCORES]
    assert SEVERAL_LABELS_SCORES[0].definition.endswith("given above 0.5")
    assert [score.key for score in SEVERAL_LABELS_SCORES if not score.is_share] == ["loss"]


def test_the_report_of_several_labels():
    table = {"lstm": several_labels_scores(LOGITS, RIGHT), "other": {"micro_f1": 0.5, "macro_f1": 0.25}}
    text = several_labels_report(["joy", "fear", "rage"], ["good @alice", "so so", "fine"], LOGITS, RIGHT, table)
    assert text.startswith("3 texts, with 1.33 labels each")
    lines = text.splitlines()
    assert [line.split() for line in lines if line.startswith(("lstm", "other"))] == [
        ["lstm", "75.0%", "60.0%"],
        ["other", "50.0%", "25.0%"],
    ]
    assert ["joy", "100.0%", "66.7%", "80.0%", "3"] in [line.split() for line in lines]
    assert ["rage", "0.0%", "-", "0.0%", "0"] in [line.split() for line in lines]
    assert "The 2 texts whose labels it was most wrong of" in text
    assert ["joy", "joy,", "rage", "good", "@user"] in [line.split() for line in lines]
    assert text.index("good @user") < text.index("so so")  # 2 ln(4/3) + ln 4 nats, and 2 ln(4/3) + ln 2


def test_a_label_that_no_text_has_or_is_given_does_not_count():
    logits, right = np.array([[9.0, -9.0, -9.0], [9.0, -9.0, -9.0]]), np.array([[1, 0, 0], [1, 1, 0]])
    scores = several_labels_scores(logits, right)
    assert scores["macro_f1"] == (1 + 0) / 2  # the second is missed, and there is no third
    report = several_labels_report(["joy", "fear", "rage"], ["a", "b"], logits, right, {})
    lines = [line.split() for line in report.splitlines()]
    assert ["fear", "-", "0.0%", "0.0%", "1"] in lines
    assert ["rage", "-", "-", "-", "0"] in lines
    nothing = several_labels_scores(-np.ones((2, 3)), np.zeros((2, 3)))
    assert (nothing["subset_accuracy"], nothing["micro_f1"], nothing["macro_f1"]) == (1.0, 1.0, 1.0)


def test_a_text_that_is_wrong_of_all_its_labels_is_worse_than_one_that_is_surer_of_one():
    # 3 ln(1 + e) = 3.9 nats; and ln(1 + e^2) = 2.1 nats, as the other two labels cost almost nothing.
    logits, right = np.array([[-9.0, -9.0, 2.0], [1.0, 1.0, 1.0]]), np.zeros((2, 3))
    text = several_labels_report(["joy", "fear", "rage"], ["surer", "all"], logits, right, {})
    assert text.index(" all") < text.index("surer")


def test_numbers_by_hand():
    predicted, right = np.array([[1.0], [2.0], [3.0], [9.0]]), np.array([1.0, 3.0, 2.0, 4.0])
    scores = number_scores(predicted, right)
    assert scores["mse"] == pytest.approx((0 + 1 + 1 + 25) / 4)
    assert scores["mae"] == pytest.approx((0 + 1 + 1 + 5) / 4)
    # Deviations from the means 3.75 and 2.5: their products sum to 4.125 + -0.875 + 0.375 + 7.875.
    covariance = 2.75 * 1.5 - 1.75 * 0.5 + 0.75 * 0.5 + 5.25 * 1.5
    spread = math.sqrt((2.75**2 + 1.75**2 + 0.75**2 + 5.25**2) * (1.5**2 + 0.5**2 + 0.5**2 + 1.5**2))
    assert scores["pearson"] == pytest.approx(covariance / spread)
    assert scores["spearman"] == pytest.approx(1 - 6 * (0 + 1 + 1 + 0) / (4 * 15))  # ranks differ by 0, 1, 1, 0
    assert list(scores) == [score.key for score in NUMBER_SCORES]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_a_diverged_model_says_is_no_score_and_no_error(number):
    scores = number_scores(np.array([1.0, number]), np.array([1.0, 2.0]))
    assert not any(map(math.isfinite, scores.values()))


def test_numbers_that_are_all_alike_do_not_rise_with_anything():
    scores = number_scores(np.full(3, 2.0), np.array([1.0, 2.0, 3.0]))
    assert scores == {"mse": pytest.approx(2 / 3), "mae": pytest.approx(2 / 3), "pearson": 0.0, "spearman": 0.0}


def test_labels_and_texts_that_look_like_numbers_stand_as_they_are():
    logits, right = np.array([[-3.0, 3.0], [-3.0, 4.0]]), np.array([[1, 0], [1, 0]])
    report = several_labels_report(["1.0", "2.00"], ["1e3", "007"], logits, right, {})
    lines = [line.split() for line in report.splitlines()]
    assert ["1.0", "2.00", "1e3"] in lines
    assert ["1.0", "2.00", "007"] in lines
    errors = number_report(["1e3", "007"], np.array([1.0, 2.0]), np.array([2.0, 2.0]), {}).splitlines()
    assert ["2", "1", "1e3"] in [line.split() for line in errors]
    assert ["2", "2", "007"] in [line.split() for line in errors]


def test_the_report_of_numbers():
    predicted, right = np.array([[4.5], [1.0]]), np.array([2.0, 1.5])
    table = {"lstm": number_scores(predicted, right)}
    text = number_report(["a mail to x@y.z by @bob", "b"], predicted, right, table)
    assert text.startswith("2 texts, of 1.5 to 2, on average 1.75")
    assert ["lstm", "3.250", "1.500", "1.000", "1.000"] in [line.split() for line in text.splitlines()]
    errors = text.split("The 2 largest errors")[1].split("\n")
    assert [line.split()[:2] for line in errors if line[-1:] in "rb" and line.strip()] == [["2", "4.5"], ["1.5", "1"]]
    assert "a mail to x@y.z by @user" in text
