"""A search for better flags, as one picture: how it went, what mattered, and the score by each of those."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from .colors import BLUE, GRAY, ORANGE
from .plain import plain
from .saving import save_figure


MOST_PANELS = 4  # of what mattered most
COLUMNS = 3


class Point(NamedTuple):
    """
    A trial.

    Attributes:
        number: Its number.
        value: Its score; where it was pruned, the last that was seen.
        values: What was tried, by name.
        is_pruned: Whether it was ended before its time.
    """

    number: int
    value: float
    values: dict[str, Any]
    is_pruned: bool


def plot_sweep(
    points: Sequence[Point],
    importances: dict[str, float],
    log: frozenset[str],
    metric: str,
    greater_is_better: bool,
) -> bytes:
    """
    Draw the trials in their order with the best so far, the importance of each thing searched, and the score by the
    values of those that mattered most.

    Args:
        points: The trials that have a score.
        importances: By name, the greatest first; they sum to 1.
        log: Names of what was searched on a logarithmic scale.
        metric: Name of the score, with its unit.
        greater_is_better: Its direction.

    Returns:
        A PNG.
    """
    shown = list(importances)[:MOST_PANELS] or list(points[0].values)[:MOST_PANELS]
    panels = 1 + bool(importances) + len(shown)
    rows = -(-panels // COLUMNS)
    figure = Figure(figsize=(4.3 * min(panels, COLUMNS), 3.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, min(panels, COLUMNS), squeeze=False).flat)
    _draw_history(axes.pop(0), points, metric, greater_is_better)
    if importances:
        _draw_importances(axes.pop(0), importances)
    for name in shown:
        _draw_by_value(axes.pop(0), points, name, name in log, metric)
    for axis in axes:
        axis.set_axis_off()
    file = io.BytesIO()
    save_figure(figure, file, format="png", dpi=120)
    return file.getvalue()


def _scatter(axis, points: Sequence[Point], places: Sequence[Any]) -> None:
    for is_pruned, color, marker, label in ((False, BLUE, "o", "complete"), (True, GRAY, "x", "pruned")):
        drawn = [(x, p.value) for x, p in zip(places, points, strict=True) if p.is_pruned is is_pruned]
        if drawn:
            axis.plot(*zip(*drawn, strict=True), marker, color=color, label=label, markersize=6)


def _draw_history(axis, points: Sequence[Point], metric: str, greater_is_better: bool) -> None:
    _scatter(axis, points, [point.number for point in points])
    best, line = None, []
    for point in points:
        if not point.is_pruned:
            better = max if greater_is_better else min
            best = point.value if best is None else better(best, point.value)
            line.append((point.number, best))
    if line:
        axis.step(*zip(*line, strict=True), where="post", color=ORANGE, label="best so far")
    axis.set_title("the search")
    axis.set_xlabel("trial")
    axis.set_ylabel(plain(metric))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")


def _draw_importances(axis, importances: dict[str, float]) -> None:
    names = list(importances)[::-1]
    axis.barh([_short(name) for name in names], [100 * importances[name] for name in names], color=BLUE)
    axis.set_title("what mattered")
    axis.set_xlabel("importance (%)")
    axis.grid(alpha=0.3, axis="x")


def _draw_by_value(axis, points: Sequence[Point], name: str, is_log: bool, metric: str) -> None:
    points = [point for point in points if name in point.values]
    values = [point.values[name] for point in points]
    if any(not isinstance(value, int | float) or isinstance(value, bool) for value in values):
        words = sorted({str(value) for value in values})
        axis.set_xticks(range(len(words)), [plain(word) for word in words])
        axis.margins(x=0.3)
        values = [words.index(str(value)) for value in values]
    elif is_log:
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for set_formatter in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            set_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    _scatter(axis, points, values)
    axis.set_title(plain(_short(name)))
    axis.set_xlabel(plain(_short(name)))
    axis.set_ylabel(plain(metric))
    axis.grid(alpha=0.3)


def _short(name: str) -> str:
    """A field of the model's configuration by its own name."""
    return name.split(".")[-1]
