"""Tasks run in this process; each test begins without what Accelerate remembers."""

import sys
from pathlib import Path

import given_models
import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState


sys.path.insert(0, str(Path(__file__).parents[1] / "training"))  # tiny_runs


@pytest.fixture(autouse=True)
def _fresh_state():
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Models of others and of ours, each in a folder of its name, and small data."""
    folder = tmp_path_factory.mktemp("given")
    for name in ("bert", "masked_bert", "gpt2", "marian", "t5", "vit", "deit", "lstm"):
        getattr(given_models, name)(folder / name)
    return given_models.write_data(folder)


@pytest.fixture(scope="session")
def sentiment(folder):
    """A fine-tuned BERT, from which others may learn, and its record."""
    output_dir = folder / "teacher"
    flags = ["--per_device_train_batch_size", 8, "--learning_rate", 0.01, "--metric_for_best_model", "loss"]
    flags += ["--model_name_or_path", folder / "bert", *given_models.DATA["sentiment_analysis"](folder)]
    return output_dir, given_models.run("sentiment_analysis", output_dir, "--num_train_epochs", 6, *flags)
