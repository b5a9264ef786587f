"""Checkpoints: written whole or not at all, found again, pruned."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from .run_record import write_json


logger = logging.get_logger(__name__)

STATE_FILE = "loop_state.json"
POSITION_FILE = "data_position_{}.json"
CARRIED_FILE = "carried_state_{}.safetensors"
UNFINISHED = "unfinished"


class CheckpointError(ValueError):
    """A checkpoint that is not there or does not fit."""


class CheckpointFolder:
    """
    The checkpoints of one run: `step-00000123/` for resuming, `best-00000100/` with the weights of the best model so
    far.

    Args:
        output_dir: The run's folder; they are in `checkpoints/` below it.
        limit: How many `step-...` are kept.
    """

    def __init__(self, output_dir: str | Path, limit: int = 1):
        self.root = Path(output_dir) / "checkpoints"
        self.limit = limit

    def steps(self) -> list[Path]:
        """The complete checkpoints, oldest first."""
        found = [path for path in self.root.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
        return sorted(path for path in found if (path / STATE_FILE).is_file())

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

    def save(
        self,
        accelerator: Accelerator,
        state: dict[str, Any],
        position: dict[str, Any] | None = None,
        carried: dict[str, torch.Tensor] | None = None,
    ) -> Path:
        """
        Write a checkpoint under a temporary name and rename it when it is whole; then prune. Called by every process.

        Args:
            accelerator: Its models, optimizers and scaler are saved.
            state: The loop's own state, the same on every process.
            position: This process's place in streamed data.
            carried: The recurrent state that this process carries to its next batch.
        """
        target = self.root / f"step-{state['step']:08d}"
        temporary = self.root / f"tmp-{target.name}"
        accelerator.save_state(str(temporary))
        if position is not None:
            write_json(temporary / POSITION_FILE.format(accelerator.process_index), position)
        if carried is not None:
            save_file(carried, temporary / CARRIED_FILE.format(accelerator.process_index))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_json(temporary / STATE_FILE, state)
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
            self._prune()
        accelerator.wait_for_everyone()
        return target

    def _prune(self) -> None:
        for old in self.steps()[: -self.limit]:
            shutil.rmtree(old)
        # A best model goes only when no checkpoint refers to it any more: one may be resumed from.
        states = [json.loads((path / STATE_FILE).read_text(encoding="utf-8")) for path in self.steps()]
        needed = {self.best(state["best_step"]) for state in states}
        for path in self.root.glob("best-*"):
            if path not in needed:
                shutil.rmtree(path)

    def best(self, step: int) -> Path:
        """Where the weights of the best model, found at this step, are kept."""
        return self.root / f"best-{step:08d}"

    def save_best(self, accelerator: Accelerator, model, step: int) -> None:
        """Keep this model's weights, the best so far. Called by every process."""
        state_dict = accelerator.get_state_dict(model)
        if accelerator.is_main_process:
            target = self.best(step)
            temporary = self.root / f"tmp-{target.name}"
            accelerator.unwrap_model(model).save_pretrained(temporary, state_dict=state_dict)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        accelerator.wait_for_everyone()

    def find(self, name: str) -> Path:
        """
        The checkpoint that `--resume_from_checkpoint` names: a folder, or `latest`.

        Raises:
            CheckpointError: If it is not there or not whole.
        """
        if name == "latest":
            steps = self.steps()
            if not steps:
                raise CheckpointError(
                    f"--resume_from_checkpoint latest: there is no checkpoint in {self.root}. Leave the flag out to "
                    "begin anew."
                )
            return steps[-1]
        path = Path(name)
        if not (path / STATE_FILE).is_file():
            raise CheckpointError(
                f"--resume_from_checkpoint {name}: there is no whole checkpoint; use 'latest' or its folder."
            )
        return path


def load_checkpoint(
    accelerator: Accelerator, path: Path
) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, torch.Tensor] | None]:
    """
    Load what [`CheckpointFolder.save`] wrote into everything `accelerator` has prepared.

    Returns:
        The loop's own state, and this process's place in streamed data and carried recurrent state, if there are any.

    Raises:
        CheckpointError: If the model, optimizer or state does not fit or cannot be read.
    """
    position = path / POSITION_FILE.format(accelerator.process_index)
    carried = path / CARRIED_FILE.format(accelerator.process_index)
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        accelerator.load_state(str(path))
        return (
            state,
            json.loads(position.read_text(encoding="utf-8")) if position.is_file() else None,
            load_file(carried, device=str(accelerator.device)) if carried.is_file() else None,
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"The checkpoint {path} does not fit this run or is damaged: {reason}") from error
