"""The verb on runs that are made up by a law: sizes, operations, epochs, the law found again, and what is refused."""

import json
import re

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.cli import compare_runs, scale_runs
from seqnlp.cli.main import app
from seqnlp.cli.scale_report import fit_laws
from seqnlp.cli.scale_runs import Cost, ScaledRun, ScaleError, cost_of, epochs_within, parse_sizes
from seqnlp.cli.sizes import count_parameters
from seqnlp.training.folder_lock import LOCK


CONFIG = {"vocab_size": 60, "cell_type": "lstm", "num_hidden_layers": 1, "hidden_size": 48}
TOKENS = 10_000


def law(parameters, epoch):
    """The loss of the made-up runs: half of what falls is left after an epoch, a third after two."""
    return 1.5 + 300 * parameters**-0.5 * (1 + 1 / epoch)


def record_of(overrides, epochs, task="language_modeling", **changes):
    config = {**CONFIG, **overrides}
    count = count_parameters(lambda: RecurrentForCausalLM(RecurrentConfig(**config)))
    history = [
        {"step": number, "epoch": epochs * number / 4, "validation_loss": law(count, epochs * number / 4)}
        for number in range(1, 5)
    ]
    return {
        "task": task,
        "command": "recipes/language_modeling.py",
        "hyperparameters": {"architecture": "lstm", "max_length": 16},
        "dataset": {"name": "x", "splits": {"train": {"rows": 100}}, "tokens": {"train": TOKENS, "validation": 9}},
        "model": {"class": "RecurrentForCausalLM", "parameters": count, "config": config},
        "history": history,
        "versions": {"seqnlp": "1"},
        **changes,
    }


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Runs in the place of those of processes; gives the words of each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lm.yaml").write_text(
        "recipe: language_modeling\nconfig_overrides: {num_hidden_layers: 1, embedding_size: 7}\n"
    )
    words = []

    def launch(comparison, asked, overrides, folder, more, name):
        words.append([*more, f"overrides={overrides}"])
        epochs = next((float(word.split("=")[1]) for word in more if word.startswith("--num_train_epochs")), 4.0)
        return record_of({**overrides}, epochs)

    monkeypatch.setattr(compare_runs, "launch_run", launch)
    monkeypatch.setattr(scale_runs, "launch_run", launch)
    return words


def scale(*flags):
    return CliRunner().invoke(app, ["scale", "lm.yaml", "--output_dir", "out", *map(str, flags)])


def test_it_finds_the_law_of_its_runs_by_validation_alone(launched, tmp_path):
    result = scale("--sizes", "20k,50k,100k,300k,1M", "--seeds", 2)
    assert result.exit_code == 0, result.output
    assert len(launched) == 1 + 5 * 2
    assert all("--evaluate_test=false" in words for words in launched)
    assert not any("'embedding_size': 7}" in words[-1] for words in launched[1:])  # chosen with the width
    found = json.loads((tmp_path / "out" / "laws.json").read_text())
    sizes = sorted({run["parameters"] for run in found["runs"]})
    assert sizes == [pytest.approx(size, rel=0.02) for size in (2e4, 5e4, 1e5, 3e5, 1e6)]
    by_parameters = found["by_parameters"]
    # At the last validation, after four epochs: 1.5 + 300 * 1.25 * N^-0.5.
    assert by_parameters["exponent"] == pytest.approx(0.5, abs=1e-3)
    assert by_parameters["offset"] == pytest.approx(1.5, abs=1e-3)
    assert by_parameters["scale"] == pytest.approx(375 * by_parameters["reference"] ** -0.5, rel=1e-3)
    # An LSTM's operations: two for each weight of its maps and its output, three passes.
    config = launched[1][-1]
    width, embedding = (int(re.search(rf"'{name}': (\d+)", config)[1]) for name in ("hidden_size", "embedding_size"))
    products = 4 * width * (embedding + width) + 60 * width
    first = found["runs"][0]
    assert first["operations_per_token"] == 3 * 2 * products
    assert first["points"][-1][0] == pytest.approx(3 * 2 * products * TOKENS * 4)
    assert found["by_compute"]["exponent"] > 0
    page = (tmp_path / "out" / "scale.html").read_text()
    assert "lstm: loss falls with parameters to the power of -0.5</h1>" in page
    assert not re.search(r'(?:src|href)=(?!"data:)', page)  # it opens offline
    assert (tmp_path / "out" / "scale.png").read_bytes()[:4] == b"\x89PNG"
    assert "exponent 0.5, 95 % interval 0.5 to 0.5" in result.output


def test_a_budget_is_shared_by_all_runs(launched, tmp_path):
    budget = 5e10
    assert scale("--sizes", "20k,50k,100k", "--budget", budget).exit_code == 0
    found = json.loads((tmp_path / "out" / "laws.json").read_text())
    assert sum(run["points"][-1][0] for run in found["runs"]) == pytest.approx(budget, rel=1e-4)
    epochs = {word for words in launched[1:] for word in words if word.startswith("--num_train_epochs")}
    assert len(epochs) == 1


def test_three_sizes_have_no_offset_and_few_validations_no_law_of_compute():
    runs = []
    for place, width in enumerate((16, 32, 64)):
        record = record_of({"hidden_size": width}, 4.0)
        record["history"] = record["history"][-1:]
        runs.append(ScaledRun(place, 1, cost_of(record), record))
    laws = fit_laws(runs)
    assert not laws.by_parameters.has_offset
    assert laws.by_compute is None
    assert len(laws.front) == 3


def test_a_loss_that_rises_with_size_is_no_law(launched, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "law", lambda parameters, epoch: parameters**0.25 / 10)
    result = CliRunner().invoke(
        app, ["scale", "lm.yaml", "--sizes", "5k,20k,80k", "--output_dir", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "^0.25; exponent -0.25" in result.output
    assert "Whether the loss falls with parameters at all is not settled." in result.output
    page = (tmp_path / "out" / "scale.html").read_text()
    assert "lstm: whether loss falls with parameters is not settled</h1>" in page


def test_operations_are_those_of_the_mean_text_where_texts_are_rows():
    record = record_of({}, 1.0)
    record["model"]["class"] = "RecurrentForSequenceClassification"
    cost = cost_of(record)
    # 100 tokens in each of 100 rows, and at the end of a text two classes.
    products = 100 * 4 * 48 * (48 + 48) + 2 * 48
    assert cost == Cost(3 * 2 * products / 100, TOKENS)
    assert cost.of(2.5) == pytest.approx(3 * 2 * products / 100 * TOKENS * 2.5)


def test_sizes_in_all_their_forms():
    assert parse_sizes("1M, 1e5,300000,30k") == [30_000, 100_000, 300_000, 1_000_000]
    for text, message in (
        ("100k,x,3", "'x' is no number of parameters"),
        ("100k,-5,3", "'-5' is no number"),
        ("nan,1,2", "'nan' is no number"),
        ("", "'' is no number"),
        ("1k,2k", "a law needs three different sizes"),
        ("1k,1000,2k", "a law needs three different sizes"),
    ):
        with pytest.raises(ScaleError, match=message):
            parse_sizes(text)


def test_what_cannot_be_scaled_is_one_line(launched, tmp_path):
    def refused(*flags):
        error = scale(*flags).exception
        assert type(error).__module__.startswith("seqnlp."), error
        assert "\n" not in str(error)
        return str(error)

    sizes = "--sizes", "20k,50k,100k"
    assert "--budget -1 must be a number of operations above 0" in refused(*sizes, "--budget", "-1")
    assert "scale decides on --seed itself" in refused(*sizes, "--flags", "--seed 3")
    assert "scale decides on --validation_log itself" in refused(*sizes, "--flags", "--validation_log l")
    told = refused(*sizes, "--budget", "1e10", "--flags", "--num_train_epochs 3")
    assert "--budget says how long to train, and num_train_epochs does as well" in told
    assert told == refused(*sizes, "--budget", "1e10", "--flags", "--num-train-epochs 3")
    assert "one epoch of all runs takes" in refused(*sizes, "--budget", "1e5")
    assert "Two of the sizes lead to" in refused("--sizes", "20000,20001,50k")
    with pytest.raises(ScaleError, match="per token of the training data, whose number is not known here"):
        cost_of(record_of({}, 1.0, dataset={"splits": {}}))
    with pytest.raises(ScaleError, match="has no validation loss"):
        ScaledRun(0, 7, Cost(1, 1), record_of({}, 1.0, history=[{"step": 1, "epoch": 1.0}])).loss  # noqa: B018
    assert epochs_within(60.0, [Cost(1.0, 10), Cost(2.0, 10)], 2) == 1.0


@pytest.mark.parametrize(
    "line", ["push_to_hub: true", "max_train_minutes: 5", "validation_log: log", "model_name_or_path: somewhere"]
)
def test_a_yaml_whose_runs_would_not_be_comparable_is_refused(launched, tmp_path, line):
    with open(tmp_path / "lm.yaml", "a") as file:
        file.write(line + "\n")
    told = str(scale("--sizes", "20k,50k,100k").exception)
    assert told.startswith(f"lm.yaml: `{line}` is not for the runs of scale")
    assert "\n" not in told
    assert not launched
    (tmp_path / "lm.yaml").write_text("recipe: language_modeling\npush_to_hub: false\nmax_train_minutes: null\n")
    assert scale("--sizes", "20k,50k,100k").exit_code == 0  # which mean nothing


def test_a_second_one_in_the_folder_is_refused(launched, tmp_path):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / LOCK):
        told = str(scale("--sizes", "20k,50k,100k").exception)
    assert told.startswith("out is in use by another run. Wait for its end or stop it, or give another --output_dir.")
    assert not launched
    assert scale("--sizes", "20k,50k,100k").exit_code == 0


def test_a_run_that_was_stopped_by_time_is_no_point_of_a_law(launched, monkeypatch):
    stopped = {"reason": "max_train_minutes", "step": 7, "planned_steps": 1000}

    def launch(comparison, asked, overrides, folder, more, name):
        return record_of(overrides, 1.0, stopped=stopped)

    monkeypatch.setattr(scale_runs, "launch_run", launch)
    told = str(scale("--sizes", "20k,50k,100k").exception)
    assert "seed 1: it was stopped at step 7 of 1,000 by max_train_minutes. Remove out/size-" in told


def test_a_model_of_another_size_than_was_asked_for_is_noticed(launched, monkeypatch):
    monkeypatch.setattr(scale_runs, "launch_run", lambda *arguments: record_of({"hidden_size": 4}, 1.0))
    assert "parameters was asked for and has" in str(scale("--sizes", "20k,50k,100k").exception)
