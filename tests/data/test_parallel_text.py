import gzip
import json
import unicodedata

import pytest

from seqnlp.data import (
    DataError,
    DropoutCollator,
    PairArguments,
    PairCollator,
    keep_short_pairs,
    load_sample,
    load_translation,
    pair_lengths,
    tokenize_pairs,
    train_pair_tokenizers,
    words_of,
)


def load(**arguments):
    return load_translation(PairArguments(**{name: str(value) for name, value in arguments.items()}))


@pytest.fixture
def parallel(tmp_path):
    def write(**lines):
        for name, texts in lines.items():
            (tmp_path / name.replace("_", ".")).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return {"train_file": tmp_path / "train.en", "train_target_file": tmp_path / "train.de"}

    return write


def write_rows(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


ENGLISH = [f"sentence {row}" for row in range(40)]
GERMAN = [f"Satz {row}\u2028mit Umbruch" for row in range(40)]


def test_parallel_files(parallel, tmp_path):
    files = parallel(train_en=ENGLISH, train_de=GERMAN)
    (tmp_path / "test.en.gz").write_bytes(gzip.compress(b"a\r\nb\r\n"))
    (tmp_path / "test.de").write_text("A\nB")
    loaded = load(**files, test_file=tmp_path / "test.en.gz", test_target_file=tmp_path / "test.de")
    splits = loaded.splits
    assert loaded.details == {"source": "en", "target": "de"}
    assert loaded.source.name == "<local:train.en>"
    assert splits["test"][:] == {"source": ["a", "b"], "target": ["A", "B"]}
    # Without a validation split some are set apart; every pair stays a pair.
    pairs = {row["source"]: row["target"] for split in ("train", "validation") for row in splits[split]}
    assert pairs == dict(zip(ENGLISH, GERMAN, strict=True))
    assert 0 < len(splits["validation"]) < 15


def test_accents_are_read_in_one_way_as_models_write_them(parallel):
    """A reference with marks of its own would share no word with a right translation, which is written in NFC."""
    apart = [unicodedata.normalize("NFD", f"größte {row}") for row in range(40)]
    loaded = load(**parallel(train_en=ENGLISH, train_de=apart))
    assert {text for part in loaded.splits.values() for text in part["target"]} == {
        f"größte {row}" for row in range(40)
    }
    assert loaded.remarks == [
        "Dataset '<local:train.en>', split 'train': sentences with accents written as marks of their own, read in "
        "NFC: 40."
    ]


def test_the_translation_column_of_hub_datasets_and_any_pair_of_columns(tmp_path):
    rows = [{"id": row, "translation": {"de": f"Satz {row}", "fr": f"phrase {row}"}} for row in range(40)]
    loaded = load(dataset_name=write_rows(tmp_path / "nested.jsonl", rows))
    assert loaded.details == {"source": "de", "target": "fr"}
    assert loaded.splits["train"][0]["target"].startswith("phrase ")
    turned = {"source_column": "fr", "target_column": "de"}
    assert load(dataset_name=tmp_path / "nested.jsonl", **turned).splits["train"][0]["target"].startswith("Satz ")

    rows = [{"a": f"a{row}", "b": f"b{row}", "c": f"c{row}", "n": row} for row in range(40)]
    write_rows(tmp_path / "flat.jsonl", rows)
    loaded = load(dataset_name=tmp_path / "flat.jsonl", source_column="c", target_column="a")
    assert loaded.details == {"source": "c", "target": "a"}
    assert loaded.splits["train"].column_names == ["source", "target"]
    with pytest.raises(DataError, match="has a, b, c: say by --source_column which of them is the source"):
        load(dataset_name=tmp_path / "flat.jsonl")
    with pytest.raises(DataError, match="no target column 'x'; there is a, b, c, n"):
        load(dataset_name=tmp_path / "flat.jsonl", source_column="a", target_column="x")
    with pytest.raises(DataError, match="column 'n': expected strings, found a int"):
        load(dataset_name=tmp_path / "flat.jsonl", source_column="a", target_column="n")
    with pytest.raises(DataError, match="both 'a': name two columns"):
        load(dataset_name=tmp_path / "flat.jsonl", source_column="a", target_column="a")
    with pytest.raises(DataError, match="no source column 'x' in its column translation; there is de, fr"):
        load(dataset_name=tmp_path / "nested.jsonl", source_column="x", target_column="de")


@pytest.mark.parametrize("header", ["en,fr", "source,target", "pt-BR,zh-Hans"])
def test_two_columns_of_a_table(tmp_path, header):
    (tmp_path / "p.csv").write_text(f"{header}\n" + "".join(f"a {n},b {n}\n" for n in range(40)) + "null,None\n")
    splits = load(train_file=tmp_path / "p.csv").splits
    assert sum(map(len, splits.values())) == 41


def test_a_first_pair_is_never_lost(tmp_path):
    (tmp_path / "fra.tsv").write_text("Go\tVa\n" + "".join(f"Go {n}\tVa {n}\n" for n in range(40)))
    with pytest.raises(
        DataError, match=r"its first row is 'Go' and 'Va'\. If these are the names of its columns, say"
    ):
        load(train_file=tmp_path / "fra.tsv")
    splits = load(train_file=tmp_path / "fra.tsv", source_column="Go", target_column="Va").splits
    assert sum(map(len, splits.values())) == 40
    (tmp_path / "fra.tsv").write_text("Go.\tVa !\nWho?\tQui ?\n")
    with pytest.raises(DataError, match=r"'Go\.' ends like a sentence"):
        load(train_file=tmp_path / "fra.tsv", source_column="Go.", target_column="Va !")


def test_several_test_splits_keep_their_names(tmp_path):
    for split in ("train", "validation", "test_a", "test_b"):
        write_rows(tmp_path / f"{split}.jsonl", [{"en": f"{split} {row}", "de": f"{split} {row}"} for row in range(3)])
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(f"  - split: {s}\n    path: {s}.jsonl\n" for s in ("train", "validation", "test_a", "test_b"))
        + "---\n"
    )
    splits = load(dataset_name=tmp_path, test_split="test_b, test_a").splits
    assert list(splits) == ["train", "validation", "test_b", "test_a"]
    assert splits["test_a"]["source"][0] == "test_a 0"
    assert list(load(dataset_name=tmp_path).splits) == ["train", "validation"]
    with pytest.raises(DataError, match="no split 'test_c'; it has train, validation, test_a, test_b"):
        load(dataset_name=tmp_path, test_split="test_a,test_c")


def test_what_does_not_fit_is_one_clear_line(parallel, tmp_path):
    files = parallel(train_en=["a", "b"], train_de=["A", "B", "C"])
    with pytest.raises(DataError, match=r"train.en has 2 lines and \S+train.de has 3"):
        load(**files)
    with pytest.raises(DataError, match="give --train_target_file too"):
        load(train_file=files["train_file"], test_file=files["train_file"], test_target_file=files["train_file"])
    with pytest.raises(DataError, match="There is no file"):
        load(train_file=tmp_path / "no", train_target_file=files["train_file"])
    files = parallel(train_en=["a", " ", "c"], train_de=["A", "B", ""])
    with pytest.raises(DataError, match=r"2 of 3 pairs have an empty sentence \(first in row 1, column 'en'\)"):
        load(**files)
    files = parallel(train_en=[*ENGLISH, ""], train_de=[*GERMAN, "x"])
    splits = load(**files, drop_empty_texts=True).splits
    assert sum(map(len, splits.values())) == 40
    (tmp_path / "latin").write_bytes("naïve\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 1 holds the byte 0xef\. Save it as UTF-8"):
        load(train_file=tmp_path / "latin", train_target_file=tmp_path / "latin")


@pytest.mark.parametrize("joint", [True, False])
def test_tokenized_pairs_lose_nothing(joint):
    pairs = load_sample("sample:jupyterlab_fr")["test"].rename_columns({"en": "source", "fr": "target"})
    kind = {"tokenizer_type": "bpe", "vocab_size": 400, "lowercase": False, "min_frequency": 2}
    tokenizers = train_pair_tokenizers(pairs, **kind, joint=joint)
    assert (tokenizers[0] is tokenizers[1]) == joint
    tokenized = tokenize_pairs(pairs, *tokenizers)
    for side, column, tokenizer in zip(("input_ids", "labels"), ("source", "target"), tokenizers, strict=True):
        assert all(ids[-1] == tokenizer.eos_token_id for ids in tokenized[side])
        decoded = tokenizer.batch_decode(list(tokenized[side]), skip_special_tokens=True)
        assert [text.strip() for text in decoded] == list(pairs[column])

    lengths = pair_lengths(tokenized)
    short = keep_short_pairs(tokenized, 10)
    assert 0 < len(short) < len(tokenized)
    assert list(short["row"]) == [row for row, sides in enumerate(lengths) if max(sides) <= 10]
    with pytest.raises(DataError, match="None of the 293 training pairs has 1 tokens or fewer"):
        keep_short_pairs(tokenized, 1)

    rows = [tokenized[row] for row in (3, 200)]
    batch = PairCollator(tokenizers[0])(rows)
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["labels"][0][batch["labels"][0] != -100].tolist() == rows[0]["labels"]
    assert batch["input_ids"][1][batch["attention_mask"][1] == 1].tolist() == rows[1]["input_ids"]

    dropped = DropoutCollator(pairs, *tokenizers, dropout=0.5, seed=0)(rows)
    assert dropped["labels"].ne(-100).sum() > batch["labels"].ne(-100).sum()
    for row, ids in zip((3, 200), dropped["labels"], strict=True):
        text = tokenizers[1].decode(ids[ids != -100], skip_special_tokens=True)
        assert text.strip() == pairs[row]["target"]


def test_the_packaged_strings():
    splits = load_sample("sample:jupyterlab_fr")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 2452, "validation": 330, "test": 293}
    sources = [words_of(text) for rows in splits.values() for text in rows["en"]]
    assert len(sources) == len(set(sources))  # none twice, nor in two splits
    for rows in splits.values():
        assert all(text.strip() and "\n" not in text for column in ("en", "fr") for text in rows[column])
    assert {"en": "Jupyter Notebook Pages", "fr": "Pages du Jupyter Notebook"} in [
        row for rows in splits.values() for row in rows
    ]


def test_the_languages_of_a_translation_column_are_those_of_its_first_filled_row(tmp_path):
    rows = [{"translation": {"en": english, "de": german}} for english, german in zip(ENGLISH, GERMAN, strict=True)]
    write_rows(tmp_path / "a.jsonl", [{"translation": None}, *rows])
    loaded = load(train_file=tmp_path / "a.jsonl", drop_empty_texts=True)
    assert loaded.details == {"source": "en", "target": "de"}
    assert sum(map(len, loaded.splits.values())) == 40
    write_rows(tmp_path / "b.jsonl", [{"translation": {"en": "a", "fr": "b"}}])
    with pytest.raises(DataError, match="split 'validation': there is no column 'de'; there is en, fr"):
        load(train_file=tmp_path / "a.jsonl", validation_file=tmp_path / "b.jsonl", drop_empty_texts=True)


def test_a_file_or_split_that_is_read_twice_is_said(parallel, tmp_path):
    files = parallel(train_en=ENGLISH, train_de=GERMAN, test_en=["a", "b"], test_de=["c", "d"])
    for split in ("validation", "test"):
        files |= {f"{split}_file": tmp_path / "test.en", f"{split}_target_file": tmp_path / "test.de"}
    assert load(**files).remarks == [
        "The file of 'validation' is that of 'test' too: scores on it are not scores on new data."
    ]
    pairs = [{"en": english, "de": german} for english, german in zip(ENGLISH, GERMAN, strict=True)]
    said = load(dataset_name=write_rows(tmp_path / "a.jsonl", pairs), validation_split="train").remarks
    assert said[0] == "The split of 'train' is that of 'validation' too: scores on it are not scores on new data."


def test_sources_that_are_held_out_and_trained_on_are_counted(parallel, tmp_path):
    files = parallel(train_en=ENGLISH, train_de=GERMAN, test_en=[*ENGLISH[:3], "other"], test_de=GERMAN[4:8])
    tests = {"test_file": tmp_path / "test.en", "test_target_file": tmp_path / "test.de"}
    held_out = len([text for text in load(**files).splits["validation"]["source"] if text in ENGLISH[:3]])
    remarks = load(**files, **tests).remarks
    assert remarks == [f"{3 - held_out} of the 4 sources of 'test' are among the training sources too."]
