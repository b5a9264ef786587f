"""Text of others (labels, names of files, values of flags) in the Markdown of a card, where it stays text."""

import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate


# What has a meaning in the middle of a line of GitHub's Markdown; an underscore within a word has none.
_MEANT = re.compile(r"[\\`*\[\]~$]|(?<!\w)_|_(?!\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def one_line(text: object) -> str:
    """Text without line breaks, which would end a row, a heading or a block of code."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def escape(text: object) -> str:
    """Text that is shown as it is: no table, link, image, emphasis or HTML comes of it."""
    escaped = _MEANT.sub(r"\\\g<0>", one_line(text))
    return re.sub("[&<>]", lambda found: _ENTITIES[found.group()], escaped)


def code(text: object) -> str:
    """A span of code that what is in it cannot end."""
    text = one_line(text)
    ticks = "`" * (_longest_ticks(text) + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{padding}{text}{padding}{ticks}"


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """A table of headers and cells that are Markdown; empty without rows."""
    names, *cells = ([str(cell).replace("|", r"\|") for cell in row] for row in (headers, *rows))
    return tabulate(cells, headers=names, tablefmt="github", disable_numparse=True) if cells else ""


def fence(text: str) -> str:
    """Ticks around a block of code that no line of it can end."""
    return "`" * max(3, _longest_ticks(text) + 1)


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
