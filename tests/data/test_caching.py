"""What was made of a dataset once is not made again, in this process or another."""

import os
import resource
import signal

import datasets
import pytest
from clean_processes import CLEAN
from datasets import Dataset

from seqnlp.data import DataError, map_once
from seqnlp.tokenization import train_tokenizer


TEXTS = ["a good film", "an awful film", "a film"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return tmp_path / "seqnlp"


def tokenized(texts=TEXTS, **settings):
    tokenizer = train_tokenizer(TEXTS, "word", 20, **settings)
    made = map_once(
        Dataset.from_dict({"text": texts}),
        lambda rows: tokenizer(rows["text"], truncation=True),
        remove_columns="text",
    )
    return made["input_ids"][:]


def in_the_cache(folder, function, *arguments):
    """What another process does: it knows of no patch of this one."""
    datasets.config.HF_DATASETS_CACHE = folder
    function(*arguments)


def written(cache):
    return {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}


def test_it_is_kept_and_taken_from_where_it_was_kept(cache):
    first = tokenized()
    kept = written(cache)
    assert len(kept) == 1
    assert tokenized() == first
    assert written(cache) == kept


def test_another_process_finds_it(cache):
    tokenized()
    kept = written(cache)
    other = CLEAN.Process(target=in_the_cache, args=(cache.parent, tokenized))
    other.start()
    other.join(60)
    assert other.exitcode == 0
    assert written(cache) == kept


@pytest.mark.parametrize("change", [{"texts": [*TEXTS, "more"]}, {"lowercase": True}])
def test_other_data_or_another_tokenizer_is_something_else(cache, change):
    first = tokenized()
    tokenized(**change)
    assert len(list(cache.iterdir())) == 2
    assert tokenized() == first


def test_without_a_cache_nothing_is_kept(cache):
    datasets.disable_caching()
    try:
        assert len(tokenized()) == 3
    finally:
        datasets.enable_caching()
    assert not cache.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it limits a process of its own")
def test_a_cache_that_takes_no_more_is_one_line(cache):
    data = Dataset.from_dict({"text": [str(row) * 100 for row in range(2000)]})

    def fill(said):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            map_once(data, lambda rows: {"more": rows["text"]})
        except DataError as error:
            said.send(str(error))

    here, there = CLEAN.Pipe()
    child = CLEAN.Process(target=in_the_cache, args=(cache.parent, fill, there))
    child.start()
    child.join(60)
    assert here.poll(), "no DataError"
    said = here.recv()
    assert said.startswith(f"The cache of prepared data, {cache}, cannot be written to: ")
    assert "File too large" in said
    assert said.endswith("HF_DATASETS_CACHE.")
