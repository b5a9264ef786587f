"""How many threads: as asked, as exported, or as many as there are idle cores."""

import os
import subprocess
import sys

import psutil
import pytest
import torch
from tiny_runs import make_loop

from seqnlp.training import threads
from seqnlp.training.threads import choose_threads, exported_threads, idle_cores


@pytest.fixture(autouse=True)
def _nobody_has_said_anything(monkeypatch):
    for name in ("OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cores(monkeypatch):
    def pretend(*busy, mine=None):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: list(busy))
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: mine or set(range(len(busy))), raising=False)

    return pretend


@pytest.mark.parametrize(
    ("busy", "mine", "processes", "expected"),
    [
        ((0, 0, 0, 0), None, 1, 4),
        ((2, 5, 3, 0), None, 1, 4),
        ((100, 98, 2, 1), None, 1, 2),
        ((100, 100, 100, 100), None, 1, 1),
        ((0, 0, 0, 0), None, 2, 2),
        ((0, 0, 0, 0), None, 3, 1),
        ((0, 0, 0, 0), None, 9, 1),
        ((100, 100, 0, 0), {2, 3}, 1, 2),  # the others are not this process's
        ((0, 0, 100, 0), {2, 3}, 1, 1),
    ],
)
def test_by_itself_a_run_takes_the_idle_cores(cores, busy, mine, processes, expected):
    cores(*busy, mine=mine)
    assert choose_threads(None, processes) == expected


def test_what_is_asked_for_wins_over_what_is_exported_which_wins_over_the_cores(cores, monkeypatch):
    cores(0, 0, 0, 0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads(2, 1) == 2
    assert choose_threads(None, 2) == 3
    for value in ("", "many", "0", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert exported_threads() is None
        assert choose_threads(None, 1) == 4


LAUNCHER = """
import os, subprocess, sys
environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"}
code = "from seqnlp.training.threads import exported_threads; print(exported_threads())"
subprocess.run([sys.executable, "-c", code], env=environment)
"""


@pytest.mark.parametrize(("exported", "expected"), [(None, "None\n"), ("5", "5\n")])
def test_what_a_launcher_sets_is_not_what_the_user_said(exported, expected):
    environment = {**os.environ, **({"OMP_NUM_THREADS": exported} if exported else {})}
    ended = subprocess.run([sys.executable, "-c", LAUNCHER], env=environment, capture_output=True, text=True)
    assert ended.stdout == expected, ended.stderr


def test_a_launcher_that_cannot_be_looked_at_says_nothing(monkeypatch):
    def denied(process):
        raise psutil.AccessDenied

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(psutil.Process, "environ", denied)
    assert exported_threads() is None


def test_this_machine_has_at_least_one_idle_core(monkeypatch):
    monkeypatch.setattr(threads, "SECONDS_OF_LOOKING", 0.05)
    assert 1 <= idle_cores() <= os.cpu_count()


def test_the_number_is_said_when_training_begins(tmp_path, capsys):
    before = torch.get_num_threads()
    try:
        make_loop(tmp_path, num_threads=2, max_train_steps=3)[1].train()
    finally:
        torch.set_num_threads(before)
    assert "3 steps of training, on 2 CPU threads\n" in capsys.readouterr().out
