"""The recipe as a user starts it: simulated balls, and a table of numbers in two processes."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForTimeSeriesPrediction

from seqnlp.data import simulate_balls


RECIPE = "trajectory"
SMALL = ("--config_overrides", "hidden_size=32", "--num_trajectories", 200, "--context_length", 12)
SMALL = (*SMALL, "--prediction_length", 5, "--num_train_epochs", 12, "--per_device_train_batch_size", 20)


def test_balls(fork, tmp_path):
    result = fork(RECIPE, *SMALL, "--architecture", "gru", "--output_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Test: 40 forecasts" in result.stdout
    for name in ("predictions.png", "memory.png", "learning_curves.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["dataset"]["name"] == "simulated:ball"
    assert 50 < record["memory"]["resident"] < 20_000
    errors = {name: scores["test"]["rmse"] for name, scores in record["baselines"].items()}
    simple = {"last_value", "straight_line", "seasonal_naive", "ets"}
    assert set(errors) == simple | {f"last_{n}_steps_seen" for n in (1, 2, 4, 8)}
    ours = record["metrics"]["test"]["rmse"]
    assert ours < 0.8 * errors["last_value"]
    assert ours < 0.9 * errors["last_1_steps_seen"]  # what memory is good for
    validations = [entry["validation_loss"] for entry in record["history"] if "validation_loss" in entry]
    assert len(validations) == 12
    assert validations[-1] < validations[0]

    model = AutoModelForTimeSeriesPrediction.from_pretrained(tmp_path)
    assert model.config.prediction_length == 5
    paths = torch.tensor(simulate_balls(40, 17, seed=2), dtype=torch.float32)  # the test's
    with torch.no_grad():
        predicted = model(paths[:, :12]).prediction_outputs
    assert (predicted - paths[:, 12:]).pow(2).mean().sqrt().item() == pytest.approx(ours, rel=1e-3)


def test_a_table_with_gaps_in_two_processes(fork, tmp_path):
    wave = np.sin(np.arange(400) / 5)
    lines = [f"{step},{'' if step % 37 == 0 else round(value, 4)}" for step, value in enumerate(wave)]
    (tmp_path / "wave.csv").write_text("\n".join(["step,height", *lines]))
    arguments = ["--dataset_name", tmp_path / "wave.csv", "--columns", "height", "--architecture", "transformer"]
    arguments += ["--context_length", 16, "--prediction_length", 8, "--num_train_epochs", 5, "--output_dir", tmp_path]
    arguments += ["--config_overrides", "hidden_size=32,num_hidden_layers=1,distribution_output=student_t"]
    arguments += ["--per_device_train_batch_size", 8, "--metric_for_best_model", "ncrps"]
    result = fork(RECIPE, *arguments, processes=2)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["num_processes"] == 2
    assert record["metrics"]["test"]["rmse"] < record["baselines"]["last_value"]["test"]["rmse"]
    assert record["model"]["class"] == "TransformerDecoderForTimeSeriesPrediction"
    ours, naive = record["metrics"]["test"], record["baselines"]["seasonal_naive"]["test"]
    assert ours["crps"] < naive["crps"]
    assert ours["coverage_50"] < ours["coverage_80"] < ours["coverage_95"]
    assert record["kept"]["metric"] == "ncrps"


def test_refusals_are_one_line(fork, tmp_path):
    result = fork(RECIPE, "--dataset_name", "sample:weather", "--output_dir", tmp_path)
    assert result.returncode == 1
    assert "error: There is no sample 'sample:weather'" in result.stderr
    assert "recipes/trajectory.py" not in result.stderr.split("error: ")[0]  # no traceback of the recipe's
