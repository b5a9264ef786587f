"""Faults that are drawn: other programs, the same for the same seed."""

import ast
from pathlib import Path

import pytest


pytest.importorskip("mutmut", reason="mutmut is of the dev extra")

from mutation.__main__ import Kept, report
from mutation.mutants import Mutant, Source, draw


CODE = '''
def scale(values, by=2, strict=False):
    """Multiply."""
    if strict and not values:
        raise ValueError("there are no values")
    return [by * value for value in values]
'''


@pytest.fixture
def root(tmp_path):
    (tmp_path / "seqnlp" / "metrics").mkdir(parents=True)
    (tmp_path / "seqnlp" / "metrics" / "scale.py").write_text(CODE)
    (tmp_path / "seqnlp" / "metrics" / "half.py").write_text("def half(x):\n    return x / 2\n")
    return tmp_path


def test_each_is_another_program_with_one_fault_outside_of_texts(root):
    mutants = draw(root, ["seqnlp/metrics", "seqnlp/tasks"], 100, seed=1)
    texts = {mutant.text for mutant in mutants}
    assert len(texts) == len(mutants)
    for mutant in mutants:
        ast.parse(mutant.text)
        lines = [line for line in mutant.diff.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]
        assert len(lines) == 2
    assert CODE.replace("by * value", "by / value") in texts
    assert CODE.replace("strict and", "strict or") in texts
    assert "def half(x):\n    return x * 2\n" in texts
    assert not any("XX" in text for text in texts)
    assert CODE.replace("strict=False", "strict=None") not in texts  # the same to most programs
    assert (root / "seqnlp/metrics/scale.py").read_text() == CODE


def test_the_seed_says_which(root):
    drawn = [[mutant.text for mutant in draw(root, ["seqnlp/metrics"], 5, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 5


def test_what_does_not_differ_is_no_mutant(root):
    (root / "seqnlp" / "metrics" / "call.py").write_text("def call(f):\n    return f(False)\n")
    source = Source(root, (root / "seqnlp/metrics/call.py").relative_to(root))
    made = [source.mutant(number) for number in range(len(source.mutations))]
    assert {mutant.text for mutant in made if mutant} == {"def call(f):\n    return f(True)\n"}


def test_outcomes_are_kept_line_by_line_and_reported(root, tmp_path):
    mutants = {mutant.text: mutant for mutant in draw(root, ["seqnlp/metrics/half.py"], 3, 1)}
    path = tmp_path / "kept.jsonl"
    kept = Kept(path)
    for key in mutants:
        kept.add(key, status="failed", tests=["tests/test_half.py"])
    survivor = next(iter(mutants))
    kept.add(survivor, status="passed", tests=["tests/test_half.py"])
    with path.open("a") as file:
        file.write('{"key": "cut o')  # where a run was interrupted
    again = Kept(path)
    assert again.entries == kept.entries
    again.add("next", status="failed", tests=[])
    assert Kept(path).entries == again.entries
    again.add("passes", test="tests/test_half.py", status="passed", seconds=1.0)
    again.add("fails", test="tests/test_whole.py", status="failed", seconds=1.0)  # perhaps not the next time
    assert Kept(path).entries.keys() == again.entries.keys() - {"fails"}
    near = {mutant.path: [Path("tests/test_half.py")] for mutant in mutants.values()}
    text = report(list(mutants.values()), [mutants[survivor]], near)
    assert f"survived tests/test_half.py\n{mutants[survivor].diff}" in text
    assert text.endswith(f"{len(mutants) - 1} of {len(mutants)} faults are noticed: {1 - 1 / len(mutants):.1%}.")
    assert isinstance(mutants[survivor], Mutant)
