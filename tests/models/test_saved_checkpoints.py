"""Checkpoints of earlier versions load unchanged: the same weights, and the same numbers out of them."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from saved_checkpoints import CHECKPOINTS, FOLDER, outputs_of

import seqnlp


MODELS = {name for name in seqnlp.__all__ if name.endswith("Model") or "For" in name}


def test_every_class_has_a_checkpoint_and_all_are_small():
    assert {class_name for class_name, _ in CHECKPOINTS.values()} == MODELS
    assert {path.name for path in FOLDER.iterdir()} == set(CHECKPOINTS)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*")) < 1_000_000


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_are_loaded_to_the_bit_and_give_the_same_numbers(name):
    model_class = getattr(seqnlp, CHECKPOINTS[name][0])
    assert json.loads((FOLDER / name / "config.json").read_text())["architectures"] == [model_class.__name__]
    model, report = model_class.from_pretrained(FOLDER / name, output_loading_info=True)
    assert not any(report.values()), report
    weights = load_file(FOLDER / name / "model.safetensors")
    state = model.state_dict()
    assert all(torch.equal(weight, state[key]) for key, weight in weights.items())
    loaded = {state[key].data_ptr() for key in weights}
    assert all(state[key].data_ptr() in loaded for key in state)  # what is not in the file is tied to what is

    tensors = load_file(FOLDER / name / "expected.safetensors")
    inputs = {key.removeprefix("inputs."): value for key, value in tensors.items() if key.startswith("inputs.")}
    outputs = outputs_of(model, inputs)
    assert {f"outputs.{key}" for key in outputs} == tensors.keys() - {f"inputs.{key}" for key in inputs}
    for key, value in outputs.items():
        # Processors sum in different orders: outputs of about 1 differ by up to 2e-6 between two of them.
        torch.testing.assert_close(value, tensors[f"outputs.{key}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "auto_class"),
    [
        ("lstm_translator", transformers.AutoModelForSeq2SeqLM),
        ("image_classifier", transformers.AutoModelForImageClassification),
        ("lstm_series", transformers.AutoModelForTimeSeriesPrediction),
    ],
)
def test_the_auto_classes_load_them_too(name, auto_class):
    assert type(auto_class.from_pretrained(FOLDER / name)).__name__ == CHECKPOINTS[name][0]
