"""How far predictions of a series are from what came, and the forecasts that need no model."""

import numpy as np
from tabulate import tabulate

from .score import Score


DATA_UNIT = "the data's"
"""Unit of a score that is counted in whatever the data is."""

FORECAST_SCORES = (
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
"""What [`forecast_scores`] gives."""


def forecast_report(count: int, results: dict[str, dict[str, float]], unit: str) -> str:
    """
    The scores of a model and of what it is compared with, as text to print.

    Args:
        count: Number of forecasts.
        results: The scores of each, by name; those of the model first.
        unit: Of the values.
    """
    in_units = {score.key for score in FORECAST_SCORES if score.unit == DATA_UNIT}
    names = [score.key for score in FORECAST_SCORES]
    rows = [[row.replace("_", " "), *(f"{found[name]:.4g}" for name in names)] for row, found in results.items()]
    headers = ["forecast", *(f"{name} ({unit})" if name in in_units else name for name in names)]
    return f"{count:,} forecasts\n\n{tabulate(rows, headers, disable_numparse=True)}"


def forecast_scores(
    predictions: np.ndarray, future: np.ndarray, observed: np.ndarray, std: np.ndarray
) -> dict[str, float]:
    """
    Errors over all observed numbers of the future.

    Args:
        predictions: `(num_series, steps, channels)`.
        future: What came, of the same shape.
        observed: Of the same shape, true where a number was observed.
        std: `(channels,)`, the standard deviation of each channel over the training series.

    Returns:
        `mae`, the mean absolute error, and `rmse`, the root of the mean squared error, in the data's units; `nrmse`,
        the root of the mean squared error with each channel divided by `std`; and `rmse_last`, `rmse` at the last
        step.
    """
    error = np.where(observed, predictions - future, 0.0).astype(np.float64)
    count = observed.sum()

    def root_mean_square(values, number):
        return float(np.sqrt((values**2).sum() / number)) if number else float("nan")

    return {
        "mae": float(np.abs(error).sum() / count),
        "rmse": root_mean_square(error, count),
        "nrmse": root_mean_square(error / np.asarray(std), count),
        "rmse_last": root_mean_square(error[:, -1], observed[:, -1].sum()),
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
