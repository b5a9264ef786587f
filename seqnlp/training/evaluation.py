"""Evaluation on every process: each example once, the results in the dataset's order and the same everywhere."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch.utils.data import Dataset
from transformers import PreTrainedModel

from .batches import Batch, Collator


RowFunction = Callable[[PreTrainedModel, Batch], list[Any]]


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


def evaluate_rows(
    accelerator: Accelerator,
    model: torch.nn.Module,
    dataset: Dataset,
    function: RowFunction,
    collator: Collator,
    batches: list[list[int]],
) -> list[Any]:
    """
    Call `function` on every example of `dataset` and return what it says of each, in the dataset's order.

    The batches are dealt out to the processes. All call `function` equally often, for a sharded model needs every
    process in each forward pass: a process without a batch in the last round computes one whose results are dropped.

    Args:
        accelerator: Says which process this is, and its device.
        model: The prepared model; `function` gets it unwrapped, in evaluation mode and without gradients.
        dataset: A dataset with a length.
        function: Called with model and batch; gives one Python object a row, which can be pickled.
        collator: Makes a batch of examples.
        batches: The rows of each batch, as [`cut_into_batches`] gives them; every row in one.

    Returns:
        One object an example, the same list on every process.

    Raises:
        ValueError: If `function` gives more or fewer objects than the batch has rows.
    """
    unwrapped = accelerator.unwrap_model(model)
    was_training = model.training
    model.eval()
    found = []
    many = getattr(dataset, "__getitems__", None)
    for first in range(0, len(batches), accelerator.num_processes):
        mine = first + accelerator.process_index
        is_real = mine < len(batches)
        rows = batches[mine] if is_real else batches[first][:1]
        examples = many(rows) if many else [dataset[row] for row in rows]
        batch = send_to_device(collator(examples), accelerator.device)
        with torch.no_grad():
            results = list(function(unwrapped, batch))
        if len(results) != len(rows):
            raise ValueError(f"The function gave {len(results)} results for a batch of {len(rows)} examples.")
        if is_real:
            found.extend(zip(rows, results, strict=True))
    model.train(was_training)
    if accelerator.num_processes > 1:
        found = gather_object(found)
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def logits_and_labels(model: PreTrainedModel, batch: Batch) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each row of a classifier's batch its logits, in float32, and its label."""
    outputs = model(**{name: value for name, value in batch.items() if name != "labels"})
    return list(zip(outputs.logits.float().cpu().numpy(), batch["labels"].cpu().numpy(), strict=True))
