"""What becomes of a run whose folder is removed, replaced or taken while it trains: nothing trained is lost."""

import json
import os
import shutil
import tempfile

import pytest
import torch
from tiny_runs import TOKENIZER, make_loop, weights
from transformers import AutoTokenizer

from seqnlp import RecurrentForSequenceClassification
from seqnlp.training import CheckpointError
from seqnlp.training.integrity import find_damage, weights_hash


SETTINGS = {"checkpointing_steps": "2", "eval_steps": 3, "save_total_limit": 3}


def falling(loop):
    """The last model is the best one."""
    return {"loss": 1 / loop.step}


def rising(loop):
    """The first model is the best one."""
    return {"loss": float(loop.step)}


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of runs that were left alone."""
    found = {}
    for evaluate in (falling, rising):
        loop = make_loop(tmp_path_factory.mktemp("whole") / "run", evaluate=evaluate, **SETTINGS)[1]
        loop.train()
        found[evaluate] = weights(loop)
        reset()
    return found


def reset():
    for state in ("AcceleratorState", "GradientState", "PartialState"):
        getattr(__import__("accelerate.state", fromlist=[state]), state)._reset_state()


def at_step(loop, step, function):
    loop.on_step_begin.append(lambda loop, batches: function() if loop.step == step else None)


def remove(folder):
    return lambda: shutil.rmtree(folder)


def replace_by_a_file(folder):
    def replace():
        shutil.rmtree(folder)
        folder.write_text("mine")

    return replace


def same(model, expected):
    found = model if isinstance(model, dict) else model.state_dict()
    return all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_a_folder_that_is_removed_is_made_anew(tmp_path, whole, caplog):
    run, loop = make_loop(tmp_path / "run", evaluate=falling, **SETTINGS)
    at_step(loop, 7, remove(tmp_path / "run"))
    loop.train()
    assert f"{tmp_path / 'run'} was removed while this run used it, with all that lay there" in caplog.text
    assert [path.name for path in loop.checkpoints.steps()] == ["step-00000024", "step-00000026", "step-00000027"]
    assert same(run.save(loop.model, TOKENIZER), whole[falling])
    assert (tmp_path / "run" / "run.lock").exists()
    run.finish()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["kept"]["step"] == 27
    assert not list((tmp_path / "run").glob("run.[lo]*"))


def test_without_its_best_model_the_last_one_is_taken(tmp_path, whole, caplog):
    run, loop = make_loop(tmp_path / "run", evaluate=rising, **SETTINGS)
    at_step(loop, 7, remove(tmp_path / "run"))
    loop.train()
    assert "best-00000003, is damaged (manifest.json is missing): the one of the last step is taken" in caplog.text
    assert same(loop.model, whole[falling])
    assert run.record.kept == {}


@pytest.mark.parametrize("evaluate", [falling, rising])
def test_a_folder_that_cannot_be_made_again_is_one_line_and_the_run_goes_on_elsewhere(
    tmp_path, whole, temporary, evaluate
):
    folder = tmp_path / "run"
    _, loop = make_loop(folder, evaluate=evaluate, **SETTINGS)
    at_step(loop, 7, replace_by_a_file(folder))
    with pytest.raises(CheckpointError, match=r"step-00000008 could not be written to .*/run/checkpoints: ") as raised:
        loop.train()
    line = str(raised.value)
    assert "\n" not in line
    (kept,) = temporary.glob("seqnlp-*/checkpoints/step-00000008")
    assert f"All that was trained, 8 of 27 steps, is kept in {kept}: go on by --resume_from_checkpoint {kept}" in line
    assert folder.read_text() == "mine"
    assert find_damage(kept) is None
    reset()
    settings = {**SETTINGS, "resume_from_checkpoint": str(kept)}
    resumed = make_loop(tmp_path / "other", evaluate=evaluate, **settings)[1]
    resumed.train()
    assert resumed.record.history[-1]["step"] == 27
    if evaluate is falling:  # of the other the best model is gone with its folder
        assert same(resumed.model, whole[falling])


def test_where_a_folder_can_be_read_its_best_model_is_kept_too(tmp_path, whole, temporary, monkeypatch):
    _, loop = make_loop(tmp_path / "run", evaluate=rising, **SETTINGS)
    mkdir = os.mkdir

    def read_only(path, *arguments, **settings):
        if str(path).startswith(str(tmp_path / "run")):
            raise OSError(30, os.strerror(30), str(path))
        return mkdir(path, *arguments, **settings)

    at_step(loop, 7, lambda: monkeypatch.setattr(os, "mkdir", read_only))
    with pytest.raises(CheckpointError, match=r"Read-only file system.*All that was trained, 8 of 27 steps"):
        loop.train()
    (kept,) = temporary.glob("seqnlp-*/checkpoints/step-00000008")
    assert find_damage(kept.with_name("best-00000003")) is None
    reset()
    settings = {**SETTINGS, "resume_from_checkpoint": str(kept)}
    resumed = make_loop(tmp_path / "other", evaluate=rising, **settings)[1]
    resumed.train()
    assert same(resumed.model, whole[rising])


def test_a_best_model_that_cannot_be_written_is_kept_with_its_step(tmp_path, whole, temporary):
    folder = tmp_path / "run"
    _, loop = make_loop(folder, evaluate=lambda loop: {"loss": abs(loop.step - 9.0)}, **SETTINGS)
    at_step(loop, 8, replace_by_a_file(folder))
    with pytest.raises(CheckpointError, match=r"best-00000009 could not be written to .* 9 of 27 steps, is kept in"):
        loop.train()
    (kept,) = temporary.glob("seqnlp-*/checkpoints/step-00000009")
    assert find_damage(kept.with_name("best-00000009")) is None


def test_where_nothing_can_be_kept_the_line_is_as_it_was(tmp_path, temporary):
    folder = tmp_path / "run"
    _, loop = make_loop(folder, **SETTINGS)
    temporary.rmdir()
    at_step(loop, 7, replace_by_a_file(folder))
    with pytest.raises(CheckpointError, match=r"There is no checkpoint before it; begin anew when that is mended\."):
        loop.train()


def test_a_folder_that_another_run_has_taken_since_is_left_to_it(tmp_path, temporary):
    folder, owner = tmp_path / "run", {"process": 7, "host": "elsewhere", "started": "2026-01-01 00:00:00"}

    def take():
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "run.lock").touch()
        (folder / "run.owner.json").write_text(json.dumps(owner))

    run, loop = make_loop(folder, **SETTINGS)
    at_step(loop, 7, take)
    told = (
        r"since it was removed while this run used it, it is in use by another run: process 7 on elsewhere, since 2026"
    )
    with pytest.raises(CheckpointError, match=told):
        loop.train()
    run.folder.release()
    assert json.loads((folder / "run.owner.json").read_text()) == owner
    assert sorted(path.name for path in folder.iterdir()) == ["run.lock", "run.owner.json"]
    assert list(temporary.glob("seqnlp-*/checkpoints/step-00000008"))


def test_the_working_folder_may_go(tmp_path, temporary, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    run, loop = make_loop("run", evaluate=falling, **SETTINGS)
    at_step(loop, 7, remove(tmp_path / "work"))
    with pytest.raises(CheckpointError, match=r"step-00000008 could not be written to run/checkpoints: .* is kept in"):
        loop.train()
    assert list(temporary.glob("seqnlp-*/checkpoints/step-00000008"))
    run.folder.release()


@pytest.mark.parametrize("spoil", [remove, replace_by_a_file])
def test_results_are_kept_wherever_the_folder_goes(tmp_path, whole, temporary, spoil):
    folder = tmp_path / "run"
    run, loop = make_loop(folder, evaluate=falling, **SETTINGS)
    loop.train()
    spoil(folder)()
    if spoil is remove:
        model = run.save(loop.model, TOKENIZER)
        found = folder
        shutil.rmtree(folder)  # and once more, before the record
        run.finish()
        record = json.loads((folder / "run.json").read_text())
        assert record["model"]["sha256"] == weights_hash(folder)
        assert same(model, whole[falling])
    else:
        with pytest.raises(
            CheckpointError, match="The trained model, with what makes its inputs, is kept in"
        ) as raised:
            run.save(loop.model, TOKENIZER)
        (found,) = temporary.glob("seqnlp-*/checkpoints/results")
        assert str(raised.value).endswith(f"is kept in {found}.")
    assert same(RecurrentForSequenceClassification.from_pretrained(found), whole[falling])
    assert AutoTokenizer.from_pretrained(found).get_vocab() == TOKENIZER.get_vocab()
