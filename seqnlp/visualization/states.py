"""States and gates over a text: as colored text and heat map in a picture, and as one page that opens offline."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ..diagnostics import Reading, Response, Trace
from .colors import BLUE, ORANGE
from .page import filled_page
from .plain import plain
from .saving import save_figure


_COLUMNS, _ROWS = 96, 5  # characters of a line, and lines, that a picture shows of a text
_FONT_SIZE = 9.0
_ADVANCE = 0.602 * _FONT_SIZE / 72  # inches that a letter of DejaVu Sans Mono takes
_ROW = 0.19  # inches from line to line
_LEFT, _RIGHT, _TITLE, _MAP = 0.85, 0.3, 0.4, 2.6
_HEAD = 0.5
_LEVELS = 127


@dataclass(frozen=True)
class ShownUnit:
    """
    A unit to be drawn.

    Attributes:
        trace: Of which state or gate.
        unit: Its number, from 0.
        response: What it is shown for; `None` where it was asked for by its number.
    """

    trace: Trace
    unit: int
    response: Response | None = None

    @property
    def name(self) -> str:
        """In words; units are numbered from 1, as layers and heads are."""
        return f"{self.trace.name}, unit {self.unit + 1}"

    def values(self) -> np.ndarray:
        """`(S,)`."""
        return self.trace.values[:, self.unit].numpy()


def plot_states(reading: Reading, shown: list[ShownUnit], path: str | Path, title: str = "") -> None:
    """
    Draw each unit as the text that it reads, colored by its value, with the places underlined where the property holds
    that it is shown for; and all units of the first one's state or gate as a heat map over the same piece.

    Blue is above zero, orange below; the strongest color is the unit's own largest absolute value in the whole text.

    Args:
        reading: The text and all states.
        shown: The units.
        path: Where the PNG goes.
        title: Stands above the picture.
    """
    rows = _wrap(reading.text)
    excerpts = [_excerpt(rows, unit) for unit in shown]
    heights = [_TITLE + _ROW * len(excerpt) for excerpt in excerpts]
    width = _LEFT + _COLUMNS * _ADVANCE + _RIGHT
    height = _HEAD + sum(heights) + _TITLE + _MAP + 0.55
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)

    top = height - _HEAD
    steps = _steps_of_characters(reading)
    for unit, excerpt, part in zip(shown, excerpts, heights, strict=True):
        box = (_LEFT / width, (top - part) / height, _COLUMNS * _ADVANCE / width, (part - _TITLE) / height)
        _draw_text(figure.add_axes(box), reading.text, steps, excerpt, unit)
        top -= part
    box = (_LEFT / width, 0.5 / height, _COLUMNS * _ADVANCE / width, _MAP / height)
    _draw_map(figure.add_axes(box), steps, excerpts[0], shown[0])
    figure.suptitle(plain(title), fontsize=12, y=1 - 0.08 / height, va="top")
    note = "blue: above 0, orange: below, strongest at the unit's largest absolute value; underlined: where it holds"
    figure.text(0.5, 1 - 0.34 / height, note, ha="center", va="top", fontsize=8.5, color="0.3")
    drawn = io.BytesIO()
    # Hinting would widen each letter to whole pixels, beside its cell.
    with rc_context({"text.hinting": "none"}):
        save_figure(figure, drawn, dpi=100)
    # A palette: in full colors, the many small cells would take three times the bytes.
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def _wrap(text: str) -> list[tuple[int, int]]:
    """Where each row of the text starts and ends, at most `_COLUMNS` columns wide; line breaks end their row."""
    rows, start = [], 0
    for line in text.splitlines(keepends=True):
        rows.extend((start + at, start + min(at + _COLUMNS, len(line))) for at in range(0, len(line), _COLUMNS))
        start += len(line)
    return rows


def _excerpt(rows: list[tuple[int, int]], unit: ShownUnit) -> list[tuple[int, int]]:
    """The consecutive rows in which the property changes most; the first ones for a unit without one."""
    if unit.response is None or len(rows) <= _ROWS:
        return rows[:_ROWS]
    values = unit.response.property.values.numpy()
    pieces = [values[rows[first][0] : rows[first + _ROWS - 1][1]] for first in range(len(rows) - _ROWS + 1)]
    spreads = [len(piece) * piece.var() for piece in pieces]  # of two that change alike the longer one
    first = int(np.argmax(spreads))
    return rows[first : first + _ROWS]


def _steps_of_characters(reading: Reading) -> np.ndarray:
    """For each character the step that reads it, -1 for one that is in no token."""
    steps = np.full(len(reading.text), -1)
    for step, (start, end) in enumerate(reading.spans):
        steps[start:end] = step
    return steps


def _colors(values: np.ndarray, largest: float | np.ndarray) -> np.ndarray:
    """`(..., 4)` colors: blue above zero and orange below, the stronger the farther."""
    strength = np.clip(np.abs(values) / np.maximum(largest, 1e-12), 0, 1)[..., None]
    strong = np.where((values >= 0)[..., None], to_rgb(BLUE), to_rgb(ORANGE))
    return np.concatenate([1 - 0.85 * strength * (1 - strong), np.ones_like(strength)], axis=-1)


def _draw_text(axis, text: str, steps: np.ndarray, excerpt: list[tuple[int, int]], unit: ShownUnit) -> None:
    values = unit.values()
    cells = np.ones((len(excerpt), _COLUMNS, 4))
    for row, (start, end) in enumerate(excerpt):
        read = steps[start:end]
        colors = _colors(values[read], np.abs(values).max())
        cells[row, : end - start] = np.where((read >= 0)[:, None], colors, 1.0)
        line = plain(text[start:end].replace("\n", "⏎"))
        axis.text(-0.5, row, line, family="DejaVu Sans Mono", fontsize=_FONT_SIZE, ha="left", va="center_baseline")
        if unit.response is not None and unit.response.property.is_flag:
            holds = unit.response.property.values.numpy()
            side = 0 if unit.trace.is_backward else 1
            for column in range(end - start):
                if holds[start + column + side]:
                    axis.plot([column - 0.5, column + 0.5], [row + 0.42] * 2, color="black", linewidth=1.1)
    axis.imshow(cells, aspect="auto", interpolation="nearest")
    axis.set(xlim=(-0.5, _COLUMNS - 0.5), ylim=(len(excerpt) - 0.5, -0.5))
    axis.axis("off")
    axis.set_title(plain(_describe(unit)), fontsize=10, loc="left", pad=4)


def _describe(unit: ShownUnit) -> str:
    if unit.response is None:
        return unit.name
    correlation = float(unit.response.correlations_of(unit.trace)[unit.unit])
    found = f"{unit.response.property.name}: {unit.name}, correlation {correlation:+.2f}"
    chance = f"chance reaches {unit.response.chance:.2f}"
    return (
        f"{found} ({chance})"
        if abs(correlation) > unit.response.chance
        else f"{found}, no more than chance ({unit.response.chance:.2f})"
    )


def _draw_map(axis, steps: np.ndarray, excerpt: list[tuple[int, int]], unit: ShownUnit) -> None:
    """All units of a trace, in the order of their correlation, over the steps of an excerpt."""
    read = [step for step in dict.fromkeys(steps[excerpt[0][0] : excerpt[-1][1]].tolist()) if step >= 0]
    values = unit.trace.values.numpy()
    order = np.arange(values.shape[1])
    label = "units"
    if unit.response is not None:
        order = np.argsort(-unit.response.correlations_of(unit.trace).numpy())
        label = f"those that follow\n{unit.response.property.name}\nfirst"
    axis.imshow(
        _colors(values[read][:, order].T, np.abs(values).max(axis=0)[order, None]),
        aspect="auto",
        interpolation="nearest",
    )
    row = int(np.flatnonzero(order == unit.unit)[0])
    axis.add_patch(
        Rectangle((-0.5, row - 0.5), len(read), 1, fill=False, edgecolor="black", linewidth=0.7, clip_on=False)
    )
    axis.set_yticks([row], [f"unit {unit.unit + 1}"], fontsize=8)
    axis.set_ylabel(label, fontsize=9, labelpad=2)
    axis.yaxis.set_label_coords(-0.035, 0.5)
    axis.set_xlabel(f"steps of the first piece of text above, {len(read)} in all", fontsize=9)
    axis.set_title(f"all {len(order)} units of {unit.trace.name}", fontsize=10, loc="left", pad=4)
    axis.set_xticks([])


def write_states_page(
    reading: Reading, traces: list[Trace], responses: list[Response], remarks: list[str], path: str | Path, title: str
) -> None:
    """
    Write a page to look through all units of some traces: the text in the colors of a unit, all units as a heat map,
    and for each property the units that follow it.

    One file, without anything from the network. The text goes in as data and is shown as text, whatever it contains.
    Values are rounded to 1/127 of their unit's largest.

    Args:
        reading: The text.
        traces: Which of its traces go into the page.
        responses: What the units of these traces respond to.
        remarks: Lines to stand below the responses.
        path: Where the page goes.
        title: Its heading.
    """
    data = {
        "title": title,
        "text": reading.text,
        "spans": reading.spans,
        "traces": [_packed(trace) for trace in traces],
        "properties": [_answers(response) for response in responses],
        "remarks": remarks,
        "colors": {"positive": BLUE, "negative": ORANGE},
    }
    Path(path).write_text(filled_page("states_page.html", title, data), encoding="utf-8")


def _packed(trace: Trace) -> dict:
    """A trace's values as bytes, unit by unit, in base64, and the number that each unit's largest stands for."""
    values = trace.values.numpy().T  # (H, S)
    largest = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12)
    levels = np.rint(values / largest * _LEVELS).astype("i1")
    return {
        "name": trace.name,
        "isBackward": trace.is_backward,
        "units": values.shape[0],
        "largest": [float(f"{number:.4g}") for number in largest[:, 0]],
        "levels": base64.b64encode(levels.tobytes()).decode("ascii"),
    }


def _answers(response: Response) -> dict:
    measured = response.property
    return {
        "name": measured.name,
        "meaning": measured.meaning,
        "isFlag": measured.is_flag,
        "values": measured.values.int().tolist(),
        "chance": round(response.chance, 4),
        "correlations": [[round(float(r), 4) for r in units] for units in response.correlations],
    }
