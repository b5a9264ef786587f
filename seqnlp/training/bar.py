"""What a user sees while a model is trained: a bar, how long it will take, and lines between."""

from contextlib import AbstractContextManager
from types import TracebackType

import torch
from tqdm.auto import tqdm

from .progress import Clock, Stopwatch
from .run_record import held_bytes


SECONDS_WATCHED, STEPS_WATCHED = 3.0, 10
"""Training is watched for both, these seconds and these steps, before it is said how long it will take."""
SHORT = 20.0
"""Seconds to go of which nothing is said."""


class ProgressBar:
    """
    A bar on the terminal with the time left, the loss, targets per second and memory; said once as a line too, for
    those who read a log: the pace of the first steps and what follows from it.

    Args:
        clock: Tells the time of training.
        total: Steps in all.
        step: Steps that an earlier run has done.
        targets: What is predicted, in the plural.
        device: Where the model is.
        is_shown: False in every process but the main one.
    """

    def __init__(self, clock: Clock, total: int, step: int, targets: str, device: torch.device, is_shown: bool):
        self.total, self.targets, self.device, self.is_shown = total, targets, device, is_shown
        how = {"desc": "training", "unit": "step", "disable": not is_shown, "dynamic_ncols": True}
        self._bar = tqdm(total=total, initial=step, **how)
        self._first, self._watch = step, Stopwatch(clock)
        self._is_pace_told = False

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def write(self, text: str) -> None:
        """Show a line above the bar."""
        if self.is_shown:
            self._bar.write(text)

    def update(self, step: int) -> None:
        """A step is done."""
        self._bar.update()
        steps, seconds = step - self._first, self._watch.seconds
        if self._is_pace_told or steps < STEPS_WATCHED or seconds < SECONDS_WATCHED:
            return
        self._is_pace_told = True
        left = (self.total - step) * seconds / steps
        if left >= SHORT:
            each = f"{seconds / steps:.2g} s per step over the first {steps}"
            self.write(f"About {in_words(left)} to go, validations not counted: {each}.")

    def paused(self) -> AbstractContextManager[None]:
        """Time that does not count as steps, such as a validation."""
        return self._watch.paused()

    def show(self, loss: float, targets_per_second: float) -> None:
        """Beside the bar."""
        memory = held_bytes(self.device) / 2**30
        text = f"loss {loss:.3f}, {targets_per_second:,.0f} {self.targets}/s, {memory:.1f} GiB"
        self._bar.set_postfix_str(text, refresh=False)


def in_words(seconds: float) -> str:
    """A time as people say it: seconds below two minutes, minutes below two hours, then hours."""
    if seconds < 120:
        count, unit = max(1, round(seconds)), "second"
    elif seconds < 7200:
        count, unit = round(seconds / 60), "minute"
    else:
        return f"{seconds / 3600:.1f} hours"
    return counted(count, unit)


def counted(count: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{count} {noun}{'s' * (count != 1)}"
