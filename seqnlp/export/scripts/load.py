"""The exported programs: `load()["model"](input_ids, attention_mask)`, or by the inputs that runtime.json names."""

import json
from pathlib import Path

import torch


def load(folder=Path(__file__).parent):
    """Every graph as a function of tensors, by name, in the order in which they run."""
    names = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))["graphs"]
    return {name: torch.export.load(folder / f"{name}.pt2").module(check_guards=False) for name in names}
