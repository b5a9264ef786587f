"""How far a run has come: its place, its time, its means and its best model, each with all of its state."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from .arguments import TrainingArguments


@dataclass
class Place:
    """
    Where training stands.

    Attributes:
        step: Optimizer steps so far.
        epoch: The pass over the data that the last step belonged to, from 0.
        examples: Examples read in that pass, by all processes.
        owes_validation: Whether the validation after the last step was broken off.
    """

    step: int = 0
    epoch: int = 0
    examples: int = 0
    owes_validation: bool = False

    def begin_epoch(self, epoch: int) -> None:
        """Nothing of this pass has been read yet."""
        self.epoch, self.examples = epoch, 0

    def state(self) -> dict[str, int | bool]:
        """What a checkpoint holds of it."""
        return asdict(self)

    def load(self, state: dict[str, int | bool]) -> None:
        """Take up what [`Place.state`] gave."""
        for name in self.state():
            setattr(self, name, state[name])


class Clock:
    """
    Wall-clock time in training, evaluation and the earlier runs of a resumed one included.

    Args:
        now: Tells the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self.now = now
        self._before = 0.0
        self._started = now()

    def start(self) -> None:
        """Training begins or goes on now."""
        self._started = self.now()

    @property
    def seconds_of_this_run(self) -> float:
        """Time since [`Clock.start`]."""
        return self.now() - self._started

    @property
    def seconds(self) -> float:
        """Time in all."""
        return self._before + self.seconds_of_this_run

    def state(self) -> dict[str, float]:
        """What a checkpoint holds of it."""
        return {"seconds": self.seconds}

    def load(self, state: dict[str, float]) -> None:
        """Take up what [`Clock.state`] gave."""
        self._before = state["seconds"]


class Stopwatch:
    """
    Time in training alone, since it was last started.

    Args:
        clock: Tells the time.
    """

    def __init__(self, clock: Clock):
        self._clock = clock
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._since = self._clock.now()

    @property
    def seconds(self) -> float:
        """Time since then, without the pauses."""
        return self._clock.now() - self._since

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count, such as a validation."""
        before = self._clock.now()
        try:
            yield
        finally:
            self._since += self._clock.now() - before


class Meter:
    """
    Means over the steps since training was last recorded.

    Args:
        clock: Tells the time.
        device: Where losses are added up, so that no step waits for them.
    """

    def __init__(self, clock: Clock, device: torch.device):
        self._watch = Stopwatch(clock)
        self._steps = self._targets = 0
        self._loss = torch.zeros((), device=device)
        self._clipped = torch.zeros((), device=device)

    @property
    def is_empty(self) -> bool:
        """Whether there was no step since."""
        return self._steps == 0

    def start(self) -> None:
        """Training begins or goes on now; what was trained before is not in the speed."""
        self._watch.start()
        self._targets = 0

    def add(self, loss: torch.Tensor, targets: int, is_clipped: torch.Tensor | None) -> None:
        """Count a step."""
        self._steps += 1
        self._targets += targets
        self._loss += loss
        if is_clipped is not None:
            self._clipped += is_clipped

    def paused(self) -> AbstractContextManager[None]:
        """Time that does not count as training, such as evaluation."""
        return self._watch.paused()

    def read(self) -> dict[str, float]:
        """The mean loss, the targets per second of training and the share of clipped steps; then begin anew."""
        seconds = self._watch.seconds
        values = {
            "train_loss": float(self._loss) / self._steps,
            "targets_per_second": round(self._targets / seconds, 1),
            "clipped_share": float(self._clipped) / self._steps,
        }
        self._steps = 0
        self._loss.zero_()
        self._clipped.zero_()
        self.start()
        return values

    def state(self) -> dict[str, float]:
        """What a checkpoint holds of it."""
        return {"steps": self._steps, "loss": float(self._loss), "clipped": float(self._clipped)}

    def load(self, state: dict[str, float]) -> None:
        """Take up what [`Meter.state`] gave."""
        self._steps = state["steps"]
        self._loss.fill_(float(state["loss"]))  # of any size: a tensor takes no whole number beyond 64 bits
        self._clipped.fill_(float(state["clipped"]))


class BestModel:
    """
    Which step's model validation has found best, and for how long none was better.

    Args:
        arguments: Say whether more of the metric is better.
    """

    def __init__(self, arguments: TrainingArguments):
        self._arguments = arguments
        self.metric: float | None = None
        self.step = 0
        self.evaluations_without_gain = 0

    def offer(self, metric: float, step: int) -> bool:
        """Take this step's model if it is the best so far, and say whether it is; NaN is never better."""
        sign = 1 if self._arguments.greater_is_better else -1
        if metric == metric and (self.metric is None or sign * metric > sign * self.metric):
            self.metric, self.step, self.evaluations_without_gain = metric, step, 0
            return True
        self.evaluations_without_gain += 1
        return False

    def forget(self) -> None:
        """Go on as if none had been found."""
        self.metric, self.step, self.evaluations_without_gain = None, 0, 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        gainless = self.evaluations_without_gain
        return {"metric": self.metric, "step": self.step, "evaluations_without_gain": gainless}

    def load(self, state: dict[str, Any]) -> None:
        """Take up what [`BestModel.state`] gave."""
        self.metric, self.step = state["metric"], state["step"]
        self.evaluations_without_gain = state["evaluations_without_gain"]
