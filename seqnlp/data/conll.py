"""Files of annotated words, one per line: CoNLL-U and the columns of CoNLL's tasks. docs/data.md has the rules."""

import re
from collections import Counter
from dataclasses import dataclass, field

from .errors import DataError


CONLLU_FIELDS = ("form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_ID = re.compile(r"(\d+)(?:([-.])\d+)?")
_DOCUMENT = "-DOCSTART-"
_COMMENT = ("# ", "#\t")
_SPACES = re.compile(r"[ \t]+")  # and no others: a word may hold one that does not break (U+00A0)


@dataclass
class AnnotatedText:
    """
    The sentences of a file.

    Attributes:
        columns: By name, for each sentence what that column holds of each word; `None` where it holds nothing.
        comments: For each sentence its comments, without the sharp sign.
        counts: How many lines of each kind were left out, by what they are.
    """

    columns: dict[str, list[list[str | None]]]
    comments: list[list[str]] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


def read_annotated(text: str, where: str) -> AnnotatedText:
    """
    The sentences of a file, with a blank line behind each.

    A file is CoNLL-U (universaldependencies.org/format.html) if its first word has ten cells between tabs and an id;
    its columns have the names of that format. Ranges of multiword tokens, empty nodes and comments are left out. In
    any other file the columns, between tabs or else spaces, are `column 1`, `column 2` and so on; lines of CoNLL-2003
    that begin with -DOCSTART- are left out.

    Args:
        text: The content of the file.
        where: What a message calls it.

    Raises:
        DataError: For a line with another number of cells than the first, with its number; and for a file without
            words.
    """
    lines = text.split("\n")
    first = next((line for line in lines if line.strip() and not line.startswith((*_COMMENT, _DOCUMENT))), None)
    if first is None:
        raise DataError(f"{where}: there are no words in it.")
    cells = first.split("\t")
    if len(cells) == len(CONLLU_FIELDS) + 1 and _ID.fullmatch(cells[0]):
        return _read_conllu(lines, where)
    return _read_columns(lines, where, first)


def _read_conllu(lines: list[str], where: str) -> AnnotatedText:
    found = AnnotatedText({name: [] for name in CONLLU_FIELDS})
    words, comments = [], []
    for number, line in enumerate([*lines, ""], start=1):
        if not line.strip():
            if words:
                _add_sentence(found, words, comments)
            words, comments = [], []
        elif line.startswith("#"):
            comments.append(line[1:].strip())
        else:
            cells = line.split("\t")
            place = _ID.fullmatch(cells[0])
            if place is None or len(cells) != len(CONLLU_FIELDS) + 1:
                _refuse(where, number, line, "ten cells between tabs, the first of them an id, as CoNLL-U has them")
            if place.group(2):
                found.counts["ranges of multiword tokens" if place.group(2) == "-" else "empty nodes"] += 1
                continue
            # An underscore says that there is nothing; but a word may be one.
            words.append([cells[1], *(None if cell == "_" else cell for cell in cells[2:])])
    return found


def _read_columns(lines: list[str], where: str, first: str) -> AnnotatedText:
    has_tabs = "\t" in first
    width = len(_cells_of(first, has_tabs))
    found = AnnotatedText({f"column {place}": [] for place in range(1, width + 1)})
    words = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith(_DOCUMENT):
            found.counts[f"lines that begin with {_DOCUMENT}"] += 1
        elif line.strip():
            cells = _cells_of(line, has_tabs)
            is_comment = line.startswith(_COMMENT) and not words and len(cells) != width
            if is_comment:
                found.counts["comments"] += 1
            elif len(cells) != width or width < 2:
                how = "tabs" if has_tabs else "spaces"
                _refuse(where, number, line, f"a word and its labels, {max(2, width)} cells between {how}")
            else:
                words.append(cells)
        elif words:
            _add_sentence(found, words, [])
            words = []
    return found


def _cells_of(line: str, has_tabs: bool) -> list[str]:
    return line.split("\t") if has_tabs else _SPACES.split(line.strip(" \t"))


def _add_sentence(found: AnnotatedText, words: list[list[str | None]], comments: list[str]) -> None:
    for column, cells in zip(found.columns.values(), zip(*words, strict=True), strict=True):
        column.append(list(cells))
    found.comments.append(comments)


def _refuse(where: str, number: int, line: str, expected: str) -> None:
    shown = line if len(line) <= 40 else f"{line[:40]}..."
    raise DataError(f"{where}, line {number}: expected {expected}, found {shown!r}. Mend the line, or leave it out.")
