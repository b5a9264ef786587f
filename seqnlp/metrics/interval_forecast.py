"""How good a forecast is that says how sure it is: from sample paths, by the CRPS and by its central intervals."""

import numpy as np

from .score import DATA_UNIT, Score


LEVELS = (0.5, 0.8, 0.95)
"""Shares of what comes that the central intervals are to hold."""


def _key(kind: str, level: float) -> str:
    return f"{kind}_{round(100 * level)}"


CRPS_SCORES = (
    Score(
        "crps",
        "CRPS",
        "continuous ranked probability score over all observed numbers of the future, in the data's units: E|X - y| - "
        "E|X - X'| / 2 of independent draws X and X' of the forecast and what came, y (Gneiting & Raftery 2007, "
        "section 4.2), estimated without bias from the sample paths (Ferro 2014); of a point forecast its mean "
        "absolute error",
        greater_is_better=False,
        unit=DATA_UNIT,
    ),
    Score(
        "ncrps",
        "NCRPS",
        "the same with each channel divided by its standard deviation over the training series",
        greater_is_better=False,
    ),
)
"""Of every forecast."""

COVERAGE_SCORES = tuple(
    Score(
        _key("coverage", level),
        f"in the {100 * level:.0f} % interval",
        f"share of the observed numbers of the future in the central {100 * level:.0f} % interval of their forecast, "
        "whose ends are quantiles of the sample paths",
        greater_is_better=None,
        target=level,
        is_share=True,
        digits=1,
    )
    for level in LEVELS
)
WIDTH_SCORES = tuple(
    Score(
        _key("width", level),
        f"width of the {100 * level:.0f} % interval",
        f"mean width of the central {100 * level:.0f} % interval, in the data's units",
        greater_is_better=False,
        unit=DATA_UNIT,
    )
    for level in LEVELS
)
INTERVAL_SCORES = (*COVERAGE_SCORES, *WIDTH_SCORES)
"""Of a forecast by sample paths alone: what [`interval_scores`] gives."""


def crps_of_paths(paths: np.ndarray, values: np.ndarray) -> np.ndarray:
    """
    The CRPS of each number (Gneiting & Raftery 2007, Journal of the American Statistical Association 102, section
    4.2), by the estimator that is as large for few paths as for many (Ferro 2014, Quarterly Journal of the Royal
    Meteorological Society 140, "fair"): pairs of the same path twice do not count.

    Args:
        paths: `(num_paths, *shape)`, draws of the forecast; of one path it is the absolute error.
        values: `(*shape)`, what came.

    Returns:
        `(*shape)`, in the units of `values`.
    """
    count = len(paths)
    error = np.abs(paths - values).mean(axis=0)
    if count == 1:
        return error
    # The sum of |x_i - x_j| over i < j is that of (2 i - n - 1) x_i over the values in order, i from 1 to n.
    weights = (2 * np.arange(1, count + 1) - count - 1).reshape(-1, *[1] * values.ndim)
    return error - (weights * np.sort(paths, axis=0)).sum(axis=0) / (count * (count - 1))


def intervals_of_paths(paths: np.ndarray) -> np.ndarray:
    """
    The ends of the central intervals of [`LEVELS`], `(num_paths, *shape)` to `(*shape, levels, 2)`.

    They are quantiles of the sixth kind of Hyndman & Fan 1996 (The American Statistician 50), `p` at the place `p (n +
    1)` of `n` values in order: what comes lies below them with probability `p` if it is one more draw of the forecast,
    however few paths there are (from 39 on for the outermost ones).
    """
    shares = [(1 + side * level) / 2 for level in LEVELS for side in (-1, 1)]
    ends = np.quantile(paths, shares, axis=0, method="weibull")
    return np.moveaxis(ends, 0, -1).reshape(*paths.shape[1:], len(LEVELS), 2)


def interval_scores(intervals: np.ndarray, future: np.ndarray, observed: np.ndarray) -> dict[str, float]:
    """
    Coverage and mean width of central intervals, over all observed numbers of the future.

    Args:
        intervals: `(num_series, steps, channels, levels, 2)`, lower and upper ends, see [`intervals_of_paths`].
        future: `(num_series, steps, channels)`, what came.
        observed: Of that shape, true where a number was observed.
    """
    lower, upper = (intervals[observed][..., side] for side in (0, 1))  # (numbers, levels) each
    came = future[observed][:, None]
    inside, width = ((lower <= came) & (came <= upper)).mean(axis=0), (upper - lower).mean(axis=0)
    coverage = {_key("coverage", level): float(share) for level, share in zip(LEVELS, inside, strict=True)}
    return coverage | {_key("width", level): float(mean) for level, mean in zip(LEVELS, width, strict=True)}
