"""The labs are listed, and copied without replacing anything."""

import re

import pytest

from seqnlp.cli.labs import exercises_folder


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_every_lab_is_listed_with_its_title_and_time(seqnlp):
    code, out, _ = seqnlp("labs")
    assert code == 0
    assert "Lab 2: One cell, again and again" in out
    assert len(re.findall(r"\d to \d+ minutes", out)) == len(list(exercises_folder().glob("*.ipynb"))) >= 4


def test_exercises_are_copied_and_never_replaced(seqnlp, tmp_path):
    code, out, _ = seqnlp("labs", "copy", "mine")
    assert code == 0
    names = [path.name for path in sorted((tmp_path / "mine").iterdir())]
    assert names == [path.name for path in sorted(exercises_folder().glob("*.ipynb"))]
    assert out.splitlines() == [*(f"mine/{name}" for name in names), "", "Open one by `jupyter lab mine`."]
    (tmp_path / "mine" / names[0]).write_text("my work")
    code, _, err = seqnlp("labs", "copy", "mine")
    assert code == 2
    assert err == f"error: mine/{names[0]} is there already: give another folder, or move it away.\n"
    assert (tmp_path / "mine" / names[0]).read_text() == "my work"


def test_a_folder_that_cannot_be_made_is_one_line(seqnlp, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = seqnlp("labs", "copy", "file/labs")
    assert code == 2
    assert err == "error: The labs cannot be copied to file/labs: Not a directory.\n"
