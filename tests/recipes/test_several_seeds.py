"""`--seeds` as a user gives it: each seed is the run that `--seed` makes, in one process and in two, killed or not."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file


ROOT = Path(__file__).parents[2]
SMALL = ["--config_overrides", "hidden_size=16", "--num_train_epochs", "3", "--per_device_train_batch_size", "8"]
SMALL += ["--report_to", "none", "--num_threads", "1"]
RECIPE = "sentiment_analysis"


def scores(folder):
    metrics = json.loads((folder / "run.json").read_text())["metrics"]
    return {
        split: {key: value for key, value in values.items() if key != "seconds"} for split, values in metrics.items()
    }


def same(one, other):
    weights = [load_file(folder / "model.safetensors") for folder in (one, other)]
    return scores(one) == scores(other) and all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())


@pytest.mark.long
def test_each_seed_is_the_run_of_that_seed_alone(launch, reviews, tmp_path):
    flags = ["--dataset_name", reviews, *SMALL]
    out, alone = tmp_path / "out", tmp_path / "alone"
    result = launch.run(RECIPE, *flags, "--seeds", "5,6", "--output_dir", out)
    assert result.returncode == 0, result.stderr
    assert launch.run(RECIPE, *flags, "--seed", 6, "--output_dir", alone).returncode == 0
    assert same(out / "seed-6", alone)
    record = json.loads((out / "run.json").read_text())
    values = [scores(out / f"seed-{seed}")["test"]["loss"] for seed in (5, 6)]
    assert record["seeds"]["metrics"]["test"]["loss"]["mean"] == pytest.approx(sum(values) / 2)
    assert record["seeds"]["metrics"]["test"]["loss"]["deviation"] == pytest.approx(
        abs(values[0] - values[1]) / 2**0.5
    )
    assert same(out, out / f"seed-{record['seeds']['chosen']}")


@pytest.mark.long
def test_two_processes_train_each_seed_together(launch, reviews, tmp_path):
    flags = ["--dataset_name", reviews, *SMALL]
    out, alone = tmp_path / "out", tmp_path / "alone"
    result = launch.run(RECIPE, *flags, "--seeds", "5,6", "--output_dir", out, launcher=launch.two_processes)
    assert result.returncode == 0, result.stderr
    assert [json.loads((out / f"seed-{seed}" / "run.json").read_text())["num_processes"] for seed in (5, 6)] == [2, 2]
    result = launch.run(RECIPE, *flags, "--seed", 6, "--output_dir", alone, launcher=launch.two_processes)
    assert result.returncode == 0, result.stderr
    assert same(out / "seed-6", alone)


@pytest.mark.long
def test_plain_python_killed_in_the_second_seed_goes_on_there(launch, reviews, tmp_path):
    out, alone = tmp_path / "out", tmp_path / "alone"
    flags = [*map(str, ["--dataset_name", reviews]), *SMALL, "--num_train_epochs", "60", "--seeds", "5,6"]
    command = [sys.executable, f"recipes/{RECIPE}.py", *flags, "--output_dir", str(out)]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=launch.environment(), stdout=log, stderr=log)
    deadline = time.monotonic() + 600
    while not any(out.glob("seed-6/checkpoints/step-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, (tmp_path / "log").read_text()
    launch.kill(process)
    first = (out / "seed-5" / "run.json").stat().st_mtime
    again = [*command, "--resume_from_checkpoint", "latest"]
    result = subprocess.run(again, cwd=ROOT, env=launch.environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "goes on at step" in result.stdout
    assert (out / "seed-5" / "run.json").stat().st_mtime == first
    command = [sys.executable, f"recipes/{RECIPE}.py", *flags[:-2], "--seed", "6", "--output_dir", str(alone)]
    assert subprocess.run(command, cwd=ROOT, env=launch.environment(), capture_output=True).returncode == 0
    assert same(out / "seed-6", alone)
