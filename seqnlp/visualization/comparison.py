"""Architectures side by side: one picture, and one page that opens offline."""

import html
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .colors import looks_of
from .page import folded, html_table, list_of, page_of, picture_of
from .plain import plain
from .room import (
    SIZE,
    add_legend,
    fit_beside_each_other,
    name_points,
    room_for_legend,
    room_for_turned,
    write_below,
)
from .saving import save_figure


PANEL = 3.4
"""Inches of the panel of quality where the three stand beside each other."""
STEEP = 20
"""How often the least value of the curves fits into the largest where they are drawn on a linear scale, at most."""


class TableRow(NamedTuple):
    """
    A row of the page's table.

    Attributes:
        cells: The first is the name of an architecture or of a baseline.
        is_best: Whether nothing in the table is better.
        is_baseline: Whether it is a baseline's.
    """

    cells: list[str]
    is_best: bool
    is_baseline: bool = False


def plot_comparison(rows: Sequence[dict[str, Any]], metric: str, curve_metric: str, title: str = "") -> bytes:
    """
    Draw quality with its interval, the learning curves of all seeds, and quality against speed: beside each other, or
    below each other where many or long names need the room.

    Args:
        rows: One per architecture: `architecture`, `values` (the metric per seed), `mean`, `interval` (half
            its width, or None), `curves` (a list of `(epoch, value)` pairs per seed) and `targets_per_second`.
        metric: Name of the metric.
        curve_metric: Name of the validation metric that the curves show.
        title: Stands above the picture.

    Returns:
        A PNG.
    """
    names = [row["architecture"] for row in rows]
    size = SIZE if len(rows) <= 4 else 8.5
    beside, listed = room_for_legend(names, 4.4, 3.2, size)
    turned, below = (0.0, 0.0) if fit_beside_each_other(names, PANEL) else room_for_turned(names)
    is_column = bool(beside) or turned > PANEL
    if is_column:
        width, heights = max(13.0, turned + 2), (3.7 + below, max(4.2, listed + 1), max(4.2, listed * SIZE / size + 1))
        figure = Figure(figsize=(width, 0.4 + sum(heights)), layout="constrained")
        # Each for itself: a wide legend would narrow the panels above and below it.
        parts = figure.subfigures(3, 1, height_ratios=heights)
        quality, learning, speed = (part.subplots() for part in parts)
    else:
        width = PANEL
        figure = Figure(figsize=(13, 4.2), layout="constrained")
        quality, learning, speed = figure.subplots(1, 3, width_ratios=(1, 1.3, 1))
    FigureCanvasAgg(figure)
    looks = looks_of(names)
    for place, (row, look) in enumerate(zip(rows, looks, strict=True)):
        color, marker = look.color, look.marker
        quality.errorbar(
            place, row["mean"], yerr=row["interval"], fmt=marker, color=color, capsize=6, markersize=9, linewidth=1.6
        )
        if len(row["values"]) > 1:
            quality.plot([place + 0.18] * len(row["values"]), row["values"], ".", color=color)
        for number, curve in enumerate(row["curves"]):
            label = plain(row["architecture"]) if number == 0 else None
            shown = {**look.line(), "markersize": 3.5, "linewidth": 1.2, "label": label}
            learning.plot(*zip(*curve, strict=True), **shown)
        speed.plot(row["targets_per_second"], row["mean"], marker, color=color, markersize=9)
    write_below(quality, names, width - 1 if is_column else width)
    quality.set_xlim(-0.6, len(rows) - 0.4)
    metric, curve_metric = plain(metric), plain(curve_metric)
    quality.set_ylabel(metric)
    quality.set_title(
        "quality: mean, 95 % interval, seeds" if len(rows[0]["values"]) > 1 else "quality, one seed each"
    )
    learning.set_xlabel("epoch (passes over the training data)")
    learning.set_ylabel(f"validation {curve_metric}")
    learning.set_title("learning curves, one per seed")
    learning.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawn = [value for row in rows for curve in row["curves"] for _, value in curve]
    if drawn and min(drawn) > 0 and max(drawn) > STEEP * min(drawn):
        learning.set_yscale("log")
        learning.yaxis.set_major_formatter("{x:g}")
        learning.set_ylabel(f"validation {curve_metric}, log scale")
    if drawn:
        add_legend(learning, is_within=not is_column, size=size)
    speed.set_xlabel("training speed (targets per second)")
    speed.xaxis.set_major_formatter("{x:,.0f}")
    speed.xaxis.set_major_locator(MaxNLocator(4))
    speed.set_ylabel(metric)
    speed.set_title("quality against speed")
    speed.margins(y=0.15)
    speed.set_xlim(left=0, right=1.35 * max(row["targets_per_second"] for row in rows))
    for axis in (quality, learning, speed):
        axis.grid(alpha=0.3)
    figure.suptitle(plain(title))
    name_points(speed, names, [(row["targets_per_second"], row["mean"]) for row in rows])
    file = io.BytesIO()
    save_figure(figure, file, format="png", dpi=130)
    return file.getvalue()


def comparison_page(
    title: str,
    answer: str,
    matching: str,
    headers: Sequence[str],
    rows: Sequence[TableRow],
    picture: bytes,
    notes: Sequence[str],
    details: dict[str, str],
) -> str:
    """
    A page that needs nothing beside it: the answer, the table, the picture, how it was measured.

    Args:
        title: Its heading: the outcome in a sentence.
        answer: What is to be said of the outcome beside its title.
        matching: What was held equal.
        headers: Of the table.
        rows: Of the table.
        picture: A PNG.
        notes: How to read the numbers.
        details: Further text by heading, folded away.
    """
    escape = html.escape
    body = []
    looks = iter(looks_of([row.cells[0] for row in rows if not row.is_baseline]))
    for cells, is_best, is_baseline in rows:
        color = "" if is_baseline else next(looks).color
        dot = "" if is_baseline else f'<span class="dot" style="background:{color}"></span>'
        shown = [f"<td>{dot}{escape(cells[0])}</td>", *(f"<td>{escape(cell)}</td>" for cell in cells[1:])]
        kind = " ".join(name for name, holds in (("best", is_best), ("baseline", is_baseline)) if holds)
        body.append(f'<tr class="{kind}">{"".join(shown)}</tr>')
    table = html_table(headers, body, "The architectures and baselines, side by side")
    parts = [
        f'<p class="soft">{escape(matching)}</p>',
        f'<p class="answer">{escape(answer)}</p>' if answer else "",
        table,
        picture_of(picture, "Quality with intervals, learning curves, and quality against speed, by architecture"),
        f"<h2>How to read this</h2>\n{list_of(notes)}",
        "<h2>How it was made</h2>",
        *(folded(name, text) for name, text in details.items()),
    ]
    return page_of(title, parts)
