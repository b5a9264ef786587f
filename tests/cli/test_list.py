"""The list of runs: what it finds, what it shows of each, and what it says of what it cannot read."""

import json

import pytest


SPLITS = {split: {"rows": 9} for split in ("train", "validation", "test")}
RECORD = {
    "task": "sentiment_analysis",
    "hyperparameters": {"architecture": "gru", "metric_for_best_model": "accuracy"},
    "dataset": {"name": "<local:reviews>", "config": None, "splits": SPLITS},
    "metrics": {"validation": {"accuracy": 0.9, "loss": 0.3}, "test": {"accuracy": 0.8712, "loss": 0.4}},
    "started": "2026-03-01T10:20:30Z",
}


@pytest.fixture
def runs(tmp_path):
    def write(place, **changes):
        folder = tmp_path / "outputs" / place
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({**RECORD, **changes}))

    write("first")
    write("first/checkpoints/best-00000004")  # no run of its own
    dataset = {"name": "c", "config": "d", "splits": SPLITS}
    write("deep/second", started="2026-02-01T10:20:30Z", base_model={"name": "a/b"}, dataset=dataset)
    stopped = {"reason": "max_train_minutes", "step": 1200, "planned_steps": 5000}
    metrics = {"validation": {"loss": 0.25, "rmse": 0.5}}
    series = {"architecture": "lstm", "metric_for_best_model": "loss", "value_unit": "m"}
    write("third", task="trajectory", metrics=metrics, hyperparameters=series, stopped=stopped)
    write("fourth", task="of_tomorrow", metrics={"test": {"accuracy": 0.5}})
    (tmp_path / "outputs" / "fifth").mkdir()
    (tmp_path / "outputs" / "fifth" / "run.json").write_text("[]")
    return tmp_path / "outputs"


def test_every_run_is_a_row(seqnlp, runs):
    code, printed, error = seqnlp("list", runs)
    rows = [" ".join(line.split()) for line in printed.splitlines()[2:]]
    assert code == 0
    assert rows == [
        "deep/second sentiment_analysis c d gru, from a/b Accuracy 87.1% (test) 2026-02-01 10:20",
        "first sentiment_analysis reviews gru Accuracy 87.1% (test) 2026-03-01 10:20",
        "fourth of_tomorrow reviews gru not known here 2026-03-01 10:20",
        "third trajectory reviews lstm Loss 0.250 (validation; stopped at step 1,200) 2026-03-01 10:20",
    ]
    assert error.count("\n") == 1
    assert error.startswith(f"{runs / 'fifth' / 'run.json'} is no record of a run: ")


def test_no_runs_and_no_folder(seqnlp, tmp_path):
    assert seqnlp("list", tmp_path)[:2] == (0, f"There is no finished run below {tmp_path}.\n")
    code, _, error = seqnlp("list", tmp_path / "none")
    assert code == 2
    assert error.startswith(f"error: There is no folder {tmp_path / 'none'}.")


def test_shells_complete_verbs_and_recipes(seqnlp, monkeypatch):
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # whatever starts the tests
    code, printed, _ = seqnlp("--show-completion", "bash")
    assert code == 0
    assert "complete -o default -F _seqnlp_completion seqnlp" in printed
    monkeypatch.setenv("_SEQNLP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "seqnlp train tra")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert seqnlp()[1].split() == ["trajectory", "translation"]
