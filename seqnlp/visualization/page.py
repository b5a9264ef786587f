"""The pages that seqnlp writes: one look, one file each, without anything from the network."""

import base64
import html
import json
import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


SVG = "image/svg+xml"
MOST_SHRUNK = 900
"""Pixels: the width of a picture that can still be read where a narrow window shows all of it."""
INK = """
function ink(color) {  // black or white, whichever is read better on it: at least 4.5 to 1 (WCAG 2.1)
  const [r, g, b] = color.map((part) => (part /= 255) <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}
""".strip()
"""What the scripts of pages choose the color of letters by."""
STYLE = """
:root { color-scheme: light dark; }
:root { --ink: #1d2430; --soft: #5b6676; --line: #d8dee6; --back: #ffffff; --panel: #f5f7fa; --mark: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf1; --soft: #a4afbe; --line: #3a4454; --back: #151a22; --panel: #1e2530; --mark: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.5rem 4rem; background: var(--back); color: var(--ink);
  overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { max-width: 46rem; } .soft, caption, figcaption { color: var(--soft); }
.answer { border-left: 4px solid var(--mark); background: var(--panel); padding: .8rem 1.1rem; max-width: none; }
.scroll { overflow-x: auto; } .scroll + .scroll { margin-top: 1.4rem; }
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
:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
audio { width: 100%; max-width: 40rem; } figcaption { font-size: .9rem; }
.facts th { text-align: left; font-weight: 600; } .facts td { text-align: left; white-space: normal; }
@media (max-width: 40rem) {
  figure.wide { overflow-x: auto; } figure.wide img { width: 44rem; max-width: none; }
  body { padding: 1rem .9rem 2rem; } h1 { font-size: 1.4rem; } th, td { padding: .35rem .4rem; }
}
@media print { figure, tr { break-inside: avoid; } .answer { border-color: #000; } }
"""


def page_of(title: str, parts: Iterable[str]) -> str:
    """
    A whole page.

    Args:
        title: Its heading.
        parts: HTML.
    """
    newline = "\n"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{newline.join(parts)}
</body>
</html>
"""


def filled_page(template: str, title: str, data: dict[str, Any]) -> str:
    """
    A page that draws itself: one that lies beside this file, with its title and its data in their places.

    Args:
        template: Its name; in it stand `__TITLE__`, `__DATA__` and, where letters stand on colors, `__INK__`.
        title: Its title.
        data: What its script reads, which shows it as text, whatever it contains.
    """
    # Inside a script element only `<` could end it; the others are for readers of another grammar.
    embedded = json.dumps(data, ensure_ascii=True)
    embedded = embedded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    page = Path(__file__).with_name(template).read_text(encoding="utf-8")
    places = {"__TITLE__": html.escape(title), "__DATA__": embedded, "__INK__": INK}
    # All at once: each may hold the name of another's place.
    return re.sub("|".join(places), lambda found: places[found.group()], page)


def html_table(headers: Sequence[str], body: Iterable[str], label: str) -> str:
    """
    A table that scrolls where the window is narrow, by the keyboard too.

    Args:
        headers: Of its columns.
        body: Its rows, as HTML.
        label: What it shows, for those who do not see it.
    """
    head = "".join(f'<th scope="col">{html.escape(header)}</th>' for header in headers)
    rows = "\n".join(body)
    region = f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}">'
    return f"{region}<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"


def html_row(cells: Sequence[str], kind: str = "") -> str:
    """A row of plain cells; `kind` is `best`, `baseline` or nothing."""
    return f'<tr class="{kind}">{"".join(f"<td>{html.escape(cell)}</td>" for cell in cells)}</tr>'


def facts_of(facts: dict[str, str]) -> str:
    """Names and what they are, those without anything left out."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(fact)}</td></tr>'
        for name, fact in facts.items()
        if fact
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def picture_of(png: bytes, alt: str, caption: str = "") -> str:
    """A picture inside the page."""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    (width,) = struct.unpack(">I", png[16:20])  # of the header chunk, which comes first
    # What is drawn for a wide window would be too small in a narrow one: there it scrolls.
    wide = ' class="wide" tabindex="0"' if width > MOST_SHRUNK else ""
    return f'<figure{wide}><img alt="{html.escape(alt)}" src="{data_uri(png, "image/png")}">{below}</figure>'


def drawing_of(svg: bytes, alt: str) -> str:
    """A drawing inside the page; what was drawn for paper is too small in a narrow window, where it scrolls."""
    return f'<figure class="wide" tabindex="0"><img alt="{html.escape(alt)}" src="{data_uri(svg, SVG)}"></figure>'


def list_of(items: Iterable[str]) -> str:
    """A list of texts, such as notes on how to read a page."""
    return f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>"


def folded(name: str, text: str) -> str:
    """A text that is folded away under its name."""
    return f"<details><summary>{html.escape(name)}</summary>{preformatted(text)}</details>"


def preformatted(text: str) -> str:
    """A text with its line breaks and columns."""
    return f'<pre tabindex="0">{html.escape(text)}</pre>'


def data_uri(content: bytes, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
