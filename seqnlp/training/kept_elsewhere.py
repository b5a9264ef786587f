"""What is kept among the temporary files where the folder of a run cannot be written to."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel

from .checkpoints import CheckpointError, CheckpointFolder, UnwrittenError


if TYPE_CHECKING:
    from .loop import TrainingLoop


def keep_state(loop: "TrainingLoop", error: UnwrittenError) -> CheckpointError:
    """
    Keep all that a training run needs to go on. Called by every process.

    Args:
        loop: Between two steps.
        error: What could not be written.

    Returns:
        The error to raise: it says where the state is kept, or is the one that was given where that cannot be.
    """

    def save(place: CheckpointFolder) -> Path:
        best = loop.checkpoints.best(loop.best.step)
        place.copy_whole(loop.accelerator, {path: path.name for path in (*loop.checkpoints.named("weights"), best)})
        if loop.best.metric is not None and loop.best.step == loop.step:
            with loop.average.in_use():
                place.save_weights(loop.accelerator, loop.model, best.name)
        place.save(loop.accelerator, loop.checkpoint_now())
        return place.steps()[-1]

    kept = _keep(loop.accelerator, save)
    if kept is None:
        return error
    return CheckpointError(
        f"{error.what}. All that was trained, {loop.step} of {loop.max_steps} steps, is kept in {kept}: go on by "
        f"--resume_from_checkpoint {kept} and another --output_dir."
    )


def keep_results(
    accelerator: Accelerator, model: PreTrainedModel, saves: list[Callable[[Path], Any]], error: UnwrittenError
) -> CheckpointError:
    """
    Keep a trained model with what makes its inputs. Called by every process.

    Args:
        accelerator: Has prepared the model.
        model: The model, prepared or not.
        saves: What else is saved beside it: each is given the folder.
        error: What could not be written.

    Returns:
        The error to raise, as for [`keep_state`].
    """
    kept = _keep(accelerator, lambda place: place.save_weights(accelerator, model, "results", *saves))
    if kept is None:
        return error
    return CheckpointError(f"{error.what}. The trained model, with what makes its inputs, is kept in {kept}.")


def _keep(accelerator: Accelerator, save: Callable[[CheckpointFolder], Path]) -> Path | None:
    """What `save` has written into a new folder; `None` where that fails, or the processes share no disk."""
    if accelerator.num_processes > int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes)):
        return None
    made: list[str | None] = [None]
    if accelerator.is_main_process:
        try:
            made = [tempfile.mkdtemp(prefix="seqnlp-")]
        except OSError:
            made = [None]
    folder = broadcast_object_list(made)[0]
    if folder is None:
        return None
    try:
        return save(CheckpointFolder(folder))
    except UnwrittenError:
        if accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        return None
