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


def test_a_recipe_of_ones_own_is_listed_and_named_beside_the_others(seqnlp, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "juggling.py").write_text('"""Juggling: how many balls? Expect three. More later."""')
    (tmp_path / "recipes" / "broken.py").write_text("def (")
    (tmp_path / "recipes" / "tagging.py").write_text('"""My own way of tagging."""')
    code, out, _ = seqnlp("recipes")
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("| juggling "))
    assert [part.strip() for part in row.split("|")[1:-1]] == ["juggling", "Juggling: how many balls?", "three"]
    assert "recipes/broken.py cannot be read as Python." in out
    assert "My own way of tagging." in out
    assert out.count("| tagging ") == 1
    assert "| translation " in out
    code, _, error = seqnlp("train", "jugling")
    assert code == 2
    assert "there is broken, image_classification, juggling, language_modeling," in error
    code, _, error = seqnlp("recipes", "copy", "juggling", "--folder", "elsewhere")
    assert (code, error) == (
        2,
        "error: juggling is no recipe of seqnlp's: it lies in recipes/juggling.py, to be edited there.\n",
    )


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
