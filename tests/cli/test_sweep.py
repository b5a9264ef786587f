"""The verb on a recipe that takes no time: what is asked for, pruned, kept and written; what is refused."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from seqnlp.cli import compare_runs
from seqnlp.cli.main import app
from seqnlp.cli.sweep_report import best_config, training_command
from seqnlp.cli.sweep_space import Choice, Interval, SpaceError, divided, read_space, values_now
from seqnlp.cli.sweep_trials import FOLDER, REASON, Objective, Sweep, SweepError, validations
from seqnlp.tasks import TASKS
from seqnlp.training.yaml_files import read_yaml


SENTIMENT = TASKS["sentiment_analysis"]
# Its validation accuracy is best at a learning rate of 0.01 and at a dropout of 0, in four validations.
RECIPE = """
import json, math, pathlib, signal, sys, time
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word and word.startswith("--"))
pairs = zip(sys.argv[1:], sys.argv[2:])
flags |= {name[2:]: value for name, value in pairs if name.startswith("--") and "=" not in name}
folder = pathlib.Path(flags["output_dir"])
folder.mkdir(parents=True, exist_ok=True)
with open(folder.parent / "launched", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
rate = float(flags.get("learning_rate", 0.001))
overrides = dict(pair.split("=") for pair in flags.get("config_overrides", "").split(",") if pair)
dropout = float(overrides.get("dropout", 0.5))
if rate > 1:
    sys.exit("error: Training diverged at step 3: loss nan")
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("error: stopped"))
score = 0.9 - 0.1 * abs(math.log10(rate) + 2) - 0.1 * dropout
for step in range(1, 5):
    with open(flags.get("validation_log", "/dev/null"), "a") as file:
        file.write(json.dumps({"step": step, "epoch": step, "validation_accuracy": score - 0.1 / step}) + "\\n")
    if (folder.parent / "slow").exists():
        time.sleep(60 if score < 0.5 and step > 1 else 0)
known = {"metric_for_best_model": "accuracy", "greater_is_better": True, "learning_rate": rate, "optimizer": "adamw"}
stopped = {"reason": "max_train_minutes", "step": 2, "planned_steps": 4}
if (folder.parent / "diverging").exists():
    score = None
(folder / "run.json").write_text(json.dumps({
    "stopped": stopped if (folder.parent / "short").exists() else None,
    "task": "sentiment_analysis", "hyperparameters": known,
    "model": {"class": "RecurrentForSequenceClassification", "config": {"dropout": 0.5, "hidden_size": 40}},
    "metrics": {"validation": {"accuracy": score}}, "kept": {"metric": "accuracy", "value": 0.0, "average_of": 2},
}))
"""
SPACE = "learning_rate: {low: 1e-4, high: 0.1, log: true}\nconfig_overrides:\n  dropout: {low: 0.0, high: 0.5}\n"


@pytest.fixture
def quick(tmp_path, monkeypatch, request):
    """A folder with a recipe, a config and a space; the recipe starts without the seconds that accelerate takes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "sentiment_analysis.py").write_text(RECIPE)
    (tmp_path / "quick.yaml").write_text(
        "recipe: sentiment_analysis\nlearning_rate: 1e-3\nnum_train_epochs: 4\nconfig_overrides: {hidden_size: 40}\n"
    )
    (tmp_path / "space.yaml").write_text(SPACE)
    if "by_accelerate" not in request.fixturenames:
        monkeypatch.setattr(compare_runs, "_launcher", lambda: [sys.executable])
    return tmp_path


def sweep(folder, *flags):
    arguments = ["sweep", "quick.yaml", "--space", "space.yaml", "--output_dir", "out", *map(str, flags)]
    return CliRunner().invoke(app, arguments)


def launched(folder):
    path = folder / "out" / "launched"
    return path.read_text().splitlines() if path.exists() else []


def test_it_finds_what_is_better_and_writes_a_config_that_the_recipe_takes(quick):
    given = "--flags", f"--train_file {quick / 'a.csv'}"
    result = sweep(quick, "--trials", 12, *given)
    assert result.exit_code == 0, result.output
    lines = launched(quick)
    assert len(lines) == 13  # one step to know the metric, and the trials
    assert all("--evaluate_test=false" in line for line in lines)  # no run reads the test split
    assert all("--seed=1" in line for line in lines)
    # The first is the config as it stands.
    assert "--learning_rate=0.001" in lines[1]
    assert "--config_overrides hidden_size=40,dropout=0.5" in lines[1]
    record = json.loads((quick / "out" / "trials.json").read_text())
    assert record["trials"][0]["value"] == pytest.approx(0.9 - 0.1 - 0.05)  # 0.001 is one decade off
    complete = [trial for trial in record["trials"] if trial["state"] == "complete"]
    best = max(complete, key=lambda trial: trial["value"])
    assert best["value"] > 0.75
    assert sum(record["importances"].values()) == pytest.approx(1)
    written = (quick / "out" / "best.yaml").read_text()
    assert re.match(r"# The best of 12 trials of \w+\.yaml with .*, by validation with --seed 1\.\n", written)
    content = yaml.safe_load(written)
    assert content["learning_rate"] == best["values"]["learning_rate"]
    assert content["num_train_epochs"] == 4
    assert content["config_overrides"] == {"hidden_size": 40, "dropout": best["values"]["config_overrides.dropout"]}
    task = SENTIMENT.from_command_line(argv=["--config", str(quick / "out" / "best.yaml")])
    assert task.training_args.learning_rate == pytest.approx(best["values"]["learning_rate"])
    page = (quick / "out" / "sweep.html").read_text()
    assert f"validation accuracy {best['value']:.1%} by trial {best['number']}</h1>" in page
    assert not re.search(r'(?:src|href)=(?!"data:)', page)  # it opens offline
    assert (quick / "out" / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    for name in ("sweep.html", "trials.json", "best.yaml"):  # what may be shown names no path of the machine
        assert str(quick) not in (quick / "out" / name).read_text()
    assert "With the values of the config as it stands, trial 0, it is 75.0%." in result.output

    # The same once more makes nothing again; more trials are added.
    assert sweep(quick, "--trials", 12, *given).exit_code == 0
    assert len(launched(quick)) == 13
    assert sweep(quick, "--trials", 13, *given).exit_code == 0
    assert len(launched(quick)) == 14
    assert "out holds a sweep with another value of flags: its trials" in str(sweep(quick).exception)
    (quick / "space.yaml").write_text(SPACE.replace("0.1", "0.2"))
    told = "out holds a sweep with another value of space: its trials are not to be compared with these"
    assert told in str(sweep(quick, *given).exception)


@pytest.fixture
def search(quick):
    """A search of the learning rate alone, without the verb."""
    comparison = compare_runs.read_comparison(quick / "quick.yaml", "", quick / "out", "sweep")
    space = {"learning_rate": Interval(1e-9, 10.0, True)}
    with compare_runs.open_folder(comparison):
        yield lambda space=space: Sweep(comparison, space, Objective("accuracy", True), 1)


def ask_for(search, *rates):
    for rate in rates:
        search.study.enqueue_trial({"learning_rate": rate})


def check_that_a_bad_trial_is_stopped(search, folder):
    (folder / "out" / "slow").touch()  # a bad trial would take three minutes
    found, told = search(), []
    ask_for(found, 1e-2, 1.1e-2, 1e-3, 1.1e-3, 1e-8)
    found.run(5, told.append)
    assert [trial.state.name for trial in found.finished] == ["COMPLETE"] * 4 + ["PRUNED"]
    assert told[-1].startswith("  pruned, accuracy 0.2")  # at the second validation: 0.9 - 0.1 * 6 - 0.05 - 0.1 / 2
    assert not (folder / "out" / "trial-004" / "run.json").exists()
    assert "error: stopped" in (folder / "out" / "trial-004" / "output.txt").read_text()  # by SIGTERM, and not killed
    # 0.9 - 0.05 at the best rate.
    assert found.complete[0].value == pytest.approx(0.85)
    assert list(found.complete[0].intermediate_values) == [1, 2, 3, 4]


def test_a_bad_trial_is_stopped_while_it_trains(search, quick):
    began = time.monotonic()
    check_that_a_bad_trial_is_stopped(search, quick)
    assert time.monotonic() - began < 50


@pytest.fixture
def by_accelerate():
    """Trials go through accelerate's launcher, as a user's do."""


@pytest.mark.long
def test_a_bad_trial_is_stopped_behind_the_launcher(by_accelerate, search, quick):
    check_that_a_bad_trial_is_stopped(search, quick)


def test_the_same_values_are_not_trained_twice(search, quick):
    found, told = search(), []
    ask_for(found, 1e-2, 1e-3, 1e-2)
    found.run(3, told.append)
    assert len(launched(quick)) == 2
    assert [trial.value for trial in found.finished] == pytest.approx([0.85, 0.75, 0.85])
    assert told[-1] == "  complete, as trial 0 of the same values, accuracy 0.85"
    assert found.finished[2].user_attrs[FOLDER] == "trial-000"


def test_a_trial_that_fails_is_told_and_three_in_a_row_end_it(search, quick):
    found, told = search(), []
    ask_for(found, 5.0, 1e-2, 5.0, 5.0, 5.0)
    with pytest.raises(
        SweepError, match=r"3 trials in a row have failed; the last: Training diverged at step 3: loss"
    ):
        found.run(9, told.append)
    assert [trial.state.name for trial in found.finished] == ["FAIL", "COMPLETE", "FAIL", "FAIL", "FAIL"]
    assert "  failed: Training diverged at step 3: loss nan" in told[1]


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ("diverging", "its validation accuracy is no number: it may have diverged"),
        ("short", "it was stopped at step 2 of 4 by max_train_minutes"),
    ],
)
def test_a_run_without_a_score_that_counts_is_a_failed_trial(search, quick, mark, reason):
    (quick / "out" / mark).touch()
    found = search()
    with pytest.raises(SweepError, match=f"3 trials in a row have failed; the last: {reason}"):
        found.run(9, lambda line: None)
    assert [trial.state.name for trial in found.finished] == ["FAIL"] * 3
    assert [trial.user_attrs[REASON] for trial in found.finished] == [reason] * 3
    assert search().take_up() == 0  # none of them is tried forever
    (quick / "out" / mark).unlink()
    found.run(4, lambda line: None)
    assert found.finished[3].state.name == "COMPLETE"


def test_the_first_validation_prunes_nothing(search):
    found = search()
    for score in (0.8, 0.8, 0.8, 0.8):
        trial = found.study.ask()
        for place in (1, 2):
            trial.report(score, place)
        found.study.tell(trial, score)
    trial = found.study.ask()
    trial.report(0.1, 1)
    assert not trial.should_prune()
    trial.report(0.1, 2)
    assert trial.should_prune()


def test_a_choice_of_nothing_takes_back_what_the_config_sets(search, quick):
    found = search({"ema_decay": Choice([None, 0.9])})
    found.comparison.hyperparameters |= {"ema_decay": "0.5", "requires": {"train_file": "a file"}}
    for value in (None, 0.9, None):
        found.study.enqueue_trial({"ema_decay": value})
    found.run(3, lambda line: None)
    without, with_it = launched(quick)  # and the third is the first
    own = quick / "out" / "trial-000.yaml"
    assert f"--config {own}" in without
    assert "ema_decay" not in without
    content = yaml.safe_load(own.read_text())
    assert content == {
        "recipe": "sentiment_analysis",
        "learning_rate": "1e-3",
        "num_train_epochs": 4,
        "requires": {"train_file": "a file"},
    }
    assert "--config_overrides hidden_size=40" in without
    assert "--ema_decay=0.9" in with_it
    assert f"--config {quick / 'quick.yaml'}" in with_it
    assert read_yaml(best_config(found, {"ema_decay": None}))["ema_decay"] is None
    task = SENTIMENT.from_command_line(argv=["--config", str(own), "--train_file", "a.csv"])
    assert task.training_args.ema_decay is None


def test_a_trial_that_was_interrupted_goes_on_in_its_own_folder(search, quick):
    (quick / "out" / "slow").touch()
    found = search()
    ask_for(found, 1e-2, 1e-8)
    threading.Timer(4, lambda: signal.raise_signal(signal.SIGTERM)).start()
    with pytest.raises(compare_runs.RunsStopped) as stopped:
        found.run(2, lambda line: None)
    assert stopped.value.number == signal.SIGTERM
    assert len(found.finished) == 1
    (quick / "out" / "slow").unlink()
    again = search()
    assert again.take_up() == 1
    again.run(2, lambda line: None)
    assert [trial.user_attrs[FOLDER] for trial in again.finished] == ["trial-000", "trial-001"]
    assert [trial.params["learning_rate"] for trial in again.finished] == [1e-2, 1e-8]
    assert len(launched(quick)) == 3


def test_a_validation_that_is_being_written_is_not_there_yet(tmp_path):
    log = tmp_path / "log"
    entries = [{"step": 1, "v": 1}, {"step": 2, "v": 2}, {"step": 3, "v": 3}]
    log.write_text("\n".join(map(json.dumps, entries)) + '\n{"step": 4, ')
    assert [entry["v"] for entry in validations(log)] == [1, 2, 3]
    assert list(validations(tmp_path / "none")) == []


def test_a_space_in_all_its_forms(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(
        "learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "optimizer: [adamw, muon]\nper_device_train_batch_size: {choices: [16, 32]}\n"
        "num_train_epochs: {low: 2, high: 8, step: 2}\nema_decay: [null, 0.99]\n"
        "config_overrides: {num_hidden_layers: {low: 1, high: 3}}\n"
    )
    space = read_space(path, SENTIMENT)
    assert space == {
        "learning_rate": Interval(1e-4, 1e-2, True),
        "optimizer": Choice(["adamw", "muon"]),
        "per_device_train_batch_size": Choice([16, 32]),
        "num_train_epochs": Interval(2, 8, False, 2),
        "ema_decay": Choice([None, 0.99]),
        "config_overrides.num_hidden_layers": Interval(1, 3),
    }
    record = {
        "hyperparameters": {"optimizer": "sgd", "per_device_train_batch_size": 16, "learning_rate": 1.0},
        "model": {"config": {"num_hidden_layers": 2}},
    }
    # Of the YAML first, then of the run; what lies outside is left out.
    now = values_now(space, {"learning_rate": "1e-3", "num_train_epochs": 3}, {}, record)
    assert now == {
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 16,
        "ema_decay": None,
        "config_overrides.num_hidden_layers": 2,
    }
    assert divided(now)[1] == {"num_hidden_layers": 2}


def test_a_value_of_a_space_is_what_it_says(tmp_path):
    """A flag reads it: a model may be called `no`; a number is decimal."""
    path = tmp_path / "space.yaml"
    path.write_text(
        "model_name_or_path: [no, 010, 2021-01-01, '5.10']\nlr_scheduler_type: [linear, cosine]\n"
        "lowercase: [on, no]\nmax_length: {choices: [010, 020]}\nper_device_train_batch_size: {low: 010, high: 020}\n"
        "config_overrides: {hidden_size: [010, 0x10], bidirectional: [yes, no]}\n"
    )
    space = read_space(path, SENTIMENT)
    assert space == {
        "model_name_or_path": Choice(["no", "010", "2021-01-01", "5.10"]),
        "lr_scheduler_type": Choice(["linear", "cosine"]),
        "lowercase": Choice([True, False]),
        "max_length": Choice([10, 20]),
        "per_device_train_batch_size": Interval(10, 20),
        "config_overrides.hidden_size": Choice([10, 16]),
        "config_overrides.bidirectional": Choice([True, False]),
    }
    given = read_yaml("model_name_or_path: 010\nlowercase: off\nmax_length: '010'\n")
    record = {"hyperparameters": {"per_device_train_batch_size": 16}, "model": {"config": {"bidirectional": True}}}
    assert values_now(space, given, {"hidden_size": 10}, record) == {
        "model_name_or_path": "010",
        "lowercase": False,
        "max_length": 10,
        "per_device_train_batch_size": 16,
        "config_overrides.hidden_size": 10,
        "config_overrides.bidirectional": True,
    }


def test_whole_ends_are_no_reason_to_search_whole_numbers_alone(tmp_path, search):
    path = tmp_path / "types.yaml"
    path.write_text(
        "weight_decay: {low: 0, high: 1}\nmax_grad_norm: {low: 1, high: 5, step: 0.25}\n"
        "num_train_epochs: {low: 2, high: 8, step: 2}\nwarmup_ratio: {low: 0, high: 0.5, step: 0.1}\n"
        "learning_rate: {low: 1, high: 10, log: true}\nema_decay: {low: 0, high: 0.5, step: 0.1}\n"
        "per_device_train_batch_size: {low: 8, high: 64, log: true}\n"
        "config_overrides: {hidden_size: {low: 1e1, high: 2e1}, forget_gate_bias: {low: -1, high: 2}}\n"
    )
    space = read_space(path, SENTIMENT)
    found = search(space)
    drawn = [found.study.ask(found._distributions()).params for _ in range(12)]
    for name in (
        "weight_decay",
        "max_grad_norm",
        "warmup_ratio",
        "learning_rate",
        "config_overrides.forget_gate_bias",
    ):
        assert any(values[name] % 1 for values in drawn), name
        assert all(values[name] in space[name] for values in drawn), name
    for name in ("num_train_epochs", "per_device_train_batch_size", "config_overrides.hidden_size"):
        assert all(type(values[name]) is int and values[name] in space[name] for values in drawn), name
    assert {values["num_train_epochs"] for values in drawn} <= {2, 4, 6, 8}
    assert 12.5 not in space["config_overrides.hidden_size"]


def test_a_search_that_was_begun_among_whole_numbers_is_not_gone_on_with_among_fractions(search):
    begun = search({"weight_decay": Interval(0, 1)}).study
    begun.ask(search({"weight_decay": Interval(0, 1)})._distributions())
    assert search({"weight_decay": Interval(0, 1)}).take_up() == 1
    with pytest.raises(SweepError, match="out holds a sweep of an earlier version, which searched weight_decay other"):
        search({"weight_decay": Interval(0.0, 1.0)})


def test_a_value_is_on_a_grid_of_fractions():
    grid = Interval(0.0, 0.5, False, 0.1)
    assert all(value in grid for value in (0, 0.1, 0.2, 0.3, 0.4, 0.5))
    assert not any(value in grid for value in (0.25, 0.31, 0.6, -0.1, None, True))
    record = {"hyperparameters": {"warmup_ratio": 0.3}, "model": {"config": {}}}
    assert values_now({"warmup_ratio": grid}, {}, {}, record) == {"warmup_ratio": 0.3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("num_warmup_steps: {low: 1, high: 9, step: 2.5}", "low 1, high 9, step 2.5 must be whole numbers, as num_w"),
        ("config_overrides: {num_hidden_layers: {low: 1.5, high: 3}}", "low 1.5, high 3 must be whole numbers, as n"),
        ("config_overrides: {bidirectional: {low: 0, high: 1}}", "bidirectional is no number, so it has no low and h"),
        ("torch_compile: {low: 0, high: 1}", "torch_compile is no number, so it has no low and high: give a list"),
        ("config_overrides: {pad_token_id: {low: 0, high: .inf}}", "low and high must be numbers"),
        ("weight_decay: {low: 0, high: 1, step: true}", "step True must be a number above 0"),
        ("learnin_rate: [1, 2]", r"there is no flag 'learnin_rate' \(did you mean learning_rate\?\)"),
        ("learning_rate: {low: 0, high: 1}", r"--learning_rate 0.0 must be above 0"),
        ("warmup_ratio: [0.1, 1.5]", "--warmup_ratio 1.5 must be at least 0 and below 1"),
        ("optimizer: [adamw, adam]", "argument --optimizer: invalid choice: 'adam'"),
        ("num_hidden: {low: 1, high: 2}", "there is no flag 'num_hidden'"),
        ("seed: [1, 2]", "--seed is not searched: trials would not be comparable"),
        ("output_dir: [a, b]", "--output_dir is not searched"),
        ("max_eval_samples: [1, 2]", "--max_eval_samples is not searched"),
        ("metric_for_best_model: [loss, f1]", "--metric_for_best_model is not searched"),
        ("learning_rate: {low: 2, high: 1}", "low and high must be numbers, the one below the other, and are 2 and 1"),
        ("learning_rate: {low: 0.1}", "low and high must be numbers"),
        ("learning_rate: {low: 0.1, hig: 1}", "give a list of choices, or"),
        ("learning_rate: 0.1", "give a list of choices, or"),
        ("learning_rate: [0.1]", "choices must be a list of two or more words or numbers, each once"),
        ("learning_rate: {low: 0.1, high: 1, log: maybe}", "log must be true or false"),
        ("weight_decay: {low: 0, high: 1, log: true}", "is for numbers above 0"),
        ("weight_decay: {low: 0, high: 1, step: 3}", "step 3 must be a number above 0 that fits in"),
        ("config_overrides: {drop: [0, 1]}", "no model of sentiment_analysis has a field 'drop'"),
        ("config_overrides: {dropout: [0, 1.5]}", "config_overrides dropout=1.5 must be at least 0 and below 1"),
        ("config_overrides: {}", "config_overrides names no field, so there is nothing to search"),
        ("config_overrides: 3", "config_overrides must map fields to values"),
        ("- a", "must map flags to values"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_space_that_does_not_fit_is_one_line(tmp_path, content, message):
    path = tmp_path / "space.yaml"
    path.write_text(content)
    with pytest.raises(SpaceError, match=message) as raised:
        read_space(path, SENTIMENT)
    assert "\n" not in str(raised.value)


def test_flags_that_it_sets_itself_are_refused(quick):
    assert "sweep decides on --seed itself. Leave it out." in str(sweep(quick, "--flags", "--seed 3").exception)
    assert "sweep decides on --evaluate_test itself" in str(sweep(quick, "--flags", "--evaluate_test true").exception)
    assert not (quick / "out").exists()
    (quick / "out").mkdir()
    (quick / "out" / "mine").touch()
    assert "holds files that sweep did not make" in str(sweep(quick).exception)


@pytest.mark.parametrize(
    "line",
    ["push_to_hub: true", "max_train_minutes: 5", "validation_log: log", "resume_from_checkpoint: latest"],
)
def test_a_yaml_whose_trials_would_not_be_comparable_is_refused(quick, line):
    with open(quick / "quick.yaml", "a") as file:
        file.write(line + "\n")
    told = str(sweep(quick).exception)
    assert told == (
        f"quick.yaml: `{line}` is not for the runs of sweep, which are all to be comparable. Leave it out of the YAML."
    )
    assert not (quick / "out").exists()


def test_what_is_searched_is_no_further_flag(quick):
    told = str(sweep(quick, "--flags", "--learning-rate 3").exception)
    assert told == "--flags '--learning-rate 3': space.yaml searches --learning_rate. Leave it out of one of them."


def test_a_second_sweep_in_the_folder_is_refused(quick):
    (quick / "out").mkdir()
    (quick / "out" / "sweep.json").write_text("{}")
    lock = str(quick / "out" / "run.lock")
    hold = f"from filelock import FileLock; lock = FileLock({lock!r}); lock.acquire(); print(flush=True); input()"
    first = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        first.stdout.readline()
        told = str(sweep(quick, "--trials", 1).exception)
        assert told == "out is in use by another run. Wait for its end or stop it, or give another --output_dir."
        assert launched(quick) == []
        assert not (quick / "out" / "space.json").exists()
    finally:
        first.communicate("\n")
    assert sweep(quick, "--trials", 1).exit_code == 0
    assert not (quick / "out" / "run.lock").exists()


def test_a_best_config_leaves_what_is_asked_of_the_user(search, quick):
    found = search()
    found.comparison.hyperparameters["requires"] = {"dataset_name": "a folder"}
    content = yaml.safe_load(best_config(found, {"learning_rate": 1e-05}))
    assert content["requires"] == {"dataset_name": "a folder"}
    assert content["learning_rate"] == 1e-05


def test_the_command_that_trains_by_the_best_is_one_that_a_shell_takes(search, quick):
    found = search()
    found.comparison.flags += ["--run_name", "my best", "--max_train_samples", "5"]
    told = "seqnlp train sentiment_analysis --config out/best.yaml --run_name 'my best' --max_train_samples 5"
    assert training_command(found.comparison, Path("out/best.yaml")) == told


def test_without_optuna_it_says_how_to_get_it(quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    error = sweep(quick).exception
    assert isinstance(error, SweepError)
    assert re.fullmatch(r"`seqnlp sweep` needs Optuna: pip install .*\[sweep\]'", str(error))
