"""The reader of files against what the files say, cell by cell."""

import gzip
import json

import pandas as pd
import pytest

from seqnlp.data import DataError
from seqnlp.data.tables import read_file, read_lines, stream_file


@pytest.fixture
def read(tmp_path):
    def write_and_read(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        rows, remarks = read_file(str(path), **options)
        return {column: list(rows[column]) for column in rows.column_names}, remarks

    return write_and_read


def refusal(read, name, content):
    with pytest.raises(DataError) as raised:
        read(name, content)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_words_that_look_missing_are_words(read):
    words = ["None", "null", "NA", "N/A", "nan", "NaN", "n/a", "NULL", "-", "?", "True"]
    rows, remarks = read("a.csv", "text,n\n" + "".join(f"{word},1\n" for word in words))
    assert rows == {"text": words, "n": [1] * len(words)}
    assert remarks == []
    assert read("a.tsv", "text\tn\n" + "".join(f"{word}\t1\n" for word in words))[0] == rows


def test_a_column_is_of_numbers_only_if_all_of_its_cells_are(read):
    content = "whole,number,zip,date,late,blank\n1,1.5,007,2024-01,1,\n-2,-2e3,010,2025-01,2,\n,,020,2026-01,unsure,\n"
    rows, _ = read("a.csv", content)
    assert rows == {
        "whole": [1, -2, None],
        "number": [1.5, -2000.0, None],
        "zip": ["007", "010", "020"],
        "date": ["2024-01", "2025-01", "2026-01"],
        "late": ["1", "2", "unsure"],
        "blank": [None, None, None],
    }


def test_quotes_in_a_tsv_file_are_characters(read):
    rows, remarks = read("a.tsv", 'text\tlabel\nbad\tneg\n"The best so far\tpos\n"So" so\tneg\n"quoted"\tpos\n')
    assert rows["text"] == ["bad", '"The best so far', '"So" so', '"quoted"']
    assert rows["label"] == ["neg", "pos", "neg", "pos"]
    assert remarks == []


@pytest.mark.parametrize("style", [0, 1, 2])  # quotes where needed, everywhere, around words
def test_a_tsv_file_that_a_program_wrote_with_quotes(read, style):
    table = {"text": ['say "hi"', "two\nlines", "a\ttab", "plain"], "n": [1, 2, 3, 4]}
    rows, remarks = read("a.tsv", pd.DataFrame(table).to_csv(sep="\t", index=False, quoting=style))
    assert rows == table
    assert remarks == ["a.tsv: 5 lines make 4 rows, since some cells hold line breaks (first in line 3)."]


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".tsv", ".TSV", ".Csv.gz"])
def test_endings_in_any_case(read, ending):
    mark = "\t" if ".tsv" in ending.lower() else ","
    content = f"text{mark}label\nno, thanks{mark}neg\n".replace(
        "no, thanks", '"no, thanks"' if mark == "," else "no, thanks"
    )
    content = gzip.compress(content.encode()) if ending.endswith("gz") else content
    assert read(f"a{ending}", content)[0] == {"text": ["no, thanks"], "label": ["neg"]}


def test_quotes_in_a_csv_file_follow_the_standard(read):
    rows, remarks = read("a.csv", 'text,n\n"a, ""b""",1\n"two\nlines",2\na 5" nail,3\n')
    assert rows == {"text": ['a, "b"', "two\nlines", 'a 5" nail'], "n": [1, 2, 3]}
    assert remarks == ["a.csv: 4 lines make 3 rows, since some cells hold line breaks (first in line 3)."]
    for cell in ('"Great" film', '"never closed'):
        assert "a.csv', line 3: " in refusal(read, "a.csv", f"text,n\nfine,1\n{cell},2\nfine,3\n")


def test_rows_have_the_headers_length(read):
    rows, remarks = read("a.csv", "text,label\na,1,\nb,2,\nc,3\n")
    assert rows == {"text": ["a", "b", "c"], "label": [1, 2, 3]}
    assert remarks == ["a.csv: 2 of 3 rows end in blank cells without a column: dropped."]
    rows, remarks = read("a.csv", "text,label,\na,1,\nb\n")
    assert rows == {"text": ["a", "b"], "label": [1, None]}
    assert remarks == ["a.csv: 1 of 2 rows have fewer cells than columns; the rest are blank."]
    assert "line 3: it has 3 cells, and the line of column names has 2" in refusal(
        read, "a.csv", "text,label\na,1\nwell, no,0\n"
    )
    rows, remarks = read("a.csv", "text,label\n\na,1\n,,\n\nb,2\n")
    assert rows == {"text": ["a", "b"], "label": [1, 2]}
    assert remarks == ["a.csv: 1 of 3 rows have blank cells alone and are left out."]
    assert read("a.tsv", "text\tlabel\na\t1\n\t\nb\t2\n")[0] == rows
    assert read("a.csv", ",text\n0,a\n1,b\n")[0] == {"column 1": [0, 1], "text": ["a", "b"]}


def test_semicolons_are_seen_and_said(read):
    rows, remarks = read("a.csv", "text;label\nwell, yes;pos\n")
    assert rows == {"text": ["well, yes"], "label": ["pos"]}
    assert remarks == ["a.csv: its columns are separated by semicolons, not by commas."]


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("Go 0.\tVa 0 !", "'Go 0.' ends like a sentence"),
        ("I love it\t1", "'1' is a number"),
        ("これはペンです。\tThis is a pen", "'これはペンです。' ends like a sentence"),
        ("x" * 61 + "\ty", "is longer than 60 characters"),
        ("same\tsame", "'same' stands there twice"),
    ],
)
def test_a_first_row_that_is_data_is_never_taken_for_names(read, first, why):
    assert f"its first row must hold the names of the columns, and {why}" in refusal(
        read, "a.tsv", f"{first}\nmore words.\tand more.\n"
    ).replace("'" + "x" * 40 + "' ", "")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt"])
def test_a_byte_order_mark_is_no_part_of_the_text(read, name):
    content = {"a.csv": "text\nx\n", "a.tsv": "text\nx\n", "a.jsonl": '{"text": "x"}\n', "a.txt": "x\n"}[name]
    assert read(name, "\ufeff" + content)[0] == {"text": ["x"]}


def test_other_encodings_are_named_with_the_way_out(read):
    message = refusal(read, "a.csv", "text\nnaïve\n".encode("latin-1"))
    assert message.endswith("line 2 holds the byte 0xef. Save it as UTF-8, e.g. by `iconv -f CP1252 -t UTF-8`.")
    assert "it looks like UTF-16" in refusal(read, "a.csv", "text\nnaïve\n".encode("utf-16"))


def test_line_breaks(read):
    rows = {"text": ["a\u2028b", "c\x0bd", "e"]}
    assert read("a.txt", "a\u2028b\r\nc\x0bd\r\ne")[0] == rows
    assert read("a.txt", "a\u2028b\nc\x0bd\ne\n")[0] == rows
    assert read("a.csv", "text\r\na\u2028b\r\nc\x0bd\r\n\r\ne\r\n")[0] == rows
    assert read("a.txt", "a\r\nb\r\n", whole=True)[0] == {"text": ["a\nb\n"]}


def test_a_name_is_never_a_pattern(tmp_path):
    for name, word in (("reviews1.csv", "other"), ("reviews[1].csv", "this"), ("r*.csv", "star")):
        (tmp_path / name).write_text(f"text\n{word}\n")
    assert list(read_file(str(tmp_path / "reviews[1].csv"))[0]["text"]) == ["this"]
    assert list(read_file(str(tmp_path / "r*.csv"))[0]["text"]) == ["star"]
    with pytest.raises(DataError, match="There is no file"):
        read_file(str(tmp_path / "review*.csv"))
    for name, word in (("part1.parquet", "other"), ("part[1].parquet", "this")):
        pd.DataFrame({"text": [word]}).to_parquet(tmp_path / name)
    assert list(read_file(str(tmp_path / "part[1].parquet"))[0]["text"]) == ["this"]


def test_json(read):
    rows = {"text": ["null", "b"], "n": [None, 2]}
    objects = [{"text": "null", "n": None}, {"text": "b", "n": 2}]
    assert read("a.jsonl", "\n".join(map(json.dumps, objects)) + "\n\n")[0] == rows
    assert read("a.json", json.dumps(objects, indent=1))[0] == rows
    assert read("a.json", json.dumps(rows))[0] == rows
    assert read("a.json", "\n".join(map(json.dumps, objects)))[0] == rows
    dates = ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]
    assert read("a.jsonl", "\n".join(json.dumps({"text": day}) for day in dates))[0] == {"text": dates}
    mixed, remarks = read("a.jsonl", '{"label": 0}\n{"label": "unsure"}\n{"label": null}')
    assert mixed == {"label": ["0", "unsure", None]}
    assert remarks == ["a.jsonl, column 'label': it holds int and str; all are read as words."]
    assert "line 2: Expecting value" in refusal(read, "a.jsonl", '{"text": "a"}\n{"text": }\n')
    assert "row 1, column 'text': it holds half a character" in refusal(
        read, "a.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n'
    )
    assert "nested too deeply" in refusal(read, "a.jsonl", '{"a":' + "[" * 200_000 + "]" * 200_000 + "}")
    assert "row 0: expected an object" in refusal(read, "a.jsonl", "12\n")


@pytest.mark.parametrize("content", ["text,label\n", "text,label\n\n\n"])
def test_a_table_without_rows(read, content):
    assert "has no rows under its line of column names" in refusal(read, "a.csv", content)


def test_a_parquet_file_without_rows(tmp_path):
    pd.DataFrame({"text": []}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet' has no rows\.$"):
        read_file(str(tmp_path / "a.parquet"))


def test_long_cells(read):
    assert len(read("a.csv", f"text\n{'x' * 200_000}\n")[0]["text"][0]) == 200_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"null, or",pos\nNA,neg\n"x\ny",pos\n'),
        ("a.csv", 'text,label\r\n"x\r\ny",pos\r\n"x\ry",neg\r\n'),
        ("a.tsv", 'text\tlabel\n"null, or\tpos\nNA\tneg\n'),
        ("a.jsonl", '{"text": "null, or", "label": "pos"}\n{"text": "NA", "label": "neg"}\n'),
        ("a.txt", "one\ntwo\u2028three\n"),
    ],
)
def test_a_stream_gives_the_same_rows(tmp_path, name, content):
    (tmp_path / name).write_text("\ufeff" + content, newline="")
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    rows = list(read_file(str(tmp_path / name))[0])
    assert list(stream_file(str(tmp_path / name))) == rows
    assert list(stream_file(str(tmp_path / f"{name}.gz"))) == rows


def test_lines_of_any_file(tmp_path):
    (tmp_path / "a.en").write_text("\ufeffHello\u2028you\r\n\r\nbye")
    assert read_lines(str(tmp_path / "a.en")) == ["Hello\u2028you", "", "bye"]


def test_encodings_without_a_mark_and_files_that_are_no_text(read):
    table = "text,label\nn\u00e9,pos\n"
    assert "looks like UTF-32. Save it as UTF-8, e.g. by `iconv -f UTF-32" in refusal(
        read, "a.csv", table.encode("utf-32")
    )
    for encoding in ("utf-16-le", "utf-16-be"):
        said = refusal(read, "a.csv", "text,label\nne,pos\n".encode(encoding))
        assert "holds NUL characters (first in line 1)" in said
    assert "holds NUL characters (first in line 2)" in refusal(read, "a.csv", "text,label\na\0b,pos\n")


def test_no_digit_of_a_whole_number_is_lost(read):
    ids = ["1234567890123456789", "1234567890123456788"]
    rows, _ = read("a.csv", f"id,mixed,n\n{ids[0]},9007199254740993,1e20\n{ids[1]},0.5,12345678.25\n")
    assert rows == {"id": ids, "mixed": ["9007199254740993", "0.5"], "n": [1e20, 12345678.25]}
    assert "'1234567890123456789' is a number" in refusal(read, "a.csv", f"{ids[0]}\n{ids[1]}\n")


def test_numbers_that_arrow_reads_otherwise_than_python_are_python_s(tmp_path):
    written = [".5", "5.", "1E5", "1e400", "-0.0", "5e-324", "9007199254740993.0", "0.30000000000000004", "+5", ""]
    for kept in (written, written[:3] + written[4:8]):
        (tmp_path / "cells.csv").write_text("number,word\n" + "".join(f"{cell},a\n" for cell in kept))
        values = read_file(str(tmp_path / "cells.csv"))[0]["number"]
        assert list(map(repr, values)) == [repr(float(cell) if cell else None) for cell in kept]
