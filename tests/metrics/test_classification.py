import re

import numpy as np
import pytest

from seqnlp.metrics import F1, Accuracy, classification_report, classification_scores


def test_accuracy_and_f1():
    predictions, references = [1, 1, 0, 0, 1], [1, 0, 0, 1, 1]
    assert Accuracy().compute(predictions=predictions, references=references) == {"accuracy": 0.6}
    # precision 2/3, recall 2/3
    assert F1().compute(predictions=predictions, references=references)["f1"] == pytest.approx(2 / 3)
    macro = F1().compute(predictions=[0, 1, 2, 2], references=[0, 1, 1, 2], average="macro")["f1"]
    assert macro == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_scores_of_logits():
    labels = np.array([0, 1, 1])
    scores = classification_scores(np.array([[0.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), labels)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(2 / 3)  # precision 1, recall 1/2
    loss = (np.log(2) + np.log1p(np.exp(-2)) + np.log1p(np.exp(1))) / 3
    assert scores["loss"] == pytest.approx(loss)


def test_scores_of_skewed_data_by_hand():
    # Right: four of class 0, one of class 1. Found: two of the four, and the one.
    labels = np.array([0, 0, 0, 0, 1])
    scores = classification_scores(np.eye(2)[[0, 0, 1, 1, 1]], labels)
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["f1"] == pytest.approx(1 / 2)  # of class 1: precision 1/3, recall 1
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)  # of class 0: precision 1, recall 1/2
    # (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)), Matthews 1975
    assert scores["matthews_correlation"] == pytest.approx((1 * 2 - 2 * 0) / (3 * 1 * 4 * 2) ** 0.5)
    always = classification_scores(np.eye(2)[[0, 0, 0, 0, 0]], labels)
    assert (always["accuracy"], always["matthews_correlation"]) == (0.8, 0.0)
    report = classification_report(["no", "yes"], list("abcde"), np.eye(2)[[0, 0, 1, 1, 1]], labels, {"ours": scores})
    lines = [line.split() for line in report.splitlines()]
    assert ["no", "100.0%", "50.0%", "66.7%", "4"] in lines
    assert ["yes", "33.3%", "100.0%", "50.0%", "1"] in lines
    assert ["ours", "60.0%", "50.0%", "58.3%", "0.408"] in lines


@pytest.mark.filterwarnings("error")
def test_where_one_class_is_all_there_is_nothing_is_correlated():
    scores = classification_scores(np.eye(2)[[0, 0, 0]], np.array([0, 0, 0]))
    assert (scores["accuracy"], scores["matthews_correlation"], scores["macro_f1"]) == (1.0, 0.0, 1.0)
    assert scores["f1"] == 1.0  # of class 1: none is missed, none made up
    made_up = classification_scores(np.eye(2)[[0, 0, 1]], np.array([0, 0, 0]))
    assert (made_up["f1"], made_up["macro_f1"]) == (0.0, pytest.approx((4 / 5 + 0) / 2))


def test_batches_add_up():
    metric = Accuracy()
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add_batch(predictions=[1], references=[1])
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)


def test_the_surest_errors_are_those_whose_predicted_class_is_most_probable():
    # By hand: the softmax of the first is (0.09, 0.24, 0.67), of the second (0.02, 0.46, 0.51). The right class of the
    # second is the less probable one, and its logits are greater, but the first is the surer error.
    logits = np.array([[1.0, 2.0, 3.0], [8.0, 11.0, 11.1], [9.0, 0.0, 0.0]])
    labels = np.array([1, 0, 0])
    report = classification_report(["a", "b", "c"], ["first", "second", "right"], logits, labels, {})
    assert report.index("first") < report.index("second")
    assert "c (66.5%)" in report
    assert "c (51.3%)" in report


def test_report_shows_the_surest_errors_first_and_masks_handles():
    logits = np.array([[0.0, 9.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
    labels = np.array([0, 0, 0, 1])
    scores = {"ours": {"accuracy": 0.5, "f1": 0.5}}
    report = classification_report(["sad", "glad"], ["@bob sure", "mild", "right", "right"], logits, labels, scores)
    assert report.index("@user sure") < report.index("mild")
    assert "@bob" not in report
    assert "right" not in report
    assert "50.0%" in report
    assert "glad (100.0%)" in report
    assert ["sad", "1", "2"] in [line.split() for line in report.splitlines()]


def test_names_and_texts_that_look_like_numbers_stand_as_they_are():
    logits = np.array([[0.0, 9.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
    texts = ["1e3", "007", "2.50", "4"]  # the first two are wrong
    scores = {"ours": {"accuracy": 0.5, "f1": 0.5}}
    report = classification_report(["1.0", "2.00"], texts, logits, np.array([0, 0, 0, 1]), scores)
    lines = [line.split() for line in report.splitlines()]
    assert ["1.0", "2.00"] in lines
    assert ["1.0", "1", "2"] in lines
    assert ["2.00", "0", "1"] in lines
    assert ["1.0", "2.00", "(100.0%)", "1e3"] in lines
    assert ["1.0", "2.00", "(73.1%)", "007"] in lines


def test_a_report_of_many_classes_shows_the_most_frequent_ones_and_no_matrix():
    names, labels = [f"class {number}" for number in range(300)], np.array([*range(300), *[7] * 3, *[250] * 2])
    predicted = labels.copy()
    predicted[-2:] = 11
    logits = np.eye(300)[predicted]
    text = classification_report(names, ["text"] * len(labels), logits, labels, {"net": {"accuracy": 0.99}})
    assert "Confusion matrix" not in text
    assert "Classes (the 100 most frequent of 300)" in text
    assert [row for row in names if f"\n{row} " in text] == sorted({*names[:99], "class 250"}, key=names.index)
    assert re.search(r"The most frequent confusions\n\n.*\n-.*\nclass 250 +class 11 +2\n", text)
    few = classification_report(names[:100], ["text"] * 100, logits[:100, :100], labels[:100], {"net": {}})
    assert "Confusion matrix" in few
    assert "most frequent" not in few
