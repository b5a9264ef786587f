"""Averages of the weights, beside those that are trained: what a run validates and saves."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .checkpoints import load_weights


COUNT = "n_averaged"


@contextmanager
def unchanged(weights: Iterable[torch.Tensor]) -> Iterator[None]:
    """After what is done within, these have again what they had before, to the bit."""
    weights = list(weights)
    before = [weight.detach().clone() for weight in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, own in zip(weights, before, strict=True):
                weight.copy_(own)


class MovingAverage:
    """
    After step `t` the mean of the weights after the steps `1..t`, those of step `i` with the share `D^(t-i)` (Polyak
    & Juditsky 1992; Kingma & Ba 2015, arXiv 1412.6980, section 7.2, with its correction of the bias):

        average_t = average_{t-1} + (1 - D) / (1 - D^t) * (weights_t - average_{t-1})

    So the initial weights are not in it, and a short run has about the mean of all its steps. Frozen weights and
    buffers are those of the model; a tied weight is averaged once, and each process of a sharded model averages its
    own part.

    Args:
        model: As it is trained, prepared or not.
        decay: `D`, from 0, where the average is the weights themselves, to below 1; None to keep none.
    """

    def __init__(self, model: nn.Module, decay: float | None):
        self._named = {} if decay is None else {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._trained = nn.ParameterList(self._named.values())
        # Of the weights and not of the model, since a sharded one cannot be copied.
        self._average = AveragedModel(self._trained, multi_avg_fn=self._update)
        self._decay = decay

    def _update(self, averages: list[torch.Tensor], weights: list[torch.Tensor], count: torch.Tensor) -> None:
        share = (1 - self._decay) / (1 - self._decay ** (int(count) + 1))
        get_ema_multi_avg_fn(1 - share)(averages, weights, count)

    def update(self) -> None:
        """Take in the weights after a step."""
        if self._named:
            self._average.update_parameters(self._trained)

    @torch.no_grad()
    def put_in(self) -> None:
        """Leave the average in the model, if there has been a step."""
        if self._average.n_averaged > 0:
            for weight, average in zip(self._trained, self._average.module, strict=True):
                weight.copy_(average)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model has the average; after that, the weights that are trained, to the bit."""
        with unchanged(self._trained):
            self.put_in()
            yield

    def state(self) -> dict[str, torch.Tensor] | None:
        """What a checkpoint holds of it: whole weights by their names in the model. Called by every process."""
        if not self._named:
            return None
        whole = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for tensor in self._average.module)
        state = {name: tensor.detach().contiguous() for name, tensor in zip(self._named, whole, strict=True)}
        return {COUNT: self._average.n_averaged, **state}

    @torch.no_grad()
    def load(self, model: nn.Module, state: dict[str, torch.Tensor] | None) -> None:
        """
        Take up what [`MovingAverage.state`] gave. Called by every process.

        Args:
            model: The model, unwrapped: its weights are the average after that, until a checkpoint's are loaded.
            state: None where the run before kept no average: then it begins now.

        Raises:
            ValueError: If it is the average of other weights.
        """
        if not self._named or state is None:
            return
        expected = self.state()
        if any(name not in state or state[name].shape != tensor.shape for name, tensor in expected.items()):
            raise ValueError("its moving average is one of other weights")
        load_weights(model, {name: tensor for name, tensor in state.items() if name != COUNT})
        for average, weight in zip(self._average.module, self._trained, strict=True):
            average.copy_(weight)
        self._average.n_averaged.copy_(state[COUNT])


class AverageOfOptimizer:
    """
    The average that an optimizer keeps in its own state and checkpoint, in the place of a [`MovingAverage`].

    Args:
        optimizer: Prepared or not; `eval()` puts its average into the model, and `train()` takes it out.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self._optimizer = optimizer

    def update(self) -> None:
        """Each step has."""

    def put_in(self) -> None:
        """Leave the average in the model."""
        self._optimizer.eval()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model has the average; after that, the weights that are trained, to the bit."""
        with unchanged(weight for group in self._optimizer.param_groups for weight in group["params"]):
            self.put_in()
            try:
                yield
            finally:
                self._optimizer.train()

    def state(self) -> None:
        """Nothing but what the optimizer's has."""

    def load(self, model: nn.Module, state: dict[str, torch.Tensor] | None) -> None:
        """Nothing: the optimizer's state has it."""
