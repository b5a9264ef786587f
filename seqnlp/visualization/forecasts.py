"""Predicted against true series, and what a model loses when it may not see the past."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .colors import BLUE, GRAY, GREEN, ORANGE, looks_of
from .plain import plain
from .saving import save_figure


def plot_examples(
    found: dict[str, np.ndarray],
    path: str | Path,
    title: str,
    channels: Sequence[str],
    unit: str,
    step: float,
    step_unit: str,
    box: tuple[float, float] | None = None,
    count: int = 6,
    levels: Sequence[float] = (),
) -> None:
    """
    Draw some forecasts, spread evenly over the test: paths in a box, or else the first channel over time.

    Args:
        found: `past_values`, `past_observed_mask`, `future_values`, `future_observed_mask` and `predictions`, each
            `(num_forecasts, steps, channels)`; and `intervals`, `(num_forecasts, steps, channels, levels, 2)`, of a
            forecast that has some, from the narrowest.
        path: Where the PNG goes.
        title: Stands above the picture.
        channels: Names of the channels.
        unit: Of the values.
        step: Time between two values.
        step_unit: What it is counted in.
        box: Width and height of the box around paths in the plane.
        count: Forecasts drawn, if there are as many.
        levels: Share that each of the `intervals` is to hold.
    """
    there = len(found["past_values"])
    chosen = np.linspace(0, there - 1, min(count, there)).round().astype(int)
    past, future = (
        np.where(found[f"{part}_observed_mask"][chosen], found[f"{part}_values"][chosen], np.nan)
        for part in ("past", "future")
    )
    predictions = found["predictions"][chosen]
    intervals = found["intervals"][chosen] if "intervals" in found else None
    if box is not None:
        # Bars of the interval in the middle: all of them, at each step of a path, hide each other.
        middle = None if intervals is None else (levels[len(levels) // 2], intervals[..., len(levels) // 2, :])
        plot_paths(past, future, predictions, path, box, title, unit, middle)
    else:
        first = past[..., 0], future[..., 0], predictions[..., 0]
        bands = None if intervals is None else dict(zip(levels, np.moveaxis(intervals[:, :, 0], 2, 0), strict=True))
        plot_forecasts(*first, path, title, f"{channels[0]} ({unit})", step, step_unit, bands)


def plot_paths(
    past: np.ndarray,
    future: np.ndarray,
    predictions: np.ndarray,
    path: str | Path,
    box: tuple[float, float] | None = None,
    title: str = "",
    unit: str = "m",
    interval: tuple[float, np.ndarray] | None = None,
) -> None:
    """
    Draw paths in the plane: the past that the model saw, what came, and what it said would come.

    Args:
        past: `(num_paths, steps, 2)`.
        future: `(num_paths, steps, 2)`.
        predictions: Of the shape of `future`.
        path: Where the PNG goes.
        box: Width and height of the box around them.
        title: Stands above the picture.
        unit: Of the coordinates.
        interval: The share that a central interval is to hold, and its ends along each axis, `(num_paths, steps, 2,
            2)`; bars show it.
    """
    figure, panels = _panels(len(past), 3.4, 3.0)
    for number, (axis, before, after, predicted) in enumerate(zip(panels, past, future, predictions, strict=True)):
        if interval is not None:
            level, ends = interval[0], interval[1][number]
            middle, half = ends.mean(axis=-1).T, (ends[..., 1] - ends[..., 0]).T / 2
            bars = {"fmt": "none", "ecolor": ORANGE, "alpha": 0.4, "linewidth": 0.8}
            bars["label"] = f"{100 * level:.0f} % interval along each axis"
            axis.errorbar(*middle, xerr=half[0], yerr=half[1], **bars)
        if box is not None:
            axis.plot([0, box[0], box[0], 0, 0], [0, 0, box[1], box[1], 0], color="black", linewidth=1)
        axis.plot(*before.T, ".-", color=GRAY, markersize=4, linewidth=0.8, label="past, as measured")
        axis.plot(*np.vstack([before[-1:], after]).T, "o-", color=BLUE, markersize=3, linewidth=1, label="true future")
        axis.plot(
            *np.vstack([before[-1:], predicted]).T,
            "x--",
            color=ORANGE,
            markersize=5,
            linewidth=1,
            label="predicted future",
        )
        axis.set_aspect("equal")
        axis.set_xlabel(plain(f"distance from the left wall ({unit})"))
        axis.set_ylabel(plain(f"height ({unit})"))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(plain(title))
    save_figure(figure, path, dpi=120)


def plot_forecasts(
    past: np.ndarray,
    future: np.ndarray,
    predictions: np.ndarray,
    path: str | Path,
    title: str = "",
    value_name: str = "value",
    step: float = 1.0,
    step_unit: str = "steps",
    bands: dict[float, np.ndarray] | None = None,
) -> None:
    """
    Draw one channel of some series over time: past, true future, predicted future, and the last observed value carried
    on, 0 where none was observed.

    Args:
        past: `(num_series, steps)`, NaN in gaps.
        future: `(num_series, steps)`, NaN in gaps.
        predictions: Of the shape of `future`.
        path: Where the PNG goes.
        title: Stands above the picture.
        value_name: Name and unit of the channel.
        step: Time between two values.
        step_unit: What it is counted in.
        bands: The ends of central intervals, `(num_series, steps, 2)`, by the share that each is to hold.
    """
    figure, panels = _panels(len(past), 3.6, 2.6)
    before = np.arange(-past.shape[1] + 1, 1) * step
    after = np.arange(future.shape[1] + 1) * step
    names = f"{', '.join(f'{100 * level:.0f}' for level in bands or ())} % intervals"
    for number, (axis, seen, came, predicted) in enumerate(zip(panels, past, future, predictions, strict=True)):
        for place, ends in enumerate((bands or {}).values()):
            edges = np.vstack([[seen[-1], seen[-1]], ends[number]]).T
            shade = {"color": ORANGE, "alpha": 0.15, "linewidth": 0}
            axis.fill_between(after, *edges, **shade, label=names if place == 0 else None)
        axis.plot(before, seen, ".-", color=GRAY, markersize=3, linewidth=0.8, label="past")
        axis.plot(after, [seen[-1], *came], "o-", color=BLUE, markersize=3, linewidth=1, label="true future")
        axis.plot(after, [seen[-1], *predicted], "x--", color=ORANGE, markersize=4, linewidth=1, label="predicted")
        last = next(iter(seen[~np.isnan(seen)][::-1]), 0.0)
        axis.axhline(last, color=GREEN, linestyle=":", linewidth=1.2, label="last value")
        axis.axvline(0, color="black", linewidth=0.6)
        axis.set_xlabel(plain(f"time from now ({step_unit})"))
        axis.set_ylabel(plain(value_name))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.suptitle(plain(title))
    save_figure(figure, path, dpi=120)


def plot_memory(
    errors: dict[int, float],
    others: dict[str, float],
    path: str | Path,
    title: str = "",
    unit: str = "m",
    architecture: str = "",
) -> None:
    """
    Draw a model's error against how many steps of the past it was shown.

    Args:
        errors: The model's error by how many steps it was shown, in increasing order.
        others: The errors of other forecasts, by name.
        path: Where the PNG goes.
        title: Stands above the picture.
        unit: Of the errors.
        architecture: Of the model, whose color it has.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    seen = list(errors)
    (look,) = looks_of([architecture])
    axis.plot(seen, list(errors.values()), **look.line() | {"linestyle": "-"}, label="the model")
    for (name, error), style in zip(others.items(), (":", "--", "-.", (0, (5, 1, 1, 1, 1, 1))), strict=False):
        axis.axhline(error, color=GRAY, linestyle=style, label=name.replace("_", " "))
    axis.set_xscale("log", base=2)
    axis.set_xticks(seen, [str(count) for count in seen])
    axis.set_xticks([], minor=True)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("steps of the past that the model was shown")
    axis.set_ylabel(plain(f"root mean squared error of the future ({unit})"))
    axis.grid(alpha=0.3)
    axis.legend()
    axis.set_title(plain(title))
    save_figure(figure, path, dpi=120)


def _panels(count: int, width: float, height: float):
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes[count:]:
        axis.set_axis_off()
    for axis in axes[:count]:
        axis.grid(alpha=0.3)
    return figure, axes[:count]
