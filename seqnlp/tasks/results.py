"""How numbers of several runs are written in a table."""

import statistics
from collections.abc import Iterable


def mean_and_deviation(values: Iterable[float], form: str) -> str:
    """Mean and standard deviation, each written in this form; one value alone has no deviation."""
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}}"


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation of shares, in percent."""
    return mean_and_deviation([100 * value for value in values], ".1f")


def decimals(values: Iterable[float]) -> str:
    """Mean and standard deviation with three decimals."""
    return mean_and_deviation(values, ".3f")
