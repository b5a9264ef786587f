"""Whatever flags and YAML say, for every recipe: a task, or one line that names what does not fit."""

import dataclasses

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqnlp.tasks import TASKS


OURS = sorted(name for name, task in TASKS.items() if task.__module__.startswith("seqnlp."))
EDGES = [0, 1, -1, 2, 255, 2**31, 2**63, 10**12, 1e-320, 1e308, -0.0, float("nan"), float("inf"), float("-inf")]
WORDS = [
    "",
    " ",
    "a",
    "--",
    "-1",
    "no",
    "true",
    "null",
    "latest",
    "ü",
    "1e3",
    "a=1",
    "hidden_size=8",
    "hidden_size",
    "[",
    "{",
    "%",
    "\n",
]


def values(field):
    """Values of every kind for a flag: those that it takes, those at its edges and those of other kinds."""
    words = st.one_of(st.sampled_from(WORDS), st.text(max_size=6).filter(lambda text: "\0" not in text))
    drawn = [st.sampled_from(EDGES), st.booleans(), words]
    if choices := field.metadata.get("choices"):
        drawn.append(st.sampled_from(list(choices)))
    if field.default not in (None, dataclasses.MISSING):
        drawn += [st.just(field.default)] * 3
    return st.one_of(*drawn)


@st.composite
def flags(draw, task):
    fields = task.fields()
    names = draw(st.lists(st.sampled_from(sorted(fields)), max_size=6, unique=True))
    names += draw(st.lists(st.sampled_from(["nothing", "seeed", "config_", "é"]), max_size=1))
    return {name: draw(values(fields[name]) if name in fields else st.just(1)) for name in names}


def outcome(task, argv):
    """The task, or the line; anything else is a bug."""
    try:
        return task.from_command_line(argv=argv)
    except Exception as error:
        if not type(error).__module__.startswith("seqnlp."):
            raise
        line = str(error)
        assert line.strip()
        assert "\n" not in line, line
        return line


def check(name, examples, tmp_path):
    task, file = TASKS[name], tmp_path / "flags.yaml"

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(flags(task), flags(task), st.booleans())
    def run(given_as_flags, given_as_yaml, as_two_words):
        argv = []
        for flag, value in given_as_flags.items():
            argv += [f"--{flag}", str(value)] if as_two_words else [f"--{flag}={value}"]
        outcome(task, argv)
        file.write_text(yaml.safe_dump(given_as_yaml), encoding="utf-8")
        outcome(task, ["--config", str(file), *argv])

    run()


@pytest.mark.parametrize("name", OURS)
def test_flags_and_yaml_are_a_task_or_one_line(name, tmp_path):
    check(name, 40, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", OURS)
def test_many_flags_and_yaml_are_a_task_or_one_line(name, tmp_path):
    check(name, 2000, tmp_path)


SHAPES = ["", "- a", "a: [", "seed: {a: 1}", "seed: [1, 2]", "1: 2", "null: 3", "? {a: 1}\n: 2", "[" * 3000]
SHAPES += ["seed: !!python/name:os.system ", "columns: {a: b}", "requires: 3", "recipe: [a]", "\ufeffseed: 1"]
SHAPES += ["seed: 0x10", "seed: 2001-01-01"]


@pytest.mark.parametrize("content", SHAPES, ids=range(len(SHAPES)))
def test_a_yaml_of_any_shape_is_a_task_or_one_line(content, tmp_path):
    file = tmp_path / "flags.yaml"
    file.write_text(content, encoding="utf-8")
    outcome(TASKS["trajectory"], ["--config", str(file)])
