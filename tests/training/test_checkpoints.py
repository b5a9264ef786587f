"""What a checkpoint survives: kills while it is written, damage, a full disk, other arguments, foreign code."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from clean_processes import CLEAN
from tiny_runs import Interrupted, make_loop, weights

from seqnlp.training import CheckpointError, CheckpointFolder, TrainingError, integrity
from seqnlp.training.integrity import find_damage, seal


SETTINGS = {"checkpointing_steps": "2", "eval_steps": 3, "save_total_limit": 3}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run of 27 steps that was stopped after step 8, and the weights that it should end with."""
    folder = tmp_path_factory.mktemp("runs")
    _, whole = make_loop(folder / "whole", **SETTINGS)
    whole.train()
    _, cut = make_loop(folder / "cut", stop_at=8, **SETTINGS)
    with pytest.raises(Interrupted):
        cut.train()
    for state in ("AcceleratorState", "GradientState", "PartialState"):
        getattr(__import__("accelerate.state", fromlist=[state]), state)._reset_state()
    return folder / "cut", weights(whole)


@pytest.fixture
def cut(interrupted, tmp_path):
    shutil.copytree(interrupted[0], tmp_path / "cut")
    return tmp_path / "cut"


def resumed(folder, **arguments):
    _, loop = make_loop(folder, resume_from_checkpoint="latest", **{**SETTINGS, **arguments})
    loop.train()
    return loop


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (truncate, "model.safetensors", r"model.safetensors has \d+ bytes instead of \d+"),
        (flip_a_bit, "optimizer.bin", "optimizer.bin is not what was written"),
        (flip_a_bit, "loop_state.json", "loop_state.json is not what was written"),
        (Path.unlink, "random_states_0.pkl", "random_states_0.pkl is missing"),
        (Path.unlink, "manifest.json", "manifest.json is missing"),
        (lambda path: path.write_text("{}"), "manifest.json", "manifest.json lists no files"),
        (truncate, "manifest.json", "manifest.json or a file it lists cannot be read"),
        (
            lambda path: path.write_text("[" * 100_000),
            "manifest.json",
            "manifest.json or a file it lists cannot be read",
        ),
    ],
)
def test_a_damaged_checkpoint_is_recognized_and_the_one_before_it_used(
    cut, interrupted, caplog, damage, name, message
):
    last = cut / "checkpoints" / "step-00000008"
    damage(last / name)
    with pytest.raises(CheckpointError, match=message) as raised:
        CheckpointFolder(cut).find(str(last))
    assert "\n" not in str(raised.value)
    loop = resumed(cut)
    assert f"{last} is damaged" in caplog.text
    assert loop.record.history[-1]["step"] == 27
    assert all(torch.equal(tensor, interrupted[1][key]) for key, tensor in weights(loop).items())


def test_a_checkpoint_with_a_whole_best_model_is_preferred_to_one_without(cut, interrupted, caplog):
    flip_a_bit(cut / "checkpoints" / "best-00000006" / "model.safetensors")
    loop = resumed(cut)
    assert "step-00000008 is damaged (of its best model in best-00000006, model.safetensors" in caplog.text
    assert all(torch.equal(tensor, interrupted[1][key]) for key, tensor in weights(loop).items())


def test_where_every_best_model_is_damaged_training_goes_on_without(cut, caplog):
    for path in (cut / "checkpoints").glob("best-*"):
        flip_a_bit(path / "model.safetensors")
    _, loop = make_loop(cut, resume_from_checkpoint="latest", **SETTINGS)
    begun = []
    loop.on_step_begin.append(lambda loop, batches: begun.append((loop.step, loop.best.metric)))
    loop.train()
    assert begun[0] == (8, None)
    assert "best-00000006, is damaged (model.safetensors is not what was written" in caplog.text
    assert "training goes on without it" in caplog.text
    found = [
        entry["validation_loss"] for entry in loop.record.history if entry["step"] > 8 and "validation_loss" in entry
    ]
    assert loop.best.metric == min(found)


EMPTY = '{"setup": {}, "place": {}, "clock": {}, "meter": {}, "best": {}, "history": []}'


@pytest.mark.parametrize(
    "content", ["{}", "[]", "null", "7", '{"step": 8}', "", '{"setup": {}, "place": null}', EMPTY, "[" * 100_000]
)
def test_a_state_that_says_nothing_is_damage_though_its_seal_holds(cut, interrupted, caplog, content):
    last = cut / "checkpoints" / "step-00000008"
    (last / "loop_state.json").write_text(content)
    seal(last)
    with pytest.raises(CheckpointError, match=r"it is damaged \(loop_state.json"):
        CheckpointFolder(cut).find(str(last))
    loop = resumed(cut)
    assert f"{last} is damaged (loop_state.json" in caplog.text
    assert all(torch.equal(tensor, interrupted[1][key]) for key, tensor in weights(loop).items())


@pytest.mark.parametrize("name", ["place", "clock", "meter", "best"])
def test_a_state_of_which_a_part_is_empty_is_damage(cut, name):
    last = cut / "checkpoints" / "step-00000008"
    state = json.loads((last / "loop_state.json").read_text())
    (last / "loop_state.json").write_text(json.dumps({**state, name: {}}))
    seal(last)
    with pytest.raises(CheckpointError, match=r"it is damaged \(loop_state.json does not say"):
        CheckpointFolder(cut).find(str(last))


def test_when_nothing_is_whole_it_says_so(cut):
    for path in (cut / "checkpoints").glob("step-*"):
        truncate(path / "optimizer.bin")
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged"):
        CheckpointFolder(cut).find("latest")


def test_checkpoints_of_a_future_that_was_left_are_removed(cut):
    (cut / "checkpoints" / "step-00000008").rename(cut / "checkpoints" / "step-00000012")
    truncate(cut / "checkpoints" / "step-00000012" / "model.safetensors")
    loop = make_loop(cut, resume_from_checkpoint="latest", stop_at=9, **SETTINGS)[1]
    with pytest.raises(Interrupted):
        loop.train()
    assert [path.name for path in loop.checkpoints.steps()][-1] == "step-00000008"


@pytest.mark.parametrize("where", ["accelerate", "torch", "ours", "best"])
def test_a_full_disk_stops_the_run_with_the_last_good_checkpoint_intact(tmp_path, monkeypatch, where):
    _, loop = make_loop(tmp_path, **SETTINGS)

    def full(*arguments, **settings):
        if where == "torch":
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill_up(loop):
        if loop.step == 6:
            if where == "torch":
                usage = shutil.disk_usage(tmp_path)
                monkeypatch.setattr(integrity.shutil, "disk_usage", lambda path: usage._replace(free=0))
            if where == "best":
                monkeypatch.setattr(type(loop.model), "save_pretrained", full)
            elif where == "ours":
                monkeypatch.setattr(integrity, "seal", full)
            else:
                monkeypatch.setattr(loop.accelerator, "save_state", full)
        return {"loss": 1 / loop.step}

    loop.evaluate = fill_up
    with pytest.raises(CheckpointError, match=r"could not be written to .*: no space is left on the disk") as raised:
        loop.train()
    last = tmp_path / "checkpoints" / "step-00000004"
    assert f"The last good checkpoint is {last}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert find_damage(last) is None
    assert not list(tmp_path.rglob("tmp-*"))
    monkeypatch.undo()
    assert resumed(tmp_path, max_train_steps=None).step == 27


def test_another_setup_is_refused_unless_told_otherwise(cut, caplog):
    harmless = {"logging_steps": 2, "save_total_limit": 1, "num_threads": 1, "max_train_minutes": 90.0}
    assert resumed(shutil.copytree(cut, cut.parent / "same"), **harmless).step == 27
    message = "learning_rate 0.01 there, 0.02 here; seed 42 there, 43 here"
    with pytest.raises(CheckpointError, match=message) as raised:
        resumed(cut, learning_rate=0.02, seed=43)
    assert "\n" not in str(raised.value)
    assert resumed(cut, learning_rate=0.02, seed=43, resume_with_changes=True).step == 27
    assert message in caplog.text


def examples_after_resuming(folder, **settings):
    """What is trained on, by epoch."""
    _, loop = make_loop(folder, resume_from_checkpoint="latest", resume_with_changes=True, **settings)
    read = {}

    def note(loop, micro_batches):
        epoch = loop.step // loop.steps_per_epoch
        read[epoch] = read.get(epoch, 0) + sum(len(micro.batch["labels"]) for micro in micro_batches)

    loop.on_step_begin.append(note)
    loop.train()
    assert loop.epoch == settings["num_train_epochs"]
    return read, loop


@pytest.mark.parametrize(
    ("stop_at", "changes", "expected"),
    [
        (8, {"per_device_train_batch_size": 16}, {1: 64, 2: 64}),
        (8, {"per_device_train_batch_size": 4}, {1: 64, 2: 64}),
        (8, {"gradient_accumulation_steps": 4}, {1: 64, 2: 64}),
        (8, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, {1: 64, 2: 64}),
        (12, {"per_device_train_batch_size": 16}, {1: 32, 2: 64}),
        (12, {"per_device_train_batch_size": 2}, {1: 32, 2: 64}),
        (12, {"per_device_train_batch_size": 12}, {1: 40, 2: 64}),  # two steps of 12 are done; three would be too many
        (12, {"per_device_train_batch_size": 64}, {1: 64, 2: 64}),
        (12, {"learning_rate": 0.02}, {1: 32, 2: 64}),
    ],
)
def test_with_other_batches_as_many_examples_are_left(tmp_path, caplog, stop_at, changes, expected):
    """64 examples three times over, in batches of 8 until it is cut short."""
    settings = {"rows": 64, "num_train_epochs": 3.0, "checkpointing_steps": "4"}
    _, cut = make_loop(tmp_path, stop_at=stop_at, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    read, loop = examples_after_resuming(tmp_path, **{**settings, **changes})
    assert read == expected
    assert loop.scheduler.last_epoch == loop.max_steps
    assert loop.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)  # the cosine has come to its end
    assert f"step {stop_at} of the checkpoint is step " in caplog.text
    assert f" steps are left, over {sum(expected.values())} examples" in caplog.text


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize(("before", "after", "best"), [(8, 16, 4), (16, 8, 8)])
def test_the_best_model_is_still_that_one_where_steps_are_counted_anew(tmp_path, before, after, best, is_elsewhere):
    """
    64 examples twice over: after one pass the best model was found, after the second one it is no better. In batches
    of 16 that ends at step 8, which is where the first pass ends in batches of 8.
    """
    scores = iter([0.9, 0.1])
    settings = {"rows": 64, "num_train_epochs": 2.0, "metric_for_best_model": "accuracy"}
    settings["evaluate"] = lambda loop: {"accuracy": next(scores)}
    _, cut = make_loop(tmp_path / "cut", stop_at=64 // before, per_device_train_batch_size=before, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    expected, source = weights(cut), tmp_path / "cut" / "checkpoints" / f"step-{64 // before:08d}"
    averaged = source.with_name(f"weights-{64 // before:08d}")
    shutil.copytree(source.with_name(f"best-{64 // before:08d}"), averaged)
    resume = {"resume_from_checkpoint": str(source), "resume_with_changes": True}
    folder = tmp_path / ("other" if is_elsewhere else "cut")
    _, loop = make_loop(folder, per_device_train_batch_size=after, **resume, **settings)
    loop.train()
    assert loop.step == 128 // after
    assert loop.record.kept == {"step": best, "epoch": 1.0, "metric": "accuracy", "value": 0.9}
    validations = {entry["step"]: entry for entry in loop.record.history if "validation_accuracy" in entry}
    assert {step: entry["validation_accuracy"] for step, entry in validations.items()} == {best: 0.9, 2 * best: 0.1}
    for name, tensor in weights(loop).items():
        assert torch.equal(tensor, expected[name])
    assert not loop.checkpoints.named("weights")  # by their numbers they would be of other steps


def test_a_run_that_goes_on_with_one_of_another_folder_leaves_nothing_of_what_was_in_its_own(cut, tmp_path):
    folder = tmp_path / "other"
    run, _ = trained = make_loop(folder, **SETTINGS, seed=7)
    trained[1].train()
    run.folder.release()
    source = cut / "checkpoints" / "step-00000006"
    _, loop = make_loop(
        folder, stop_at=7, overwrite_output_dir=True, resume_from_checkpoint=str(source), **SETTINGS, seed=42
    )
    with pytest.raises(Interrupted):  # before a checkpoint of its own
        loop.train()
    assert loop.checkpoints.steps() == []
    assert [path.name for path in loop.checkpoints.named("best")] == [loop.checkpoints.best(loop.best.step).name]
    with pytest.raises(CheckpointError, match="latest: there is no checkpoint in"):
        resumed(folder)


def test_a_run_that_diverged_at_once_goes_on_with_other_batches(tmp_path):
    """Its checkpoint is of step 0, of which no other step is a share."""
    settings = {"rows": 64, "num_train_epochs": 1.0}
    _, cut = make_loop(tmp_path, **settings)
    cut.on_step_begin.append(lambda loop, group: loop.unwrapped_model.score.weight.data.fill_(float("nan")))
    with pytest.raises(TrainingError, match="diverged at step 1"):
        cut.train()
    _, loop = make_loop(
        tmp_path,
        per_device_train_batch_size=16,
        resume_from_checkpoint="latest",
        resume_with_changes=True,
        **settings,
    )
    loop._begin()
    assert (loop.step, loop.max_steps, loop.record.history) == (0, 4, [])


def test_other_data_tokenizers_and_models_are_other_setups(cut):
    def resume(change):
        _, loop = make_loop(cut, resume_from_checkpoint="latest", **SETTINGS)
        change(loop.setup)
        loop.train()

    names = json.loads((cut / "checkpoints" / "step-00000008" / "loop_state.json").read_text())["setup"]
    assert {"tokenizer", "num_processes", "model's hidden_size", "data of the split train"} <= set(names)
    for name in ("tokenizer", "data of the split train", "num_processes", "model's hidden_size"):
        with pytest.raises(CheckpointError, match=f"another setup: {name} .* there, other here"):
            resume(lambda setup, name=name: setup.update({name: "other"}))


class Malicious:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('pwned').touch()",)


@pytest.mark.parametrize("name", ["optimizer.bin", "random_states_0.pkl"])
def test_pickled_code_in_a_checkpoint_does_not_run(cut, monkeypatch, name):
    monkeypatch.chdir(cut)
    last = cut / "checkpoints" / "step-00000008"
    torch.save({"state": Malicious(), "param_groups": []}, last / name)
    seal(last)  # whoever can write the file can write the manifest
    if name == "optimizer.bin":
        with pytest.raises(CheckpointError, match="does not fit this run: Weights only load failed"):
            resumed(cut)
    else:  # Accelerate does without it, and so do we, who seed each step
        assert resumed(cut).step == 27
    assert not (cut / "pwned").exists()


def die(*arguments, **settings):
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_the_end(path):
    """When the new name in the folder of checkpoints is to be written through to the disk."""
    if path.name == "checkpoints":
        die()


def die_at(folder, point, step, **settings):
    """Train in this process until the checkpoint of `step` has got as far as `point`."""
    resume = {"resume_from_checkpoint": "latest"} if (folder / "checkpoints").exists() else {}
    _, loop = make_loop(
        folder, **{**SETTINGS, "checkpointing_steps": "1", "save_total_limit": 1, **settings}, **resume
    )

    def arm(loop, micro_batches):
        if loop.step == step - 1:
            owner, name = {
                "nothing is sealed": (integrity, "seal"),
                "it is sealed": (Path, "rename"),
                "it is renamed": (integrity, "sync"),
                "the one before it is half removed": (integrity.shutil, "rmtree"),
            }[point]
            setattr(owner, name, die_at_the_end if name == "sync" else die)

    loop.on_step_begin.append(arm)
    loop.train()


@pytest.mark.parametrize("accumulation", [1, 2])
def test_killed_while_checkpoints_are_written_it_goes_on_with_a_whole_one(tmp_path, accumulation):
    """`kill -9` at each point of the writing, one after the other, with a single checkpoint kept."""
    settings = {"gradient_accumulation_steps": accumulation, "num_train_epochs": 2.0 * accumulation}
    _, whole = make_loop(tmp_path / "whole", **settings, **SETTINGS)
    whole.train()
    folder, points = tmp_path / "killed", ("nothing is sealed", "it is sealed", "it is renamed")
    for step, point in enumerate((*points, "the one before it is half removed"), 3):
        child = CLEAN.Process(target=die_at, args=(folder, point, step), kwargs=settings)
        child.start()
        child.join(120)
        assert child.exitcode == -signal.SIGKILL
        found = CheckpointFolder(folder, 1).find("latest").name
        assert found == f"step-{step - (point in points[:2]):08d}"
    ended = resumed(folder, **settings)
    assert all(torch.equal(tensor, weights(whole)[key]) for key, tensor in weights(ended).items())
