"""The files in recipes/clusters: each starts a recipe on every machine, and goes on where there is a checkpoint."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser


ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "recipes" / "clusters"


def stand_in(path: Path, command: str) -> None:
    """A program that does this instead."""
    path.write_text(f"#!/bin/bash\n{command}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("name", ["node.sh", "slurm.sh"])
def test_each_script_is_a_script(name):
    assert subprocess.run(["bash", "-n", FOLDER / name]).returncode == 0


def test_what_has_not_met_a_cluster_says_so():
    assert "Not run yet" in (FOLDER / "slurm.sh").read_text()
    assert "Not run yet" in (FOLDER / "skypilot.yaml").read_text()


def test_skypilot_starts_a_launcher_on_each_machine_which_goes_on_from_a_checkpoint(tmp_path):
    content = yaml.safe_load((FOLDER / "skypilot.yaml").read_text())
    bucket = tmp_path / "bucket"
    assert list(content["file_mounts"]) == ["/checkpoints"]
    run = content["run"].replace("/checkpoints/", f"{bucket}/")
    stand_in(tmp_path / "accelerate", 'printf "%s\\n" "$@"')
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        "SKYPILOT_NODE_RANK": "1",
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NUM_GPUS_PER_NODE": "8",
        "RECIPE": "language_modeling",
        "FLAGS": "--checkpointing_steps 500",
    }
    assert set(content["envs"]) < set(environment)

    def started() -> list[str]:
        told = subprocess.run(
            ["bash", "-c", run], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return told.stdout.splitlines()

    first = started()
    assert first[0] == "launch"
    given = launch_command_parser().parse_args(first[1:])
    assert (given.num_machines, given.num_processes, given.machine_rank) == (2, 16, 1)
    assert given.main_process_ip == "10.0.0.1"
    assert (ROOT / given.config_file).exists()
    assert (ROOT / given.training_script).exists()
    assert given.training_script_args == [
        *("--output_dir", f"{bucket}/language_modeling"),
        *("--checkpointing_steps", "500"),
    ]
    (bucket / "language_modeling" / "checkpoints" / "step-500").mkdir(parents=True)
    assert started() == [*first, "--resume_from_checkpoint", "latest"]


def test_a_run_that_could_not_find_its_checkpoints_again_is_refused():
    command = ["bash", FOLDER / "node.sh", "0", "1", "8", "127.0.0.1", "recipes/translation.py"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 2
    assert told.stderr.startswith("error: --output_dir DIR is missing")


@pytest.mark.long
def test_the_script_for_slurm_starts_two_machines_and_goes_on_when_submitted_again(tmp_path):
    stand_in(tmp_path / "scontrol", "echo 127.0.0.1")
    # On two machines at once, with the number of each.
    stand_in(tmp_path / "srun", 'shift; SLURM_NODEID=0 "$@" & SLURM_NODEID=1 "$@" && wait $!')
    environment = {**os.environ, "SLURM_JOB_NODELIST": "two", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "1"}
    environment |= {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    environment |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = "recipes/trajectory.py --num_trajectories 60 --context_length 12 --prediction_length 5 --num_threads 1"
    command += " --config_overrides hidden_size=16 --max_train_steps 6 --report_to none --output_dir"
    for minutes, stopped in ((0.0001, True), (60, False)):
        result = subprocess.run(
            ["bash", FOLDER / "slurm.sh", *command.split(), tmp_path / "run", "--max_train_minutes", str(minutes)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert result.returncode == 0, result.stderr
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert record["num_processes"] == 2
        assert bool(record["stopped"]) == stopped
    assert "--resume_from_checkpoint latest" in record["command"]


def test_slurm_asks_for_the_warning_that_a_run_listens_to():
    assert re.search(r"#SBATCH --signal=USR1@\d+", (FOLDER / "slurm.sh").read_text())
