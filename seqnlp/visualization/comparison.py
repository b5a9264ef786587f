"""Architectures side by side: one picture, and one page that opens offline."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .dependency import style_of


class TableRow(NamedTuple):
    """
    A row of the page's table.

    Attributes:
        cells: The first is the name of an architecture or of a baseline.
        is_best: Whether nothing in the table is better.
        is_baseline: Whether it is a baseline's.
    """

    cells: list[str]
    is_best: bool
    is_baseline: bool = False


STYLE = """
:root { --ink: #1d2430; --soft: #5b6676; --line: #d8dee6; --back: #ffffff; --panel: #f5f7fa; --mark: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf1; --soft: #a4afbe; --line: #3a4454; --back: #151a22; --panel: #1e2530; --mark: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.5rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { max-width: 46rem; } .soft, caption, figcaption { color: var(--soft); }
.answer { border-left: 4px solid var(--mark); background: var(--panel); padding: .8rem 1.1rem; max-width: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .55rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid var(--ink); }
tbody tr.best td { font-weight: 650; } tbody tr.baseline td { color: var(--soft); }
td .dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em; }
figure { margin: 1rem 0; } figure img { width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; }
code, pre { font: .86em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { background: var(--panel); padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; }
details { margin-top: .6rem; } summary { cursor: pointer; font-weight: 600; }
"""


def plot_comparison(rows: Sequence[dict[str, Any]], metric: str, curve_metric: str, title: str = "") -> bytes:
    """
    Draw quality with its interval, the learning curves of all seeds, and quality against speed.

    Args:
        rows: One per architecture: `architecture`, `values` (the metric per seed), `mean`, `interval` (half
            its width, or None), `curves` (a list of `(epoch, value)` pairs per seed) and `targets_per_second`.
        metric: Name of the metric.
        curve_metric: Name of the validation metric that the curves show.
        title: Stands above the picture.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    quality, learning, speed = figure.subplots(1, 3, width_ratios=(1, 1.3, 1))
    for place, row in enumerate(rows):
        color, line = style_of(row["architecture"], place)
        marker = line[0]
        quality.errorbar(
            place, row["mean"], yerr=row["interval"], fmt=marker, color=color, capsize=6, markersize=9, linewidth=1.6
        )
        quality.plot([place + 0.18] * len(row["values"]), row["values"], ".", color=color, alpha=0.6)
        for number, curve in enumerate(row["curves"]):
            label = row["architecture"] if number == 0 else None
            learning.plot(
                *zip(*curve, strict=True), line, color=color, markersize=3.5, linewidth=1.2, label=label, alpha=0.85
            )
        speed.plot(row["targets_per_second"], row["mean"], marker, color=color, markersize=9)
        speed.annotate(
            row["architecture"], (row["targets_per_second"], row["mean"]), (7, 5), textcoords="offset points"
        )
    quality.set_xticks(range(len(rows)), [row["architecture"] for row in rows])
    quality.set_xlim(-0.6, len(rows) - 0.4)
    quality.set_ylabel(metric)
    quality.set_title("quality: mean, 95 % interval, seeds")
    learning.set_xlabel("epoch (passes over the training data)")
    learning.set_ylabel(f"validation {curve_metric}")
    learning.set_title("learning curves, one per seed")
    learning.xaxis.set_major_locator(MaxNLocator(integer=True))
    learning.legend()
    speed.set_xlabel("training speed (targets per second)")
    speed.set_ylabel(metric)
    speed.set_title("quality against speed")
    speed.margins(y=0.15)
    speed.set_xlim(left=0, right=1.35 * max(row["targets_per_second"] for row in rows))
    for axis in (quality, learning, speed):
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130)
    return file.getvalue()


def comparison_page(
    title: str,
    answer: str,
    matching: str,
    headers: Sequence[str],
    rows: Sequence[TableRow],
    picture: bytes,
    notes: Sequence[str],
    details: dict[str, str],
) -> str:
    """
    A page that needs nothing beside it: the answer, the table, the picture, how it was measured.

    Args:
        title: Its heading.
        answer: The outcome in a sentence.
        matching: What was held equal.
        headers: Of the table.
        rows: Of the table.
        picture: A PNG.
        notes: How to read the numbers.
        details: Further text by heading, folded away.
    """
    escape = html.escape
    body = []
    for number, (cells, is_best, is_baseline) in enumerate(rows):
        color = style_of(cells[0], number)[0]
        dot = "" if is_baseline else f'<span class="dot" style="background:{color}"></span>'
        shown = [f"<td>{dot}{escape(cells[0])}</td>", *(f"<td>{escape(cell)}</td>" for cell in cells[1:])]
        kind = " ".join(name for name, holds in (("best", is_best), ("baseline", is_baseline)) if holds)
        body.append(f'<tr class="{kind}">{"".join(shown)}</tr>')
    image = base64.b64encode(picture).decode("ascii")
    folded = "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
        for name, text in details.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="soft">{escape(matching)}</p>
<p class="answer">{escape(answer)}</p>
<div class="scroll"><table>
<thead><tr>{"".join(f'<th scope="col">{escape(header)}</th>' for header in headers)}</tr></thead>
<tbody>
{chr(10).join(body)}
</tbody></table></div>
<figure><img alt="Quality with intervals, learning curves, and quality against speed, by architecture"
src="data:image/png;base64,{image}"></figure>
<h2>How to read this</h2>
<ul>{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>
<h2>How it was made</h2>
{folded}
</body>
</html>
"""
