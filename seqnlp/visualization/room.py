"""Room for names: a picture grows with the number and the length of its entries, so that no two of them overlap."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plain import plain


_LINE = 1.45
"""From line to line, in heights of a font."""
_GAP = 0.12
"""Inches between two names that stand beside each other, at least."""
_TURNED = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
_HANDLE = 0.7
"""Inches of a legend beside its names."""
SIZE = 10.0
"""Points of a font, where nothing else is said."""


def width_of(names: Sequence[str], size: float = SIZE) -> float:
    """Inches that the longest of some names takes."""
    figure = Figure()
    texts = [figure.text(0, 0, plain(name), fontsize=size) for name in dict.fromkeys(names)]
    return max((text.get_window_extent().width / figure.dpi for text in texts), default=0.0)


def height_of(count: int, size: float = SIZE) -> float:
    """Inches that so many lines take below each other."""
    return count * _LINE * size / 72


def fit_beside_each_other(names: Sequence[str], width: float) -> bool:
    """Whether names of places at equal distances fit below an axis of so many inches."""
    widths = [width_of([name]) for name in names]
    halves = [(left + right) / 2 for left, right in pairwise(widths)]
    return len(names) * (max(halves, default=0.0) + _GAP) <= width


def room_for_turned(names: Sequence[str]) -> tuple[float, float]:
    """Inches of width and height that names need below an axis where they are turned."""
    return 2 * height_of(len(names)), width_of(names) / 2  # the sine of 30 degrees is a half


def write_below(axis: Axes, names: Sequence[str], width: float) -> None:
    """Write names below the places 0, 1, 2 ... of an axis of so many inches; turned where they would overlap."""
    turned = {} if fit_beside_each_other(names, width) else _TURNED
    axis.set_xticks(range(len(names)), [plain(name) for name in names], **turned)


def room_for_legend(names: Sequence[str], width: float, height: float, size: float = SIZE) -> tuple[float, float]:
    """
    Inches of width and height that a legend needs beside an axis; both 0 where it takes no more than half of the
    width and half of the height of that axis and so has room within.
    """
    needed = width_of(names, size) + _HANDLE, height_of(len(names) + 1, size)
    return (0.0, 0.0) if needed[0] <= width / 2 and needed[1] <= height / 2 else needed


def add_legend(axis: Axes, is_within: bool, size: float = SIZE) -> None:
    """The legend of an axis, within it or right of it."""
    place = {} if is_within else {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    axis.legend(fontsize=size, **place)


def name_points(axis: Axes, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """
    Write a name beside each point; where two would overlap, all of them right of the axis, with lines to their points.

    Args:
        axis: With all that else is in its figure.
        names: One per point.
        points: In the units of the axis.
    """
    texts = [
        axis.annotate(plain(name), point, (7, 5), textcoords="offset points")
        for name, point in zip(names, points, strict=True)
    ]
    axis.get_figure(root=True).draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    if not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[:place]):
        return
    order = sorted(range(len(texts)), key=lambda one: points[one][1])
    for place, one in enumerate(order):
        texts[one].remove()
        axis.annotate(
            plain(names[one]),
            points[one],
            (1.04, (place + 0.5) / len(order)),
            textcoords="axes fraction",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "relpos": (0, 0.5)},
        )
