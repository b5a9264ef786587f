"""What every loader returns: the splits, where they come from, and what was done to them."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, Image, IterableDataset

from .columns import values_of


_WORD = re.compile(r"\S+")


class DataSource(NamedTuple):
    """Where a dataset came from, as it may be published: no path of the machine."""

    name: str
    config: str | None = None
    revision: str | None = None


@dataclass
class LoadedData:
    """
    The splits of a dataset, ready for a task.

    Attributes:
        splits: The splits by name; `train` and `validation` are always there.
        source: Where they come from.
        details: What `run.json` says besides, such as the two languages of sentence pairs.
        remarks: One plain line for each thing that was dropped, cut, guessed or converted, with its count.
        counts_text: Whether the characters and words of each split belong to its description.
    """

    splits: dict[str, Dataset | IterableDataset]
    source: DataSource
    details: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    counts_text: bool = False

    def describe(self) -> dict[str, Any]:
        """
        What `run.json` says of the data: name, configuration, revision, details, remarks, and of each split its rows
        and their fingerprint; of a streamed split only that it is streamed.
        """
        splits = {name: self._facts(part) for name, part in self.splits.items()}
        remarks = {"remarks": list(self.remarks)} if self.remarks else {}
        return {**self.source._asdict(), "splits": splits, **self.details, **remarks}

    def _facts(self, part: Dataset | IterableDataset) -> dict[str, Any]:
        if isinstance(part, IterableDataset):
            return {"streamed": True}
        counts = count_text(part) if self.counts_text else {}
        return {"rows": len(part), "fingerprint": fingerprint(part), **counts}


def fingerprint(dataset: Dataset) -> str:
    """A hash of a dataset's rows: equal for equal content, wherever and however it was loaded."""
    digest = hashlib.sha256()
    if isinstance(dataset.features.get("image"), Image):
        for row in dataset:
            image = row["image"].convert("RGBA") if row["image"].mode in ("P", "PA") else row["image"]
            pixels = np.asarray(image)  # of a palette these would be places in it
            digest.update(f"{row['label']} {row['image'].mode} {pixels.shape}".encode() + pixels.tobytes())
        return digest.hexdigest()[:32]
    for column in sorted(dataset.column_names):
        digest.update(f"\0{column}\0".encode())
        for value in values_of(dataset, column):
            digest.update(f"{value!r}\0".encode())
    return digest.hexdigest()[:32]


def count_text(rows: Dataset) -> dict[str, int]:
    """Characters, and words between white space: what a text's loss can be divided by."""
    characters = words = 0
    for text in values_of(rows, "text"):
        characters += len(text)
        words += sum(1 for _ in _WORD.finditer(text))  # split() would hold every word of a long text at once
    return {"characters": characters, "words": words}
