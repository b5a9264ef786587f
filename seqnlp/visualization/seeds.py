"""Runs that differ by their seed alone, as a picture."""

import io
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .colors import DASHES, GRAY, MARKERS, looks_of
from .plain import plain
from .saving import save_figure


def plot_seeds(
    architecture: str,
    curves: Mapping[int, Sequence[tuple[float, float]]],
    values: Mapping[int, float],
    spread: tuple[float, float],
    labels: tuple[str, str],
    chosen: int,
) -> bytes:
    """
    Draw the validation curve of each seed and, beside it, the reported score of each with mean and deviation.

    Args:
        architecture: Whose color they have.
        curves: `(epoch, value)` pairs of the validation metric, by seed.
        values: The reported score, by seed.
        spread: Its mean and its standard deviation.
        labels: Names of both metrics, with their units.
        chosen: The seed whose model was chosen.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    learning, reported = figure.subplots(1, 2, width_ratios=(1.5, 1))
    (look,) = looks_of([architecture])
    for place, seed in enumerate(curves):
        name = f"seed {seed}, chosen" if seed == chosen else f"seed {seed}"
        marker, dashes = MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)]
        line = {"color": look.color, "marker": marker, "linestyle": dashes, "markersize": 5, "label": name}
        line["linewidth"] = 2.2 if seed == chosen else 1.2
        if curves[seed]:
            learning.plot(*zip(*curves[seed], strict=True), **line)
        reported.plot(place, values[seed], marker, color=look.color, markersize=11 if seed == chosen else 7)
    mean, deviation = spread
    reported.axhline(mean, color="black", linewidth=1, label="mean")
    reported.axhspan(mean - deviation, mean + deviation, color=GRAY, alpha=0.2, label="± standard deviation")
    learning.set_xlabel("epoch (passes over the training data)")
    learning.set_ylabel(plain(labels[0]))
    learning.xaxis.set_major_locator(MaxNLocator(integer=True))
    reported.set_xticks(range(len(values)), [str(seed) for seed in values])
    reported.set_xlim(-0.6, len(values) - 0.4)
    reported.margins(y=0.2)
    reported.set_xlabel("seed")
    reported.set_ylabel(plain(labels[1]))
    for axis in (learning, reported):
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    file = io.BytesIO()
    save_figure(figure, file, format="png", dpi=120)
    return file.getvalue()
