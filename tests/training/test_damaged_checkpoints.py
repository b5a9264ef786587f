"""
Whatever becomes of a file of a checkpoint, the run goes on from an older one, goes on with the right weights, or is
refused in one line: never a traceback, never the weights of another run.
"""

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import DATA, Interrupted, make_loop, weights

from seqnlp.training import CheckpointError, CheckpointFolder
from seqnlp.training.checkpoints import STATE_FILE
from seqnlp.training.integrity import MANIFEST, seal


SETTINGS = {"checkpointing_steps": "2", "eval_steps": 3, "save_total_limit": 3, "ema_decay": 0.9}
LAST = "step-00000008"


class Stream(torch.utils.data.IterableDataset):
    """Rows whose position a checkpoint holds."""

    def __init__(self):
        self.place = 0

    def __iter__(self):
        while self.place < len(DATA):
            self.place += 1
            yield DATA[self.place - 1]
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def begin(folder, streams, **settings):
    data = {"data": Stream(), "max_train_steps": 27} if streams else {}
    return make_loop(folder, **{**SETTINGS, **data, **settings})[1]


def reset():
    for state in ("AcceleratorState", "GradientState", "PartialState"):
        getattr(__import__("accelerate.state", fromlist=[state]), state)._reset_state()


@pytest.fixture(scope="module", params=[False, True], ids=["sized", "streamed"])
def interrupted(request, tmp_path_factory):
    """A run that was stopped after step 8, one with other weights, and the weights that the first should end with."""
    folder = tmp_path_factory.mktemp("runs")
    whole = begin(folder / "whole", request.param)
    whole.train()
    for name, seed in (("cut", 42), ("other", 43)):
        reset()
        with pytest.raises(Interrupted):
            begin(folder / name, request.param, stop_at=8, seed=seed).train()
    reset()
    return folder, request.param, weights(whole)


@pytest.fixture
def cut(interrupted, tmp_path):
    shutil.copytree(interrupted[0] / "cut", tmp_path / "cut")
    return tmp_path / "cut"


def outcome(folder, interrupted):
    """
    What comes of going on: `refused`, `fell back`, `the same` or `other weights`; an error of another kind is a bug.
    """
    began, refused = [], None
    loop = begin(folder, interrupted[1], resume_from_checkpoint="latest")
    loop.on_step_begin.append(lambda loop, batches: began.append(loop.step))
    try:
        loop.train()
    except CheckpointError as error:
        refused = str(error)
    reset()
    if refused is not None:
        assert "\n" not in refused
        assert len(refused) < 900
        return "refused"
    if not all(torch.equal(tensor, interrupted[2][name]) for name, tensor in weights(loop).items()):
        return "other weights"
    return "the same" if began[0] == 8 else "fell back"


def cut_to(size):
    return lambda path, other: os.truncate(path, size if size >= 0 else max(0, path.stat().st_size + size))


def flip(place):
    def damage(path, other):
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return damage


def become_a_folder(path, other):
    path.unlink()
    path.mkdir()


def lead_nowhere(path, other):
    path.unlink()
    path.symlink_to("nowhere")


def write(text):
    return lambda path, other: path.write_text(text)


DAMAGES = {f"cut to {size}": cut_to(size) for size in (0, 1, 8, 100, -1, -100)}
DAMAGES |= {f"a bit at {place:.2f}": flip(place) for place in (0.0, 0.01, 0.2, 0.5, 0.77, 0.99, 1.0)}
DAMAGES |= {f"holds {text[:9]!r}": write(text) for text in ("{}", "[]", "null", "7", '"a"', "[" * 9999, "\ufeff{}")}
DAMAGES |= {
    "is gone": lambda path, other: path.unlink(),
    "is a folder": become_a_folder,
    "leads nowhere": lead_nowhere,
    "is longer": lambda path, other: path.write_bytes(path.read_bytes() + b"\0"),
    "is another run's": lambda path, other: shutil.copyfile(other / path.name, path),
    "is an older one's": lambda path, other: shutil.copyfile(path.parent.with_name("step-00000006") / path.name, path),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["step", "best", "all"])
def test_any_damage_of_any_file(interrupted, tmp_path, kind):
    """Of the last checkpoint, of its best model, of all that there is."""
    folder, counts = interrupted[0] / "cut" / "checkpoints", Counter()
    every = [path.name for path in folder.iterdir() if path.is_dir()]
    chosen = {"step": [LAST], "best": ["best-00000006"], "all": every}[kind]
    files = sorted({path.name for name in chosen for path in (folder / name).iterdir()})
    damages = list(DAMAGES.items())
    for file in files:
        for name, damage in damages if kind == "step" else random.Random(file).sample(damages, 9):
            root = tmp_path / "damaged"
            shutil.copytree(interrupted[0] / "cut", root)
            for checkpoint in chosen:
                path = root / "checkpoints" / checkpoint / file
                other = interrupted[0] / "other" / "checkpoints" / checkpoint
                has_older = name != "is an older one's" or checkpoint == LAST
                if path.exists() and has_older and (name != "is another run's" or (other / file).is_file()):
                    damage(path, other)
            found = outcome(root, interrupted)
            counts[found] += 1
            if kind == "step" and name not in ("is another run's", "is an older one's"):
                # A list of the same files, but for a byte at its end, is whole.
                assert found == "fell back" or (file == MANIFEST and found == "the same"), f"{file} {name}: {found}"
            assert kind == "best" or found != "other weights", f"{file} {name}"
            shutil.rmtree(root)
    print(kind, dict(counts))


LEAVES = [None, [], {}, "", "a", -1, 1.5, True, 10**30, 1e308, [1], {"a": 1}]


def leaves(value, path=()):
    """Where each value of a JSON lies."""
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, name)
        yield from leaves(value[name], (*path, name))


def changed(content, path, value):
    content = json.loads(json.dumps(content))
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return content


@pytest.mark.long
def test_any_value_of_the_state_under_a_whole_seal(interrupted, tmp_path):
    """
    Of the setup one value stands for all: they are compared with this run's. A whole number in the place of another
    is what the state says: the run goes on from another step, or takes another model for the best.
    """
    source = interrupted[0] / "cut" / "checkpoints" / LAST
    state, counts, chance = json.loads((source / STATE_FILE).read_text()), Counter(), random.Random(0)
    places = [path for path in leaves(state) if path[0] != "setup" or len(path) == 1 or path[-1] == "seed"]
    places = [path for path in places if path[0] != "history" or path[1:2] in ((), (0,))]
    for path in places:
        for value in chance.sample(LEAVES, 5):
            root = tmp_path / "damaged"
            shutil.copytree(interrupted[0] / "cut", root)
            last = root / "checkpoints" / LAST
            (last / STATE_FILE).write_text(json.dumps(changed(state, path, value)))
            seal(last)
            found = outcome(root, interrupted)
            counts[found] += 1
            assert found != "other weights" or path[0] in ("best", "place"), f"{path} {value}"
            shutil.rmtree(root)
    print(dict(counts))


@pytest.mark.long
def test_other_parts_under_a_whole_seal_are_refused_in_one_line(interrupted, cut):
    last = cut / "checkpoints" / LAST
    contents = [b"", b"{}", b"[]", b"null", b"7", b"\x80", b"\0" * 64]
    for name in sorted({path.name for path in last.iterdir()} - {MANIFEST, STATE_FILE}):
        damaged = [*contents]
        if name.endswith(".safetensors"):
            tensors = load_file(last / name)
            wrong = {sorted(tensors)[0]: torch.ones(3, 3)}
            for kind in ({}, {"a": torch.ones(1)}, {**tensors, **wrong}):
                save_file(kind, cut / "made")
                damaged.append((cut / "made").read_bytes())
        for content in damaged:
            root = cut.with_name("damaged")
            shutil.copytree(cut, root)
            (root / "checkpoints" / LAST / name).write_bytes(content)
            seal(root / "checkpoints" / LAST)
            expected = "the same" if name == "random_states_0.pkl" else "refused"  # each step is seeded
            assert outcome(root, interrupted) == expected, (name, content[:20])
            shutil.rmtree(root)


@pytest.mark.parametrize("name", ["place", "clock", "meter", "best", "history"])
def test_a_state_whose_values_are_of_another_kind_is_damage(interrupted, cut, name):
    last = cut / "checkpoints" / LAST
    state = json.loads((last / STATE_FILE).read_text())
    for path in leaves(state[name]):
        if name == "history" and path[-1] not in ("step", "epoch"):
            continue
        for value in ([], "a", {}, True) if path[-1] != "owes_validation" else ([], "a", 1):
            (last / STATE_FILE).write_text(json.dumps(changed(state, (name, *path), value)))
            seal(last)
            with pytest.raises(
                CheckpointError, match=r"it is damaged \(loop_state.json (says|holds|does not)"
            ) as raised:
                CheckpointFolder(cut).find(str(last))
            assert "\n" not in str(raised.value)


def test_a_checkpoint_under_another_ones_name_goes_on_from_its_own_step(interrupted, cut):
    shutil.rmtree(cut / "checkpoints" / LAST)
    shutil.copytree(cut / "checkpoints" / "step-00000006", cut / "checkpoints" / "step-00000012")
    assert outcome(cut, interrupted) == "fell back"
    assert Path(cut / "checkpoints" / "step-00000026").is_dir()
