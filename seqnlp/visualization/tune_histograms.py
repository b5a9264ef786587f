"""What tunes are like, those that a model wrote beside those that people wrote, as one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .colors import BLUE, GRAY, ORANGE, Look
from .plain import plain
from .saving import save_figure


COLUMNS = 4
MOST_VALUES = 30
"""Values that are drawn at most, of a histogram without an order or with many values."""
LOOKS = (Look(ORANGE, "o", "-"), Look(BLUE, "s", "--"), Look(GRAY, "^", ":"))
"""Those of the sets of tunes; an earlier one is drawn over a later one."""


class Panel(NamedTuple):
    """
    One statistic.

    Attributes:
        name: What the values are, with their unit.
        remark: What is to be said of it in a few words; stands above it.
        is_ordered: Whether the values are numbers along an axis; or else the most frequent ones of the last set are
            drawn, by their rank there.
        histograms: The share of each value, for each set of tunes in the order of the labels.
    """

    name: str
    remark: str
    is_ordered: bool
    histograms: Sequence[Mapping]


def plot_tune_histograms(panels: Sequence[Panel], labels: Sequence[str], path: str | Path, title: str = "") -> None:
    """
    Draw a panel for each statistic, and in it a line for each set of tunes.

    Args:
        panels: The statistics.
        labels: What the sets of tunes are, three at most; what a model wrote first.
        path: Where the PNG goes.
        title: Stands above the picture.
    """
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(3.6 * COLUMNS, 2.9 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for panel, axis in zip(panels, axes, strict=False):
        _draw(axis, panel, labels)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(labels))
    figure.suptitle(plain(title))
    save_figure(figure, path, dpi=110)


def _draw(axis, panel: Panel, labels: Sequence[str]) -> None:
    values = {value: share for histogram in panel.histograms for value, share in histogram.items()}
    if panel.is_ordered:
        shown = sorted(value for value in values if any(part.get(value, 0) >= 0.002 for part in panel.histograms))
        places = shown
    else:
        known = panel.histograms[-1]
        shown = sorted(values, key=lambda value: -known.get(value, 0.0))[:MOST_VALUES]
        places = range(1, len(shown) + 1)
    for number, (label, histogram, look) in enumerate(zip(labels, panel.histograms, LOOKS, strict=False)):
        shares = [100 * histogram.get(value, 0.0) for value in shown]
        axis.plot(places, shares, label=label, markersize=3.5, zorder=len(LOOKS) - number, **look.line())
    axis.set_xlabel(panel.name, fontsize=9)
    axis.set_title(panel.remark, fontsize=9)
    axis.set_ylabel("share (%)", fontsize=9)
    axis.set_ylim(bottom=0)
    if all(float(place).is_integer() for place in places):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
