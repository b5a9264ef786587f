"""Exercise and solution come from one source, and the tracked notebooks are what it makes."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from labs.build import BLANK, FOLDER, build, checks_of, sources, text_of
from seqnlp.labs import CHECKS, QUICK, LabsError


SOURCES = {source.stem: source for source in sources()}
BUILT = {name: build(source) for name, source in SOURCES.items()}
EXAMPLE = '''# %% [markdown]
# # Lab 0: An example

# %%
def double(x):
    """Twice."""
    ### BEGIN SOLUTION
    y = x + x
    return y
    ### END SOLUTION


# %%
check("double", double)

# %% [markdown] tags=["hint"]
# Add.

# %% [markdown] tags=["answer"]
# Because.
'''


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("kind", ["exercises", "solutions"])
def test_the_tracked_notebook_is_what_its_source_makes(name, kind):
    path = FOLDER / kind / f"{name}.ipynb"
    assert path.read_text(encoding="utf-8") == text_of(BUILT[name][kind]), "run `python -m labs build`"


@pytest.mark.parametrize("kind", ["exercises", "solutions"])
def test_no_notebook_is_without_its_source(kind):
    assert {path.stem for path in (FOLDER / kind).glob("*.ipynb")} == set(SOURCES)


def example(tmp_path, text=EXAMPLE):
    path = tmp_path / "lab0_example.py"
    path.write_text(text)
    return build(path)


def test_an_exercise_has_a_blank_a_folded_hint_and_room_and_a_solution_has_none(tmp_path):
    made = example(tmp_path)
    exercise, solution = ([cell.source for cell in made[kind].cells] for kind in ("exercises", "solutions"))
    assert exercise[2] == (
        'def double(x):\n    """Twice."""\n    # YOUR CODE HERE\n'
        '    raise NotImplementedError("This blank is yours to fill.")'
    )
    assert solution[2] == 'def double(x):\n    """Twice."""\n    y = x + x\n    return y'
    assert exercise[4] == "<details>\n<summary>Hint</summary>\n\nAdd.\n\n</details>"
    assert exercise[5] == "*Your answer:*"
    assert solution[4:] == ["Because."]
    assert "pip" in exercise[1]
    assert exercise[1] == solution[1]


@pytest.mark.parametrize("broken", ["    ### END SOLUTION\n", "    ### BEGIN SOLUTION\n", "# # Lab 0: An example\n"])
def test_a_mark_without_its_partner_and_a_source_without_title_are_refused(tmp_path, broken):
    with pytest.raises(LabsError, match=r"lab0_example\.py"):
        example(tmp_path, EXAMPLE.replace(broken, "#\n"))


def code(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("name", SOURCES)
def test_every_exercise_has_a_blank_a_check_and_a_number_in_order(name):
    checks = checks_of(SOURCES[name])
    exercise, solution = code(BUILT[name]["exercises"]), code(BUILT[name]["solutions"])
    ast.parse(exercise)
    assert exercise.count(BLANK) == len(checks) >= 3
    assert "SOLUTION" not in exercise + solution
    assert BLANK not in solution
    assert {check for check, _ in checks} <= set(CHECKS)
    numbers = re.findall(r"^# \*\*Exercise (\d\.\d+)\.\*\*", SOURCES[name].read_text(), re.MULTILINE)
    assert numbers == [f"{name[3]}.{index + 1}" for index in range(len(checks))]


@pytest.mark.parametrize("name", SOURCES)
def test_every_lab_says_what_it_is_for_how_long_it_takes_and_what_to_hand_in(name):
    text = SOURCES[name].read_text()
    (minutes,) = re.findall(r"\*\*(\d+ to \d+ minutes)\.\*\*", text)
    for page, row in (("README.md", rf"^\| \[{name[3]}\]\(.*$"), ("teachers.md", rf"^\| {name[3]} .*$")):
        (line,) = re.findall(row, (FOLDER / page).read_text(), re.MULTILINE)
        assert f"| {minutes}" in line
    for part in ("After this lab you can", "**To hand in:**", "## To hand in", "Open question 1", "Open question 2"):
        assert part in text, part


def test_every_check_belongs_to_one_lab():
    used = [check for source in SOURCES.values() for check, _ in checks_of(source)]
    assert sorted(used) == sorted(CHECKS)


def run(notebook, folder):
    """Every cell of a notebook, as a kernel would; gives what the checks said."""
    names, said = {"__name__": "notebook"}, []
    before = Path.cwd()
    os.chdir(folder)
    try:
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            tree = ast.parse(cell.source)
            last = tree.body[-1]
            shown = tree.body.pop() if isinstance(last, ast.Expr) and "check(" in ast.unparse(last) else None
            exec(compile(tree, "cell", "exec"), names)
            if shown:
                said.append(eval(compile(ast.Expression(shown.value), "cell", "eval"), names))
    finally:
        os.chdir(before)
    return said


@pytest.mark.parametrize("name", SOURCES)
def test_a_solution_runs_at_the_quick_size_and_its_checks_are_green(name, tmp_path, monkeypatch):
    monkeypatch.setenv(QUICK, "1")
    matplotlib.use("agg")
    matplotlib.rcParams["figure.max_open_warning"] = 0
    said = run(BUILT[name]["solutions"], tmp_path)
    assert len(said) == len(checks_of(SOURCES[name]))
    assert all(said), said


@pytest.mark.long
@pytest.mark.parametrize("name", SOURCES)
def test_a_solution_runs_in_a_kernel_at_the_quick_size(name, tmp_path):
    command = [sys.executable, "-m", "labs", "run", name, "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(checks_of(SOURCES[name]))} checks" in done.stdout
    executed = json.loads((tmp_path / f"{name}.ipynb").read_text())
    assert any("outputs" in cell and cell["outputs"] for cell in executed["cells"])
