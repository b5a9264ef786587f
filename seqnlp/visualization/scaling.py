"""Loss against parameters and against compute, with the power law of each, as scaling-law papers draw them."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..diagnostics.scaling import PowerLaw
from .colors import GRAY, MARKERS, ORANGE, looks_of
from .plain import plain
from .saving import save_figure


class Curve(NamedTuple):
    """
    A run.

    Attributes:
        label: Its size in words.
        place: Which of the sizes it has, from 0.
        parameters: Its size.
        loss: Its least validation loss.
        points: `(operations so far, validation loss)`.
    """

    label: str
    place: int
    parameters: float
    loss: float
    points: list[tuple[float, float]]


def plot_scaling(
    architecture: str,
    curves: Sequence[Curve],
    by_parameters: PowerLaw,
    by_compute: PowerLaw | None,
    front: Sequence[tuple[float, float]],
    loss_name: str,
) -> bytes:
    """
    Draw both, on logarithmic axes.

    Args:
        architecture: Whose color the runs have.
        curves: The runs, by size.
        by_parameters: The law of loss and parameters.
        by_compute: That of loss and compute, if it could be fitted.
        front: The best that each amount of compute reached.
        loss_name: Name and unit of the loss.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    sizes, compute = figure.subplots(1, 2)
    (look,) = looks_of([architecture])
    shades = np.linspace(1.0, 0.35, 1 + max(curve.place for curve in curves))  # the larger, the darker
    seen = set()
    for curve in curves:
        label = None if curve.place in seen else curve.label
        seen.add(curve.place)
        color = shades[curve.place] * np.array(to_rgb(look.color))
        how = {"color": color, "marker": MARKERS[curve.place % len(MARKERS)]}
        sizes.plot(curve.parameters, curve.loss, **how, markersize=7, linestyle="")
        if curve.points:
            compute.plot(*zip(*curve.points, strict=True), **how, markersize=4, linewidth=1.2, label=label)
    _draw_law(sizes, by_parameters, [curve.parameters for curve in curves], "N")
    if by_compute is not None:
        compute.plot(*zip(*front, strict=True), "o", color=ORANGE, markersize=9, fillstyle="none", label="best so far")
        _draw_law(compute, by_compute, [point[0] for point in front], "C")
    sizes.set_xlabel("parameters")
    compute.set_xlabel("training compute (floating-point operations)")
    for axis, title in ((sizes, "loss by size"), (compute, "loss by compute")):
        axis.set_title(title)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylabel(plain(loss_name))
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize="small")
    file = io.BytesIO()
    save_figure(figure, file, format="png", dpi=120)
    return file.getvalue()


def _draw_law(axis, law: PowerLaw, sizes: Sequence[float], symbol: str) -> None:
    places = np.geomspace(min(sizes), max(sizes), 100)
    offset = f"{law.offset:.3g} + " if law.has_offset else ""
    digits, power = f"{law.reference:.1e}".split("e")
    reference = rf"{digits}\cdot 10^{{{int(power)}}}"
    name = rf"${offset}{law.scale:.3g}\,({symbol}/{reference})^{{-{law.exponent:.3g}}}$"
    axis.plot(places, law.at(places), "--", color="black", linewidth=1.6, label=name)
    if law.has_offset and law.offset > 0.5 * law.at(max(sizes)):
        axis.axhline(law.offset, color=GRAY, linewidth=1, linestyle=":", label=f"E = {law.offset:.3g}")
