import gzip
import json

import pandas as pd
import pytest

from seqnlp.data import DataArguments, DataError, fingerprint, load_splits, load_text_classification, split_of


ROWS = [{"text": f"{word} film number {number}", "label": word} for number in range(40) for word in ("good", "bad")]


def write(path, rows=ROWS):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return str(path)


def load(**arguments):
    return load_text_classification(DataArguments(**arguments)).splits


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv", "a.parquet"])
def test_a_local_file_of_any_type(tmp_path, name):
    loaded = load_text_classification(DataArguments(dataset_name=write(tmp_path / name)))
    splits = loaded.splits
    assert loaded.source.name == f"<local:{name}>"
    assert set(splits) == {"train", "validation"}
    assert splits["train"].features["label"].names == ["bad", "good"]
    assert len(splits["train"]) + len(splits["validation"]) == 80
    assert not set(splits["train"]["text"]) & set(splits["validation"]["text"])
    first = splits["train"][0]
    assert first["label"] == int(first["text"].startswith("good"))
    assert str(tmp_path) not in json.dumps(loaded.describe())


def test_a_local_folder_and_files_split_by_split(tmp_path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    for split, rows in (("train", ROWS), ("validation", ROWS[:10]), ("test", ROWS[10:30])):
        write(folder / f"{split}.jsonl", rows)
    loaded = load_text_classification(DataArguments(dataset_name=str(folder)))
    splits = loaded.splits
    assert loaded.source.name == "<local:reviews>"
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 80, "validation": 10, "test": 20}
    files = {f"{split}_file": str(folder / f"{split}.jsonl") for split in splits}
    again = load(**files)
    assert {split: fingerprint(rows) for split, rows in again.items()} == {
        s: fingerprint(r) for s, r in splits.items()
    }


def test_text_files_load_as_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    splits, _ = load_splits(str(tmp_path / "a.txt"))
    assert splits["train"]["text"][:] == ["one", "two"]


def test_columns_found_by_name_or_named(tmp_path):
    rows = [{"body": row["text"], "stars": int(row["label"] == "good") + 3, "id": 0} for row in ROWS]
    path = write(tmp_path / "a.jsonl", rows)
    splits = load(dataset_name=path, text_column="body", label_column="stars")
    assert splits["train"].features["label"].names == ["3", "4"]
    with pytest.raises(
        DataError, match=r"split 'train': there is no text column named text or .* columns are body, stars, id"
    ):
        load(dataset_name=path)
    with pytest.raises(
        DataError, match=r"no label column 'grade'; the columns are body, stars, id\. .*--label_column"
    ):
        load(dataset_name=path, text_column="body", label_column="grade")


def test_an_unlabelled_test_split_is_passed_over(tmp_path):
    folder = tmp_path / "glue"
    folder.mkdir()
    numbered = [{"sentence": row["text"], "label": int(row["label"] == "good")} for row in ROWS]
    write(folder / "train.jsonl", numbered)
    write(folder / "validation.jsonl", numbered[:8])
    write(folder / "test.jsonl", [{**row, "label": -1} for row in numbered[:6]])
    assert set(load(dataset_name=str(folder))) == {"train", "validation"}
    with pytest.raises(DataError, match=r"split 'test', column 'label': row 0 is not labelled \(it holds -1\)"):
        load(dataset_name=str(folder), validation_split="test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": ""}, r"column 'text': 1 of 80 texts are empty \(first in row 7\)\. .*--drop_empty_texts"),
        ({"text": None}, r"column 'text': 1 of 80 texts are empty \(first in row 7\)"),
        ({"label": None}, r"column 'label': row 7 is not labelled \(it holds nothing\)"),
    ],
)
def test_bad_rows(tmp_path, change, message):
    rows = [dict(row) for row in ROWS]
    rows[7].update(change)
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match=r"Dataset '<local:a.jsonl>', split 'train', " + message):
        load(dataset_name=path)
    if "text" in change:
        splits = load(dataset_name=path, drop_empty_texts=True)
        assert len(splits["train"]) + len(splits["validation"]) == 79


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**row, "label": 0.5} for row in ROWS], "expected class names or whole numbers, found a float"),
        ([{**row, "text": 12} for row in ROWS], r"column 'text': expected strings, found a int \(12\)"),
        ([{**row, "label": "good"} for row in ROWS], "all training texts have the class 'good'"),
        ([row for row in ROWS if split_of(row["text"], 10, 0) == "train"][:4], "too few to set some apart"),
    ],
)
def test_bad_columns(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load(dataset_name=write(tmp_path / "a.jsonl", rows))


def test_a_class_that_training_does_not_know(tmp_path):
    train, validation = write(tmp_path / "t.jsonl"), write(tmp_path / "v.jsonl", [{"text": "x", "label": "so-so"}])
    with pytest.raises(
        DataError, match="split 'validation', column 'label': the class 'so-so' does not occur in the train"
    ):
        load(train_file=train, validation_file=validation)


def test_splits_and_datasets_that_do_not_exist(tmp_path):
    path = write(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="has no split 'training'; it has train"):
        load(dataset_name=path, train_split="training")
    with pytest.raises(DataError, match="has no split 'dev'; it has train"):
        load(dataset_name=path, validation_split="dev")
    with pytest.raises(DataError, match="there is no such folder or file"):
        load(dataset_name=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"There is no file 'reviews.csv'"):
        load(dataset_name="reviews.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match="is empty"):
        load(train_file=str(tmp_path / "empty.csv"))
    (tmp_path / "broken.jsonl").write_text("{not json")
    with pytest.raises(DataError, match="cannot be read as json"):
        load(train_file=str(tmp_path / "broken.jsonl"))
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(DataError, match="is of no type that is read"):
        load(train_file=str(tmp_path / "a.docx"))
    with pytest.raises(DataError, match="the Hub cannot be reached"):
        load(dataset_name="stanfordnlp/sst2")
    with pytest.raises(DataError, match="either --dataset_name or --train_file"):
        load()


def test_errors_are_one_line_and_name_no_path(tmp_path):
    for arguments in ({"dataset_name": write(tmp_path / "a.jsonl"), "train_split": "x"}, {"dataset_name": "no/such"}):
        with pytest.raises(DataError) as raised:
            load(**arguments)
        assert "\n" not in str(raised.value)
        assert str(tmp_path) not in str(raised.value)


def test_a_limit_takes_some_of_every_class(tmp_path):
    sorted_rows = sorted(ROWS, key=lambda row: row["label"])
    splits = load(dataset_name=write(tmp_path / "a.jsonl", sorted_rows), max_train_samples=20, max_eval_samples=3)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 20, "validation": 3}
    assert set(splits["train"]["label"]) == {0, 1}
