"""What several runs that differ by their seed say of a number: its mean and its standard deviation."""

import statistics
from collections.abc import Iterable
from typing import NamedTuple


NUM_RESAMPLES = 1000
"""Samples of the held-out data behind an interval by the bootstrap."""


class Spread(NamedTuple):
    """
    Mean and deviation of the values of a number.

    Attributes:
        mean: Their mean.
        deviation: Their standard deviation, the square root of the sum of squares divided by their number less one
            (Bessel's correction); `None` for one value.
    """

    mean: float
    deviation: float | None


def spread_of(values: Iterable[float]) -> Spread:
    """Mean and standard deviation of at least one value."""
    values = list(values)
    return Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)
