"""The micro-batches of one process, in groups of one optimizer step; from data with a length and from streams."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import reduce, send_to_device
from datasets import IterableDataset
from datasets.distributed import split_dataset_by_node
from datasets.iterable_dataset import BufferShuffledExamplesIterable
from torch.utils.data import DataLoader, Dataset

from .arguments import TrainingArguments
from .errors import ArgumentsError
from .progress import Place
from .stopping import ignore_stop_signals


Batch = dict[str, torch.Tensor]
Collator = Callable[[list[Any]], Batch]


class MicroBatch(NamedTuple):
    """
    What one process reads in one forward pass.

    Attributes:
        batch: The tensors, on the process's device.
        is_real: False for a stand-in: this process has no examples left while another has, but must take part in
            the step's communication; its loss counts for nothing.
    """

    batch: Batch
    is_real: bool


def count_rows(batch: Batch) -> int:
    """Rows of a batch."""
    return len(next(iter(batch.values())))


def seed_everything(*numbers: int) -> None:
    """Seed Python's, NumPy's and torch's generators with a mix of these numbers."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class SizedBatches:
    """
    Each epoch's batches dealt out to the processes, one after the other: batch `i` goes to process `i mod P`.

    No example is read twice or left out: where the batches do not divide by the number of processes, those without
    one get a stand-in in the last round. (Accelerate's own loaders repeat examples there.) What a collator draws at
    random is a function of seed, epoch and the batch's place in it, whatever the number of workers.

    Args:
        dataset: A dataset with a length.
        batch_sampler: The same batches on every process, as many in each epoch; with `set_epoch` and `skip_once`.
        collator: Makes a batch of examples.
        accelerator: Says which process this is, and its device.
        arguments: Give seed, accumulation and workers.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_sampler,
        collator: Collator,
        accelerator: Accelerator,
        arguments: TrainingArguments,
    ):
        self.batch_sampler = batch_sampler
        self.accelerator = accelerator
        self.accumulation = arguments.gradient_accumulation_steps
        self.rounds = math.ceil(len(batch_sampler) / accelerator.num_processes)
        self.steps_per_epoch = math.ceil(self.rounds / self.accumulation)
        self._order = _ProcessOrder(batch_sampler, accelerator.num_processes, accelerator.process_index)
        self._loader = DataLoader(
            _CollatedDataset(dataset, collator, arguments.seed),
            sampler=self._order,
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=arguments.dataloader_num_workers,
            persistent_workers=arguments.dataloader_num_workers > 0,
            worker_init_fn=ignore_stop_signals,
            generator=torch.Generator(),  # or each iterator would draw from the generator that dropout draws from
        )

    def one_example(self) -> Batch:
        """A batch of one example: the same whenever the run begins or goes on."""
        self.batch_sampler.set_epoch(0)
        self.batch_sampler.skip_once(0)
        first = list(next(iter(self.batch_sampler)))[:1]
        batch, _ = self._loader.dataset[_Key(0, 0, first, is_real=False)]
        return send_to_device(batch, self.accelerator.device)

    def begins_epoch(self, step: int) -> bool:
        """Whether an epoch begins with this step."""
        return step % self.steps_per_epoch == 0

    def epoch(self, step: int) -> float:
        """Passes over the data before this step."""
        return step / self.steps_per_epoch

    def step_at(self, place: Place) -> int:
        """The last step at which no more examples of the epoch are read than were at `place`."""
        read = itertools.accumulate(self._examples_of_steps(place.epoch))
        return place.epoch * self.steps_per_epoch + sum(count <= place.examples for count in read)

    def count_examples(self, first: int, last: int) -> int:
        """Examples that are read from the step `first` on and before the step `last`."""
        epochs = range(first // self.steps_per_epoch, math.ceil(last / self.steps_per_epoch))
        steps = enumerate(
            (n for epoch in epochs for n in self._examples_of_steps(epoch)), epochs.start * self.steps_per_epoch
        )
        return sum(count for step, count in steps if first <= step < last)

    def _examples_of_steps(self, epoch: int) -> Iterator[int]:
        self.batch_sampler.set_epoch(epoch)
        self.batch_sampler.skip_once(0)
        sizes = map(len, self.batch_sampler)
        while group := list(islice(sizes, self.accumulation * self.accelerator.num_processes)):
            yield sum(group)

    def rest_of_epoch(self, step: int) -> Iterator[list[MicroBatch]]:
        """From this step to the end of its epoch, the micro-batches of each optimizer step."""
        epoch, done = divmod(step, self.steps_per_epoch)
        self.batch_sampler.set_epoch(epoch)
        skipped = done * self.accumulation * self.accelerator.num_processes
        self.batch_sampler.skip_once(skipped)
        self._order.epoch, self._order.first = epoch, skipped
        micro_batches = iter(self._loader)
        while group := list(islice(micro_batches, self.accumulation)):
            yield [
                MicroBatch(send_to_device(batch, self.accelerator.device, non_blocking=True), is_real)
                for batch, is_real in group
            ]

    def close(self) -> None:
        """End the workers; nothing else does where they ignore the signals that end a run."""
        if self._loader.num_workers and self._loader._iterator is not None:
            self._loader._iterator._shutdown_workers()
            self._loader._iterator = None

    def state(self) -> dict[str, Any] | None:
        """Nothing: the step says it all."""
        return None

    def resume(self, state: dict[str, Any] | None) -> None:
        """Nothing to do."""


class _Key(NamedTuple):
    """A batch to collate: its place in training, and its examples."""

    epoch: int
    index: int
    examples: list[int]
    is_real: bool


class _ProcessOrder:
    """The batches of one process, as keys of a [`_CollatedDataset`]."""

    def __init__(self, batch_sampler, num_processes: int, process_index: int):
        self.batch_sampler = batch_sampler
        self.num_processes = num_processes
        self.process_index = process_index
        self.epoch = self.first = 0

    def __iter__(self) -> Iterator[_Key]:
        batches, index = iter(self.batch_sampler), self.first + self.process_index
        while dealt := list(islice(batches, self.num_processes)):
            is_real = self.process_index < len(dealt)
            examples = list(dealt[self.process_index]) if is_real else list(dealt[0])[:1]
            yield _Key(self.epoch, index, examples, is_real)
            index += self.num_processes


class _CollatedDataset(Dataset):
    """Collates the examples that a [`_Key`] names."""

    def __init__(self, dataset: Dataset, collator: Collator, seed: int):
        self.dataset, self.collator, self.seed = dataset, collator, seed

    def __getitem__(self, key: _Key) -> tuple[Batch, bool]:
        seed_everything(self.seed, key.epoch, key.index)
        many = getattr(self.dataset, "__getitems__", None)
        examples = many(key.examples) if many else [self.dataset[index] for index in key.examples]
        return self.collator(examples), key.is_real


def _unchanged(item: Any) -> Any:
    return item


class StreamedBatches:
    """
    Batches of a dataset that has no length, read as training goes on; its position is part of a checkpoint.

    Each process reads its own part: whole shards where the dataset's shards divide by the number of processes, else
    every P-th example. Where its part ends before another's, it gets stand-ins to the end of the epoch.

    Args:
        dataset: An iterable of examples, e.g. a `datasets.IterableDataset`, the same in each pass unless it has
            `set_epoch`; where it has `state_dict` and `load_state_dict`, these bring it back to a position, else it is
            read again up to there.
        collator: Makes a batch of examples.
        accelerator: Says which process this is, and its device.
        arguments: Give batch size, seed and accumulation.

    Raises:
        ArgumentsError: If the arguments lean on the length that there is not.
    """

    steps_per_epoch = None

    def __init__(self, dataset, collator: Collator, accelerator: Accelerator, arguments: TrainingArguments):
        if arguments.max_train_steps is None:
            raise ArgumentsError("Streamed training data has no known length: give --max_train_steps.")
        if arguments.checkpointing_steps == "epoch":
            raise ArgumentsError(
                "--checkpointing_steps epoch: streamed training data has no known end; give a number of steps."
            )
        self.accelerator = accelerator
        self.collator = collator
        self.batch_size = arguments.per_device_train_batch_size
        self.accumulation = arguments.gradient_accumulation_steps
        self.seed = arguments.seed
        self.stride = accelerator.num_processes
        self._whole = dataset
        if self.stride > 1 and isinstance(dataset, IterableDataset):
            dataset = split_dataset_by_node(dataset, accelerator.process_index, accelerator.num_processes)
            self.stride = 1
        self.dataset = dataset
        self._has_state = hasattr(dataset, "state_dict") and not _has_shuffle_buffer(dataset)
        self._epoch = self._examples = 0
        self._is_exhausted = False
        self._resumed_from: dict[str, Any] | None = None
        self._stand_in: Batch | None = None

    def one_example(self) -> Batch:
        """A batch of the first example: the same whenever the run begins or goes on."""
        return send_to_device(self.collator([next(iter(self._whole))]), self.accelerator.device)

    def begins_epoch(self, step: int) -> bool:
        """Whether an epoch begins with the next group."""
        return self._examples == 0

    def epoch(self, step: int) -> float:
        """Whole passes over the data so far."""
        return float(self._epoch)

    def rest_of_epoch(self, step: int) -> Iterator[list[MicroBatch]]:
        """From the current position to the end of the pass, the micro-batches of each optimizer step."""
        examples = self._rest_of_stream()
        is_empty = self._examples == 0 and not self._is_exhausted
        while True:
            batches = [self._next_batch(examples) for _ in range(self.accumulation)]
            found = torch.tensor(sum(batch is not None for batch in batches), device=self.accelerator.device)
            if int(reduce(found, reduction="sum")) == 0:
                break
            is_empty = False
            yield [MicroBatch(batch or self._stand_in_batch(), batch is not None) for batch in batches]
        if is_empty:
            raise ArgumentsError("The streamed training data is empty.")
        self._epoch += 1
        self._examples, self._is_exhausted = 0, False

    def close(self) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, Any]:
        """The position after the last group; can be written as JSON."""
        inner = self.dataset.state_dict() if self._has_state else None
        position = {"epoch": self._epoch, "examples": self._examples, "is_exhausted": self._is_exhausted}
        return {**position, "dataset": inner}

    def resume(self, state: dict[str, Any] | None) -> None:
        """
        Go on from a position that [`StreamedBatches.state`] gave.

        Raises:
            ValueError: If it is no such position.
        """
        kinds = {"epoch": int, "examples": int, "is_exhausted": bool, "dataset": dict | None}
        if not isinstance(state, dict) or not all(isinstance(state.get(name), kind) for name, kind in kinds.items()):
            raise ValueError("it does not say where in the stream it was")
        self._epoch, self._examples, self._is_exhausted = state["epoch"], state["examples"], state["is_exhausted"]
        self._resumed_from = state

    def _rest_of_stream(self) -> Iterator[Any]:
        state, self._resumed_from = self._resumed_from, None
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(self._epoch)
        if self._is_exhausted:
            return iter(())
        if state is None or self._examples == 0:
            return self._own(iter(self.dataset))
        if state["dataset"] is not None:
            self.dataset.load_state_dict(state["dataset"])
            return self._own(iter(self.dataset))
        return islice(self._own(iter(self.dataset)), self._examples, None)

    def _own(self, examples: Iterator[Any]) -> Iterator[Any]:
        """This process's part of what is read here: all of it, or one example of each `stride`."""
        if self.stride == 1:
            yield from examples
            return
        while dealt := list(islice(examples, self.stride)):
            if self.accelerator.process_index < len(dealt):
                yield dealt[self.accelerator.process_index]

    def _next_batch(self, stream: Iterator[Any]) -> Batch | None:
        seed_everything(self.seed, self._epoch, self._examples, self.accelerator.process_index)
        examples = list(islice(stream, self.batch_size))
        self._examples += len(examples)
        self._is_exhausted = len(examples) < self.batch_size
        if not examples:
            return None
        batch = send_to_device(self.collator(examples), self.accelerator.device)
        self._stand_in = self._stand_in or batch
        return batch

    def _stand_in_batch(self) -> Batch:
        if self._stand_in is None:  # this process has never had an example
            self._stand_in = self.one_example()
        return self._stand_in


def _has_shuffle_buffer(dataset) -> bool:
    """Whether examples wait in a shuffle buffer of `datasets`, which its `state_dict` does not hold."""
    sources = [getattr(dataset, "_ex_iterable", None)]
    while sources:
        source = sources.pop()
        if isinstance(source, BufferShuffledExamplesIterable):
            return True
        sources += [source.ex_iterable] if hasattr(source, "ex_iterable") else getattr(source, "ex_iterables", [])
    return False
