"""Files as people have them, kind by kind: the right values, or the line that says what is wrong with them."""

import gzip
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from seqnlp.data import (
    DataArguments,
    DataError,
    ImageArguments,
    LabelArguments,
    PairArguments,
    SeriesArguments,
    TaggingArguments,
    TextArguments,
    TuneArguments,
    labels_of,
    load_images,
    load_labeled_texts,
    load_series,
    load_splits,
    load_tagging,
    load_text_classification,
    load_texts,
    load_translation,
    load_tunes,
    normalize_tune,
    split_tunes,
)
from seqnlp.data.columns import is_blank
from seqnlp.data.loading import named_as_typed
from seqnlp.data.tables import read_file, stream_file
from seqnlp.data.times import read_times


@pytest.fixture
def write(tmp_path):
    def written(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return written


def refusal(read):
    with pytest.raises(DataError) as raised:
        read()
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Tables


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff\ufefftext,n\na,1\nb,2\n",
        "sep=,\ntext,n\na,1\nb,2\n",
        "sep=;\ntext;n\na;1\nb;2\n",
        "\n\ntext;n\na;1\nb;2\n",
        "text,n\na,1\ntext,n\nb,2\n",
        "text,n\na,1\n\ufefftext, n\nb,2\n",
        "text,n\ra,1\rb,2\r",
    ],
)
def test_a_table_whatever_stands_on_top_or_between(write, content):
    rows, remarks = read_file(write("a.csv", content))
    assert list(rows) == [{"text": "a", "n": 1}, {"text": "b", "n": 2}]
    said = (
        ["rows that repeat the names of the columns, left out: 1 (first in line 3)"]
        if content.count("text") > 1
        else []
    )
    said += ["separated by semicolons"] if ";" in content else []
    assert all(part in remark for part, remark in zip(said, remarks, strict=True))


def test_lines_keep_their_numbers_below_a_line_that_names_the_separator(write):
    assert "line 3: it has 3 cells" in refusal(lambda: read_file(write("a.csv", "sep=;\ntext;n\na;1;2\n")))


def test_a_row_of_one_column_may_be_the_columns_name(write):
    assert read_file(write("a.csv", "text\na\ntext\n"))[0]["text"][:] == ["a", "text"]


def test_quotes_behind_a_space_are_said_to_be_characters(write):
    rows, remarks = read_file(write("a.csv", 'n, text\n1, "so"\n2, no\n'))
    assert rows["text"][:] == [' "so"', " no"]
    assert remarks == [
        "a.csv: cells that begin with a space and a quote: 1; such quotes are characters, and do not mark a cell."
    ]


FINE = '{"text": "a"}\n'
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", gzip.compress(b"text\na\n", mtime=0), "is gzipped: give it a name that ends in .gz"),
        ("a.csv", b"PK\x03\x04\x14\x00", "is a zip archive or a spreadsheet: unpack it, or save it as csv"),
        ("a.csv", "text\n“a”\n".encode("cp1252"), "byte 0x93. Save it as UTF-8, e.g. by `iconv -f CP1252 -t UTF-8`"),
        ("a.json", '{\n "data": [{"text": "a"}],\n "n": 1\n}', "is one json object, of 'data', 'n': expected a list"),
        ("a.json", '[{"text": "a", "text": "b"}]', "cannot be read as json: the name 'text' stands there twice"),
        ("a.jsonl", FINE + '{"text": "a", "text": "b"}', "line 2: the name 'text' stands there twice"),
        ("a.csv", LFS, "is Git LFS's pointer to a file, not the file: run `git lfs pull`"),
        ("a.parquet", LFS, "is Git LFS's pointer to a file, not the file: run `git lfs pull`"),
        ("a.txt", "/annex/objects/MD5E-s7--0.txt\n", "is git-annex's pointer to a file, not the file"),
    ],
)
def test_what_is_no_table_is_named(write, name, content, message):
    assert message in refusal(lambda: read_file(write(name, content)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", FINE + "[1]\n", "line 2 is no json object"),
        ("a.jsonl", FINE + "[" * 100_000 + "\n", "line 2 is no json object"),
        ("a.jsonl", FINE + '{"text": "\\ud800"}\n', "line 2: it holds half a character"),
        ("a.jsonl", (FINE * 2).encode("utf-16"), "it looks like UTF-16"),
        ("a.jsonl.gz", gzip.compress(FINE.encode() * 9999, mtime=0)[:-9], "cannot be read: Compressed file ended"),
        ("a.txt", LFS, "is Git LFS's pointer to a file"),
        ("a.parquet", LFS, "is Git LFS's pointer to a file"),
        ("a.parquet", b"PAR1" + b"x" * 50, "cannot be read as parquet: Parquet magic bytes not found"),
    ],
)
def test_a_stream_ends_in_one_line_where_it_cannot_be_read(write, name, content, message):
    assert message in refusal(lambda: list(stream_file(write(name, content))))


def test_a_stream_has_the_columns_of_its_first_row_and_no_blank_or_repeated_rows(write):
    rows = list(stream_file(write("a.jsonl", FINE + '{"body": "b"}\n{"text": "\\ud83d\\ude00", "n": 1}\n')))
    assert rows == [{"text": "a"}, {"text": None}, {"text": "😀"}]
    rows = list(stream_file(write("a.tsv", "text\tn\na\t1\n\n \t\ntext\tn\nb\t2\n")))
    assert rows == [{"text": "a", "n": "1"}, {"text": "b", "n": "2"}]


def test_files_of_a_stream_share_their_columns(write, tmp_path):
    rows = {"a.jsonl": {"id": 1, "text": "x", "note": "n"}, "b.jsonl": {"text": "y", "id": "2"}}
    for name, row in rows.items():
        write(name, json.dumps(row) + "\n")
    stream = load_splits(str(tmp_path), streaming=True).splits["train"]
    assert list(stream) == [{"id": 1, "text": "x"}, {"id": "2", "text": "y"}]
    write("b.jsonl", '{"content": "y"}\n')
    message = "no column in common (a.jsonl has id, text, note, b.jsonl has content)"
    assert message in refusal(lambda: load_splits(str(tmp_path), streaming=True))


def test_results_of_a_run_below_the_data_are_no_data(write, tmp_path, pictures):
    run = tmp_path / "data" / "run1"
    run.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "run.json"):
        (run / name).write_text("{}")
    write("data/a.jsonl", "\n".join(json.dumps({"text": f"text {n}", "label": n % 2}) for n in range(60)))
    loaded = load_text_classification(DataArguments(dataset_name=str(tmp_path / "data")))
    assert sum(map(len, loaded.splits.values())) == 60
    assert "Left out, as folders of a trained model: run1." in loaded.remarks
    folder = pictures("a", "b")
    shutil.copytree(run, folder / "run1")
    Image.new("RGB", (8, 8)).save(folder / "run1" / "curves.png")
    told = refusal(lambda: load_images(ImageArguments(dataset_name=str(folder))))
    assert "holds a trained model (run1), which is no data" in told


def test_what_is_no_file_is_named_for_what_it_is(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to("nowhere")
    for name, what in {
        f"{tmp_path}/folder.csv": "is a folder, not a file: name a folder by --dataset_name",
        f"{tmp_path}/pipe.csv": "is a pipe or a device, and data is read more than once: save it as a file",
        f"{tmp_path}/link.csv": "is a link to 'nowhere', which leads nowhere",
        "https://example.org/a.csv": "is an address, not a file: download it first",
        f"{tmp_path}/no.csv": "There is no file",
    }.items():
        assert what in refusal(lambda name=name: read_file(name))


def test_an_error_names_local_data_as_it_was_typed_and_a_record_does_not(write):
    file = write("a.csv", "text,label\na,1\n")
    with pytest.raises(DataError, match=r"^Dataset '<local:a\.csv>'"):
        load_text_classification(DataArguments(train_file=file))
    with pytest.raises(DataError, match=f"^Dataset '{file}', column 'label': all") as raised, named_as_typed(file):
        load_text_classification(DataArguments(train_file=file))
    assert "<local" not in str(raised.value)


@pytest.mark.parametrize("blank", [" \t", "\u00a0", "\u3000", "\u200b\ufeff", "\u2060", "\x07", "\u00ad", "\u200f "])
def test_a_text_of_which_nothing_can_be_seen_is_empty(write, blank):
    rows = [{"text": text, "label": n % 2} for n, text in enumerate(["a", "b", blank, "c"])]
    file = write("a.jsonl", "\n".join(map(json.dumps, rows)))
    for read in (
        lambda: load_text_classification(DataArguments(train_file=file)),
        lambda: load_texts(TextArguments(train_file=file)),
    ):
        assert "1 of 4 texts are empty (first in row 2)" in refusal(read)
    assert not is_blank("\u200ba")
    assert not is_blank("\u0301")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300 + ".txt", "File name too long"),
        ("~nobody-of-this-name/a.txt", "home directory"),
        ("a\0.txt", "embedded null"),
    ],
)
def test_a_name_that_the_system_does_not_take(name, reason):
    for read in (
        lambda: load_texts(TextArguments(train_file=name)),
        lambda: load_series(SeriesArguments(dataset_name=name)),
        lambda: load_images(ImageArguments(dataset_name=name)),
        lambda: load_translation(PairArguments(train_file=name, train_target_file=name)),
    ):
        said = refusal(read)
        assert reason in said
        assert len(said) < 160


# Labels


@pytest.mark.parametrize("odd", ["²", "--5", "-", "\uff11", "1.5"])
def test_classes_that_are_nearly_numbers_stand_in_the_order_of_names(write, odd):
    names = {"0", "1", odd}
    rows = [json.dumps({"text": f"film {number}", "label": sorted(names)[number % 3]}) for number in range(90)]
    loaded = load_text_classification(DataArguments(train_file=write("a.jsonl", "\n".join(rows))))
    assert set(loaded.splits["train"].features["label"].names) == names
    tagged = [json.dumps({"tokens": [f"w{number}"], "tags": [sorted(names)[number % 3]]}) for number in range(90)]
    loaded = load_tagging(TaggingArguments(train_file=write("b.jsonl", "\n".join(tagged))))
    assert set(labels_of(loaded.splits["train"])) == names


FILMS = "text,label\n" + "".join(f"film {number},{('neg', 'pos')[number % 2]}\n" for number in range(40))


def test_a_folder_with_other_files_beside_those_of_the_splits(write, tmp_path):
    write("train.csv", FILMS)
    write("train.csv.gz", gzip.compress(FILMS.encode()))
    for name in ("about.json", "more.json"):
        write(name, "{}")
    loaded = load_text_classification(DataArguments(dataset_name=str(tmp_path)))
    assert sum(map(len, loaded.splits.values())) == 40
    assert loaded.remarks[:2] == [
        "Left out, as files that are there unzipped too: train.csv.gz.",
        "Left out, as files of another kind: about.json, more.json.",
    ]


def test_where_there_is_a_choice_of_columns_it_is_said(write):
    table = (
        FILMS.replace("text,label", "text,label,sentence,class")
        .replace("neg\n", "neg,a,b\n")
        .replace("pos\n", "pos,a,b\n")
    )
    remarks = load_text_classification(DataArguments(train_file=write("a.csv", table))).remarks
    assert remarks[:2] == [
        "The texts are those of the column 'text'; others, by --text_column: sentence.",
        "The labels are those of the column 'label'; others, by --label_column: class.",
    ]
    assert remarks[0] in load_texts(TextArguments(train_file=write("b.csv", table))).remarks


def test_a_class_of_several_lines_is_told_in_one(write):
    table = FILMS.replace(",neg", ',"a\nb"').replace(",pos", "," + "x" * 99)
    loaded = load_text_classification(DataArguments(train_file=write("a.csv", table)))
    assert loaded.splits["train"].features["label"].names == ["a\nb", "x" * 99]
    split = loaded.splits["validation"]
    (missing,) = {"a\nb", "x" * 99} - {split.features["label"].int2str(label) for label in split["label"]}
    told = "a\\nb" if missing == "a\nb" else "x" * 60 + "..."
    assert f"The split 'validation' has no text of the class {told}." in loaded.remarks
    assert not [line for line in loaded.remarks if "\n" in line]


@pytest.mark.parametrize(
    ("flags", "label", "message"),
    [
        (
            {"problem_type": "multi_label_classification", "label_separator": ","},
            "\"['a', 'b']\"",
            "as texts (\"['a', 'b']\")",
        ),
        ({"problem_type": "multi_label_classification"}, '"{a, b}"', "as texts ('{a, b}')"),
        ({"problem_type": "regression"}, "1_000", "row 0 holds '1_000', which is no number"),
        ({"problem_type": "regression"}, "True", "row 0 holds 'True', which is no number"),
    ],
)
def test_labels_that_a_program_has_written(write, flags, label, message):
    table = FILMS.replace(",neg", f",{label}").replace(",pos", f",{label}")
    said = refusal(lambda: load_labeled_texts(LabelArguments(train_file=write("a.csv", table), **flags)))
    assert message in said


# Times and series

DAYS = pd.date_range("2021-01-25", periods=40).to_series(index=range(40))
HOURS = pd.date_range("2021-03-27", periods=40, freq="h").to_series(index=range(40))


def times_of(cells, day_first=None):
    remarks = []
    return read_times(pd.Series(cells), "column 't'", day_first, remarks), remarks


@pytest.mark.parametrize("written", ["%y/%m/%d", "%d/%m/%y", "%y-%m-%d", "%d.%m.%y", "%m/%d/%y"])
@pytest.mark.parametrize("step", [1, -1])  # the first or the last on top
def test_the_order_of_the_rows_tells_where_a_year_of_two_digits_stands(written, step):
    assert times_of(DAYS[::step].dt.strftime(written))[0].tolist() == DAYS[::step].tolist()


def test_a_year_that_may_stand_first_or_last_is_asked_about():
    mixed = ["21/01/31", "22/02/20", "21/05/30"]
    assert "'21/01/31' may begin with the year or end with it" in refusal(lambda: times_of(mixed))
    assert times_of(mixed, day_first=True)[0].iloc[0] == pd.Timestamp(2031, 1, 21)


@pytest.mark.parametrize("written", ["%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"])
def test_digits_that_are_dates_are_no_unix_times(written):
    times, remarks = times_of(HOURS.dt.strftime(written).astype("int64"))
    assert times.tolist() == HOURS.tolist()
    assert "are read as dates, digit by digit" in remarks[0]


def test_times_in_gmt_and_beyond_what_can_be_counted():
    assert times_of(HOURS.dt.strftime("%d/%m/%Y %H:%M GMT"))[0].tolist() == HOURS.tolist()
    assert "is no Unix time in ms before the year 2262" in refusal(lambda: times_of([99_999_999_999_999]))


def series_of(write, table, **flags):
    file = write("s.csv", table.to_csv(index=False))
    loaded = load_series(SeriesArguments(dataset_name=file, context_length=4, prediction_length=2, **flags))
    values = [loaded.splits[split]["values"][0] for split in ("train", "validation", "test")]
    return np.concatenate(values), loaded.details["channels"], [line.split("': ", 1)[1] for line in loaded.remarks]


VALUES = np.arange(40.0) ** 2


@pytest.mark.parametrize(
    ("time", "what"),
    [
        (DAYS.dt.strftime("%Y%m%d"), "tells the times of the rows"),
        (np.arange(40) * 3600 + 1_600_000_000, "tells the times of the rows"),
        (np.arange(40) * 5 + 100, "counts the rows"),
    ],
)
def test_a_column_of_times_is_not_forecast_unless_it_is_asked_for(write, time, what):
    values, channels, remarks = series_of(write, pd.DataFrame({"t": time, "y": VALUES}))
    assert channels == ["y"]
    assert what in remarks[0]
    assert np.array_equal(values[:, 0], VALUES)
    assert series_of(write, pd.DataFrame({"t": time, "y": VALUES}), columns=["t", "y"])[1] == ["t", "y"]


def test_rows_are_sorted_by_time_and_it_is_said(write):
    table = pd.DataFrame({"t": DAYS, "y": VALUES}).iloc[[1, 0, *range(2, 40)]]
    values, _, remarks = series_of(write, table, time_column="t")
    assert np.array_equal(values[:, 0], VALUES)
    assert remarks == ["rows behind a later one: 1; all are sorted by time."]
    assert series_of(write, table.iloc[::-1].sort_values("t", ascending=False), time_column="t")[2] == []


@pytest.mark.parametrize("word", ["NaT", "null", "-", " "])
def test_a_word_for_a_missing_time_is_no_time(write, word):
    table = pd.DataFrame({"t": [word, *DAYS[1:].dt.strftime("%Y-%m-%d")], "y": VALUES})
    values, _, remarks = series_of(write, table, time_column="t")
    assert np.array_equal(values[:, 0], VALUES[1:])
    assert remarks == ["rows without a time, left out: 1."]


def test_names_of_series_and_numbers_without_an_end(write):
    table = pd.DataFrame({"who": ["a", "a "] * 20, "y": VALUES})
    values, _, remarks = series_of(write, table, series_column="who")
    assert np.array_equal(values[:, 0], VALUES)
    assert remarks == ["names with white space around them, dropped: 20."]
    rows = "".join(f'{{"y": {"Infinity" if number == 3 else number}}}\n' for number in range(40))
    loaded = load_series(SeriesArguments(dataset_name=write("s.jsonl", rows), context_length=4, prediction_length=2))
    assert np.flatnonzero(np.isnan(loaded.splits["train"]["values"][0])).tolist() == [3]
    assert "infinite cells, read as gaps: 1." in loaded.remarks[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"frequency": "0min"}, "--frequency 0min is no step forward in time"),
        ({"frequency": "-1D"}, "--frequency -1D is no step forward in time"),
        ({"columns": ["y", "y"]}, "--columns names 'y' twice"),
    ],
)
def test_flags_that_make_no_series(write, flags, message):
    table = pd.DataFrame({"t": DAYS, "y": VALUES})
    assert message in refusal(lambda: series_of(write, table, time_column="t", **flags))


# Tunes

HEAD = "X:1\nT:a\nM:4/4\nL:1/8\nK:C\n"


@pytest.mark.parametrize(
    ("written", "notes"),
    [
        ("ABcd|\n\nSome words about it, By Ear.\n", "ABcd|"),
        ("\nABcd|\n", "ABcd|"),
        ("ABcd|\nw:la la\n+:Bla\ndcBA|\n", "ABcd|\ndcBA|"),
        ("%%begintext\nA text.\n%%endtext\nABcd|\n", "ABcd|"),
        ("Ay2Bcd|\n", "ABcd|"),
        ("ABcd|\nA:|\n", "ABcd|\nA:|"),
        ("AB#c;d|\n", "ABcd|"),
    ],
)
def test_what_stands_around_the_notes_is_no_music(written, notes):
    assert normalize_tune(HEAD + written)["text"] == f"M:4/4\nL:1/8\nK:Cmaj\n{notes}\nT:a"


@pytest.mark.parametrize(
    "tune",
    [
        HEAD.replace("K:C", "K:C clef=treble-8") + "ABcd|",
        HEAD + "V:1 clef=treble+8\nABcd|",
        HEAD + "V:1 transpose=2\nABcd|",
        HEAD + "^/A Bcd|",
        HEAD + "_3/2A Bcd|",
        HEAD + "_=A Bcd|",
        HEAD + "A h2 Bcd|",
        HEAD.replace("T:", "m: ~a2 = aba\nT:") + "~a2 Bcd|",
        (HEAD + "ABcd|\n\n" + HEAD + "dcBA|").replace("X:1\n", ""),
    ],
)
def test_what_sounds_otherwise_than_it_would_be_played_is_left_out(tune):
    assert normalize_tune(tune) is None


def test_fields_on_top_of_a_file_hold_for_its_tunes(write):
    tunes = split_tunes("M:6/8\nL:1/4\n\n  X:1\nT:a\nK:C\nABc|\n\nX:2\nT:b\nL:1/8\nK:C\nABc|\n")
    assert [normalize_tune(tune)["text"][:11] for tune in tunes] == ["M:6/8\nL:1/4", "M:6/8\nL:1/8"]
    going_on = "".join(f"X:{n}\nT:t{n}\nM:4/4\nK:C\n{'ABcd' * (n + 1)}|\n\nefga|\n\n" for n in range(60))
    remarks = load_tunes(TuneArguments(train_file=write("a.abc", going_on))).remarks
    assert sum(int(line.split(": ")[2].split(".")[0]) for line in remarks) == 60
    assert all("seem to go on behind a blank line" in line for line in remarks)


# Images


@pytest.fixture
def pictures(tmp_path):
    chance = np.random.default_rng(0)

    def make(*folders, kind=np.uint8, low=0, high=255, ending="png"):
        for name in folders:
            (tmp_path / "pictures" / name).mkdir(parents=True)
            for number in range(6):
                pixels = chance.integers(low, high, (8, 8)).astype(kind)
                Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"test {number}.{ending}")
        return tmp_path / "pictures"

    return make


def images_of(folder):
    return load_images(ImageArguments(dataset_name=str(folder)))


@pytest.mark.parametrize(
    ("folders", "classes", "sizes"),
    [
        (["train/bus", "train/train", "test/bus", "test/train"], ["bus", "train"], [10, 2, 12]),
        (["train/hat", "train/test tube", "val/hat", "val/test tube"], ["hat", "test tube"], [12, 12]),
        (["data/train/a", "data/train/b", "other/test/a", "other/test/b"], ["a", "b"], [10, 2, 12]),
        (["car", "bus", "train"], ["bus", "car", "train"], [16, 2]),
        (["set [1]/a", "set [1]/b"], ["a", "b"], [10, 2]),
    ],
)
def test_the_folders_of_classes_tell_no_split(pictures, folders, classes, sizes):
    loaded = images_of(pictures(*folders))
    assert loaded.splits["train"].features["label"].names == classes
    assert [len(part) for part in loaded.splits.values()] == sizes
    assert not [line for line in loaded.remarks if "among the training images" in line]


@pytest.mark.parametrize("folders", [["train", "test"], ["a/train", "a/test", "b/train", "b/test"]])
def test_splits_without_classes_are_refused(pictures, folders):
    assert "its images are of one class, or of none" in refusal(lambda: images_of(pictures(*folders)))


def test_images_that_are_held_out_and_trained_on_are_counted(pictures):
    folder = pictures("train/a", "train/b", "test/a", "test/b")
    (folder / "test" / "b" / "again.png").write_bytes((folder / "train" / "b" / "test 0.png").read_bytes())
    (folder / "validation" / "a").mkdir(parents=True)
    Image.new("L", (8, 8)).save(folder / "validation" / "a" / "0.png")
    remarks = images_of(folder).remarks
    assert remarks[-1] == "1 of the 13 images of 'test' are among the training images too."


def test_deep_grays_that_would_become_one_are_said_and_pixels_that_are_no_numbers_refused(pictures):
    folder = pictures("a", "b", kind=np.uint16, low=30_000, high=30_100)
    assert "Only 1 of 256 shades are left: spread the grays before." in images_of(folder).remarks[0]
    pixels = np.ones((8, 8), dtype=np.float32)
    pixels[0, 0] = np.nan
    Image.fromarray(pixels).save(folder / "b" / "nan.tif")
    assert "the image b/nan.tif has pixels that are no numbers" in refusal(lambda: images_of(folder))


# Pairs


def test_two_sides_that_are_one(write):
    lines = "".join(f"one {number}\n" for number in range(40))
    both = {"train_file": write("a.en", lines), "train_target_file": write("a.de", lines)}
    assert load_translation(PairArguments(**both)).remarks == [
        "Dataset '<local:a.en>', split 'train': 40 of 40 pairs are the same on both sides."
    ]
    both["train_target_file"] = both["train_file"]
    assert "--train_file and --train_target_file are both" in refusal(lambda: load_translation(PairArguments(**both)))
