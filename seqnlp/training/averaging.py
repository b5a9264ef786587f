"""Averages of the weights that a run passed through."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from .checkpoints import load_weights
from .loop import TrainingLoop


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
        """Keep the weights of this step; called by every process, at each evaluation."""
        if not self.count:
            return
        root, accelerator = loop.checkpoints.root, loop.accelerator
        state_dict = accelerator.get_state_dict(loop.model)
        if accelerator.is_main_process:
            target = root / f"weights-{loop.step:08d}"
            temporary = root / f"tmp-{target.name}"
            accelerator.unwrap_model(loop.model).save_pretrained(temporary, state_dict=state_dict)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
            self._prune(root, [int(path.name.split("-")[1]) for path in loop.checkpoints.steps()])
        accelerator.wait_for_everyone()

    def keep_better(self, loop: TrainingLoop, score: Callable[[], float]) -> dict[str, float]:
        """
        Leave in the model its present weights or the mean of the kept ones, whichever scores higher.

        Args:
            loop: After training, with the best weights in its model.
            score: How good the model is as it stands, by validation; the same on every process.

        Returns:
            The score of each: `best`, and `average of N` if there is something to average.
        """
        model = loop.accelerator.unwrap_model(loop.model)
        scores = {"best": score()}
        kept = [path for path in _kept(loop.checkpoints.root) if _step(path) <= loop.step][-self.count :]
        if not self.count or len(kept) < 2:
            return scores
        best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        mean: dict[str, torch.Tensor] = {}
        for path in kept:
            for name, tensor in load_file(path / "model.safetensors").items():
                share = tensor.double() / len(kept)
                mean[name] = mean[name] + share if name in mean else share
        load_weights(model, {name: tensor.to(best[name].dtype) for name, tensor in mean.items()})
        average = f"average of {len(kept)}"
        scores[average] = score()
        if scores[average] <= scores["best"]:
            model.load_state_dict(best)
        return scores

    def _prune(self, root: Path, checkpoints: list[int]) -> None:
        # A run that goes on from its oldest checkpoint needs the weights before that one.
        oldest = min(checkpoints, default=None)
        old = [path for path in _kept(root) if oldest is None or _step(path) <= oldest]
        for path in old[: -self.count]:
            shutil.rmtree(path)


def _kept(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("weights-*") if re.fullmatch(r"weights-\d{8,}", path.name))


def _step(path: Path) -> int:
    return int(path.name.split("-")[1])
