"""What the trackers of `--report_to` are told: project, name, flags, numbers of steps and the final scores."""

import errno
import logging
import os
import sys
import time
from types import SimpleNamespace

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from clean_processes import CLEAN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.io.gfile import LocalFileSystem
from tiny_runs import TOKENIZER, Interrupted, make_loop

from seqnlp.training import ArgumentsError, run_recipe, trackers
from seqnlp.training.trackers import final_values, trackers_of


class Notebook(GeneralTracker):
    """Keeps what it is told."""

    name = "notebook"
    requires_logging_directory = False
    fails = None
    told: list

    def __init__(self, project):
        super().__init__()
        self.told = Notebook.told
        self.told.append(("project", project))

    @property
    def tracker(self):
        return self.told

    def start(self):
        self._note("start")

    def store_init_configuration(self, values):
        self._note("config", values)

    def log(self, values, step=None, **kwargs):
        self._note("log", step, values)

    def finish(self):
        self._note("finish")

    def _note(self, what, *values):
        self.told.append((what, *values))
        if what == self.fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(Notebook, "told", [], raising=False)
    monkeypatch.setattr(Notebook, "fails", None)
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    return Notebook


def finished(folder, report_to, **settings):
    run, loop = make_loop(folder, report_to=report_to, logging_steps=1, max_train_steps=3, **settings)
    loop.train()
    run.save(loop.model, TOKENIZER)
    run.record.metrics = {"test": {"loss": 0.5, "by_length": {"1-5": 3.0}, "scale": None, "accuracy": 1}}
    run.finish()
    return run


def test_a_tracker_is_told_the_flags_every_step_and_the_final_scores(tmp_path, notebook):
    run = finished(tmp_path / "cats", "notebook")
    told = notebook.told
    assert [what for what, *_ in told] == ["project", "start", "config", *["log"] * (len(told) - 4), "finish"]
    assert told[0] == ("project", "test")  # the recipe
    assert (told[2][1]["learning_rate"], told[2][1]["max_grad_norm"]) == (0.01, 1.0)
    assert set(told[2][1]) == set(run.record.hyperparameters)
    logged = [(step, values) for what, *rest in told if what == "log" for step, values in [rest]]
    for entry in run.record.history:
        given = {name: value for name, value in entry.items() if name not in ("step", "epoch")}
        assert (entry["step"], given) in logged
    assert logged[-1] == (3, {"final/test_loss": 0.5, "final/test_accuracy": 1})


def test_tensorboard_reads_the_same_numbers_back(tmp_path):
    run = finished(tmp_path / "cats", "tensorboard")
    events = EventAccumulator(str(tmp_path / "cats" / "logs"))
    events.Reload()
    expected = [(entry["step"], entry["train_loss"]) for entry in run.record.history if "train_loss" in entry]
    found = [(event.step, event.value) for event in events.Scalars("train_loss")]
    assert [step for step, _ in found] == [step for step, _ in expected] == [1, 2, 3]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected])
    assert [(event.step, event.value) for event in events.Scalars("final/test_loss")] == [(3, 0.5)]


def test_tensorboard_shows_each_step_once_of_a_run_that_was_interrupted(tmp_path):
    settings = {"report_to": "tensorboard", "logging_steps": 1, "checkpointing_steps": "3", "max_train_steps": 8}
    run, cut = make_loop(tmp_path, stop_at=5, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    run.trackers.close()
    time.sleep(1.1)  # TensorBoard reads files in the order of the seconds in which they began
    run, loop = make_loop(tmp_path, resume_from_checkpoint="latest", **settings)
    loop.train()
    run.trackers.close()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert [event.step for event in events.Scalars("train_loss")] == [1, 2, 3, 4, 5, 6, 7, 8]


CALLS = {
    "wandb": ("init", {"project": "test", "name": "cats"}),
    "trackio": ("init", {"project": "test", "name": "cats"}),
    "mlflow": ("start_run", {"run_name": "cats", "experiment_id": "of test"}),
}


@pytest.mark.parametrize("name", list(CALLS))
def test_the_project_is_the_recipe_and_the_run_is_named_by_its_folder(tmp_path, monkeypatch, name):
    calls, configs, logged = [], [], []
    took = SimpleNamespace(log=lambda values, step=None: logged.append((step, values)), finish=lambda: None)
    took.config = SimpleNamespace(update=lambda values, **_: configs.append(values))
    package = SimpleNamespace(
        init=lambda **given: calls.append(("init", given)) or took,
        start_run=lambda **given: calls.append(("start_run", given)) or took,
        search_experiments=lambda filter_string: [],
        create_experiment=lambda name, **_: f"of {name}",
        log_params=configs.append,
        log_metrics=lambda values, step: logged.append((step, values)),
        end_run=lambda: None,
        utils=SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100)),
        config=took.config,
    )
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: [name])
    finished(tmp_path / "cats", name)
    what, expected = CALLS[name]
    ((called, given),) = calls
    assert called == what
    assert {key: given[key] for key in expected} == expected
    assert configs[0]["learning_rate"] == 0.01
    assert logged[-1] == (3, {"final/test_loss": 0.5, "final/test_accuracy": 1})


@pytest.mark.parametrize("when", ["start", "config", "log", "finish"])
def test_one_that_fails_is_left_out_and_the_run_and_the_others_go_on(tmp_path, caplog, notebook, when):
    notebook.fails = when
    run = finished(tmp_path, "notebook,tensorboard")
    assert run.record.history[-1]["step"] == 3
    assert (tmp_path / "run.json").exists()
    (said,) = [line for line in caplog.messages if "the logs cannot" in line]
    assert said.startswith("--report_to notebook: the logs cannot ")
    assert "no space is left on the disk" in said
    assert sum(what == when for what, *_ in notebook.told) == 1  # it is not asked again
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert len(events.Scalars("train_loss")) == 3


def run_with_full_logs(folder, log):
    """TensorBoard writes in a thread of its own, whose error nobody waits for."""
    written = []

    def write(system, name, content, mode):
        written.append(name)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    LocalFileSystem._write = write
    with open(log, "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", buffering=1) for stream in (1, 2))
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger("seqnlp").addHandler(handler)
    run_recipe(lambda: finished(folder, "tensorboard"))


def test_a_disk_that_is_full_for_tensorboard_alone_is_one_line(tmp_path):
    log = tmp_path / "log"
    child = CLEAN.Process(target=run_with_full_logs, args=(tmp_path / "run", log))
    child.start()
    child.join(60)
    printed = log.read_text()
    assert child.exitcode == 0, printed
    assert (tmp_path / "run" / "run.json").is_file()
    assert printed.count("--report_to tensorboard: the logs cannot be ") == 1
    assert ("Traceback" in printed, printed.count("no space")) == (False, 1)


@pytest.mark.parametrize(
    ("report_to", "expected"),
    [
        ("tensorboard,wandb", ["tensorboard", "wandb"]),
        ("none", []),
        ("", []),
        ("none, wandb", ["wandb"]),
        ("all", ["tensorboard", "wandb"]),
        ("wandb,all", ["wandb", "tensorboard"]),
    ],
)
def test_the_trackers_are_parted_by_commas(monkeypatch, report_to, expected):
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: ["tensorboard", "wandb"])
    assert trackers_of(report_to) == expected


def test_one_that_is_not_there_stops_the_run_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: ["tensorboard"])
    for name in ("comet_ml", "aim", "wandb"):
        with pytest.raises(ArgumentsError, match=f"^--report_to {name}: {name} is not installed.*pip install {name}"):
            make_loop(tmp_path / "out", report_to=name)
    with pytest.raises(ArgumentsError, match=r"^--report_to paper: paper is no tracker\. There are aim, clearml, "):
        make_loop(tmp_path / "out", report_to="paper")
    assert not (tmp_path / "out").exists()


def test_scores_that_are_no_numbers_are_no_final_values():
    metrics = {"test": {"loss": float("nan"), "is_whole": True, "bleu": 30}, "validation": {}}
    assert final_values(metrics) == {"final/test_bleu": 30}
