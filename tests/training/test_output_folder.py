"""Whose an output folder is, what is refused to be lost, and that results of two models never lie together."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from tiny_runs import TOKENIZER, Interrupted, make_loop

from seqnlp import RecurrentForSequenceClassification
from seqnlp.training import ArgumentsError, CheckpointError, TrainingArguments, start_run
from seqnlp.training.integrity import seal, weights_hash
from seqnlp.training.output_folder import OutputFolder


GO_ON = {"resume_from_checkpoint": "latest", "resume_with_changes": True}


def claim(folder, **settings):
    arguments = TrainingArguments(output_dir=str(folder), report_to="none", num_threads=1, **settings)
    return start_run("test", "gru", arguments)


def finish(folder, **settings):
    run, loop = make_loop(folder, **{"max_train_steps": 2, **settings})
    loop.train()
    run.save(loop.model, TOKENIZER)
    run.finish()
    return loop


def test_a_file_in_the_way_is_named_before_training(tmp_path):
    (tmp_path / "file").write_text("mine")
    for name in ("file", "file/below", "file/far/below"):
        with pytest.raises(ArgumentsError, match=f"--output_dir {tmp_path}/{name}: {tmp_path}/file is a file"):
            claim(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ArgumentsError, match="cannot be made: File name too long"):
        claim(tmp_path / ("x" * 300))


def test_a_link_that_leads_nowhere_is_named_before_training(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "there").symlink_to("real")
    for name, place in (("link", "nowhere"), ("link/below", "nowhere"), ("loop", "loop"), ("loop/below", "loop")):
        link = tmp_path / name.split("/")[0]
        with pytest.raises(
            ArgumentsError, match=f"--output_dir {tmp_path}/{name}: {link} is a link to {place}, which"
        ):
            claim(tmp_path / name)
    (tmp_path / "real").mkdir()
    finish(tmp_path / "there")
    assert (tmp_path / "real" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "empty: give it a value"),
        (" ", "empty: name a folder"),
        ("a\0b", "no name that"),
        ("a\udcff", "no name that"),
    ],
)
def test_what_is_no_name_of_a_folder_is_refused(name, what):
    with pytest.raises(ArgumentsError, match=f"--output_dir .*is {what}"):
        start_run("test", "gru", TrainingArguments(output_dir=name, report_to="none"))


def test_a_log_of_validations_takes_the_place_of_no_other_file(tmp_path):
    mine, log = tmp_path / "mine.csv", tmp_path / "log"
    mine.write_text("text,label\n")
    for path, what in (
        (mine, "is there already, and is no log of validations"),
        (tmp_path, "cannot be written: Is a directory"),
        (tmp_path / "no" / "log", "cannot be written: No such file or directory"),
    ):
        with pytest.raises(ArgumentsError, match=f"--validation_log {path} {what}"):
            claim(tmp_path / "run", validation_log=str(path))
        OutputFolder(tmp_path / "run").release()
    assert mine.read_text() == "text,label\n"
    for _ in range(2):
        finish(tmp_path / "run", validation_log=str(log), eval_steps=1, overwrite_output_dir=True)
        assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2]
    finish(tmp_path / "run", validation_log=str(log), eval_steps=1, max_train_steps=3, **GO_ON)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3]


def test_what_a_killed_run_has_logged_of_steps_that_come_again_goes(tmp_path):
    log, settings = tmp_path / "log", {"eval_steps": 1, "max_train_steps": 4, "checkpointing_steps": "2"}
    run, loop = make_loop(tmp_path / "run", validation_log=str(log), **settings)

    def kill(entry):
        if entry["step"] == 3:  # validated, and one step after the checkpoint
            raise Interrupted

    run.on_validation.append(kill)
    with pytest.raises(Interrupted):
        loop.train()
    written = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["step"] for entry in written] == [1, 2, 3]
    run.folder.release()
    again = finish(tmp_path / "run", validation_log=str(log), resume_from_checkpoint="latest", **settings)
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["step"] for entry in found] == [1, 2, 3, 4]
    assert found == [entry for entry in again.record.history if "validation_accuracy" in entry]
    assert found[:3] == written


def test_a_folder_that_is_everybodys_is_no_runs_own(tmp_path, monkeypatch):
    home = tmp_path / "users" / "me"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(home)
    told = {
        "/": "the root of the file system",
        str(tmp_path / "temporary"): "the folder of temporary files",
        ".": "the home folder",
        "..": "a folder above the home folder",
        str(home): "the home folder",
    }
    for name, what in told.items():
        with pytest.raises(ArgumentsError, match=f"--output_dir {name} is {what}, and a run needs .* below it, e.g."):
            claim(name)
    assert [path.name for path in tmp_path.rglob("*")] == ["users", "me"]
    (home / "project").mkdir()
    monkeypatch.chdir(home / "project")
    claim(".").folder.release()


def test_a_model_of_another_program_is_not_replaced_unasked(tmp_path):
    (tmp_path / "config.json").write_text("mine")
    (tmp_path / "pytorch_model.bin").write_text("mine")
    with pytest.raises(ArgumentsError, match="holds a finished model"):
        claim(tmp_path)
    assert (tmp_path / "config.json").read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_named_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ArgumentsError, match=f"--output_dir {tmp_path} cannot be written to"):
        claim(tmp_path)


@pytest.mark.parametrize("name", ["part*", "run [1]", "?", "Läufe", "-x"])
def test_a_folder_is_a_name_and_never_a_pattern(tmp_path, name):
    for neighbour in ("part1", "run 1", "a", "x"):
        (tmp_path / neighbour / "checkpoints").mkdir(parents=True)
        (tmp_path / neighbour / "checkpoints" / "mine").write_text("mine")
    loop = finish(tmp_path / name, checkpointing_steps="1")
    assert [path.name for path in loop.checkpoints.steps()] == ["step-00000001", "step-00000002"]
    assert (tmp_path / name / "model.safetensors").is_file()
    resumed = make_loop(tmp_path / name, max_train_steps=3, **GO_ON)[1]
    resumed.train()
    assert resumed.step == 3
    assert len(list(tmp_path.rglob("mine"))) == 4


def test_only_checkpoints_of_our_own_are_ever_removed(tmp_path):
    mine = [
        tmp_path / "checkpoints" / name for name in ("notes.txt", "best/model.bin", "tmp-mine/a", "step-3/weights")
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    finish(tmp_path)
    finish(tmp_path, overwrite_output_dir=True, max_train_steps=1)
    assert [path.read_text() for path in mine] == ["mine"] * 4
    assert not (tmp_path / "checkpoints" / "step-00000002").exists()


def test_a_folder_with_a_checkpoints_name_that_is_none_stops_the_run(tmp_path):
    foreign = tmp_path / "checkpoints" / "step-00000002"
    foreign.mkdir(parents=True)
    (foreign / "pytorch_model.bin").write_text("mine")
    with pytest.raises(CheckpointError, match="step-00000002 is there already, and is no checkpoint of seqnlp"):
        finish(tmp_path)
    assert (foreign / "pytorch_model.bin").read_text() == "mine"


def test_it_removes_no_checkpoint_of_a_run_before_that_stops_so(tmp_path):
    finish(tmp_path, max_train_steps=1, checkpointing_steps="1")
    (tmp_path / "checkpoints" / "step-00000007").mkdir()
    (tmp_path / "checkpoints" / "step-00000007" / "pytorch_model.bin").write_text("mine")
    kept = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="step-00000007 is there already"):
        finish(tmp_path, overwrite_output_dir=True)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} >= kept


def test_a_finished_model_is_not_replaced_unasked(tmp_path):
    finish(tmp_path)
    before = weights_hash(tmp_path)
    with pytest.raises(
        ArgumentsError, match=r"holds a finished model.*add --overwrite_output_dir; to keep it"
    ) as raised:
        claim(tmp_path)
    assert "\n" not in str(raised.value)
    other = make_loop(tmp_path / "other", stop_at=2, checkpointing_steps="1")[1]
    with pytest.raises(Interrupted):
        other.train()
    with pytest.raises(ArgumentsError, match="holds a finished model"):  # by going on with another folder's run
        claim(tmp_path, resume_from_checkpoint=str(tmp_path / "other" / "checkpoints" / "step-00000002"))
    assert weights_hash(tmp_path) == before
    finish(tmp_path, max_train_steps=3, **GO_ON)  # trained on
    finish(tmp_path, overwrite_output_dir=True, max_train_steps=1)
    (tmp_path / "run.json").unlink()
    with pytest.raises(ArgumentsError, match="holds a finished model"):
        claim(tmp_path)


def test_the_record_tells_the_hash_of_the_weights_beside_it(tmp_path):
    finish(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    expected = subprocess.run(["sha256sum", tmp_path / "model.safetensors"], capture_output=True, text=True).stdout
    assert record["model"]["sha256"] == weights_hash(tmp_path) == expected.split()[0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("run")) == ["run.json"]


class Killed(BaseException):
    """As good as `kill -9` where nothing is caught: nothing happens after it."""


FILES = ("model.safetensors", "config.json", "tokenizer.json", "target_tokenizer/tokenizer.json")


def stage(root, content, names=FILES):
    staged = root / "checkpoints" / "results"
    for name in names:
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_text(content)
    seal(staged)
    return staged


def read(root):
    files = [path for path in root.rglob("*") if path.is_file() and "checkpoints" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


def test_killed_at_any_moment_results_are_of_one_model_or_none(tmp_path, monkeypatch):
    calls = 0

    def dying(function):
        def call(*arguments, **settings):
            nonlocal calls
            calls += 1
            if calls > lives:
                raise Killed
            return function(*arguments, **settings)

        return call

    for owner, name in ((os, "replace"), (Path, "unlink"), (Path, "rename"), (Path, "mkdir"), (shutil, "rmtree")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    old, new = dict.fromkeys((*FILES, "extra.txt"), "old"), dict.fromkeys(FILES, "new")
    seen = set()
    for moment in range(40):
        lives, root = 10**6, tmp_path / str(moment)
        folder = OutputFolder(root)
        folder.place(stage(root, "old", (*FILES, "extra.txt")))
        (root / "run.json").write_text("old")
        staged = stage(root, "new")
        calls, lives = 0, moment
        try:
            folder.place(staged)
        except Killed:
            found = read(root)
        else:
            break
        if "run.json" in found:
            assert found == {**old, "run.json": "old"}
        elif "model.safetensors" in found:
            assert found in (old, new)
        seen.add(found.get("model.safetensors", "none"))
        # The next run puts its own results there, and nothing is left of the others.
        lives = 10**6
        shutil.rmtree(root / "checkpoints" / "tmp-results", ignore_errors=True)
        folder.place(stage(root, "newer"))
        assert {name: read(root)[name] for name in FILES} == dict.fromkeys(FILES, "newer")
    assert seen == {"old", "new", "none"}
    assert read(root) == new
    assert not (root / "checkpoints" / "results").exists()


def test_a_manifest_that_somebody_wrote_removes_nothing_elsewhere(tmp_path):
    (tmp_path / "precious").write_text("mine")
    root = tmp_path / "out"
    staged = stage(root, "new")
    manifest = {"../precious": {}, str(tmp_path / "precious"): {}}
    (root / "checkpoints" / "results-manifest.json").write_text(json.dumps(manifest))
    OutputFolder(root).place(staged)
    assert (tmp_path / "precious").read_text() == "mine"


OCCUPANT = """
import sys, time
from seqnlp.training.output_folder import OutputFolder
OutputFolder(sys.argv[1]).claim()
print("claimed", flush=True)
time.sleep(600)
"""


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_is_gone(tmp_path):
    command = [sys.executable, "-c", OCCUPANT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as occupant:
        try:
            assert occupant.stdout.readline() == "claimed\n"
            with pytest.raises(ArgumentsError, match=f"in use by another run: process {occupant.pid} on .*, since 2"):
                claim(tmp_path)
            with pytest.raises(ArgumentsError, match="in use by another run"):
                claim(tmp_path, overwrite_output_dir=True)
        finally:
            occupant.send_signal(signal.SIGKILL)
    finish(tmp_path)
    assert not list(tmp_path.glob("run.[lo]*"))


def test_logs_of_two_runs_do_not_mix(tmp_path):
    def logged():
        return {path.name for path in (tmp_path / "logs").rglob("events.out.tfevents.*")}

    finish(tmp_path, report_to="tensorboard")
    first = logged()
    assert first
    finish(tmp_path, report_to="tensorboard", max_train_steps=3, **GO_ON)
    both = logged()
    assert first < both
    (tmp_path / "logs" / "mine").write_text("mine")
    finish(tmp_path, report_to="tensorboard", overwrite_output_dir=True)
    assert logged()
    assert not logged() & both
    assert (tmp_path / "logs" / "mine").exists()


def test_going_on_with_another_folders_checkpoint_takes_its_best_model_along(tmp_path):
    losses = {3: 3.0, 6: 1.0, 9: 2.0, 12: 2.5, 15: 2.6}
    settings = {"eval_steps": 3, "checkpointing_steps": "3", "max_train_steps": 15}
    evaluation = {"evaluate": lambda loop: {"loss": losses[loop.step]}}
    here = make_loop(tmp_path / "here", stop_at=10, **evaluation, **settings)[1]
    with pytest.raises(Interrupted):
        here.train()
    best = RecurrentForSequenceClassification.from_pretrained(tmp_path / "here" / "checkpoints" / "best-00000006")
    settings["resume_from_checkpoint"] = str(tmp_path / "here" / "checkpoints" / "step-00000009")
    there = make_loop(tmp_path / "there", **evaluation, **settings)[1]
    there.train()
    assert (there.best.step, there.best.metric) == (6, 1.0)
    for name, tensor in best.state_dict().items():
        assert torch.equal(tensor, there.model.state_dict()[name])
    # Where it is lost, training goes on without it.
    shutil.rmtree(tmp_path / "here" / "checkpoints" / "best-00000006")
    lost = make_loop(tmp_path / "lost", **evaluation, **settings)[1]
    lost.train()
    assert (lost.best.step, lost.best.metric) == (12, 2.5)
