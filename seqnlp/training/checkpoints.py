"""Checkpoints: written whole or not at all, checked before they are read, pruned."""

import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from transformers.utils import logging

from .integrity import find_damage, seal, sync
from .run_record import write_json


logger = logging.get_logger(__name__)

STATE_FILE = "loop_state.json"
POSITION_FILE = "data_position_{}.json"
CARRIED_FILE = "carried_state_{}.safetensors"
UNFINISHED = "unfinished"


class CheckpointError(ValueError):
    """A checkpoint that is not there, does not fit or cannot be written."""


class Checkpoint(NamedTuple):
    """
    What a checkpoint holds besides what Accelerate has prepared.

    Attributes:
        state: The loop's own state, the same on every process.
        position: This process's place in streamed data.
        carried: The recurrent state that this process carries to its next batch.
    """

    state: dict[str, Any]
    position: dict[str, Any] | None = None
    carried: dict[str, torch.Tensor] | None = None


class CheckpointFolder:
    """
    The checkpoints of one run: `step-00000123/` for resuming, `best-00000100/` with the weights of the best model so
    far. Each appears by a rename, after it is on the disk with a manifest by which damage is recognised. Several
    machines need a file system that they share.

    Args:
        output_dir: The run's folder; they are in `checkpoints/` below it.
        limit: How many `step-...` are kept.
    """

    def __init__(self, output_dir: str | Path, limit: int = 1):
        self.root = Path(output_dir) / "checkpoints"
        self.limit = limit

    def steps(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(path for path in self.root.glob("step-*") if re.fullmatch(r"step-\d+", path.name))

    @property
    def is_unfinished(self) -> bool:
        """Whether the last run that wrote here stopped before its end."""
        return (self.root / UNFINISHED).is_file() and bool(self.steps())

    def begin(self, accelerator: Accelerator, resume: bool) -> None:
        """Make the folder; without `resume`, an empty one."""
        if accelerator.is_main_process:
            if not resume:
                shutil.rmtree(self.root, ignore_errors=True)
            self.root.mkdir(parents=True, exist_ok=True)
            for leftover in self.root.glob("tmp-*"):
                shutil.rmtree(leftover)
            (self.root / UNFINISHED).touch()
        accelerator.wait_for_everyone()

    def finish(self, accelerator: Accelerator) -> None:
        """Mark the run as finished; its last checkpoint stays, so that it can be trained on."""
        if accelerator.is_main_process:
            (self.root / UNFINISHED).unlink(missing_ok=True)

    def save(self, accelerator: Accelerator, checkpoint: Checkpoint) -> None:
        """
        Write a checkpoint, then remove those that are no longer needed. Called by every process.

        Raises:
            CheckpointError: If it cannot be written, as on a full disk; the ones before it stay as they are.
        """
        step = checkpoint.state["step"]

        def write(folder: Path) -> None:
            accelerator.save_state(str(folder))
            if checkpoint.position is not None:
                write_json(folder / POSITION_FILE.format(accelerator.process_index), checkpoint.position)
            if checkpoint.carried is not None:
                save_file(checkpoint.carried, folder / CARRIED_FILE.format(accelerator.process_index))
            if accelerator.is_main_process:
                write_json(folder / STATE_FILE, checkpoint.state)

        self._write_whole(accelerator, self.root / f"step-{step:08d}", write)
        if accelerator.is_main_process:
            self._prune(step)
        accelerator.wait_for_everyone()

    def best(self, step: int) -> Path:
        """Where the weights of the best model, found at this step, are kept."""
        return self.root / f"best-{step:08d}"

    def save_best(self, accelerator: Accelerator, model, step: int) -> None:
        """
        Keep this model's weights, the best so far. Called by every process.

        Raises:
            CheckpointError: If they cannot be written.
        """
        state_dict = accelerator.get_state_dict(model)

        def write(folder: Path) -> None:
            if accelerator.is_main_process:
                accelerator.unwrap_model(model).save_pretrained(folder, state_dict=state_dict)

        self._write_whole(accelerator, self.best(step), write)

    def _write_whole(self, accelerator: Accelerator, target: Path, write: Callable[[Path], None]) -> None:
        """Let every process write into a temporary folder, seal it and give it its name; or leave no trace."""
        temporary = self.root / f"tmp-{target.name}"
        error = None
        for part in (lambda: write(temporary), lambda: self._publish(accelerator, temporary, target)):
            try:
                part()
            except Exception as raised:
                error = raised
            failures = torch.tensor(int(error is not None), device=accelerator.device)
            if int(accelerator.reduce(failures, reduction="sum")):
                self._give_up(accelerator, temporary, target, error)

    def _publish(self, accelerator: Accelerator, temporary: Path, target: Path) -> None:
        if accelerator.is_main_process:
            seal(temporary)
            if target.exists():
                self._remove(target)
            temporary.rename(target)
            sync(self.root)

    def _give_up(self, accelerator: Accelerator, temporary: Path, target: Path, error: Exception | None) -> None:
        reason = "another process could not write its part" if error is None else " ".join(str(error).split())[:200]
        # torch says no more than that it failed, so the disk is asked.
        if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(self.root).free < 2**20:
            reason = "no space is left on the disk"
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        steps = self.steps()
        last = f"The last good checkpoint is {steps[-1]}" if steps else "There is no checkpoint before it"
        raise CheckpointError(
            f"{target.name} could not be written to {self.root}: {reason}. {last}; when there is room, go on by "
            "--resume_from_checkpoint latest."
        ) from error

    def _prune(self, step: int) -> None:
        for path in self.steps():  # a run resumed from an earlier one has left that future, or it was damaged
            if int(path.name.removeprefix("step-")) > step:
                self._remove(path)
        for path in self.steps()[: -self.limit]:
            self._remove(path)
        # A best model goes only when no checkpoint refers to it any more: one may be resumed from.
        needed = {self._best_of(path) for path in self.steps()}
        for path in self.root.glob("best-*"):
            if path not in needed:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        """At once, as far as anyone can see: half a checkpoint is never found under its name."""
        shutil.rmtree(path.rename(self.root / f"tmp-removed-{path.name}"))

    def _best_of(self, path: Path) -> Path | None:
        """The best model that a checkpoint refers to, if it can be read and there was one."""
        try:
            state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return None if state["best_metric"] is None else self.best(state["best_step"])

    def _damage(self, path: Path) -> str | None:
        damage, best = find_damage(path), self._best_of(path)
        if damage is None and best is not None and best.parent == path.parent:
            damage = find_damage(best)
            return damage and f"of its best model in {best.name}, {damage}"
        return damage

    def find(self, name: str) -> Path:
        """
        The checkpoint that `--resume_from_checkpoint` names: a folder, or `latest` for the last one that is whole.

        Raises:
            CheckpointError: If it is not there or damaged.
        """
        if name != "latest":
            if not Path(name).is_dir():
                raise CheckpointError(
                    f"--resume_from_checkpoint {name}: there is no such checkpoint; use 'latest' or its folder."
                )
            if damage := self._damage(Path(name)):
                raise CheckpointError(f"--resume_from_checkpoint {name}: it is damaged ({damage}); use another.")
            return Path(name)
        steps = self.steps()
        if not steps:
            raise CheckpointError(
                f"--resume_from_checkpoint latest: there is no checkpoint in {self.root}. Leave the flag out to begin "
                "anew."
            )
        for path in reversed(steps):
            damage = self._damage(path)
            if damage is None:
                return path
            logger.warning(f"The checkpoint {path} is damaged ({damage}): the one before it is used.")
        raise CheckpointError(
            f"--resume_from_checkpoint latest: every checkpoint in {self.root} is damaged. Leave the flag out and "
            "give --overwrite_output_dir to begin anew."
        )


def load_checkpoint(accelerator: Accelerator, path: Path) -> None:
    """
    Load what [`CheckpointFolder.save`] wrote into everything `accelerator` has prepared; without running pickled code.

    Raises:
        CheckpointError: If the model or optimizer does not fit or cannot be read.
    """
    try:
        accelerator.load_state(str(path), load_kwargs={"weights_only": True})
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
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
    """Read our own part of a checkpoint: JSON and safetensors."""
    position = path / POSITION_FILE.format(accelerator.process_index)
    carried = path / CARRIED_FILE.format(accelerator.process_index)
    return Checkpoint(
        json.loads((path / STATE_FILE).read_text(encoding="utf-8")),
        json.loads(position.read_text(encoding="utf-8")) if position.is_file() else None,
        load_file(carried, device=_device_name(accelerator)) if carried.is_file() else None,
    )


def _device_name(accelerator: Accelerator) -> str:
    """As safetensors takes it: it knows no `cpu:0`, which Accelerate says in a run of several processes."""
    return "cpu" if accelerator.device.type == "cpu" else str(accelerator.device)
