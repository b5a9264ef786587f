"""Metrics over time as a picture."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .colors import BLUE, GREEN, ORANGE
from .plain import plain


def plot_learning_curves(
    history: list[dict[str, Any]],
    path: str | Path,
    title: str = "",
    loss_unit: str = "nats per example",
    score_unit: str = "share, 0 to 1",
) -> None:
    """
    Draw the training and validation loss over the epochs and, beside it, the other validation metrics.

    Args:
        history: Entries with `epoch` and any of `train_loss`, `validation_loss` and `validation_...`, as in
            `run.json`.
        path: Where the PNG goes.
        title: Stands above the picture.
        loss_unit: What the loss is counted in.
        score_unit: What the other metrics are counted in.
    """
    prefix = "validation_"
    names = {name for entry in history for name in entry if name.startswith(prefix)}
    names = sorted(names - {"validation_loss", "validation_seconds"})
    figure = Figure(figsize=(10 if names else 5.5, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if names else 1, squeeze=False)[0]

    _draw(axes[0], history, "train_loss", "training", BLUE, "-")
    _draw(axes[0], history, "validation_loss", "validation", ORANGE, "o-")
    axes[0].set_ylabel(f"loss ({loss_unit})")
    for name, color, style in zip(names, (ORANGE, GREEN, BLUE), ("o-", "s--", "^:"), strict=False):
        _draw(axes[1], history, name, name.removeprefix(prefix), color, style)
    if names:
        axes[1].set_ylabel(f"validation score ({score_unit})")
    for axis in axes:
        axis.set_xlabel("epoch (passes over the training data)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend()
    figure.suptitle(plain(title))
    figure.savefig(path, dpi=120)


def _draw(axis, history, name, label, color, style) -> None:
    points = [(entry["epoch"], entry[name]) for entry in history if name in entry]
    if points:
        axis.plot(*zip(*points, strict=True), style, color=color, label=label, markersize=4)
