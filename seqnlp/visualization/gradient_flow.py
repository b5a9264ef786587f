"""Gradients on their way back through time, as one picture."""

from pathlib import Path

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..diagnostics import GradientFlow
from .colours import BLUE, DASHES, ORANGE, style


# Below this a gradient is nothing beside the others that an update adds to it, and axes would be all empty space.
_FLOOR = 1e-12


def plot_gradient_flow(flows: dict[str, GradientFlow], path: str | Path) -> None:
    """
    Draw the norm of the gradient by distance from the loss: all models in one panel, each relative to distance 0;
    below it each model layer by layer, and the share of its gates that are saturated.

    Args:
        flows: What [`seqnlp.diagnostics.measure_gradient_flow`] found, by the model's name.
        path: Where the PNG goes.
    """
    has_gates = any(flow.saturation for flow in flows.values())
    rows = (["all"] if len(flows) > 1 else []) + ["layers"] + (["gates"] if has_gates else [])
    most_gates = max((len(flow.saturation) for flow in flows.values()), default=0)
    heights = {"all": 4.4, "layers": 3.5, "gates": 1.3 + 0.27 * most_gates}
    size = (max(8.5, 3.9 * len(flows)), 0.5 + sum(heights[row] for row in rows))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(rows), len(flows), height_ratios=[heights[row] for row in rows])
    if "all" in rows:
        _draw_all(figure.add_subplot(grid[0, :]), flows)
    first = None
    for column, (name, flow) in enumerate(flows.items()):
        axis = figure.add_subplot(grid[rows.index("layers"), column], sharey=first)
        first = first or axis
        _draw_layers(axis, name, flow, is_first=column == 0)
        if has_gates:
            _draw_gates(figure.add_subplot(grid[rows.index("gates"), column]), flow, is_first=column == 0)
    figure.suptitle("How far back does the gradient of the loss reach?", fontsize=13)
    figure.savefig(path, dpi=110)


def _points(norms: list[float], scale: float = 1.0) -> tuple[list[int], list[float]]:
    kept = [(distance, norm / scale) for distance, norm in enumerate(norms) if norm / scale > _FLOOR]
    return [distance for distance, _ in kept], [norm for _, norm in kept]


def _draw_all(axis, flows: dict[str, GradientFlow]) -> None:
    longest = max(len(flow.lowest.norms) for flow in flows.values())
    for index, (name, flow) in enumerate(flows.items()):
        factor = flow.lowest.factor_per_step
        axis.plot(
            *_points(flow.lowest.norms, flow.lowest.norms[0] or 1.0),
            label=f"{name} ({flow.lowest.name}): x {factor:.2f} per token",
            markersize=5,
            markevery=max(1, longest // 12),
            linewidth=1.8,
            **style(index),
        )
    axis.set_yscale("log")
    axis.axhline(1, color="0.4", linewidth=0.8)
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, _FLOOR), max(high, 10))
    notes = {"family": "DejaVu Sans", "fontsize": 9, "color": "0.35", "ha": "right", "transform": axis.transAxes}
    axis.text(0.995, 0.975, "explodes ↑", va="top", **notes)
    axis.text(0.995, 0.025, "vanishes ↓", va="bottom", **notes)
    axis.set_xlabel("distance from the loss (tokens)")
    axis.set_ylabel("norm of the gradient\n(relative to distance 0)")
    axis.grid(alpha=0.3)
    axis.legend(loc="best", fontsize=9)


def _draw_layers(axis, name: str, flow: GradientFlow, is_first: bool) -> None:
    # Those of which only the token at the loss has a gradient, as a Transformer's last layer, would be a lone point.
    drawn = [series for series in flow.series if sum(norm > _FLOOR for norm in series.norms) > 1]
    shades = colormaps["viridis"]
    for index, series in enumerate(drawn):
        shade = shades(0.8 * index / max(1, len(drawn) - 1))
        dashes = DASHES[index % len(DASHES)]
        axis.plot(*_points(series.norms), color=shade, linestyle=dashes, linewidth=1.6, label=series.name)
    axis.set_yscale("log")
    axis.set_title(name, fontsize=11)
    axis.set_xlabel("distance from the loss (tokens)")
    if is_first:
        axis.set_ylabel("norm of d loss / d h(t)")
    axis.grid(alpha=0.3)
    if drawn:
        axis.legend(fontsize=8, ncols=1 + len(drawn) // 7)


def _draw_gates(axis, flow: GradientFlow, is_first: bool) -> None:
    if not flow.saturation:
        axis.axis("off")
        axis.text(0.5, 0.6, "no recurrent gates", ha="center", va="center", color="0.35", transform=axis.transAxes)
        return
    names = list(flow.saturation)
    low = [share.low for share in flow.saturation.values()]
    high = [share.high for share in flow.saturation.values()]
    axis.barh(names, low, color=BLUE, label="at the lower end")
    axis.barh(
        names, high, left=low, color=ORANGE, hatch="//", edgecolor="white", linewidth=0, label="at the upper end"
    )
    axis.set_xlim(0, 1)
    axis.invert_yaxis()
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("saturated share of values (0 to 1)")
    radii = flow.spectral_radii.values()
    if radii:
        span = f"{min(radii):.2f}" if len(radii) == 1 else f"{min(radii):.2f} to {max(radii):.2f}"
        axis.set_title(f"spectral radius {span}", fontsize=9)
    if is_first:
        axis.legend(fontsize=8, loc="best")
