"""What was tried and did not reach its aim: the files that are kept, and the page that is made of them."""

import json
import math
import shlex

import pytest

from benchmarks import tried
from benchmarks.records import ROOT
from seqnlp.tasks import TASKS
from seqnlp.training import parse_arguments


def record(seed, rate, bleu, history=((1, 3.5), (2, 3.25)), overrides="hidden_size=64"):
    return {
        "task": "translation",
        "seed": seed,
        "command": f"recipes/translation.py --seed {seed} --learning_rate {rate}",
        "dataset": {"name": "sample:jupyterlab_fr", "config": None, "splits": {"validation": {}, "test": {}}},
        "hyperparameters": {
            "architecture": "transformer",
            "learning_rate": rate,
            "seed": seed,
            "output_dir": f"outputs/{seed}",
            "optimizer": "adamw",
            "config_overrides": overrides,
        },
        "model": {"parameters": 1_234_567, "config": {"model_type": "seqnlp_transformer"}},
        "history": [
            {"step": 10, "epoch": 0.5, "train_loss": 4.0},
            *({"step": 20 * epoch, "epoch": float(epoch), "validation_loss": loss} for epoch, loss in history),
        ],
        "metrics": {"validation": {"bleu": bleu, "signatures": {}}, "test": {"bleu": bleu - 1}},
        "hardware": {"cpu": "some"},
    }


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tried, "TRIED", tmp_path / "tried")
    return tmp_path


def test_runs_that_differ_by_their_seed_are_one_trial_named_by_what_sets_it_apart(folder):
    runs = [record(1, 0.002, 20.0), record(2, 0.002, 22.0), record(1, 0.004, 25.0, overrides="hidden_size=96")]
    path = tried.keep(runs, "other rates", "No rate helps.")
    assert path.name == "translation-sample_jupyterlab_fr-transformer-other_rates.json"
    kept = json.loads(path.read_text())
    assert [trial["trial"] for trial in kept["trials"]] == [
        "hidden_size=64 learning_rate=0.002",
        "hidden_size=96 learning_rate=0.004",
    ]
    assert [[run["seed"] for run in trial["runs"]] for trial in kept["trials"]] == [[1, 2], [1]]
    assert kept["trials"][0]["runs"][0] == {
        "seed": 1,
        "validation": {"loss": {"1": 3.5, "2": 3.25}},
        "metrics": {"validation": {"bleu": 20.0}, "test": {"bleu": 19.0}},
    }
    row = next(line for line in tried.page(folder).split("\n") if "0.002" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # The mean of 20 and 22 is 21, their deviation the root of 2.
    assert cells[1:] == ["1.2 M", "2", "2", "Loss 3.250 ± 0.000, BLEU 21.00 ± 1.41", "BLEU 20.00 ± 1.41"]


def test_a_run_without_scores_after_training_is_shown_by_the_best_of_its_curve(folder):
    run = record(1, 0.002, 20.0, history=((1, 3.5), (2, 3.0), (3, 3.125)))
    run["metrics"] = {}
    tried.keep([run], "stopped", "Stopped by time.")
    assert "Loss 3.000 " in tried.page(folder)
    assert "[commands and curves](tried/translation-" in tried.page(folder)


def test_a_translator_of_lower_cased_text_is_shown_by_lower_cased_scores(folder):
    run = record(1, 0.002, 9.5)
    run["hyperparameters"]["lowercase"] = True
    run["history"].append({"step": 60, "epoch": 3.0, "validation_bleu": 38.0})
    run["metrics"]["validation"]["bleu_lowercase"] = 40.5
    stopped = run | {"seed": 2, "hyperparameters": run["hyperparameters"] | {"learning_rate": 0.004}, "metrics": {}}
    tried.keep([run, stopped], "lower case", "Scores of cased text say little here.")
    page = tried.page(folder)
    # The greedy translations of the validations are compared in lower case too.
    assert "BLEU, lower-cased 40.50" in page
    assert "BLEU, lower-cased 38.00" in page
    assert "9.5" not in page


def test_runs_of_two_datasets_do_not_go_into_one_file(folder):
    other = record(2, 0.002, 20.0) | {"dataset": {"name": "<local:films>", "config": None, "splits": {}}}
    with pytest.raises(ValueError, match=r"one task, dataset and architecture.*films"):
        tried.keep([record(1, 0.002, 20.0), other], "two", "Two.")
    assert not folder.joinpath("tried").exists()


@pytest.mark.parametrize("path", sorted(tried.TRIED.glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_file_is_whole(path, monkeypatch):
    kept = json.loads(path.read_text(encoding="utf-8"))
    task = TASKS[kept["task"]]
    assert path.stem.startswith(tried.joined([kept["task"], kept["dataset"], kept["architecture"]]))
    assert kept["finding"].endswith(".")
    monkeypatch.chdir(ROOT)
    for trial in kept["trials"]:
        if trial["command"]:  # its flags are flags of the recipe
            recipe, *flags = shlex.split(trial["command"])
            assert recipe == f"recipes/{kept['task']}.py"
            parse_arguments(*task.argument_types(), recipe=task.name, argv=flags)
        for run in trial["runs"]:
            assert run["validation"] or run["metrics"]
            scores = [*run["validation"].items(), *((None, one) for one in run["metrics"].values())]
            for key, values in scores:
                assert key is None or key in task.validated
                assert all(task.score_of(name) for name in values if key is None)
                assert all(math.isfinite(value) for value in values.values())


def test_the_page_is_made_of_the_kept_files():
    page = ROOT / "docs" / "tried.md"
    assert tried.page(page.parent) in page.read_text(encoding="utf-8")
