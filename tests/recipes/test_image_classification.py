"""The recipe as a user starts it: the digits, and what it leaves in its folder."""

import json

import numpy as np
import pytest
from transformers import pipeline

from seqnlp.data import ImageArguments, load_images


RECIPE = "image_classification"


def test_digits(launch, tmp_path):
    short = ["--num_train_epochs", 5, "--max_eval_samples", 100, "--per_device_train_batch_size", 32]
    result = launch.run(RECIPE, "--output_dir", tmp_path, *short)
    assert result.returncode == 0, result.stderr
    assert "Test: 100 examples" in result.stdout
    assert "Vision Transformer (seqnlp)" in result.stdout
    for word in ("warning", "deprecated", "traceback"):
        assert word not in result.stderr.lower()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["dataset"]["splits"]["train"]["rows"] == 1257
    assert record["metrics"]["test"]["accuracy"] > 0.5  # chance is 0.1
    assert record["baselines"]["nearest neighbours"]["test"]["accuracy"] > 0.95
    assert record["tokenizer"] == {}
    files = {path.name for path in tmp_path.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "errors.png",
        "learning_curves.png",
    } <= files

    splits = load_images(ImageArguments(max_eval_samples=100)).splits
    classify = pipeline("image-classification", model=str(tmp_path), device="cpu")
    answers = [answer[0]["label"] for answer in classify(list(splits["test"]["image"]), batch_size=50)]
    right = np.mean([answer == str(label) for answer, label in zip(answers, splits["test"]["label"], strict=True)])
    assert right == pytest.approx(record["metrics"]["test"]["accuracy"])


@pytest.mark.long
def test_the_default_run_reads_97_of_100_digits_in_five_minutes(launch, tmp_path):
    result = launch.run(RECIPE, "--output_dir", tmp_path, timeout=300)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["metrics"]["test"]["accuracy"] >= 0.97
