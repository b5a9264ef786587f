"""Accuracy against distance, or against what a model keeps of a text, by task and architecture."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .colors import looks_of
from .plain import plain
from .saving import save_figure


def name_of(entry: dict[str, Any]) -> str:
    """What a result's model is called: its architecture, and how it started where that is not the default."""
    start = entry.get("start", "default")
    return entry["architecture"] if start == "default" else f"{entry['architecture']}, {start}"


def plot_dependency(results: Sequence[dict[str, Any]], path: str | Path, title: str = "") -> None:
    """
    Draw a panel for each task: the share of right answers against the distance, mean and range over the seeds.

    Args:
        results: Entries with `task`, `architecture`, `distance`, `trained`, `accuracy` and `chance`, and `start`
            where there are several.
        path: Where the PNG goes.
        title: Stands above the picture.
    """
    tasks = list(dict.fromkeys(entry["task"] for entry in results))
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.2 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in panels[len(tasks) :]:
        axis.set_axis_off()
    for axis, task in zip(panels, tasks, strict=False):
        entries = [entry for entry in results if entry["task"] == task]
        distances = sorted({entry["distance"] for entry in entries})
        kinds = {name_of(entry): (entry["architecture"], entry.get("start", "default")) for entry in entries}
        starts = list(dict.fromkeys(start for _, start in kinds.values()))
        looks = looks_of([architecture for architecture, _ in kinds.values()])
        for look, (name, (_, start)) in zip(looks, kinds.items(), strict=True):
            found = defaultdict(list)
            for entry in entries:
                if name_of(entry) == name:
                    found[entry["distance"]].append(100 * entry["accuracy"])
            means = [statistics.mean(found[distance]) for distance in distances]
            # One color per architecture; ways to start are told apart by the markers' filling and the line's width.
            way = starts.index(start)
            filling = {"fillstyle": ("full", "none", "left", "bottom")[way % 4], "linewidth": 1.5 + 0.7 * way}
            axis.plot(distances, means, **look.line(), label=name, markersize=5 + way, **filling)
            lowest, highest = ([pick(found[distance]) for distance in distances] for pick in (min, max))
            axis.fill_between(distances, lowest, highest, color=look.color, alpha=0.15, linewidth=0)
        axis.axhline(100 * entries[0]["chance"], color="black", linewidth=0.8, linestyle=(0, (1, 3)), label="chance")
        longest = max(entry["distance"] for entry in entries if entry["trained"])
        if distances[-1] > longest:
            axis.axvspan(longest, distances[-1], color="black", alpha=0.06, linewidth=0)
        axis.set_xscale("log", base=2)
        axis.set_xticks(distances, [str(distance) for distance in distances])
        axis.set_xticks([], minor=True)
        axis.set_ylim(-3, 103)
        axis.set_title(task)
        axis.set_xlabel("distance (steps; shaded: longer than in training)")
        axis.set_ylabel("right answers (%)")
        axis.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=_columns_of(labels, figure.get_figwidth()))
    figure.suptitle(plain(title))
    save_figure(figure, path, dpi=120)


def _columns_of(labels: list[str], width: float) -> int:
    """How many labels stand beside each other in a figure `width` inches wide."""
    return max(1, min(len(labels), int(width / (0.8 + 0.085 * max(map(len, labels))))))


def plot_state_sizes(results: Sequence[dict[str, Any]], path: str | Path, title: str = "") -> None:
    """
    Draw a panel for each task and distance: the share of right answers against the numbers that a model keeps of a
    text of that length, mean and range over the seeds.

    Args:
        results: Entries with `task`, `architecture`, `distance`, `trained`, `accuracy`, `chance` and `state_size`, and
            `start` where there are several.
        path: Where the PNG goes.
        title: Stands above the picture.
    """
    panels = list(dict.fromkeys((entry["task"], entry["distance"], entry["trained"]) for entry in results))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(6.0, 3.9 * columns), 3.2 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    names = {name_of(entry): entry["architecture"] for entry in results}
    for axis, (task, distance, trained) in zip(axes, panels, strict=False):
        entries = [entry for entry in results if (entry["task"], entry["distance"]) == (task, distance)]
        for look, name in zip(looks_of(list(names.values())), names, strict=True):
            found = defaultdict(list)
            for entry in entries:
                if name_of(entry) == name:
                    found[entry["state_size"]].append(100 * entry["accuracy"])
            sizes = sorted(found)
            axis.plot(sizes, [statistics.mean(found[size]) for size in sizes], **look.line(), label=name, markersize=5)
            lowest, highest = ([pick(found[size]) for size in sizes] for pick in (min, max))
            axis.fill_between(sizes, lowest, highest, color=look.color, alpha=0.15, linewidth=0)
        axis.axhline(100 * entries[0]["chance"], color="black", linewidth=0.8, linestyle=(0, (1, 3)), label="chance")
        axis.set_xscale("log", base=2)
        axis.set_ylim(-3, 103)
        axis.set_title(f"{task}, {distance} tokens{'' if trained else ' (unseen)'}", fontsize=11)
        axis.set_xlabel("numbers kept of the text")
        axis.grid(alpha=0.3)
    for axis in axes[::columns]:
        axis.set_ylabel("right answers (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=_columns_of(labels, figure.get_figwidth()))
    figure.suptitle(plain(title))
    save_figure(figure, path, dpi=120)
