"""Averages of the weights that a run passed through."""

from collections.abc import Callable

import torch
from safetensors.torch import load_file
from transformers.utils import logging

from .checkpoints import CheckpointFolder, load_weights, step_of
from .integrity import WEIGHTS, find_damage, remove_at_once
from .loop import TrainingLoop


logger = logging.get_logger(__name__)


class WeightAverager:
    """
    Keeps the weights of the last evaluations beside the run's checkpoints, and averages them.

    The mean of the last few checkpoints lies nearer to the middle of the region that training circles in than any of
    them (Vaswani et al. 2017, section 6.1; Izmailov et al. 2018, arXiv 1803.05407). A resumed run averages what an
    uninterrupted one would have averaged.

    Args:
        count: How many are averaged; 0 to keep none.
    """

    def __init__(self, count: int):
        self.count = count

    def add(self, loop: TrainingLoop) -> None:
        """
        Keep the weights of this step; called by every process, at each evaluation.

        Raises:
            CheckpointError: If they cannot be written.
        """
        if not self.count:
            return
        loop.checkpoints.save_weights(loop.accelerator, loop.model, f"weights-{loop.step:08d}")
        if loop.accelerator.is_main_process:
            self._prune(loop.checkpoints)

    def keep_better(self, loop: TrainingLoop, score: Callable[[], float]) -> dict[str, float]:
        """
        Leave in the model its present weights or the mean of the kept ones, whichever scores higher.

        Args:
            loop: After training, with the best weights in its model.
            score: How good the model is as it stands, by validation; the same on every process.

        Returns:
            The score of each: `best`, and `average of N` if there is something to average.
        """
        model = loop.unwrapped_model
        scores = {"best": score()}
        kept = [path for path in loop.checkpoints.named("weights") if step_of(path) <= loop.step][-self.count :]
        if damaged := [path.name for path in kept if find_damage(path)]:
            logger.warning(f"The average is taken without {', '.join(damaged)}, which is damaged.")
            kept = [path for path in kept if path.name not in damaged]
        if not self.count or len(kept) < 2:
            return scores
        best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        mean: dict[str, torch.Tensor] = {}
        for path in kept:
            for name, tensor in load_file(path / WEIGHTS).items():
                share = tensor.double() / len(kept)
                mean[name] = mean[name] + share if name in mean else share
        load_weights(model, {name: tensor.to(best[name].dtype) for name, tensor in mean.items()})
        average = f"average of {len(kept)}"
        scores[average] = score()
        if scores[average] <= scores["best"]:
            model.load_state_dict(best)
        else:
            loop.record.kept["average_of"] = len(kept)
        return scores

    def _prune(self, checkpoints: CheckpointFolder) -> None:
        # A run that goes on from its oldest checkpoint needs the weights before that one.
        oldest = min(map(step_of, checkpoints.steps()), default=None)
        old = [path for path in checkpoints.named("weights") if oldest is None or step_of(path) <= oldest]
        for path in old[: -self.count]:
            remove_at_once(path)
