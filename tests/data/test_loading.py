import gzip
import json
from decimal import Decimal

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from seqnlp.data import (
    DataArguments,
    DataError,
    fingerprint,
    load_splits,
    load_text_classification,
    load_unlabeled,
    loading,
    split_of,
)


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
    splits = load_splits(str(tmp_path / "a.txt")).splits
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


def test_an_unlabeled_test_split_is_passed_over(tmp_path):
    folder = tmp_path / "glue"
    folder.mkdir()
    numbered = [{"sentence": row["text"], "label": int(row["label"] == "good")} for row in ROWS]
    write(folder / "train.jsonl", numbered)
    write(folder / "validation.jsonl", numbered[:8])
    write(folder / "test.jsonl", [{**row, "label": -1} for row in numbered[:6]])
    assert set(load(dataset_name=str(folder))) == {"train", "validation"}
    with pytest.raises(DataError, match=r"split 'test', column 'label': row 0 is not labeled \(it holds -1\)"):
        load(dataset_name=str(folder), validation_split="test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": ""}, r"column 'text': 1 of 80 texts are empty \(first in row 7\)\. .*--drop_empty_texts"),
        ({"text": None}, r"column 'text': 1 of 80 texts are empty \(first in row 7\)"),
        ({"label": None}, r"column 'label': row 7 is not labeled \(it is blank\)"),
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
    with pytest.raises(DataError, match="'~no_such_user/a' is no name of a file or folder"):
        load(dataset_name="~no_such_user/a")
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
    with pytest.raises(
        DataError, match=r"--dataset_name .*a.jsonl and --validation_file .*a.jsonl: a dataset has its"
    ):
        load(dataset_name=path, validation_file=path)


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


def test_classes_are_matched_by_their_names(tmp_path):
    folder = tmp_path / "turned"
    folder.mkdir()
    for split, names in (("train", ["neg", "pos"]), ("validation", ["pos", "neg"])):
        labels = [names.index(name) for name in ("neg", "pos", "pos")]
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        rows = Dataset.from_dict({"text": [f"{split} {name}" for name in "abc"], "label": labels}, features)
        rows.to_parquet(folder / f"{split}.parquet")
    splits = load(dataset_name=str(folder))
    assert splits["train"].features["label"].names == ["neg", "pos"]
    assert list(splits["train"]["label"]) == list(splits["validation"]["label"]) == [0, 1, 1]


@pytest.mark.parametrize(
    ("train", "validation", "names", "numbers"),
    [
        (["0", "1", "unsure"], ["1", "0"], ["0", "1", "unsure"], [1, 0]),  # words and numbers
        (["neg", "pos ", "neg "], [" pos", "neg"], ["neg", "pos"], [1, 0]),
        (["10", "9", "2"], ["9", "2"], ["2", "9", "10"], [1, 0]),
        (["5.0", "1.0"], ["1", "5"], ["1", "5"], [0, 1]),
        (["True", "False"], ["False", "True"], ["False", "True"], [0, 1]),
        (["caf\u00e9", "bar"], ["cafe\u0301", "bar"], ["bar", "caf\u00e9"], [1, 0]),
    ],
)
def test_one_name_however_it_is_written(tmp_path, train, validation, names, numbers):
    for split, labels in (("train", train), ("validation", validation)):
        lines = "".join(f"text {number},{label}\n" for number, label in enumerate(labels))
        (tmp_path / f"{split}.csv").write_text("text,label\n" + lines)
    splits = load(train_file=str(tmp_path / "train.csv"), validation_file=str(tmp_path / "validation.csv"))
    assert splits["train"].features["label"].names == names
    assert list(splits["validation"]["label"]) == numbers


def test_what_was_read_otherwise_than_it_was_written_is_said(tmp_path):
    rows = "".join(f"text {number},{'1.0' if number % 2 else '5.0'},\n" for number in range(60))
    (tmp_path / "a.csv").write_text("text,stars\n" + rows)
    loaded = load_text_classification(DataArguments(dataset_name=str(tmp_path / "a.csv"), label_column="stars"))
    assert loaded.splits["train"].features["label"].names == ["1", "5"]
    first, second = loaded.describe()["remarks"]
    assert first == "a.csv: 60 of 60 rows end in blank cells without a column: dropped."
    assert second.endswith(
        "column 'stars': labels written with a point, such as 5.0, read as whole numbers, such as 5: 60."
    )


def test_a_blank_label_is_a_blank_with_its_row(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,1\nb,0\nc,\nd,1\n")
    with pytest.raises(DataError, match=r"column 'label': row 2 is not labeled \(it is blank\)"):
        load(train_file=str(tmp_path / "a.csv"))


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_test_file_without_labels_is_passed_over(tmp_path, as_folder):
    write(tmp_path / "train.csv")
    (tmp_path / "test.csv").write_text("text\nwho knows\n")
    (tmp_path / "notes.csv").write_text("text,label\nleft out,good\n")
    given = {"train_file": str(tmp_path / "train.csv"), "test_file": str(tmp_path / "test.csv")}
    loaded = load_text_classification(DataArguments(**({"dataset_name": str(tmp_path)} if as_folder else given)))
    assert set(loaded.splits) == {"train", "validation"}
    assert sum(map(len, loaded.splits.values())) == 80
    assert "The split 'test' has no labels: it is passed over." in loaded.remarks
    assert ("Left out, since their names tell no split: notes.csv." in loaded.remarks) == as_folder


def test_a_folder_is_read_by_the_same_rules_as_a_file(tmp_path):
    folder = tmp_path / "reviews[1]"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "part1.TSV").write_text('text\tlabel\n"NA\t0\nnull\t1\n')
    (folder / "train" / "part2.TSV").write_text("text\tlabel\nNone\tunsure\n")
    (folder / "my-dev-set.tsv").write_text("text\tlabel\nn/a\t1\n")
    splits = load(dataset_name=str(folder))
    assert list(splits["train"]["text"]) == ['"NA', "null", "None"]
    assert splits["train"].features["label"].names == ["0", "1", "unsure"]
    assert splits["validation"][0] == {"text": "n/a", "label": 1}


def test_a_split_without_a_class_is_said(tmp_path):
    rows = [{"text": f"mail {number}", "label": "spam" if number < 2 else "ham"} for number in range(40)]
    files = {"train_file": write(tmp_path / "t.jsonl", rows), "validation_file": write(tmp_path / "v.jsonl", rows[5:])}
    loaded = load_text_classification(DataArguments(**files))
    repeated = "35 of the 35 texts of 'validation' are among the training texts too."
    assert loaded.remarks == ["The split 'validation' has no text of the class spam.", repeated]


def test_words_of_a_table_on_the_hub_are_words(tmp_path, monkeypatch):
    (tmp_path / "train.csv").write_text("text,label,n\nNone,pos,1\nnull,neg,\n,neg,3\n")
    # Without a Hub: `datasets` reads the folder as it reads a repository.
    for name in ("load_dataset", "load_dataset_builder"):
        read = getattr(loading, name)
        monkeypatch.setattr(
            loading, name, lambda _, *rest, read=read, **options: read(str(tmp_path), *rest, **options)
        )
    rows = load_splits("somebody/reviews").splits["train"]
    assert list(rows["text"]) == ["None", "null", None]
    assert list(rows["n"]) == [1, None, 3]


def remarks_on(tmp_path, labels, **files):
    path = write(tmp_path / "a.csv", [{"text": f"text {n}", "label": labels[n % len(labels)]} for n in range(60)])
    loaded = load_text_classification(DataArguments(train_file=path, **files))
    return loaded.splits["train"].features["label"].names, [
        said for said in loaded.remarks if "has no text of" not in said
    ]


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (["neg", "Neg", "pos"], "'Neg' and 'neg'"),
        (["01", "1", "1.0", "2"], "'01' and '1' and '1.0'"),
        (["\u200bpos", "pos", "neg"], r"'pos' and '\u200bpos'"),
    ],
)
def test_classes_that_look_alike_are_kept_apart_and_named(tmp_path, labels, alike):
    names, remarks = remarks_on(tmp_path, labels)
    assert sorted(names) == sorted(labels)
    assert remarks == [
        f"The classes {alike} differ only in case, hidden characters or the way a number is written: kept apart."
    ]


def test_large_numbers_do_not_look_alike(tmp_path):
    names, remarks = remarks_on(tmp_path, [str(10**30), str(10**30 + 1), "nan", "inf"])
    assert len(names) == 4
    assert remarks == []


def test_labels_in_nfc_and_without_white_space_are_counted_each_for_itself(tmp_path):
    names, remarks = remarks_on(tmp_path, ["e\u0301", "\u00e9", "x ", "x"])
    assert names == ["x", "\u00e9"]
    assert [said.split(": ", 1)[1] for said in remarks] == [
        "labels with white space around them, which is dropped: 15.",
        "labels with accents written as marks of their own, read in NFC: 15.",
    ]


def test_held_out_texts_that_were_trained_on_are_counted(tmp_path):
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in (*range(5), *range(100, 120))]
    _, remarks = remarks_on(tmp_path, ["a", "b"], validation_file=write(tmp_path / "v.csv", rows))
    assert remarks == ["5 of the 25 texts of 'validation' are among the training texts too."]


def test_minus_one_may_have_been_meant_as_a_class(tmp_path):
    for labels in (["-1", "0", "1"], ["-1.0", "0.0", "1.0"], ["-1", "+1"]):
        with pytest.raises(DataError, match=r"it holds -1.*if -1 is a class, write it as a word"):
            remarks_on(tmp_path, labels)


def test_numbers_of_several_files_are_whole_only_if_all_are(tmp_path):
    for name, numbers in (("a", "12"), ("b", ["1.0", "2.0"]), ("c", "21")):
        rows = "".join(f"{name} {n},{numbers[n % 2]}\n" for n in range(30))
        (tmp_path / f"{name}.csv").write_text("text,label\n" + rows)
    loaded = load_text_classification(DataArguments(dataset_name=str(tmp_path)))
    assert loaded.splits["train"].features["label"].names == ["1", "2"]
    assert sum(map(len, loaded.splits.values())) == 90


def test_numbers_beside_words_of_another_file_stay_as_they_are_written(tmp_path):
    films, numbers = [f"film {number}" for number in range(30)], ["1.50", "+5", "1e5"]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{film},N\n" for film in films))
    (tmp_path / "b.csv").write_text("text,label\n" + "".join(f"{number},1.0\n" for number in numbers))
    splits = load(dataset_name=str(tmp_path))
    assert splits["train"].features["label"].names == ["1.0", "N"]
    assert {*splits["train"]["text"], *splits["validation"]["text"]} == {*films, *numbers}
    (tmp_path / "json").mkdir()
    rows = '{"n": 1.0}\n{"n": 2}\n', '{"n": "1.0"}\n{"n": null}\n'
    for name, written in zip("ab", rows, strict=True):
        (tmp_path / "json" / f"{name}.jsonl").write_text(written)
    (tmp_path / "both.jsonl").write_text("".join(rows))
    for source in ("json", "both.jsonl"):  # as in one file
        assert load_splits(str(tmp_path / source)).splits["train"]["n"][:] == ["1.0", "2", "1.0", None]


def test_parquet_files_whose_numbers_take_another_number_of_bytes(tmp_path):
    frame = pd.DataFrame(ROWS[:60]).assign(label=[0, 1] * 30)
    for kind in ("int32", "int64", "float32"):
        frame.assign(text=kind + frame["text"], label=frame["label"].astype(kind)).to_parquet(
            tmp_path / f"{kind}.parquet"
        )
    splits = load(dataset_name=str(tmp_path))
    assert splits["train"].features["label"].names == ["0", "1"]
    assert sum(map(len, splits.values())) == 180


def test_labels_that_a_database_has_written_as_decimals(tmp_path):
    frame = pd.DataFrame(ROWS).assign(label=[Decimal("0.00"), Decimal("1.00")] * 40)
    frame.to_parquet(tmp_path / "a.parquet")
    assert load(dataset_name=str(tmp_path / "a.parquet"))["train"].features["label"].names == ["0", "1"]
    frame.assign(label=[Decimal("0.5"), Decimal("-1.0")] * 40).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 0: expected class names .* found a Decimal \(0.5\).*regression"):
        load(dataset_name=str(tmp_path / "a.parquet"))
    frame.assign(label=[Decimal("-1.0"), Decimal("1.0")] * 40).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 0 is not labeled \(it holds -1.0\)"):
        load(dataset_name=str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_that_save_to_disk_has_written(tmp_path, streaming):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    rows = {"text": ["a film", "b film", "c film"], "label": [1, 0, 1]}
    whole = Dataset.from_dict(rows, features)
    whole.save_to_disk(tmp_path / "one")
    DatasetDict(train=whole, test=whole.select([1])).save_to_disk(tmp_path / "parts")
    for name, texts in (("one", {"train": rows["text"]}), ("parts", {"train": rows["text"], "test": ["b film"]})):
        splits = load_splits(str(tmp_path / name), streaming=streaming).splits
        assert {split: [row["text"] for row in part] for split, part in splits.items()} == texts
        assert splits["train"].features == features  # classes keep their names
    assert "test" not in load_splits(str(tmp_path / "parts"), unread=["test"]).splits
    with pytest.raises(DataError, match=r"--dataset_config_name en: the folder .* was written by `save_to_disk`"):
        load_splits(str(tmp_path / "one"), "en")
    next((tmp_path / "one").glob("*.arrow")).unlink()
    with pytest.raises(DataError, match="one' cannot be read as a dataset: "):
        load_splits(str(tmp_path / "one"))


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        ({"a": 1}, [1], r"\{'a': Value\('int64'\)\}, List\(Value\('int64'\)\)"),
        ({"a": 1}, "word", r"\{'a': Value\('int64'\)\}, string"),
        (3, True, "int64, bool"),
    ],
)
def test_a_column_of_another_kind_in_each_file_is_named(tmp_path, first, second, kinds):
    for name, value in (("a.jsonl", first), ("b.jsonl", second)):
        write(tmp_path / name, [{**row, "n": value} for row in ROWS])
    with pytest.raises(DataError, match=rf"the column 'n' of its files is of different kinds \({kinds}\)"):
        load(dataset_name=str(tmp_path))


def test_what_a_folder_holds_is_read_or_said_to_be_left_out(tmp_path):
    for name in ("train.csv", "_train more.csv", ".train.csv"):
        write(tmp_path / name, [{"text": f"{name} {n}", "label": "ab"[n % 2]} for n in range(30)])
    (tmp_path / "test.xlsx").write_bytes(b"PK")
    loaded = load_text_classification(DataArguments(dataset_name=str(tmp_path)))
    assert sum(map(len, loaded.splits.values())) == 60
    assert loaded.remarks[0] == "Left out, as files of another kind: test.xlsx."


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_texts_without_labels(tmp_path, name):
    rows = ["one", "", "\u200b", "two\u2028three"]
    lines = rows if name == "a.txt" else [json.dumps({"review": row}) for row in rows]
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    texts, remarks = load_unlabeled(str(tmp_path / name), "review")
    assert list(texts["text"]) == ["one", "two\u2028three"]
    assert [said.split(": ")[1] for said in remarks] == ["2 of 4 texts are empty and left out."]
    (tmp_path / "b.csv").write_text("review\n1\n2\n")
    with pytest.raises(DataError, match=r"--unlabelled_file .*b\.csv, column 'review': expected strings, found a int"):
        load_unlabeled(str(tmp_path / "b.csv"), "review")
