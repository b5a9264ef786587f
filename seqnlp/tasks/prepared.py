"""Data in the form in which models read it, and what a trained model did with it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ..data import LoadedData
from ..training import Run
from ..training.batches import Collator


@dataclass
class PreparedData:
    """
    Data in the form in which models read it.

    Attributes:
        loaded: What the loader gave.
        processor: What makes a model's inputs: a tokenizer, an image processor, a pair of tokenizers, or nothing.
        examples: By split, what is evaluated row by row; `train` too where a recipe trains on the same rows.
        collator: Makes a batch of them for evaluation.
        details: What `run.json` says of the data beside what the loader says.
        counts: By split, what its scores are divided by, where a task counts that.
        remarks: One line for each thing that its user should know of it.
    """

    loaded: LoadedData
    processor: Any
    examples: dict[str, Dataset]
    collator: Collator
    details: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """
    What a trained model did, for reports and pictures.

    Attributes:
        run: The run.
        data: The prepared data.
        split: The split that is reported: the first test split, or else validation.
        predictions: What [`Task.predict`] gave for each split.
        began: When that was known; files in the folder that are older are another run's.
    """

    run: Run
    data: PreparedData
    split: str
    predictions: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores of the reported split."""
        return self.run.record.metrics[self.split]

    @property
    def baselines(self) -> dict[str, dict[str, Any]]:
        """The scores of the reported split of what the model is compared with, by name."""
        return {name: parts[self.split] for name, parts in self.run.record.baselines.items() if self.split in parts}

    def file(self, name: str) -> Path:
        """A file in the output folder."""
        return self.run.output_dir / name
