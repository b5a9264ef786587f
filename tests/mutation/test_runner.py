"""Jobs over a small repository of its own: what fails, what passes, what hangs, and that nothing is left behind."""

import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest

from mutation.runner import Job, Slot, copy_repository, run_jobs


CODE = "def double(x):\n    return 2 * x\n"
TEST = """
import os, pathlib, subprocess, sys, time
import toy_under_mutation as toy

def test_it():
    assert toy.__file__.startswith(os.getcwd())
    assert toy.double(2) == 4

def test_hang():
    if toy.double(3) == 7:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
        pathlib.Path("child").write_text(str(child.pid))
        time.sleep(100)
"""
CHANGED = Path("toy_under_mutation.py")


@pytest.fixture
def slots(tmp_path):
    root = tmp_path / "root"
    (root / "tests").mkdir(parents=True)
    (root / "toy_under_mutation.py").write_text("raise SystemExit")
    (root / "tests" / "test_toy_under_mutation.py").write_text(TEST)
    (root / ".gitignore").write_text("ignored\n")
    (root / "ignored").write_text("")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    (root / "toy_under_mutation.py").write_text(CODE)  # not added, as with work under way
    made = [Slot(root, tmp_path / str(place), 2**31) for place in range(2)]
    for slot in made:
        copy_repository(root, slot.tree)
    yield made
    assert (root / "toy_under_mutation.py").read_text() == CODE
    assert sorted(path.name for path in root.iterdir() if path.name != ".git") == [
        ".gitignore",
        "ignored",
        "tests",
        "toy_under_mutation.py",
    ]


def job(key, text=None, seconds=60.0):
    return Job(key, [Path("tests/test_toy_under_mutation.py")], seconds, {} if text is None else {CHANGED: text})


def afresh(function, *arguments):
    """In a process that has run no other test: what is forked has its parent's memory, and its threads' locks."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


def outcomes_of(slots, jobs):
    return list(run_jobs(slots, jobs))


def interrupt(slots, jobs):
    """The key of the first job that ends, and the process that was still running in the first slot."""
    running = run_jobs(slots, jobs)
    key, pid = next(running).key, slots[0].pid
    running.close()
    return key, pid


def test_a_fault_is_noticed_and_undone_even_if_nothing_but_a_digit_differs(slots):
    slot = slots[0]
    assert not (slot.tree / "ignored").exists()
    # Of one size and second: stale bytecode would let the fault pass, or hide that it is gone.
    keys = ["whole", "fault", "whole again", "other fault"]
    texts = [None, CODE.replace("2 *", "3 *"), None, CODE.replace("2 *", "4 *")]
    outcomes = afresh(outcomes_of, [slot], [job(key, text) for key, text in zip(keys, texts, strict=True)])
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [
        ("whole", "passed"),
        ("fault", "failed"),
        ("whole again", "passed"),
        ("other fault", "failed"),
    ]
    assert "FAILED tests/test_toy_under_mutation.py::test_it" in outcomes[1].output
    assert (slot.tree / CHANGED).read_text() == CODE


def test_what_hangs_is_stopped_with_all_that_it_started(slots):
    hangs = "def double(x):\n    return 7 if x == 3 else 2 * x\n"
    started = time.monotonic()
    found = afresh(outcomes_of, slots, [job("hangs", hangs, 1.5), job("whole")])
    outcomes = {outcome.key: outcome.status for outcome in found}
    assert outcomes == {"hangs": "timeout", "whole": "passed"}
    assert time.monotonic() - started < 40
    assert slots[0].tree.joinpath(CHANGED).read_text() == CODE
    child = int((slots[0].tree / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_what_computes_without_end_is_stopped_by_its_own_time(slots):
    spins = "def double(x):\n    while True: pass\n"
    (outcome,) = afresh(outcomes_of, slots[:1], [job("spins", spins, 2.0)])
    assert outcome.status == "timeout"
    assert outcome.seconds < 10


def test_an_interrupted_run_ends_its_processes_and_undoes_its_changes(slots):
    hangs = "def double(x):\n    return 7 if x == 3 else 2 * x\n"
    key, pid = afresh(interrupt, slots, [job("hangs", hangs), job("whole")])
    assert key == "whole"
    assert not psutil.pid_exists(pid)
    assert slots[0].tree.joinpath(CHANGED).read_text() == CODE
