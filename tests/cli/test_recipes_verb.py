"""Recipes are found, listed, copied and started by their names."""

from pathlib import Path

import pytest

from seqnlp.cli.recipes import find_config, find_recipe, recipes_folder
from seqnlp.tasks import TASKS


@pytest.fixture
def captured(capfd):
    """A recipe runs in a process of its own."""
    return capfd


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_every_recipe_is_listed_with_what_to_expect(seqnlp):
    code, out, _ = seqnlp("recipes")
    assert code == 0
    for name in TASKS:
        if TASKS[name].__module__.startswith("seqnlp."):
            assert f"| {name} " in out
    rows = [row for row in out.split("+--")[1:] if "| " in row]
    assert "87 % accuracy (TF-IDF with logistic regression:" in out
    assert all(row.split("|")[3].strip() for row in rows[1:] if row.count("|") >= 4)


def test_a_copy_goes_before_the_original_and_is_never_written_over(seqnlp, tmp_path):
    assert find_recipe("translation").parent == recipes_folder()
    code, out, _ = seqnlp("recipes", "copy", "translation")
    assert code == 0
    assert "recipes/configs/translation_multi30k_transformer.yaml" in out
    assert find_recipe("translation") == Path("recipes/translation.py")
    assert (tmp_path / "recipes/translation.py").read_text() == (recipes_folder() / "translation.py").read_text()
    code, _, error = seqnlp("recipes", "copy", "translation")
    assert (code, error.count("\n")) == (2, 1)
    assert "recipes/translation.py is there already" in error


@pytest.mark.parametrize("name", ["nothing", "../translation", "/etc/passwd", "translation.py", ""])
def test_a_recipe_is_a_name_and_never_a_path(seqnlp, name):
    code, _, error = seqnlp("train", name)
    assert code == 2
    assert "There is no recipe" in error or "Missing argument" in error


def test_configs_are_found_by_their_names():
    assert find_config("sentiment_sst2_glue") == recipes_folder() / "configs" / "sentiment_sst2_glue.yaml"


def test_train_hands_flags_on_and_ends_with_the_recipes_own_line(seqnlp):
    code, _, error = seqnlp("train", "sentiment_analysis", "--config", "sentiment_sst2_sentences", "--seed", "3")
    assert code == 1
    assert error.splitlines()[-1].startswith("error: --config ")
    assert "leaves a flag to you: add --dataset_name DIR" in error.splitlines()[-1]
    code, out, _ = seqnlp("train", "--help")
    assert "through accelerate launch" in out
