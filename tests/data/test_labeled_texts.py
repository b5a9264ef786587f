"""Several labels per text and numbers: where they are read from, what is told, and what is refused."""

import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from seqnlp.data import DataError, LabelArguments, load_labeled_texts
from seqnlp.data import loading as loading_module


SEVERAL, NUMBERS = "multi_label_classification", "regression"


def write(folder, name, rows):
    path = folder / name
    if name.endswith(".csv"):
        path.write_text("\n".join(rows) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def load(folder, kind, train, validation=None, test=None, ending="jsonl", **flags):
    parts = {"train": train, "validation": validation or train, "test": test}
    files = {f"{part}_file": write(folder, f"{part}.{ending}", rows) for part, rows in parts.items() if rows}
    return load_labeled_texts(LabelArguments(problem_type=kind, **files, **flags))


def texts(*labels, key="label"):
    return [{"text": f"text {number}", key: label} for number, label in enumerate(labels)]


def test_lists_of_labels(tmp_path):
    rows = texts(["sad", "angry", "sad"], [], ["sad", "glad "])
    loaded = load(tmp_path, SEVERAL, rows, test=texts(["new", "sad"]))
    train = loaded.splits["train"]
    assert train.features["label"].feature.names == ["angry", "glad", "sad", "new"]
    assert train["label"] == [[0, 2], [], [1, 2]]
    assert loaded.splits["test"]["label"] == [[2, 3]]
    said = "\n".join(loaded.remarks)
    assert "column 'label': texts with a label more than once, which counts once: 1." in said
    assert "The split 'train': 1 of 3 texts have no label." in said
    assert "'test': labels that no training text has (new): 1. No model can find them" in said
    assert "The split 'train' has no text with new." in said
    assert "The split 'test' has no text with angry, glad." in said


def test_labels_as_one_text_need_their_separator(tmp_path):
    rows = ["text,labels", 'one,"a, b"', "two,", "three,b", "four,a"]
    with pytest.raises(
        DataError, match=r"written as one text \('a, b'\): say what stands between two of them by --lab"
    ):
        load(tmp_path, SEVERAL, rows, ending="csv")
    loaded = load(tmp_path, SEVERAL, rows, ending="csv", label_separator=",")
    assert loaded.splits["train"]["label"] == [[0, 1], [], [1], [0]]
    with pytest.raises(DataError, match="it holds lists, so that --label_separator ',' is not needed"):
        load(tmp_path, SEVERAL, texts(["a"], ["b"]), label_separator=",")


def test_a_column_per_label(tmp_path):
    rows = ["text,toxic,rude", "one,1,0", "two,0,0", "three,1,1"]
    columns = ["toxic", "rude"]
    hidden = ["text,toxic,rude", "four,-1,-1"]  # as a competition hides its test's
    loaded = load(tmp_path, SEVERAL, rows, test=hidden, ending="csv", label_columns=columns)
    assert loaded.splits["train"].features["label"].feature.names == columns
    assert loaded.splits["train"]["label"] == [[0], [], [0, 1]]
    assert "The split 'test' has no labels: it is passed over." in loaded.remarks
    with pytest.raises(DataError, match="column 'toxic': row 1 holds '2', where a column per label holds 0 or 1"):
        load(tmp_path, SEVERAL, [*rows[:2], "two,2,0"], ending="csv", label_columns=columns)
    with pytest.raises(DataError, match="there is no label column 'kind'"):
        load(tmp_path, SEVERAL, rows, ending="csv", label_columns=["toxic", "kind"])
    with pytest.raises(DataError, match="--label_columns names one column"):
        load(tmp_path, SEVERAL, rows, ending="csv", label_columns=["toxic"])
    with pytest.raises(DataError, match="--label_columns and --label_column: the labels are read in one way"):
        load(tmp_path, SEVERAL, rows, ending="csv", label_columns=columns, label_column="toxic")


def test_lists_of_a_class_label_keep_its_order(monkeypatch):
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["zeal", "awe", "never"]))})
    part = Dataset.from_dict({"text": ["one", "two"], "labels": [[1, 0], [0]]}, features)
    splits = DatasetDict(train=part, validation=part)
    found = loading_module.LoadedData(splits, loading_module.DataSource("x/y"))
    monkeypatch.setattr(loading_module, "load_splits", lambda *args, **kwargs: found)
    loaded = load_labeled_texts(LabelArguments(dataset_name="x/y", problem_type=SEVERAL))
    assert loaded.splits["train"].features["label"].feature.names == ["zeal", "awe", "never"]
    assert loaded.splits["train"]["label"] == [[0, 1], [0]]


def test_what_is_no_list_of_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="row 1 is not labeled; a text without any label has an empty list"):
        load(tmp_path, SEVERAL, texts(["a", "b"], None))
    with pytest.raises(DataError, match="the training texts have 1 different labels"):
        load(tmp_path, SEVERAL, texts(["a"], []))
    with pytest.raises(DataError, match="expected a list per text"):
        load(tmp_path, SEVERAL, texts(1, 2))
    with pytest.raises(DataError, match=r"row 0: expected names of labels or whole numbers, found '0\.5'"):
        load(tmp_path, SEVERAL, texts([0.5], [1.0]))


def test_numbers(tmp_path):
    loaded = load(tmp_path, NUMBERS, texts(1, 4.5, -100, key="stars"))
    assert loaded.splits["train"]["label"] == [1.0, 4.5, -100.0]
    written = load(tmp_path, NUMBERS, ["text,label", "one,3", "two,4.25"], ending="csv")
    assert written.splits["train"]["label"] == [3.0, 4.25]
    far = load(tmp_path, NUMBERS, texts(1000, 3000))
    assert "a standard deviation of 1e+03, and a model learns best what is about 1" in "\n".join(far.remarks)


@pytest.mark.parametrize("missing", [-1.0, -1, None, float("nan")])
def test_a_test_split_without_numbers_is_passed_over(tmp_path, missing):
    """Each number of the test split of STS-B, in GLUE, is -1."""
    loaded = load(tmp_path, NUMBERS, texts(-1, 4.5, 2), test=texts(missing, missing))
    assert set(loaded.splits) == {"train", "validation"}
    assert loaded.splits["train"]["label"][0] == -1
    assert "The split 'test' has no labels: it is passed over." in loaded.remarks
    assert load(tmp_path, NUMBERS, texts(-1, 4.5), test=texts(-1, 3)).splits["test"]["label"][:] == [-1, 3]


def test_what_is_no_number_is_refused(tmp_path):
    with pytest.raises(DataError, match="row 1 holds 'four', which is no number"):
        load(tmp_path, NUMBERS, texts("3", "four"))
    with pytest.raises(DataError, match="row 1 is not labeled"):
        load(tmp_path, NUMBERS, texts(1.0, None))
    with pytest.raises(DataError, match="all training texts have the number 3"):
        load(tmp_path, NUMBERS, texts(3, 3))


def test_numbers_of_classes_are_their_names_and_not_their_places(monkeypatch):
    def named(*names):
        features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
        part = Dataset.from_dict({"text": ["one", "two"], "label": [0, 1]}, features)
        splits = DatasetDict(train=part, validation=part)
        found = loading_module.LoadedData(splits, loading_module.DataSource("x/y"))
        monkeypatch.setattr(loading_module, "load_splits", lambda *args, **kwargs: found)
        return load_labeled_texts(LabelArguments(dataset_name="x/y", problem_type=NUMBERS))

    assert named("1", "2").splits["train"]["label"] == [1.0, 2.0]  # and not 0, 1
    with pytest.raises(DataError, match="row 0 holds '1 star', which is no number"):
        named("1 star", "2 stars")


def test_flags_of_another_kind_do_nothing_and_say_so(tmp_path):
    with pytest.raises(DataError, match="--label_separator does nothing with --problem_type single_label"):
        load(tmp_path, "single_label_classification", texts("a", "b"), label_separator=",")
    with pytest.raises(DataError, match=r"found a list .* or take --problem_type multi_label_classification"):
        load(tmp_path, "single_label_classification", texts(["a"], ["b"]))
    with pytest.raises(DataError, match=r"found a float .* or take --problem_type regression"):
        load(tmp_path, "single_label_classification", texts(1.5, 2.5))


def test_labels_that_look_alike_are_named(tmp_path):
    remarks = load(tmp_path, SEVERAL, texts(["sad", "Sad"], ["glad"])).remarks
    assert "The classes 'Sad' and 'sad' differ only in case" in remarks[0]
