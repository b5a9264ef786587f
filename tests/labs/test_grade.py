"""`pytest labs/grade.py`: a right notebook passes, a wrong one is told the sentences that its student saw."""

import copy
import json
from pathlib import Path

import pytest

from labs.build import build, checks_of, sources
from labs.grade import grade, lab_of
from seqnlp.labs import LabsError


ROOT = Path(__file__).parents[2]
SOURCES = {source.stem.split("_")[0]: source for source in sources()}


def write(notebook, path):
    path.write_text(json.dumps(notebook))
    return path


def changed(notebook, old, new):
    notebook = copy.deepcopy(notebook)
    cells = [cell for cell in notebook.cells if old in cell.source]
    assert cells, old
    for cell in cells:
        cell.source = cell.source.replace(old, new)
    return notebook


@pytest.mark.parametrize("lab", SOURCES)
def test_a_solution_has_all_exercises_right_and_an_exercise_none(lab, tmp_path):
    notebooks = build(SOURCES[lab])
    verdicts = grade(write(notebooks["solutions"], tmp_path / "student.ipynb"))
    assert [verdict.name for verdict in verdicts] == [name for name, _ in checks_of(SOURCES[lab])]
    assert all(verdicts), verdicts
    blank = grade(write(notebooks["exercises"], tmp_path / "student.ipynb"))
    assert all(verdict.sentence.startswith("it is not written yet") for verdict in blank)


def test_what_is_wrong_gone_or_unreadable_is_told_and_the_rest_is_right(tmp_path):
    notebook = build(SOURCES["lab2"])["solutions"]
    notebook = changed(notebook, "torch.tanh(x @ W.T + h @ U.T + b)", "torch.tanh(x @ W.T + h @ U.T)")
    notebook = changed(notebook, "def unroll(step, inputs, h):", "def unroll(step, inputs, h:")
    notebook = changed(notebook, "def next_characters(", "def something_else(")
    notebook = changed(notebook, 'check("elman_step", elman_step)', 'print("✓ elman_step: right.")')
    found = {verdict.name: verdict for verdict in grade(write(notebook, tmp_path / "student.ipynb"))}
    assert found["elman_step"].sentence == "the bias b is missing."
    assert "there is no unroll in the notebook" in found["unroll"].sentence
    assert "there is no next_characters in the notebook" in found["next_characters"].sentence
    assert found["cross_entropy"]
    assert found["probabilities"]


def test_only_definitions_run_and_the_last_one_counts(tmp_path):
    notebook = build(SOURCES["lab1"])["solutions"]
    extra = copy.deepcopy(notebook.cells[2])
    extra.source = (
        "%matplotlib inline\n!ls\nraise SystemExit\ndef rmse(predictions, targets):\n    return HALF\nHALF = 0.5"
    )
    notebook.cells.append(extra)
    found = {verdict.name: verdict for verdict in grade(write(notebook, tmp_path / "student.ipynb"))}
    assert not found["rmse"]
    assert found["windows"]


def test_an_answer_may_be_a_lambda_another_name_or_use_a_constant_that_is_computed(tmp_path):
    notebook = changed(build(SOURCES["lab9"])["solutions"], "def lora_parameters(", "def counted(")
    notebook = changed(notebook, 'check("lora_parameters"', 'lora_parameters = counted\ncheck("lora_parameters"')
    square = "SQUARE: int = 2\ntimes = lambda factor, loss: factor ** SQUARE * torch.add(loss, 0)\n"
    notebook = changed(notebook, "def distillation_loss(", f"{square}def distillation_loss(")
    notebook = changed(
        notebook,
        "temperature**2 * (wanted.exp() * (wanted - said)).sum(dim=-1).mean()",
        "times(temperature, (wanted.exp() * (wanted - said)).sum(dim=-1).mean())",
    )
    notebook = changed(
        notebook,
        "def merge(W, A, B, alpha):",
        "merge = lambda W, A, B, alpha: W + alpha / len(A) * B @ A\ndef other(W, A, B, alpha):",
    )
    assert all(grade(write(notebook, tmp_path / "student.ipynb")))


def test_what_a_notebook_computes_is_no_definition(tmp_path):
    notebook = changed(
        build(SOURCES["lab9"])["solutions"], "def merge(", "merge = 1 + (lambda: open(FILE, 'w'))()\ndef other("
    )
    notebook.cells[2].source = f"FILE = {str(tmp_path / 'made')!r}\n{notebook.cells[2].source}"
    found = {verdict.name: verdict for verdict in grade(write(notebook, tmp_path / "student.ipynb"))}
    assert "it is the result of a call" in found["merge"].sentence
    assert not (tmp_path / "made").exists()


def test_the_lab_is_told_by_metadata_or_name_and_else_asked_for(tmp_path):
    assert lab_of({}, Path("my lab3 answers.ipynb")) == SOURCES["lab3"]
    with pytest.raises(LabsError, match="which lab is it"):
        lab_of({}, Path("answers.ipynb"))
    with pytest.raises(LabsError, match="is no notebook"):
        grade(tmp_path / "none.ipynb")


def test_pytest_grades_a_notebook(tmp_path, capsys, monkeypatch):
    notebook = build(SOURCES["lab3"])["solutions"]
    wrong = changed(notebook, "delta = (1 - states[t] ** 2) * d_state", "delta = d_state")
    path = write(wrong, tmp_path / "anna.ipynb")
    monkeypatch.chdir(ROOT)
    code = pytest.main(["-q", "-p", "no:cacheprovider", "labs/grade.py", str(path)])
    said = capsys.readouterr().out
    assert code == 1
    assert "the slope of tanh is missing" in said
    assert "1 failed, 3 passed" in said
