"""Gradients on their way back through time, as one picture."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..diagnostics import GradientFlow, TrainingCurve
from .colors import BLUE, DASHES, ORANGE, looks_of
from .plain import plain
from .room import width_of
from .saving import save_figure


# Below this a gradient is nothing beside the others that an update adds to it, and axes would be all empty space.
_FLOOR = 1e-12


def plot_gradient_flow(
    flows: dict[str, GradientFlow],
    path: str | Path,
    architectures: Mapping[str, str] = MappingProxyType({}),
    title: str = "",
) -> None:
    """
    Draw the norm of the gradient by distance from the loss: all models in one panel, each relative to distance 0;
    below it each model layer by layer, and the share of its gates that are saturated.

    Args:
        flows: What [`seqnlp.diagnostics.measure_gradient_flow`] found, by the model's name.
        path: Where the PNG goes.
        architectures: That of each model by its name, for its color; by default the name is one.
        title: Stands above the picture.
    """
    has_gates = any(flow.saturation for flow in flows.values())
    rows = (["all"] if len(flows) > 1 else []) + ["layers"] + (["gates"] if has_gates else [])
    most_gates = max((len(flow.saturation) for flow in flows.values()), default=0)
    heights = {"all": 4.2, "layers": 3.4, "gates": 1.2 + 0.25 * most_gates}
    width = max(8.0, min(16.0, 3.6 * len(flows)), len(flows) * max(2.4, width_of(list(flows), 11) + 0.9))
    figure = Figure(figsize=(width, 0.4 + sum(heights[row] for row in rows)), layout="constrained")
    FigureCanvasAgg(figure)
    # Each row of panels for itself: the long names of gates would narrow the panels above them.
    parts = figure.subfigures(len(rows), 1, height_ratios=[heights[row] for row in rows], squeeze=False)[:, 0]
    for row, part in zip(rows, parts, strict=True):
        if row == "all":
            _draw_all(part.subplots(), flows, [architectures.get(name, name) for name in flows])
            continue
        axes = part.subplots(1, len(flows), squeeze=False, sharey=row == "layers")[0]
        for column, (axis, (name, flow)) in enumerate(zip(axes, flows.items(), strict=True)):
            if row == "layers":
                _draw_layers(axis, name, flow, is_first=column == 0)
            else:
                _draw_gates(axis, flow, most_gates)
        if row == "gates":
            drawn = next(axis for axis in axes if axis.patches)
            part.legend(*drawn.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    heading = plain(title or "How far back does the gradient of the loss reach?")
    figure.suptitle(textwrap.fill(heading, int(9 * width)), fontsize=13)
    save_figure(figure, path, dpi=100)


def _points(norms: list[float], scale: float = 1.0) -> tuple[list[int], list[float]]:
    kept = [(distance, norm / scale) for distance, norm in enumerate(norms) if norm / scale > _FLOOR]
    return [distance for distance, _ in kept], [norm for _, norm in kept]


def _draw_all(axis, flows: dict[str, GradientFlow], architectures: list[str]) -> None:
    longest = max(len(flow.lowest.norms) for flow in flows.values())
    # Beside the hidden state of a net that has another one, such as the cell, that: the way past the gates.
    lines = [
        (architecture, name, series)
        for architecture, (name, flow) in zip(architectures, flows.items(), strict=True)
        for series in flow.series
        if series is flow.lowest or series.name.startswith(f"{flow.lowest.name}, ")
    ]
    looks = looks_of([architecture for architecture, *_ in lines])
    for look, (_, name, series) in zip(looks, lines, strict=True):
        axis.plot(
            *_points(series.norms, series.norms[0] or 1.0),
            label=plain(f"{name} ({series.name}): x {series.factor_per_step:.2f} per {flows[name].step}"),
            markersize=5,
            markevery=max(1, longest // 12),
            linewidth=1.8,
            **look.line(),
        )
    axis.set_yscale("log")
    axis.axhline(1, color="0.4", linewidth=0.8)
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, _FLOOR), max(high, 10))
    notes = {"fontsize": 9, "color": "0.35", "rotation": 90, "ha": "left", "transform": axis.transAxes}
    axis.text(1.005, 1, "explodes →", va="top", **notes)
    axis.text(1.005, 0, "← vanishes", va="bottom", **notes)
    steps = dict.fromkeys(f"{flow.step}s" for flow in flows.values())
    axis.set_xlabel(f"distance from the loss ({' or '.join(steps)})")
    axis.set_ylabel("norm of the gradient\n(relative to distance 0)")
    axis.grid(alpha=0.3)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc="best", fontsize=9)


def _draw_layers(axis, name: str, flow: GradientFlow, is_first: bool) -> None:
    # Those of which only the token at the loss has a gradient, as a Transformer's last layer, would be a lone point.
    drawn = [series for series in flow.series if sum(norm > _FLOOR for norm in series.norms) > 1]
    shades = colormaps["viridis"]  # whose upper end is too pale on white
    for index, series in enumerate(drawn):
        shade = shades(0.55 * index / max(1, len(drawn) - 1))
        dashes = DASHES[index % len(DASHES)]
        axis.plot(*_points(series.norms), color=shade, linestyle=dashes, linewidth=1.6, label=series.name)
    axis.set_yscale("log")
    clipped = "" if flow.clipped_steps is None else f"\n{flow.clipped_steps:.0%} of its training steps were clipped"
    axis.set_title(plain(name + clipped), fontsize=11)
    axis.set_xlabel(f"distance from the loss ({flow.step}s)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if is_first:
        axis.set_ylabel("norm of d loss / d h(t)")
    axis.grid(alpha=0.3)
    if drawn:
        axis.legend(fontsize=8, ncols=1 + len(drawn) // 7)


def _draw_gates(axis, flow: GradientFlow, most_gates: int) -> None:
    if not flow.saturation:
        axis.axis("off")
        axis.text(0.5, 0.6, "no recurrent gates", ha="center", va="center", color="0.35", transform=axis.transAxes)
        return
    names = list(flow.saturation)
    low = [100 * share.low for share in flow.saturation.values()]
    high = [100 * share.high for share in flow.saturation.values()]
    axis.barh(names, low, color=BLUE, label="at the lower end")
    axis.barh(
        names, high, left=low, color=ORANGE, hatch="//", edgecolor="white", linewidth=0, label="at the upper end"
    )
    axis.set_xlim(0, 100)
    axis.set_ylim(most_gates - 0.4, -0.6)  # bars of one thickness in all panels
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("saturated share of values (%)")
    radii = flow.spectral_radii.values()
    if radii:
        ends = dict.fromkeys((f"{min(radii):.2f}", f"{max(radii):.2f}"))
        axis.set_title(f"spectral radius {' to '.join(ends)}", fontsize=9)


def plot_clipping(curves: dict[str, tuple[TrainingCurve, TrainingCurve]], path: str | Path, title: str = "") -> None:
    """
    Draw trainings with clipped gradients and with gradients as they are, a row for each model: the loss step by step,
    and the norm of the gradient before it is clipped.

    Args:
        curves: What [`seqnlp.diagnostics.compare_clipping`] found, by the model's name.
        path: Where the PNG goes.
        title: Stands above the picture.
    """
    width = max(9.5, 2 * (width_of(list(curves), 11) + 0.9))
    figure = Figure(figsize=(width, 0.4 + 3.4 * len(curves)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, (clipped, unclipped)) in zip(
        figure.subplots(len(curves), 2, squeeze=False), curves.items(), strict=True
    ):
        ways = (
            (f"clipped to {clipped.max_grad_norm:g}", clipped, BLUE, "-"),
            ("not clipped", unclipped, ORANGE, "--"),
        )
        for axis, what, label in zip(axes, ("losses", "norms"), ("loss (nats)", "norm of the gradient"), strict=True):
            for way, curve, color, dashes in ways:
                values = getattr(curve, what)
                axis.plot(values, color=color, linestyle=dashes, linewidth=1.5, label=way)
                if curve.ended:  # where it stopped being a number
                    kept = [value for value in values if math.isfinite(value)]
                    axis.plot(len(kept) - 1, kept[-1], "X", color=color, markersize=9)
            axis.set_yscale("linear" if what == "losses" else "log")
            axis.set_title(plain(name), fontsize=11)
            axis.set_xlabel("step")
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
        axes[1].axhline(clipped.max_grad_norm, color="0.4", linewidth=0.8)
        axes[0].legend(fontsize=9)
    figure.suptitle(plain(title), fontsize=13)
    save_figure(figure, path, dpi=100)
