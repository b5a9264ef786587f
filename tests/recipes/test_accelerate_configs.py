"""The configurations in recipes/accelerate: accelerate takes each, and knows every key in it."""

import re
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
    needs_more = path.stem not in ("one_process", "cpu", "one_gpu")
    assert bool(re.search(r"[Nn]ot run (on GPUs )?yet", "\n".join(lines))) == needs_more
