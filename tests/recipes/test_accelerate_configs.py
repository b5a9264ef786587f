"""The configurations in recipes/accelerate: accelerate takes each, and knows every key in it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import launch_command_parser


FOLDER = Path(__file__).parents[2] / "recipes" / "accelerate"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def test_there_is_one_for_each_kind_of_machine():
    kinds = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS}
    assert set(kinds) == {
        *("one_process", "cpu", "one_gpu", "many_gpus", "fsdp2", "deepspeed_zero2", "many_nodes"),
    }
    assert kinds["fsdp2"]["fsdp_config"]["fsdp_version"] == 2
    assert kinds["deepspeed_zero2"]["deepspeed_config"]["zero_stage"] == 2
    assert kinds["many_nodes"]["num_machines"] > 1


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_knows_every_key(path):
    config = load_config_from_file(str(path))  # raises at a key that it does not know
    assert isinstance(config, ClusterConfig)
    # What stands below another key becomes a flag of `accelerate launch`, where nobody looks whether there is such.
    flags = set(vars(launch_command_parser().parse_args(["recipe.py"])))
    content = yaml.safe_load(path.read_text())
    inner = {key for part in content.values() if isinstance(part, dict) for key in part}
    assert inner <= flags
    # The recipe's own flags decide on these.
    assert (content["mixed_precision"], content["dynamo_backend"]) == ("no", "NO")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_comment_for_each_key_and_a_mark_where_it_could_not_be_run(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    keys = [line for line in lines if re.match(r" *\w+:", line)]
    assert [line for line in keys if not re.search(r"  # \w", line)] == []
    needs_gpu = path.stem not in ("one_process", "cpu")
    assert bool(re.search(r"[Nn]ot run (on GPUs )?yet", "\n".join(lines))) == needs_gpu


def test_the_script_for_slurm_is_a_script():
    script = FOLDER / "slurm.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    text = script.read_text()
    assert "recipes/accelerate/many_nodes.yaml" in text
    assert "Not run yet" in text
    flags = set(re.findall(r"(?<=--)(?:config_file|num_\w+|machine_rank|main_\w+)", text))
    assert flags <= set(vars(launch_command_parser().parse_args(["recipe.py"])))


@pytest.mark.long
def test_the_script_for_slurm_starts_two_machines_and_goes_on_when_submitted_again(tmp_path):
    commands = {
        "scontrol": "echo 127.0.0.1",
        # On two machines at once, with the number of each.
        "srun": 'shift; SLURM_NODEID=0 "$@" & SLURM_NODEID=1 "$@" && wait $!',
    }
    for name, command in commands.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{command}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "SLURM_JOB_NODELIST": "two", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "1"}
    environment |= {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    environment |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = "recipes/trajectory.py --num_trajectories 60 --context_length 12 --prediction_length 5 --num_threads 1"
    command += " --config_overrides hidden_size=16 --max_train_steps 6 --report_to none --output_dir"
    for minutes, stopped in ((0.0001, True), (60, False)):
        result = subprocess.run(
            ["bash", FOLDER / "slurm.sh", *command.split(), tmp_path / "run", "--max_train_minutes", str(minutes)],
            cwd=FOLDER.parents[1],
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
