"""Classes with hardly a text: none of them is lost without a word, and none is set apart whole."""

import csv

import pytest

from seqnlp.data import DataArguments, DataError, load_text_classification
from seqnlp.data.samples import split_of


def load(folder, rows, **fields):
    with open(folder / "train.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return load_text_classification(DataArguments(train_file=str(folder / "train.csv"), **fields))


def texts(count, set_apart):
    """Texts of which the hash says that they are set apart, or that they stay."""
    found = (f"text number {number}" for number in range(10_000))
    chosen = [text for text in found if (split_of(text, validation=10, test=0) == "validation") == set_apart]
    return chosen[:count]


def counted(rows):
    names = rows.features["label"].names
    return {name: [names[label] for label in rows["label"]].count(name) for name in names}


def test_a_class_that_its_hash_would_set_apart_whole_stays_in_training(tmp_path):
    staying, leaving = texts(20, False), texts(9, True)
    rows = [(text, "good") for text in staying[:10] + leaving[:3]] + [(text, "bad") for text in staying[10:]]
    rows += [(leaving[3], "rare"), (leaving[4], "twice"), (leaving[5], "twice")]
    loaded = load(tmp_path, rows)
    assert counted(loaded.splits["train"]) == {"bad": 10, "good": 10, "rare": 1, "twice": 2}
    assert counted(loaded.splits["validation"]) == {"bad": 0, "good": 3, "rare": 0, "twice": 0}
    assert loaded.remarks == ["The split 'validation' has no text of the classes bad, rare, twice."]


def test_no_text_is_in_both_though_its_class_stays(tmp_path):
    staying, leaving = texts(20, False), texts(9, True)
    rows = [(text, "good") for text in staying + leaving[:3]] + [(leaving[0], "rare")]
    splits = load(tmp_path, rows).splits
    assert set(splits["validation"]["text"]) == set(leaving[1:3])
    assert counted(splits["train"]) == {"good": 21, "rare": 1}


def test_two_texts_of_two_classes_are_too_few(tmp_path):
    one, other = texts(2, True)
    with pytest.raises(DataError, match="its 2 training texts are too few to set some apart"):
        load(tmp_path, [(one, "good"), (other, "bad")])


def test_one_class_alone_is_refused_and_one_that_a_limit_leaves_is_said(tmp_path):
    with pytest.raises(DataError, match="all training texts have the class 'good'"):
        load(tmp_path, [(text, "good") for text in texts(20, False)])
    rows = [(text, "good") for text in texts(200, False) + texts(3, True)] + [(texts(1, True)[0] + " more", "bad")]
    loaded = load(tmp_path, rows, max_train_samples=3)
    assert "The split 'train' has no text of the class bad." in loaded.remarks
