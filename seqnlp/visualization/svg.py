"""Line drawings as SVG, in one style, that read on a light page and on a dark one."""

import html
import re
from pathlib import Path


TIMES, MINUS = "\u00d7", "\u2212"
_STYLE = """
  text { font: 14px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1a1a1a; }
  .small { font-size: 12px; } .code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 12px; }
  .head { font-weight: 600; font-size: 15px; } .soft { fill: #555; }
  .paper { fill: #fff; } .line { fill: none; stroke: #555; stroke-width: 1.6; } .tip { fill: #555; }
  .box { stroke-width: 1.5; } .dashed { stroke-dasharray: 5 4; }
  .frame { fill: none; stroke: #999; stroke-width: 1.2; }
  .input { fill: #eef1f4; stroke: #7b8794; } .state { fill: #dcecf8; stroke: #0072b2; }
  .gate { fill: #fde8d8; stroke: #d55e00; } .operation { fill: #fff; stroke: #555; }
  .output { fill: #d9f2e9; stroke: #009e73; } .norm { fill: #f6f0da; stroke: #a67c00; }
  @media (prefers-color-scheme: dark) {
    text { fill: #ececec; } .soft { fill: #a9b0b8; } .paper { fill: #16191d; }
    .line { stroke: #b4bcc4; } .tip { fill: #b4bcc4; }
    .frame { stroke: #6b737c; } .input { fill: #2a3036; stroke: #8b96a1; } .state { fill: #12324a; stroke: #4aa3df; }
    .gate { fill: #4a2a12; stroke: #ff8f45; } .operation { fill: #16191d; stroke: #b4bcc4; }
    .output { fill: #0f3a2e; stroke: #2fc79a; } .norm { fill: #3d3413; stroke: #d8b23c; }
  }
""".strip("\n")
_TIP = (
    '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10" markerHeight="10" '
    'markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path class="tip" d="M0 0L10 5L0 10z"/></marker>'
)
_SUBSCRIPT = re.compile(r"_\{([^}]*)\}")


class Drawing:
    """
    A drawing that grows piece by piece; places are in pixels from the upper left corner.

    Args:
        width: Of the whole.
        height: Of the whole.
        title: What it shows, in one line, for readers that do not see it.
    """

    def __init__(self, width: int, height: int, title: str):
        self.width, self.height, self.title = width, height, title
        self._parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, label: str = "", kind: str = "operation", note: str = ""
    ) -> None:
        """A rounded box around its middle, with a label and, below it, a note; `kind` says its color."""
        self._parts.append(
            f'<rect class="box {kind}" x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" '
            f'height="{height:g}" rx="6"/>'
        )
        self.text(x, y - 8 * bool(note), label)
        if note:
            self.text(x, y + 9, note, "small soft")

    def circle(self, x: float, y: float, label: str, radius: float = 13, kind: str = "operation") -> None:
        """A circle around its middle, e.g. of an operation on two vectors."""
        self._parts.append(f'<circle class="box {kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>')
        self.text(x, y, label)

    def frame(self, left: float, top: float, right: float, bottom: float) -> None:
        """A pale line around what belongs together."""
        place = f'x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}"'
        self._parts.append(f'<rect class="frame" {place} rx="10"/>')

    def line(self, *points: tuple[float, float], has_tip: bool = True, style: str = "", width: float = 0) -> None:
        """A line through some points, with a tip at its end; `width` in pixels where it is not the usual one."""
        path = " ".join(f"{'L' if index else 'M'}{x:g} {y:g}" for index, (x, y) in enumerate(points))
        thickness = f' style="stroke-width: {width:g}px"' if width else ""
        tip = ' marker-end="url(#tip)"' * has_tip
        self._parts.append(f'<path class="line {style}" d="{path}"{thickness}{tip}/>')

    def text(self, x: float, y: float, label: str, style: str = "", anchor: str = "middle") -> None:
        """A line of text around its middle; `h_{t-1}` has a subscript."""
        if label:
            self._parts.append(
                f'<text class="{style}" x="{x:g}" y="{y:g}" text-anchor="{anchor}" dominant-baseline="central">'
                f"{_marked_up(label)}</text>"
            )

    def save(self, path: str | Path) -> None:
        """Write it; the same drawing is the same file to the byte."""
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img">',
            f"<title>{html.escape(self.title)}</title>",
            f"<style>\n{_STYLE}\n</style>",
            f"<defs>{_TIP}</defs>",
            f'<rect class="paper" width="{self.width}" height="{self.height}" rx="8"/>',
            *self._parts,
            "</svg>",
        ]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _marked_up(label: str) -> str:
    parts, end = [], 0
    for found in _SUBSCRIPT.finditer(label):
        parts.append(html.escape(label[end : found.start()]))
        # Not by baseline-shift, which Firefox does not know.
        parts.append(
            f'<tspan dy="4" font-size="75%">{html.escape(found.group(1))}</tspan><tspan dy="-4">&#8203;</tspan>'
        )
        end = found.end()
    return "".join(parts) + html.escape(label[end:])
