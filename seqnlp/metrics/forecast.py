"""How far predictions of a series are from what came, and the forecasts that need no model."""

import numpy as np
from tabulate import tabulate

from ..digits import significant
from .interval_forecast import COVERAGE_SCORES, CRPS_SCORES, INTERVAL_SCORES, WIDTH_SCORES, interval_scores
from .score import DATA_UNIT, Score


POINT_SCORES = (
    Score(
        "mae",
        "MAE",
        "mean absolute error over all observed numbers of the future, in the data's units",
        greater_is_better=False,
        unit=DATA_UNIT,
    ),
    Score(
        "rmse",
        "RMSE",
        "root of the mean squared error over all observed numbers, in the data's units",
        greater_is_better=False,
        unit=DATA_UNIT,
    ),
    Score(
        "nrmse",
        "NRMSE",
        "the same with each channel's error divided by its standard deviation over the training series",
        greater_is_better=False,
    ),
    Score(
        "rmse_last",
        "RMSE, last step",
        "root of the mean squared error at the last predicted step",
        greater_is_better=False,
        unit=DATA_UNIT,
    ),
)
"""Of the value that a forecast says."""

FORECAST_SCORES = (*POINT_SCORES, *CRPS_SCORES, *INTERVAL_SCORES)
"""What [`forecast_scores`] gives; those of intervals where there are some."""


def forecast_report(count: int, results: dict[str, dict[str, float]], unit: str) -> str:
    """
    The scores of a model and of what it is compared with, as text to print: a table of all, and below it one of those
    that say how sure they are.

    Args:
        count: Number of forecasts.
        results: The scores of each, by name; those of the model first.
        unit: Of the values.
    """

    def header(score: Score, name: str) -> str:
        return f"{name} ({unit})" if score.unit == DATA_UNIT else name

    scores = (*POINT_SCORES, *CRPS_SCORES)
    rows = [
        [name.replace("_", " "), *(significant(found[s.key]) if s.key in found else "" for s in scores)]
        for name, found in results.items()
    ]
    tables = [tabulate(rows, ["forecast", *(header(s, s.key) for s in scores)], disable_numparse=True)]
    rows = [
        [
            name.replace("_", " "),
            *(score.shown(found[score.key]) for score in COVERAGE_SCORES),
            *(significant(found[score.key]) for score in WIDTH_SCORES),
        ]
        for name, found in results.items()
        if COVERAGE_SCORES[0].key in found
    ]
    if rows:
        headers = [*(s.name for s in COVERAGE_SCORES), *(header(s, s.key.replace("_", " ")) for s in WIDTH_SCORES)]
        tables.append(tabulate(rows, ["what came was", *headers], disable_numparse=True))
    return "\n\n".join([f"{count:,} forecasts", *tables])


def forecast_scores(
    predictions: np.ndarray,
    future: np.ndarray,
    observed: np.ndarray,
    std: np.ndarray,
    crps: np.ndarray | None = None,
    intervals: np.ndarray | None = None,
) -> dict[str, float]:
    """
    Errors over all observed numbers of the future.

    Args:
        predictions: `(num_series, steps, channels)`.
        future: What came, of the same shape.
        observed: Of the same shape, true where a number was observed.
        std: `(channels,)`, the standard deviation of each channel over the training series.
        crps: Of the same shape as `predictions`, the CRPS of each number; the absolute error of a point forecast if
            it is not given.
        intervals: `(num_series, steps, channels, levels, 2)`, central intervals, if there are some.

    Returns:
        `mae`, the mean absolute error, and `rmse`, the root of the mean squared error, in the data's units; `nrmse`,
        the root of the mean squared error with each channel divided by `std`; `rmse_last`, `rmse` at the last step;
        `crps` and `ncrps`; and those of [`INTERVAL_SCORES`].
    """
    error = np.where(observed, predictions - future, 0.0).astype(np.float64)
    crps = np.abs(error) if crps is None else np.where(observed, crps, 0.0)
    count = observed.sum()

    def root_mean_square(values, number):
        return float(np.sqrt((values**2).sum() / number)) if number else float("nan")

    return {
        "mae": float(np.abs(error).sum() / count),
        "rmse": root_mean_square(error, count),
        "nrmse": root_mean_square(error / np.asarray(std), count),
        "rmse_last": root_mean_square(error[:, -1], observed[:, -1].sum()),
        "crps": float(crps.sum() / count),
        "ncrps": float((crps / np.asarray(std)).sum() / count),
        **({} if intervals is None else interval_scores(intervals, future, observed)),
    }


def last_value_forecast(past: np.ndarray, observed: np.ndarray, steps: int) -> np.ndarray:
    """Each channel's last observed value, `steps` times: `(B, C, D)` to `(B, steps, D)`, 0 where none was observed."""
    value, _ = _last_observed(past, observed)
    return np.repeat(value[:, None], steps, axis=1)


def straight_line_forecast(past: np.ndarray, observed: np.ndarray, steps: int) -> np.ndarray:
    """
    The straight line through each channel's last two observed values, `(B, C, D)` to `(B, steps, D)`.

    It starts at the end of the past, also where the last observation was earlier. With fewer than two observations it
    stays at the last one.
    """
    value, last = _last_observed(past, observed)
    positions = np.arange(past.shape[1])[None, :, None]
    before_value, before = _last_observed(past, observed & (positions < last[:, None]))
    has_two = before >= 0
    slope = np.where(has_two, (value - before_value) / np.where(has_two, last - before, 1), 0.0)
    ahead = (past.shape[1] - 1 - last)[:, None] + np.arange(1, steps + 1)[None, :, None]
    return value[:, None] + slope[:, None] * ahead


def _last_observed(past: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and position of each channel's last observation, `(B, D)` each; 0 and -1 where there is none."""
    positions = np.arange(past.shape[1])[None, :, None]
    last = np.where(observed, positions, -1).max(axis=1)
    value = np.take_along_axis(past, last.clip(min=0)[:, None], axis=1)[:, 0]
    return np.where(last >= 0, value, 0.0), last
