"""A model on the Hub to start from: its commit, its hash, and what a card says of it."""

import hashlib

import pytest
import torch
from huggingface_hub import HfApi, constants
from safetensors.torch import load_file

from seqnlp.publishing import publish
from seqnlp.publishing.card import build_card
from seqnlp.tasks import TASKS
from seqnlp.training import ArgumentsError


NAME = "alice/films"


@pytest.fixture
def cache(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def start(*flags):
    task = TASKS["sentiment_analysis"].from_command_line(argv=["--model_name_or_path", NAME, *flags])
    labels = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
    return task.start_model, *task.start_model.load(task.build_config(**labels), None)


def test_the_commit_and_the_hash_of_the_weights_are_on_record(cache, run_folder):
    publish(run_folder, NAME)
    found, model, described = start()
    commit = HfApi().model_info(NAME).sha
    assert found.source.revision == commit
    assert described["sha256"] == hashlib.sha256((run_folder / "model.safetensors").read_bytes()).hexdigest()
    assert described["weights_new"] == {}
    there = load_file(run_folder / "model.safetensors")
    assert all(torch.equal(weight, there[name]) for name, weight in model.state_dict().items())
    known = found.describe(NAME)
    assert known == {"name": NAME, "revision": commit, "task": "sentiment_analysis"}
    record = {"task": "sentiment_analysis", "metrics": {}, "model": {}, "base_model": {**known, **described}}
    card = build_card(record, "alice/more")
    assert f"base_model: {NAME}" in card
    assert f"[{NAME}](https://huggingface.co/{NAME}), revision {commit}" in card


def test_a_revision_is_taken_and_shards_have_one_hash(cache, run_folder):
    publish(run_folder, NAME, max_shard_size=600)
    first = HfApi().model_info(NAME).sha
    found, _, described = start("--model_revision", first[:40])
    shards = sorted((cache / "models--alice--films" / "snapshots" / first).glob("model-*.safetensors"))
    assert len(shards) > 1
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in shards]
    assert described["sha256"] == hashlib.sha256("".join(f"{one}\n" for one in digests).encode()).hexdigest()
    assert found.source.revision == first
    with pytest.raises(ArgumentsError, match="its configuration cannot be loaded"):
        start("--model_revision", "nothing")
