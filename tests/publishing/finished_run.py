"""A small finished run."""

import json

import torch

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.tokenization import train_tokenizer


def write_run(folder, seed=0, metrics=None, model=None, processor=None, **changes):
    """What a run leaves, without the training: by default of the sentiment recipe."""
    torch.manual_seed(seed)
    if processor is None:
        processor = train_tokenizer(["a good film", "an awful film"], "word", 30, model_max_length=16)
    if model is None:
        labels = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
        sizes = {"vocab_size": len(processor), "hidden_size": 8, "pad_token_id": processor.pad_token_id}
        model = RecurrentForSequenceClassification(RecurrentConfig(**sizes, **labels))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
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
            "config": json.loads(model.config.to_json_string()),
        },
        "metrics": metrics or {"test": {"accuracy": 0.75, "f1": 0.5, "loss": 0.25}},
        **changes,
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def change(path, **values):
    """Set values of a file of JSON."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def edit_card(folder, old, new):
    """Put other words into the card of a folder."""
    card = (folder / "README.md").read_text()
    assert old in card
    (folder / "README.md").write_text(card.replace(old, new))
