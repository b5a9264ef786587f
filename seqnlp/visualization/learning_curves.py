"""Metrics over time as a picture."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .colors import SCORES, TRAINING, VALIDATION
from .plain import plain
from .saving import save_figure


PREFIX = "validation_"


def plot_learning_curves(
    history: list[dict[str, Any]],
    path: str | Path,
    title: str = "",
    loss_unit: str = "nats per example",
    score_unit: str = "%",
    shares: Collection[str] = (),
    kept_epoch: float | None = None,
    losses_of: Sequence[tuple[str, str]] | None = None,
    loss_name: str = "loss",
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
        shares: Those of the others that lie between 0 and 1 and are drawn in percent, by their names without
            `validation_`.
        kept_epoch: The epoch whose weights were kept; a line marks it.
        losses_of: Of what the losses of training and validation are and what each is counted in, where that is not the
            same: then each has axes of its own.
        loss_name: What the validation loss is called, without `validation_`.
    """
    names = {name for entry in history for name in entry if name.startswith(PREFIX)}
    names = sorted(names - {f"{PREFIX}{loss_name}", "validation_seconds"})
    losses = [("train_loss", "training", TRAINING)], [(f"{PREFIX}{loss_name}", "validation", VALIDATION)]
    panels = [(f"loss ({loss_unit})", [*losses[0], *losses[1]])]
    if losses_of:
        parts = zip(("training", "validation"), losses_of, losses, strict=True)
        panels = [(f"{name} loss of {what}\n({unit})", line) for name, (what, unit), line in parts]
    if names:
        looks = zip(names, SCORES, strict=False)
        lines = [(name, name.removeprefix(PREFIX).replace("_", " "), look) for name, look in looks]
        panels.append((f"validation score ({score_unit})", lines))
    figure = Figure(figsize=(5.2 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (label, lines) in zip(axes, panels, strict=True):
        axis.set_ylabel(label)
        for name, shown, look in lines:
            _draw(axis, history, name, shown, look, 100 if name.removeprefix(PREFIX) in shares else 1)
        axis.set_xlabel("epoch (passes over the training data)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if kept_epoch is not None:
            how = {"color": "black", "linewidth": 1, "linestyle": (0, (1, 2))}
            axis.axvline(kept_epoch, label=f"kept: epoch {kept_epoch:.4g}", **how)
        if axis.lines:
            axis.legend()
    figure.suptitle(plain(title))
    save_figure(figure, path, dpi=120)


def _draw(axis, history, name, label, look, scale) -> None:
    points = [(entry["epoch"], scale * entry[name]) for entry in history if entry.get(name) is not None]
    if points:
        look = look if len(points) > 1 else look._replace(marker="o")  # a line of one point is seen by its mark alone
        axis.plot(*zip(*points, strict=True), **look.line(), label=label, markersize=4)
