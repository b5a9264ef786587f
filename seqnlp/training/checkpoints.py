"""Checkpoints: written whole or not at all, checked before they are read, pruned."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from transformers.utils import logging

from .arguments import TrainingArguments
from .errors import in_one_line
from .folder_lock import FolderLock
from .integrity import MANIFEST, WriteError, find_damage, remove_at_once, write_together, write_whole
from .progress import BestModel, Clock, Meter, Place
from .run_record import write_json


logger = logging.get_logger(__name__)

STATE_FILE = "loop_state.json"
POSITION_FILE = "data_position_{}.json"
CARRIED_FILE = "carried_state_{}.safetensors"
AVERAGE_FILE = "moving_average.safetensors"
UNFINISHED = "unfinished"
SEALS = (MANIFEST, STATE_FILE)
NAMES = re.compile(r"(tmp-)?(removed-)?((step|best|weights)-\d{8,}|results)")

SavesItself = Callable[[Path], Any]


class CheckpointError(ValueError):
    """A checkpoint that is not there, does not fit or cannot be written."""


class UnwrittenError(CheckpointError):
    """
    Something that could not be written.

    Args:
        what: What, where and why.
        way_out: How to go on.
    """

    def __init__(self, what: str, way_out: str):
        super().__init__(f"{what}. {way_out}")
        self.what, self.way_out = what, way_out

    def __reduce__(self):
        return type(self), (self.what, self.way_out)


class Checkpoint(NamedTuple):
    """
    What a checkpoint holds besides what Accelerate has prepared.

    Attributes:
        state: The loop's own state, the same on every process.
        position: This process's place in streamed data.
        carried: The recurrent state that this process carries to its next batch.
        average: The moving average of the weights, the same on every process.
    """

    state: dict[str, Any]
    position: dict[str, Any] | None = None
    carried: dict[str, torch.Tensor] | None = None
    average: dict[str, torch.Tensor] | None = None


class CheckpointFolder:
    """
    The checkpoints of one run: `step-00000123/` for resuming, `best-00000100/` with the weights of the best model so
    far, `weights-...` for averaging. Each appears by a rename, after it is on the disk with a manifest by which damage
    is recognized. Several machines need a file system that they share. Nothing else in the folder is touched.

    Args:
        output_dir: The run's folder; they are in `checkpoints/` below it.
        limit: How many `step-...` are kept.
    """

    def __init__(self, output_dir: str | Path, limit: int = 1):
        self.root = Path(output_dir) / "checkpoints"
        self.limit = limit
        self.lock = FolderLock(Path(output_dir))

    def steps(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return self.named("step")

    def named(self, kind: str) -> list[Path]:
        """The folders of a kind, `step`, `best` or `weights`, that seqnlp wrote, oldest first."""
        return sorted(path for path in _ours(self.root) if path.name.startswith(f"{kind}-"))

    @property
    def is_unfinished(self) -> bool:
        """Whether the last run that wrote here stopped before its end."""
        return (self.root / UNFINISHED).is_file() and bool(self.steps())

    def begin(self, accelerator: Accelerator, goes_on: bool) -> None:
        """
        Make the folder; unless this run goes on with the one before, remove the checkpoints of that.

        Raises:
            CheckpointError: If it cannot be made, or holds a folder that has a checkpoint's name and is none.
        """

        def prepare() -> None:
            self.root.mkdir(parents=True, exist_ok=True)
            ours = _ours(self.root)
            foreign = [path for path in self.root.iterdir() if NAMES.fullmatch(path.name) and path not in ours]
            if foreign:
                raise FileExistsError(f"{foreign[0].name} is there already, and is no checkpoint of seqnlp")
            for path in ours:
                if not goes_on or path.name.startswith("tmp-"):
                    shutil.rmtree(path)
            (self.root / UNFINISHED).touch()

        try:
            write_together(accelerator, prepare if accelerator.is_main_process else None, self.root.parent)
        except WriteError as error:
            raise CheckpointError(
                f"Checkpoints cannot be written to {self.root}: {error}. Make room, or choose another --output_dir."
            ) from error

    def finish(self) -> None:
        """Mark the run as finished; its last checkpoint stays, so that it can be trained on."""
        (self.root / UNFINISHED).unlink(missing_ok=True)

    def save(self, accelerator: Accelerator, checkpoint: Checkpoint) -> None:
        """
        Write a checkpoint, then remove those that are no longer needed. Called by every process.

        Raises:
            UnwrittenError: If it cannot be written, as on a full disk; the ones before it stay as they are.
        """
        step = checkpoint.state["place"]["step"]

        def write(folder: Path) -> None:
            accelerator.save_state(str(folder))
            if checkpoint.position is not None:
                write_json(folder / POSITION_FILE.format(accelerator.process_index), checkpoint.position)
            if checkpoint.carried is not None:
                save_file(checkpoint.carried, folder / CARRIED_FILE.format(accelerator.process_index))
            if accelerator.is_main_process:
                if checkpoint.average is not None:
                    save_file(checkpoint.average, folder / AVERAGE_FILE)
                write_json(folder / STATE_FILE, checkpoint.state)

        self.write(accelerator, f"step-{step:08d}", write)
        if accelerator.is_main_process:
            try:
                self._prune(step)
            except OSError as error:
                logger.warning(
                    f"Checkpoints that are no longer needed could not be removed: {in_one_line(error, 200)}"
                )
        accelerator.wait_for_everyone()

    def save_weights(self, accelerator: Accelerator, model, name: str, *others: SavesItself) -> Path:
        """
        Write a model, whole, as `from_pretrained` reads it. Called by every process; the one way to write weights.

        Args:
            accelerator: Has prepared the model.
            model: The model, prepared or not.
            name: Of the folder.
            *others: What else the main process saves beside it: each is given the folder.

        Returns:
            The folder.

        Raises:
            UnwrittenError: If it cannot be written.
        """
        state_dict = accelerator.get_state_dict(model)

        def write(folder: Path) -> None:
            if accelerator.is_main_process:
                # One file, whose hash is the model's.
                accelerator.unwrap_model(model).save_pretrained(folder, state_dict=state_dict, max_shard_size="1000TB")
                for save in others:
                    save(folder)

        return self.write(accelerator, name, write)

    def best(self, step: int) -> Path:
        """Where the weights of the best model, found at this step, are kept."""
        return self.root / f"best-{step:08d}"

    def write(self, accelerator: Accelerator, name: str, write: Callable[[Path], None]) -> Path:
        """
        Let every process write into the folder `name`, which appears whole or not at all.

        Raises:
            UnwrittenError: If it cannot be written; it says how to go on.
        """

        def write_here(folder: Path) -> None:
            if accelerator.is_main_process:
                self.lock.keep()
            write(folder)

        try:
            write_whole(accelerator, self.root / name, write_here)
        except WriteError as error:
            raise self.failure(name, self.root, error) from error
        return self.root / name

    def failure(self, name: str, where: Path, reason: object) -> UnwrittenError:
        """The error for something that could not be written: it says how to go on."""
        steps = self.steps()
        if steps:
            way_out = f"The last good checkpoint is {steps[-1]}; go on by --resume_from_checkpoint latest"
        else:
            way_out = "There is no checkpoint before it; begin anew"
        return UnwrittenError(f"{name} could not be written to {where}: {reason}", f"{way_out} when that is mended.")

    def take_over(self, accelerator: Accelerator, checkpoint: Path, best: int, last: int) -> None:
        """
        Copy what a checkpoint leans on and is not here: of another folder its best model and the weights to be
        averaged; of this one its best model, where that was found at a step with another number. Weights of later
        steps are removed: another run has passed them, or they will be passed again.

        Args:
            accelerator: Says which process this is.
            checkpoint: The checkpoint.
            best: The step of the best model as this run counts it.
            last: The last step whose weights are to be averaged with those that this run will have.
        """
        is_elsewhere = checkpoint.parent.resolve() != self.root.resolve()
        wanted = {}
        if is_elsewhere:
            weights = [path for path in _ours(checkpoint.parent) if path.name.startswith("weights-")]
            wanted = {path: path.name for path in weights if step_of(path) <= last}
        found, name = self.best_of(checkpoint), self.best(best).name
        if found is not None and (is_elsewhere or found.name != name):
            wanted[found] = name
        for path in self.named("weights") if accelerator.is_main_process else ():
            if step_of(path) > last:
                remove_at_once(path)
        self.copy_whole(accelerator, wanted)

    def copy_whole(self, accelerator: Accelerator, names: Mapping[Path, str]) -> None:
        """Copy those of these folders that are whole, each under its name here. Called by every process."""
        for path, name in names.items():
            if find_damage(path) is None:

                def copy(folder: Path, path: Path = path) -> None:
                    if accelerator.is_main_process:
                        shutil.copytree(path, folder)

                self.write(accelerator, name, copy)

    def _prune(self, step: int) -> None:
        for path in self.steps():  # a run resumed from an earlier one has left that future, or it was damaged
            if step_of(path) > step:
                remove_at_once(path)
        for path in self.steps()[: -self.limit]:
            remove_at_once(path)
        # A best model goes only when no checkpoint refers to it any more: one may be resumed from.
        needed = {self.best_of(path) for path in self.steps()}
        for path in self.named("best"):
            if path not in needed:
                remove_at_once(path)

    def best_of(self, path: Path) -> Path | None:
        """The best model that a checkpoint refers to, if it can be read and there was one."""
        state, damage = read_state(path)
        if damage is not None or state["best"]["metric"] is None:
            return None
        return path.parent / self.best(state["best"]["step"]).name

    def damage_of_best(self, path: Path) -> str | None:
        """What is wrong with the best model that a whole checkpoint refers to, if anything is."""
        best = self.best_of(path)
        damage = find_damage(best) if best is not None else None
        return damage and f"of its best model in {best.name}, {damage}"

    def find(self, name: str) -> Path:
        """
        The checkpoint that `--resume_from_checkpoint` names: a folder, or `latest` for the last one that is whole.

        One whose best model is damaged is taken only where there is no other.

        Raises:
            CheckpointError: If it is not there or damaged.
        """
        if name != "latest":
            if not Path(name).is_dir():
                raise CheckpointError(
                    f"--resume_from_checkpoint {name}: there is no such checkpoint; use 'latest' or its folder."
                )
            if damage := find_damage_of_checkpoint(Path(name)):
                raise CheckpointError(f"--resume_from_checkpoint {name}: it is damaged ({damage}); use another.")
            return Path(name)
        steps = self.steps()
        if not steps:
            raise CheckpointError(
                f"--resume_from_checkpoint latest: there is no checkpoint in {self.root}. Leave the flag out to begin "
                "anew."
            )
        damages: dict[Path, str | None] = {}
        whole = []
        for path in reversed(steps):  # no farther than needed: each is read from its first byte to its last
            damages[path] = find_damage_of_checkpoint(path)
            if damages[path] is None:
                whole.append(path)
                damages[path] = self.damage_of_best(path)
                if damages[path] is None:
                    break
        if not whole:
            raise CheckpointError(
                f"--resume_from_checkpoint latest: every checkpoint in {self.root} is damaged. Leave the flag out and "
                "give --overwrite_output_dir to begin anew."
            )
        chosen = next((path for path in whole if damages[path] is None), whole[0])
        for path in damages:
            if path == chosen:
                return chosen
            logger.warning(f"The checkpoint {path} is damaged ({damages[path]}): the one before it is used.")
        return chosen


def _ours(root: Path) -> list[Path]:
    """The folders in `root` that carry our seal, or what is left of it where they are damaged."""
    if not root.is_dir():
        return []
    named = [path for path in root.iterdir() if NAMES.fullmatch(path.name) and path.is_dir()]
    return [path for path in named if path.name[:4] == "tmp-" or any((path / name).exists() for name in SEALS)]


def find_damage_of_checkpoint(path: Path) -> str | None:
    """What is wrong with a checkpoint in itself, if anything is."""
    return find_damage(path) or read_state(path)[1]


def read_state(path: Path) -> tuple[dict[str, Any], str | None]:
    """The loop's state in a checkpoint, and what is wrong with it, if anything is."""
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{STATE_FILE} cannot be read: {in_one_line(error)}"
    if not isinstance(state, dict):
        return {}, f"{STATE_FILE} holds no state of a run"
    meter, best = Meter(Clock(), torch.device("cpu")), BestModel(TrainingArguments())
    parts = {"place": Place(), "clock": Clock(), "meter": meter, "best": best}
    for name, expected in {"setup": {}, **{name: part.state() for name, part in parts.items()}}.items():
        if not isinstance(state.get(name), dict):
            return {}, f"{STATE_FILE} holds no {name} that this version can read"
        if expected.keys() - state[name].keys():
            return {}, f"{STATE_FILE} does not say all of its {name} that this version needs"
        wrong = next((key for key, value in expected.items() if not _is_like(value, state[name][key])), None)
        if wrong is not None:
            return {}, f"{STATE_FILE} says {str(state[name][wrong])[:20]!r} where {name} has its {wrong}"
    entries = state.get("history")
    if not isinstance(entries, list) or not all(
        isinstance(one, dict) and _is_like(0, one.get("step")) and _is_like(0.0, one.get("epoch")) for one in entries
    ):
        return {}, f"{STATE_FILE} holds no history of steps and epochs"
    return state, None


def _is_like(expected: bool | float | None, value: Any) -> bool:
    """Whether a value is of the same kind: a truth, a count or a number, or a number that is not known yet."""
    if expected is None and value is None:
        return True
    if isinstance(expected, bool) or isinstance(value, bool):
        return isinstance(expected, bool) and isinstance(value, bool)
    if isinstance(expected, int):
        return isinstance(value, int) and 0 <= value < 2**63
    return isinstance(value, int | float) and abs(value) < 1e308


def step_of(path: Path) -> int:
    """The step in the name of a folder of checkpoints."""
    return int(path.name.rsplit("-", 1)[1])


def load_checkpoint(accelerator: Accelerator, path: Path) -> None:
    """
    Load what [`CheckpointFolder.save`] wrote into everything `accelerator` has prepared; without running pickled code.

    Raises:
        CheckpointError: If the model or optimizer does not fit or cannot be read.
    """
    try:
        accelerator.load_state(str(path), load_kwargs={"weights_only": True})
    except Exception as error:
        reason = in_one_line(error, 300)
        raise CheckpointError(f"The checkpoint {path} does not fit this run: {reason}") from error


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """
    Put whole weights into an unwrapped model, whose own may be divided among processes. Called by every process.

    Tied weights may be there under one of their names alone.
    """
    # A tied weight is put in under the first of its names: torch divides no other.
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    every_name = model.named_parameters(remove_duplicate=False)
    named = {first[id(parameter)]: weights[name] for name, parameter in every_name if name in weights}
    named |= {name: weights[name] for name, _ in model.named_buffers() if name in weights}
    set_model_state_dict(model, named, options=StateDictOptions(full_state_dict=True, strict=False))


def read_checkpoint(accelerator: Accelerator, path: Path) -> Checkpoint:
    """
    Read our own part of a checkpoint: JSON and safetensors.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        return _read_parts(accelerator, path)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read: {in_one_line(error, 300)}") from error


def _read_parts(accelerator: Accelerator, path: Path) -> Checkpoint:
    position = path / POSITION_FILE.format(accelerator.process_index)
    carried = path / CARRIED_FILE.format(accelerator.process_index)
    average = path / AVERAGE_FILE
    return Checkpoint(
        read_state(path)[0],
        json.loads(position.read_text(encoding="utf-8")) if position.is_file() else None,
        load_file(carried, device=_device_name(accelerator)) if carried.is_file() else None,
        load_file(average) if average.is_file() else None,
    )


def _device_name(accelerator: Accelerator) -> str:
    """As safetensors takes it: it knows no `cpu:0`, which Accelerate says in a run of several processes."""
    return "cpu" if accelerator.device.type == "cpu" else str(accelerator.device)
