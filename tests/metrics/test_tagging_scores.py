"""Entities counted by hand: seqeval gives these numbers, and conlleval's rules are theirs."""

import pytest

from seqnlp.metrics import (
    EntityF1,
    WordAccuracy,
    entities_of,
    entity_scheme,
    strays_among_entities,
    tagging_report,
    tagging_scores,
)


# Right: (0-1 PER), (3 LOC); (0-2 ORG). Found: (0-1 PER) right, (3 PER) wrong; (0-1 ORG) too short.
RIGHT = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "I-ORG", "I-ORG", "O"]]
FOUND = [["B-PER", "I-PER", "O", "B-PER"], ["B-ORG", "I-ORG", "O", "O"]]
WORDS = [["Ann", "Lee", "in", "Rome"], ["United", "Air", "Co", "."]]


def entities(found, right):
    return EntityF1().compute(predictions=found, references=right)


def test_entities_by_hand():
    scores = entities(FOUND, RIGHT)
    assert scores == {"f1": pytest.approx(1 / 3), "precision": pytest.approx(1 / 3), "recall": pytest.approx(1 / 3)}
    fewer = [FOUND[0], ["O"] * 4]
    assert entities(fewer, RIGHT) == {
        "f1": pytest.approx(2 * 0.5 / 5 * 2),
        "precision": 0.5,
        "recall": pytest.approx(1 / 3),
    }
    assert entities([["O"] * 4] * 2, RIGHT) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert WordAccuracy().compute(predictions=FOUND, references=RIGHT) == {"accuracy": 6 / 8}


def test_the_schemes_mark_the_same_entities():
    iob1 = [["I-PER", "I-PER", "O", "I-LOC"], ["I-ORG", "I-ORG", "I-ORG", "O"]]
    iobes = [["B-PER", "E-PER", "O", "S-LOC"], ["B-ORG", "I-ORG", "E-ORG", "O"]]
    bilou = [["B-PER", "L-PER", "O", "U-LOC"], ["B-ORG", "I-ORG", "L-ORG", "O"]]
    for labels in (iob1, iobes, bilou):
        assert entities(labels, labels)["f1"] == 1.0
        assert entities(labels, RIGHT)["f1"] == 1.0
    # In BILOU each entity ends by itself, one right behind another too.
    for adjacent in (["U-LOC", "U-LOC", "B-LOC", "L-LOC"], ["S-LOC", "S-LOC", "B-LOC", "E-LOC"]):
        assert entities_of(adjacent) == [("LOC", 0, 0), ("LOC", 1, 1), ("LOC", 2, 3)]
    # Right behind another entity of its type one begins by B- alone.
    assert entities([["I-X", "I-X"]], [["I-X", "B-X"]])["recall"] == 0.0


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        (["O", "B-PER", "I-PER"], "IOB"),
        (["O", "I-PER"], "IOB"),
        (["O", "B-PER", "I-PER", "E-PER", "S-PER"], "IOBES"),
        (["O", "B-PER", "L-PER", "U-PER"], "BILOU"),
        (["O", "S-PER", "U-PER", "B-PER"], None),
        (["NOUN", "VERB"], None),
        (["B-PER", "I-PER"], None),
        (["O"], None),
        (["O", "B-"], None),
        (["O", "I-PER", "X"], None),
        (["O", "S-PER"], None),
    ],
)
def test_a_scheme_is_told_by_the_labels(labels, scheme):
    assert entity_scheme(labels) == scheme


def test_scores_with_and_without_entities():
    unseen = [[False, False, False, True], [False, False, True, False]]
    scores = tagging_scores(FOUND, RIGHT, unseen, "IOB", 0.5)
    assert list(scores) == ["f1", "precision", "recall", "accuracy", "unseen_accuracy", "loss"]
    assert (scores["accuracy"], scores["unseen_accuracy"], scores["loss"]) == (0.75, 0.0, 0.5)
    assert tagging_scores([["N", "V"]], [["N", "N"]], [[False, False]], None) == {"accuracy": 0.5}


def test_a_report_counts_types_and_confusions():
    text = tagging_report(WORDS, FOUND, RIGHT, "IOB", {"ours": tagging_scores(FOUND, RIGHT, [[False] * 4] * 2, "IOB")})
    assert text.startswith("8 words in 2 sentences")
    assert "labels in the scheme IOB" in text
    rows = {
        line.split()[0]: line.split()[1:] for line in text.splitlines() if line and line.split()[0] in ("LOC", "PER")
    }
    assert rows["LOC"] == ["0.0%", "0.0%", "0.0%", "1"]
    assert rows["PER"] == ["50.0%", "100.0%", "66.7%", "1"]
    assert ["I-ORG", "O", "1", "Co"] in [line.split() for line in text.splitlines()]
    plain = tagging_report(
        [["a", "b", "c"]], [["N", "V", "N"]], [["N", "N", "V"]], None, {"ours": {"accuracy": 1 / 3}}
    )
    assert ["ours", "33.3%"] in [line.split() for line in plain.splitlines()]
    assert ["N", "50.0%", "50.0%", "50.0%", "2"] in [line.split() for line in plain.splitlines()]
    assert ["V", "0.0%", "0.0%", "0.0%", "1"] in [line.split() for line in plain.splitlines()]
    once = tagging_report([["a", "b"]], [["N", "V"]], [["N", "N"]], None, {"ours": {"accuracy": 0.5}})
    assert ["N", "100.0%", "50.0%", "66.7%", "2"] in [line.split() for line in once.splitlines()]
    right = tagging_report([["a", "b"]], [["N", "V"]], [["N", "V"]], None, {"ours": {"accuracy": 1.0}})
    assert ["V", "100.0%", "100.0%", "100.0%", "1"] in [line.split() for line in right.splitlines()]


def test_all_labels_of_the_data_say_whether_they_mark_entities():
    """X is a label of training alone: whether F1 is given does not change from split to split."""
    right, found, seen = [["B-PER", "I-PER", "O"]], [["B-PER", "X", "O"]], [[False] * 3]
    scheme = entity_scheme(["B-PER", "I-PER", "O", "X"])
    assert tagging_scores(found, right, seen, scheme) == {"accuracy": pytest.approx(2 / 3)}
    lines = tagging_report([["a", "b", "c"]], found, right, scheme, {"ours": {"accuracy": 2 / 3}}).splitlines()
    assert ["X", "0.0%", "0.0%", "0.0%", "0"] in [line.split() for line in lines]
    # A part of IOBES alone tells no scheme, all labels do; without an entity there is nothing to find.
    assert tagging_scores([["S-A", "O"]], [["S-A", "O"]], [[False] * 2], "IOBES")["f1"] == 1.0
    assert tagging_scores([["O", "O"]], [["O", "O"]], [[False] * 2], "IOBES") == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("labels", "strays"),
    [
        (["O", "B-PER", "I-PER", "X"], ["X"]),
        (["O", "B-PER", "I-PER", "Q-PER", "I-"], ["Q-PER", "I-"]),
        (["O", "B-PER", "I-PER"], []),  # nothing is in the way
        (["N", "V", "B-PER"], []),  # without O nothing would mark entities
        (["O", "N", "V"], []),
    ],
)
def test_the_labels_that_keep_others_from_marking_entities(labels, strays):
    assert strays_among_entities(labels) == strays
