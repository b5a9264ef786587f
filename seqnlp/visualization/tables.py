"""How wide a table is that people read."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


MOST_COLUMNS = 7
"""What is wider is hard to take in, and does not fit on a page."""


class Table(NamedTuple):
    """A table, in whatever form it will be written: its headers, and as many cells in each row."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def readable_tables(headers: Sequence[str], rows: Sequence[Sequence[str]], named_by: int, across: str) -> list[Table]:
    """
    The cells of a table in as few tables as have seven columns at most.

    A table of at most seven columns stays as it is. A wider one is turned where that is enough: each of its columns
    becomes a row. Where there are too many rows for that, its columns are dealt out evenly to several tables, to be
    shown one below the other: each begins with the columns that name the rows, and has no row without a value.

    Args:
        headers: Of its columns.
        rows: Its cells; what has no value is empty.
        named_by: How many columns, the first ones, name the rows: fewer than seven.
        across: What the other columns are, e.g. `score`: the first header once the table is turned.
    """
    if len(headers) <= MOST_COLUMNS:
        return [Table(headers, rows)]
    if len(rows) < MOST_COLUMNS:
        names = [", ".join(filter(None, row[:named_by])) for row in rows]
        turned = [[headers[at], *(row[at] for row in rows)] for at in range(named_by, len(headers))]
        return [Table([across, *names], turned)]
    columns = len(headers) - named_by
    parts = math.ceil(columns / (MOST_COLUMNS - named_by))
    ends = [named_by + math.ceil(columns * part / parts) for part in range(parts + 1)]
    return [
        Table(
            [*headers[:named_by], *headers[begin:end]],
            [[*row[:named_by], *row[begin:end]] for row in rows if any(row[begin:end])],
        )
        for begin, end in pairwise(ends)
    ]
