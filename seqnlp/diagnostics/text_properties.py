"""What may be said of each place in a text: whether it is quoted, in brackets, how far into its line it is.

A property has a value at each boundary between two characters: index `i` stands behind the first `i` of them. What has
been read from the left up to a boundary knows the value there, and so does what has been read from the right.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TextProperty:
    """
    A property, measured on a text.

    Attributes:
        name: In words, e.g. `inside quotes`.
        meaning: What its values say.
        is_flag: Whether it is 0 or 1, else a number.
        values: `(len(text) + 1,)`, its value at each boundary.
        remark: What was left out of it; empty for nothing.
    """

    name: str
    meaning: str
    is_flag: bool
    values: torch.Tensor
    remark: str = ""


_LEFT, _RIGHT = "\u2018", "\u2019"  # single quotation marks; the right one is the apostrophe, too
_CLOSING = {'"""': '"""', "'''": "'''", '"': '"', "'": "'", "“": "”", "„": "“", "«": "»", _LEFT: _RIGHT}
_OPENING = re.compile("|".join(map(re.escape, _CLOSING)))  # the tripled ones first
# How far a straight mark may have to close: one that has none is an apostrophe, or a paragraph of a longer speech.
_ENDS = {"'": "\n", '"': "\n\n"}
_PREFIX = re.compile(r"(?<!\w)[bfru]{1,2}$", re.IGNORECASE)  # of a string in Python
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def measure_properties(text: str) -> list[TextProperty]:
    """Every property of a text."""
    return [measure(text) for measure in PROPERTIES]


def inside_quotes(text: str) -> TextProperty:
    """
    Whether a place is quoted.

    Straight marks, single, double and, as in Python, tripled; typographic ones; a mark behind a backslash is none. A
    single mark between two letters is an apostrophe; it has its line to close, a double one its paragraph.
    """
    values = torch.zeros(len(text) + 1)
    at, unclosed = 0, 0
    while (opening := _next_mark(text, _OPENING, at)) is not None:
        at = opening.end()
        if _is_apostrophe(text[: opening.start()], opening[0]):
            continue
        end = text.find(_ENDS[opening[0]], at) if opening[0] in _ENDS else -1
        closing = _closing_mark(text[: end if end >= 0 else len(text)], opening)
        if closing is None:
            unclosed += 1
            continue
        values[opening.end() : closing.start() + 1] = 1
        at = closing.end()
    remark = f"{unclosed} quotation mark{'s' * (unclosed != 1)} without a closing one left out" if unclosed else ""
    return TextProperty("inside quotes", "1 between two quotation marks", True, values, remark)


def _next_mark(text: str, pattern: re.Pattern, at: int) -> re.Match | None:
    """The next mark that does not stand behind a backslash, unless that stands behind another one."""
    while (mark := pattern.search(text, at)) is not None:
        before = mark.start()
        while before > 0 and text[before - 1] == "\\":
            before -= 1
        if (mark.start() - before) % 2 == 0:
            return mark
        at = mark.start() + 1
    return None


def _is_apostrophe(before: str, mark: str) -> bool:
    return mark in ("'", _LEFT) and before[-1:].isalnum() and not (mark == "'" and _PREFIX.search(before[-3:]))


def _closing_mark(text: str, opening: re.Match) -> re.Match | None:
    pattern, at = re.compile(re.escape(_CLOSING[opening[0]])), opening.end()
    while (mark := _next_mark(text, pattern, at)) is not None:
        if mark[0] not in ("'", _RIGHT) or not text[mark.end() : mark.end() + 1].isalnum():
            return mark
        at = mark.end()
    return None


def bracket_depth(text: str) -> TextProperty:
    """How many brackets, of the kinds `()`, `[]` and `{}`, are open; those without a partner do not count."""
    pairs, unmatched = _bracket_pairs(text)
    steps = torch.zeros(len(text) + 2)
    for opening, closing in pairs:
        steps[opening + 1] += 1
        steps[closing + 1] -= 1
    remark = f"{unmatched} bracket{'s' * (unmatched != 1)} without a partner left out" if unmatched else ""
    values = steps.cumsum(0)[: len(text) + 1]
    return TextProperty("bracket depth", "brackets that are open", False, values, remark)


def inside_brackets(text: str) -> TextProperty:
    """Whether any bracket is open."""
    depth = bracket_depth(text)
    values = (depth.values > 0).float()
    return TextProperty("inside brackets", "1 between two brackets", True, values, depth.remark)


def _bracket_pairs(text: str) -> tuple[list[tuple[int, int]], int]:
    pairs, unmatched, opened = [], 0, []
    for index, character in enumerate(text):
        if character in _BRACKETS.values():
            opened.append((character, index))
        elif character in _BRACKETS:
            partner = next((i for i in reversed(range(len(opened))) if opened[i][0] == _BRACKETS[character]), None)
            if partner is None:
                unmatched += 1
                continue
            pairs.append((opened[partner][1], index))
            unmatched += len(opened) - partner - 1
            del opened[partner:]
    return pairs, unmatched + len(opened)


def position_in_line(text: str) -> TextProperty:
    """How many characters of its line stand before a place."""
    values = [i - start for start, end in _lines(text) for i in range(start, end + 1)]
    return TextProperty("position in line", "characters since the line began", False, torch.tensor(values).float())


def line_length(text: str) -> TextProperty:
    """How long the line of a place is, which a model cannot know before the line ends, though it may guess."""
    values = [end - start for start, end in _lines(text) for _ in range(start, end + 1)]
    return TextProperty("line length", "characters of the whole line", False, torch.tensor(values).float())


def _lines(text: str) -> list[tuple[int, int]]:
    """Where each line starts and ends; the boundary behind a line break belongs to the next line."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return list(zip(starts, [start - 1 for start in starts[1:]] + [len(text)], strict=True))


PROPERTIES: tuple[Callable[[str], TextProperty], ...] = (
    inside_quotes,
    inside_brackets,
    bracket_depth,
    position_in_line,
    line_length,
)
