"""Evaluation on every process: each example once, the results in the dataset's order and the same everywhere."""

import statistics
from abc import ABC
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object, send_to_device
from torch.utils.data import Dataset, default_collate
from transformers import PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from .batches import Batch, Collator


RowFunction = Callable[[PreTrainedModel, Batch], list[Any]]


class EvaluationEnded(Exception):
    """An evaluation was told to end between two of its batches."""


class EndOfGeneration(StoppingCriteria):
    """
    Ends a generation, whose texts are dropped then, at a token.

    Args:
        is_told: Whether this process has been told to end.
    """

    def __init__(self, is_told: Callable[[], bool]):
        self._is_told = is_told

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        """The same for each of the texts."""
        return torch.full((len(input_ids),), self._is_told(), device=input_ids.device)


class Predictions(NamedTuple):
    """What a classifier says of a dataset, in the dataset's order, each example once."""

    logits: np.ndarray
    labels: np.ndarray


def cut_into_batches(num_rows: int, batch_size: int, lengths: Sequence[int] | None = None) -> list[list[int]]:
    """
    The rows of each batch of a dataset: one after the other, or rows of similar length together.

    Args:
        num_rows: Rows of the dataset.
        batch_size: Rows of a batch, at most.
        lengths: Of each row, if rows differ much: the longest come first, so that too little memory shows at once, and
            a batch is no larger, padding included, than a full one of rows of median length. One long text does not
            make a hundred short ones wait for its end, nor take their memory a hundred times.
    """
    if lengths is None or num_rows == 0:
        return [list(range(start, min(start + batch_size, num_rows))) for start in range(0, num_rows, batch_size)]
    room = batch_size * statistics.median_high(lengths)
    batches: list[list[int]] = []
    for row in sorted(range(num_rows), key=lambda row: -lengths[row]):
        fits = batches and len(batches[-1]) < batch_size and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= room
        if not fits:
            batches.append([])
        batches[-1].append(row)
    return batches


class Evaluator(ABC):
    """
    Says something of every row of a dataset by a model; a training loop does, and [`ModelEvaluator`] for a bare model.

    Attributes:
        seed: For what an evaluation draws at random.
        eval_batch_size: Rows of a batch, at most.
        collator: Makes a batch of examples where no other is given.
        unwrapped_model: The model without what distributed training wrapped around it.
        device: Where its batches go.
        num_processes: Processes that share the rows.
        process_index: Which of them this is.
    """

    seed: int
    eval_batch_size: int
    collator: Collator
    unwrapped_model: PreTrainedModel
    device: torch.device
    num_processes: int
    process_index: int

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.process_index == 0

    def autocast(self) -> AbstractContextManager:
        """
        Entered once per batch, around all that is asked of the model: autocast keeps the weights that it has cast
        until its outermost context is left, and a text is written by one forward pass per token.
        """
        return nullcontext()

    def must_end(self) -> bool:
        """Whether an evaluation ends before its next batch; every process asks and is told the same."""
        return False

    def stopping_criteria(self) -> StoppingCriteriaList:
        """For `generate` in an evaluation: it need not wait for the end of its batch where the evaluation must end."""
        return StoppingCriteriaList()

    def evaluate_rows(
        self,
        dataset: Dataset,
        function: RowFunction,
        collator: Collator | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list[Any]:
        """
        What `function(model, batch)`, a list of one Python object per row, says of every example of `dataset`.

        The batches are dealt out to the processes. All call `function` equally often, for a sharded model needs every
        process in each forward pass: a process without a batch in the last round computes one whose results are
        dropped.

        Args:
            dataset: A dataset with a length.
            function: Called without gradients with the unwrapped model in evaluation mode (so it may `generate`), and
                a batch on its device; gives objects that can be pickled.
            collator: Makes a batch of examples; the evaluator's own by default.
            lengths: Of each example, if those of similar length are to be evaluated together.

        Returns:
            One object per example, each example exactly once, in the dataset's order, the same on every process.

        Raises:
            ValueError: If `function` gives more or fewer objects than the batch has rows.
            EvaluationEnded: If it is to end between two batches, or behind the last one.
        """
        collator, model = collator or self.collator, self.unwrapped_model
        batches = cut_into_batches(len(dataset), self.eval_batch_size, lengths)
        was_training = model.training
        model.eval()
        found = []
        many = getattr(dataset, "__getitems__", None)
        try:
            for first in range(0, len(batches), self.num_processes):
                if self.must_end():
                    raise EvaluationEnded
                mine = first + self.process_index
                is_real = mine < len(batches)
                rows = batches[mine] if is_real else batches[first][:1]
                examples = many(rows) if many else [dataset[row] for row in rows]
                batch = send_to_device(collator(examples), self.device)
                with torch.no_grad(), self.autocast():
                    results = list(function(model, batch))
                if len(results) != len(rows):
                    raise ValueError(f"The function gave {len(results)} results for a batch of {len(rows)} examples.")
                if is_real:
                    found.extend(zip(rows, results, strict=True))
            if self.must_end():  # what was generated last may be cut off
                raise EvaluationEnded
        finally:
            model.train(was_training)
        if self.num_processes > 1:
            found = gather_object(found)
        return [result for _, result in sorted(found, key=lambda pair: pair[0])]

    def predict(self, dataset: Dataset, collator: Collator | None = None) -> Predictions:
        """
        Logits and labels of every example of `dataset` exactly once, in its order, the same on every process.

        Args:
            dataset: A dataset with a length.
            collator: Makes a batch of examples; the evaluator's own by default.
        """
        logits, labels = zip(*self.evaluate_rows(dataset, logits_and_labels, collator), strict=True)
        return Predictions(np.stack(logits), np.stack(labels))


class ModelEvaluator(Evaluator):
    """
    Evaluates a bare model in this process alone, with the batches that a training loop in one process would take.

    Args:
        model: The model, on its device.
        batch_size: Rows of a batch, at most: the `per_device_eval_batch_size` of a run.
        collator: Makes a batch of examples where none is given; stacks tensors by default.
        seed: For what an evaluation draws at random.
    """

    def __init__(self, model: PreTrainedModel, batch_size: int, collator: Collator = default_collate, seed: int = 42):
        self.unwrapped_model = model
        self.eval_batch_size = batch_size
        self.collator = collator
        self.seed = seed
        self.device = model.device
        self.num_processes, self.process_index = 1, 0


def logits_and_labels(model: PreTrainedModel, batch: Batch) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each row of a classifier's batch its logits, in float32, and its label."""
    outputs = model(**{name: value for name, value in batch.items() if name != "labels"})
    return list(zip(outputs.logits.float().cpu().numpy(), batch["labels"].cpu().numpy(), strict=True))
