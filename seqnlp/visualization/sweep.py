"""A search for better flags, as one picture: how it went, what mattered, and the score by each of those."""

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from .colors import BLUE, GRAY, ORANGE
from .plain import plain
from .room import fit_beside_each_other, height_of, room_for_turned, width_of, write_below
from .saving import save_figure


MOST_PANELS = 4  # of what mattered most
COLUMNS = 3
PANEL = 3.4
"""Inches of an axis, at least."""


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
    words = [found for name in shown if (found := _words(points, name))]
    turned = [room_for_turned(one) for one in words if not fit_beside_each_other(one, PANEL)]
    names = [plain(_short(name)) for name in importances]
    needed = [width_of([_short(name) for name in shown], 12), width_of(names) + 1.5, *(width for width, _ in turned)]
    width = max(PANEL, *needed) + 0.9
    height = max(3.5, height_of(len(names)) + 1, *(3 + below for _, below in turned))
    figure = Figure(figsize=(width * min(panels, COLUMNS), height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    # Each for itself: long names of what mattered would narrow or part the others.
    parts = figure.subfigures(rows, min(panels, COLUMNS), squeeze=False).flat
    axes = [part.subplots() for part, _ in zip(parts, range(panels), strict=False)]
    _draw_history(axes.pop(0), points, metric, greater_is_better)
    if importances:
        _draw_importances(axes.pop(0), importances)
    for name in shown:
        _draw_by_value(axes.pop(0), points, name, name in log, metric, width - 0.9)
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


def _words(points: Sequence[Point], name: str) -> list[str]:
    """What was tried, each once and in words; nothing where all are numbers."""
    values = [point.values[name] for point in points if name in point.values]
    has_words = any(not isinstance(value, int | float) or isinstance(value, bool) for value in values)
    return sorted({str(value) for value in values}) if has_words else []


def _draw_by_value(axis, points: Sequence[Point], name: str, is_log: bool, metric: str, width: float) -> None:
    points = [point for point in points if name in point.values]
    values = [point.values[name] for point in points]
    if words := _words(points, name):
        write_below(axis, words, width)
        axis.set_xlim(-0.5, len(words) - 0.5)
        values = [words.index(str(value)) for value in values]
    elif is_log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))))
        if fit_beside_each_other([f"{first * 10.0**decade:g}" for decade in decades for first in (1, 2, 5)], width):
            axis.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            axis.xaxis.set_minor_formatter(axis.xaxis.get_major_formatter())
    _scatter(axis, points, values)
    axis.set_title(plain(_short(name)))
    axis.set_xlabel(plain(_short(name)))
    axis.set_ylabel(plain(metric))
    axis.grid(alpha=0.3)


def _short(name: str) -> str:
    """A field of the model's configuration by its own name."""
    return name.split(".")[-1]
