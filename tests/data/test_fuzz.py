"""Readers against whatever there may be: each outcome is the right rows, or one line that says what is wrong."""

import csv
import io
import json
import tempfile
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqnlp.data import (
    DataArguments,
    DataError,
    LoadedData,
    PairArguments,
    SeriesArguments,
    TextArguments,
    load_series,
    load_text_classification,
    load_texts,
    load_translation,
    normalize_tune,
)
from seqnlp.data.melody import spell_out
from seqnlp.data.tables import read_file
from seqnlp.data.times import read_times
from seqnlp.tokenization import train_tokenizer


WORDS = ["None", "NA", "null", "nan", "5", "5.0", "007", "-1", "1e3", '"', '""', '"a"', "<s>", "", " ", "é", "猫"]
CHARACTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\r\0")
cells = st.one_of(st.sampled_from(WORDS), st.text(CHARACTERS, max_size=12))
tables = st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1))
ENDINGS = ["csv", "tsv", "json", "jsonl", "txt", "parquet", "csv.gz", "abc"]
MARKS = [
    "text",
    "label",
    "en",
    "de",
    ",",
    "\t",
    "\n",
    "\r\n",
    '"',
    ";",
    '{"text": "a"}',
    "[",
    "]",
    "1",
    "5.0",
    "\ufeff",
]
pieces = st.sampled_from([mark.encode() for mark in MARKS]) | st.binary(max_size=4)
lines = st.lists(st.lists(cells, max_size=3), max_size=20)
scraps = st.one_of(
    st.lists(pieces, max_size=40).map(b"".join),
    lines.map(lambda rows: "\n".join(map(",".join, [["text", "label", "x"], *rows])).encode()),
    lines.map(lambda rows: "\n".join(map("\t".join, [["text", "label", "x"], *rows])).encode()),
)


def reads_back(name, content, rows):
    """Whether the file's cells are those of the rows, whose first column keeps every row from being blank."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(content, encoding="utf-8", newline="")
        found, _ = read_file(str(path))
    assert len(found) == len(rows)
    places = [int(column.removeprefix("c")) for column in found.column_names]
    for place, column in zip(places, found.column_names, strict=True):
        for value, row in zip(found[column], rows, strict=True):
            if value is None:
                assert row[place] == ""
            else:
                assert row[place] == value if isinstance(value, str) else float(row[place]) == value
    left_out = set(range(len(rows[0]))) - set(places)
    assert not any(row[place] for row in rows for place in left_out)


def written_as_csv(rows, quoting, delimiter=","):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting, lineterminator="\n", delimiter=delimiter).writerows(rows)
    return file.getvalue()


def numbered(rows):
    return [[f"row {number}", *row] for number, row in enumerate(rows)]


def names_of(rows):
    return [f"c{place}" for place in range(len(rows[0]))]


def check_csv(rows):
    rows = numbered(rows)
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        reads_back("a.csv", written_as_csv([names_of(rows), *rows], quoting), rows)
    frame = pd.DataFrame(rows, columns=names_of(rows))
    reads_back("a.tsv", frame.to_csv(sep="\t", index=False, lineterminator="\n"), rows)


def check_tsv(rows):
    # A cell in quotes of its own could not be told from one that a program put there.
    rows = [[cell.replace("\t", " ").replace("\n", " ").removesuffix('"') for cell in row] for row in numbered(rows)]
    reads_back("a.tsv", "".join("\t".join(row) + "\n" for row in [names_of(rows), *rows]), rows)


def check_json(rows):
    rows = numbered(rows)
    objects = [dict(zip(names_of(rows), row, strict=True)) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("a.jsonl", "\n".join(map(json.dumps, objects))), ("a.json", json.dumps(objects))):
            (Path(folder) / name).write_text(content)
            assert list(read_file(str(Path(folder) / name))[0]) == objects


def check_scraps(content):
    with tempfile.TemporaryDirectory() as folder:
        for ending in ENDINGS:
            path = Path(folder) / f"a.{ending}"
            path.write_bytes(content)
            outcome(lambda path=path: read_file(str(path)))
            outcome(lambda path=path: read_file(str(path), whole=True))


def check_loaders(content):
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("csv", "tsv", "jsonl", "txt"):
            path = Path(folder) / f"a.{ending}"
            path.write_bytes(content)
            files = {"train_file": str(path)}
            outcome(lambda files=files: load_text_classification(DataArguments(**files, drop_empty_texts=True)))
            outcome(lambda files=files: load_texts(TextArguments(**files, drop_empty_texts=True)))
            outcome(lambda files=files: load_translation(PairArguments(**files, drop_empty_texts=True)))
            outcome(lambda path=path: load_series(SeriesArguments(dataset_name=str(path))))
            outcome(lambda path=path: load_series(SeriesArguments(dataset_name=str(path), time_column="text")))


def outcome(read):
    try:
        found = read()
    except DataError as error:
        said = [str(error)]
    else:
        said = found.remarks if isinstance(found, LoadedData) else []
        if isinstance(found, LoadedData):
            found.describe()
    assert all("\n" not in line for line in said)


def check_times(written):
    outcome(lambda: read_times(pd.Series(written), "column 't'", None, []))


def check_tunes(text):
    outcome(lambda: normalize_tune("X:1\nM:6/8\nK:G\n" + text))
    spell_out("X:1\nM:6/8\nK:G\n" + text)


def check_tokenizers(text):
    whole = unicodedata.normalize("NFC", text)
    for kind, size in (("char", 300), ("word", 300), ("bpe", 300), ("wordpiece", 900), ("unigram", 900)):
        tokenizer = train_tokenizer([text, "some more words to learn from"], kind, size)
        assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
        ids = tokenizer(text)["input_ids"]
        assert not set(ids) & {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
        if kind in ("char", "bpe"):
            assert tokenizer.decode(ids) == whole


DATES = ["2024-01-31", "1/2/2024", "31.1.2024", "13/1/24 1:02 PM", "1700000000", "5 Jan 2024", "2024-01-01T00:00Z"]
NOTES = [*"ABCDEFGabcdefgzxZ|:[]()-^_=,'/0123456789{} \n\\\"!", "::", "V:1", "[K:D]", "(3"]
PIECES = ["<s>", "</s>", "<unk>", "<pad>", "<", ">", "▁", "##a", " ", "é", "猫"]
dates = st.lists(st.sampled_from(DATES) | st.text(max_size=8), min_size=1, max_size=4)
music = st.lists(st.sampled_from(NOTES)).map("".join)
texts = st.lists(st.sampled_from(PIECES) | st.text(CHARACTERS)).map("".join)
CHECKS = {
    check_csv: (tables, 150),
    check_tsv: (tables, 150),
    check_json: (tables, 150),
    check_scraps: (scraps, 60),
    check_loaders: (scraps, 20),
    check_times: (dates, 100),
    check_tunes: (music, 400),
    check_tokenizers: (texts, 20),
}
MORE = 4  # times as many examples where there is time


def run(check, examples):
    strategy = CHECKS[check][0]
    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    settings(max_examples=examples, derandomize=examples == CHECKS[check][1], **quiet)(given(strategy)(check))()


@pytest.mark.parametrize("check", CHECKS)
def test_each_outcome_is_right_or_one_line(check):
    run(check, CHECKS[check][1])


@pytest.mark.long
@pytest.mark.parametrize("check", CHECKS)
def test_each_outcome_is_right_or_one_line_for_two_minutes(check):
    run(check, MORE * CHECKS[check][1])
