"""Two rounds of tests: those that fit into a budget, and for a fault that they do not notice the longer ones."""

from pathlib import Path

import pytest


pytest.importorskip("mutmut", reason="mutmut is of the dev extra")

from mutation import __main__ as program
from mutation.mutants import Mutant
from mutation.nearest import ImportGraph
from mutation.runner import Outcome


SOURCE = Path("seqnlp/sums.py")
SECONDS = {"tests/test_sums.py": 10.0, "tests/test_all.py": 50.0, "tests/test_more.py": 30.0}
"""Processor time of each test without a fault."""


class OneSlot:
    def __init__(self, tree):
        self.tree = tree


@pytest.fixture
def slot(tmp_path):
    (tmp_path / "seqnlp").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / SOURCE).write_text("def add(a, b):\n    return a + b\n")
    for test in SECONDS:
        (tmp_path / test).write_text("from seqnlp.sums import add\n")
    return OneSlot(tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """Every job that was run. The long test alone notices that a sum is a product."""
    jobs = []

    def run_jobs(slots, given):
        for job in given:
            jobs.append(job)
            seconds = sum(SECONDS[str(test)] for test in job.tests)
            notices = job.changes and "*" in job.changes[SOURCE] and Path("tests/test_all.py") in job.tests
            status = "timeout" if seconds > job.seconds else "failed" if notices else "passed"
            yield Outcome(job.key, status, min(seconds, job.seconds), "")

    monkeypatch.setattr(program, "run_jobs", run_jobs)
    return jobs


def mutant(operator):
    return Mutant(SOURCE, "def add(a, b):\n    return a + b\n", f"def add(a, b):\n    return a {operator} b\n")


def test_a_fault_that_the_short_tests_do_not_notice_meets_the_long_ones(slot, asked, tmp_path):
    kept, graph, faults = program.Kept(tmp_path / "kept.jsonl"), ImportGraph(slot.tree), [mutant("*"), mutant("-")]
    near = program.choose_tests(graph, SOURCE, slot, kept, 45.0)
    assert near == [Path("tests/test_sums.py"), Path("tests/test_more.py")]
    survivors = program.run_mutants(faults, {SOURCE: near}, [slot], kept)
    assert survivors == faults
    further = program.choose_tests(graph, SOURCE, slot, kept, 200.0, near)
    assert further == [Path("tests/test_all.py")]
    survivors = program.run_mutants(survivors, {SOURCE: further}, [slot], kept)
    assert survivors == faults[1:]
    text = program.report(faults, survivors, {SOURCE: near + further})
    assert "1 of 2 faults are noticed: 50.0%." in text
    assert "survived tests/test_sums.py tests/test_more.py tests/test_all.py\n" in text
    assert "+    return a - b" in text
    assert "+    return a * b" not in text


def test_what_is_known_is_not_run_again(slot, asked, tmp_path):
    kept, graph = program.Kept(tmp_path / "kept.jsonl"), ImportGraph(slot.tree)
    near = program.choose_tests(graph, SOURCE, slot, kept, 100.0)
    program.run_mutants([mutant("*")], {SOURCE: near}, [slot], kept)
    ran = len(asked)
    assert ran == len(SECONDS) + 1
    again = program.Kept(tmp_path / "kept.jsonl")
    assert program.choose_tests(graph, SOURCE, slot, again, 100.0) == near
    assert program.run_mutants([mutant("*")], {SOURCE: near}, [slot], again) == []
    assert len(asked) == ran


def test_a_fault_near_which_there_is_no_test_survives(slot, asked, tmp_path):
    kept = program.Kept(tmp_path / "kept.jsonl")
    assert program.run_mutants([mutant("*")], {SOURCE: []}, [slot], kept) == [mutant("*")]
    assert "survived since no test is near" in program.report([mutant("*")], [mutant("*")], {SOURCE: []})
    assert asked == []
