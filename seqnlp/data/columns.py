"""Columns of a dataset as a whole: many rows at a time, since `datasets` takes many times longer row by row."""

import gc
import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetInfo, Features


ROWS_AT_ONCE = 10_000


def values_of(dataset: Dataset, column: str) -> Iterator[Any]:
    """The values of a column, in order, as iterating `dataset[column]` gives them."""
    values = dataset[column]
    for start in range(0, len(values), ROWS_AT_ONCE):
        yield from values[start : start + ROWS_AT_ONCE]


def evenly_spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of some items, from the first to the last at equal distances."""
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, min(count, len(items))).round()]


@contextmanager
def without_looking_for_cycles() -> Iterator[None]:
    """
    For many small objects of which none refers back to another: Python would look through all that are alive again and
    again, which takes longer than to make them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def dataset_of(table: pa.Table, features: Features | None = None) -> Dataset:
    """
    A dataset in memory. What caches know it by is a hash of the table where it lies; `datasets` would hash a copy, as
    a pickle.
    """
    digest = hashlib.sha256(str((table.schema, features)).encode())
    for column in table.columns:
        for chunk in column.chunks:
            digest.update(f"{len(chunk)} {chunk.offset}".encode())
            for buffer in chunk.buffers():
                digest.update(b"" if buffer is None else buffer)
    return Dataset(table, info=DatasetInfo(features=features), fingerprint=digest.hexdigest()[:16])


def texts_in_columns(columns: dict[str, list[str]]) -> dict[str, pa.ChunkedArray]:
    """Lists of texts as columns of a table."""

    def chunks(texts: list[str]) -> list[pa.Array]:
        starts = range(0, len(texts), ROWS_AT_ONCE)
        return [pa.array(texts[start : start + ROWS_AT_ONCE], pa.string()) for start in starts]

    return {name: pa.chunked_array(chunks(texts), pa.string()) for name, texts in columns.items()}


def rows_where(dataset: Dataset, chosen: list[bool]) -> Dataset:
    """Some rows, side by side in memory: rows that `select` takes are looked up one by one each time they are read."""
    table = dataset.with_format("arrow")[:]
    return dataset_of(table.filter(pa.array(chosen)), dataset.features)


def lengths_of(dataset: Dataset, column: str) -> list[int]:
    """The lengths of the lists of a column."""
    return [length for _, lengths in _lists_of(dataset, column) for length in lengths.tolist()]


def count_tokens(dataset: Dataset, column: str, token: int) -> tuple[int, int]:
    """How often a token stands in the lists of a column, and how many tokens there are."""
    found = [(int((tokens == token).sum()), len(tokens)) for tokens, _ in _lists_of(dataset, column)]
    return sum(count for count, _ in found), sum(total for _, total in found)


def join_lists(dataset: Dataset, column: str, first: int) -> np.ndarray:
    """The tokens of the lists of a column one after the other, int32, with the token `first` before each list."""
    joined = np.empty(sum(lengths_of(dataset, column)) + len(dataset), dtype=np.int32)
    at = 0
    for tokens, lengths in _lists_of(dataset, column):
        begins = np.cumsum(lengths) - lengths
        part = np.insert(tokens.astype(np.int32, copy=False), begins, first)
        joined[at : at + len(part)] = part
        at += len(part)
    return joined


def _lists_of(dataset: Dataset, column: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The numbers of the lists of some rows in one array, and the lists' lengths."""
    tables = dataset.select_columns(column).with_format("arrow")
    for start in range(0, len(dataset), ROWS_AT_ONCE):
        lists: pa.ChunkedArray = tables[start : start + ROWS_AT_ONCE][column]
        for chunk in lists.chunks:
            yield chunk.flatten().to_numpy(zero_copy_only=False), chunk.value_lengths().to_numpy()


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: white space alone, or characters of format and control."""
    return all(mark.isspace() or unicodedata.category(mark) in ("Cf", "Cc") for mark in text)
