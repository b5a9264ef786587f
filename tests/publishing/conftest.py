"""A Hub for each test, and small finished runs to put on it."""

import json

import pytest
import torch
from huggingface_hub import constants
from local_hub import Hub

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.tokenization import train_tokenizer


@pytest.fixture(scope="session")
def _server():
    server = Hub()
    yield server
    server.stop()


@pytest.fixture
def hub(_server, monkeypatch, tmp_path):
    """An empty Hub that this process talks to as alice, and that processes it starts can be told of."""
    _server.reset()
    # What the environment variables would have set, had they been there when huggingface_hub was imported.
    monkeypatch.setattr(constants, "ENDPOINT", _server.url)
    template = _server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setenv("HF_TOKEN", "hf_alice_write")
    return _server


@pytest.fixture
def naps(monkeypatch):
    """The waits between tries, in seconds, which are not waited for."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def write_run(folder, seed=0, metrics=None):
    """What a run of the sentiment recipe leaves, without the training."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(["a good film", "an awful film"], "word", 30, model_max_length=16)
    labels = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
    config = RecurrentConfig(vocab_size=len(tokenizer), hidden_size=8, pad_token_id=tokenizer.pad_token_id, **labels)
    model = RecurrentForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "optimizer.bin").write_text("private")
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "learning_curves.png").write_bytes(b"\x89PNG a picture")
    record = {
        "task": "sentiment_analysis",
        "command": "recipes/sentiment_analysis.py --seed 3",
        "seed": seed,
        "hyperparameters": {"architecture": "lstm", "dataset_name": "<local:films>"},
        "dataset": {"name": "<local:films>", "config": None, "revision": None, "splits": {}},
        "model": {
            "class": type(model).__name__,
            "parameters": model.num_parameters(),
            "config": json.loads(config.to_json_string()),
        },
        "tokenizer": {"class": type(tokenizer).__name__, "vocab_size": len(tokenizer)},
        "metrics": metrics or {"test": {"accuracy": 0.75, "f1": 0.5, "loss": 0.25}},
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "sentiment-lstm")
