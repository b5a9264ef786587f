"""What is known of a number that a metric gives, in one place: its name, direction, unit, definition and tolerance."""

import math
from dataclasses import dataclass
from typing import ClassVar

import datasets
import evaluate

from .spread import Spread


ROUNDING = 1e-3
"""How far two machines may be apart in float32, relative to the number."""

MIXED_PRECISION = 1e-2
"""The same after training or evaluation in bfloat16 or float16."""

DATA_UNIT = "the data's"
"""Unit of a score that is counted in whatever the data is."""


@dataclass(frozen=True)
class Score:
    """
    A number in `run.json`, as everything that shows, compares or verifies it needs to know it.

    Attributes:
        key: Its key in `run.json`.
        name: Its name for readers.
        definition: Exactly what is computed. Places such as `{classes}` are filled in from the record of a run, by
            its task.
        greater_is_better: Its direction; `None` where it has none, but a `target`.
        unit: Unit for readers; empty for a number without one.
        is_share: Whether it lies between 0 and 1; it is shown in percent.
        digits: Decimals that are shown, in percent for a share.
        weight_of_an_example: How much one example of `n`, decided otherwise by a rounding error, changes the number,
            times `n`. 0 where no example is decided.
        is_of_texts: Whether an example is a text that the model writes, of which mixed precision has many written
            otherwise.
        is_sampled: Whether it is the share of samples drawn at random: computed again it is that of other samples.
        type: Its name in the Hub's `model-index`, if that is not the key.
        target: What it should be, where neither more nor less is better.
    """

    key: str
    name: str
    definition: str
    greater_is_better: bool | None
    unit: str = ""
    is_share: bool = False
    digits: int = 3
    weight_of_an_example: float = 0.0
    is_of_texts: bool = False
    is_sampled: bool = False
    type: str | None = None
    target: float | None = None

    @property
    def better(self) -> str:
        """Its direction in a word or two: more, less, or near its target."""
        if self.greater_is_better is None:
            return f"near {self.shown(self.target)}"
        return "more" if self.greater_is_better else "less"

    def shown(self, value: float | None) -> str:
        """`value` as a table has it; empty if there is none."""
        if value is None:
            return ""
        return f"{value:.{self.digits}%}" if self.is_share else f"{value:.{self.digits}f}"

    def shown_spread(self, spread: Spread) -> str:
        """Mean and deviation over several runs, as a table has them."""
        around = "" if spread.deviation is None else f" ± {self.shown(spread.deviation)}"
        return f"{self.shown(spread.mean)}{around}"

    def agrees(self, claimed: float, found: float, count: int | None = None, mixed_precision: bool = False) -> bool:
        """
        Whether a number computed again is the one that was claimed, but for what may differ between two machines.

        A share of samples drawn at random is compared with that of other samples: four standard errors apart is not
        chance.

        Args:
            claimed: The one number.
            found: The other.
            count: Examples, or samples, that it was computed over; `None` if that is not known.
            mixed_precision: Whether the run computed in less than float32.
        """
        if self.is_sampled and count:
            share = min(1.0, max(0.0, (claimed + found) / 2))
            return abs(claimed - found) <= 4 * math.sqrt(2 * share * (1 - share) / count) + 1 / count
        examples = 1.0
        if self.is_of_texts and mixed_precision and count:
            # bfloat16 and float32 write one text in sixteen otherwise (66 of 1,014 by a GRU and five beams), by chance
            # for better or worse: sqrt(n / 16) of n texts, of which each counts some half of what it could.
            examples = max(1.0, math.sqrt(count) / 8)
        decided_otherwise = examples * self.weight_of_an_example / count if count else 0.0
        rounding = MIXED_PRECISION if mixed_precision else ROUNDING
        return math.isclose(claimed, found, rel_tol=rounding, abs_tol=max(1e-4, decided_otherwise))


ONE_EXAMPLE = 1.5
"""For the share of right examples: one of them, and half as much again for the rounding of what was written down."""

ONE_SENTENCE = 100.0
"""For a corpus score in percent: a sentence that is written otherwise counts 100 / n at most."""


class OfflineMetric(evaluate.Metric):
    """
    A metric that needs no network and, in a single process, no file either.

    Attributes:
        scores: What is known of each number that it gives.
        inputs: What predictions and references are, as the section of a docstring.
        columns: Their types; a list of several where it takes either.
        software: The address of what computes it, where a paper alone does not say.
    """

    scores: ClassVar[tuple[Score, ...]] = ()
    inputs: ClassVar[str]
    columns: ClassVar[datasets.Features | list[datasets.Features]]
    software: ClassVar[str] = ""

    def __init__(self, **kwargs):
        kwargs.setdefault("keep_in_memory", kwargs.get("num_process", 1) == 1)
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation=self.software,
            inputs_description=self.inputs,
            features=self.columns,
        )
