"""Batches dealt out to processes, one process at a time and without a model."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import PartialState

from seqnlp.training import TrainingArguments
from seqnlp.training.batches import SizedBatches, StreamedBatches


CPU = torch.device("cpu")


class Sampler:
    """Batches of 3, 2 and 1 of six examples, begun with another in each epoch."""

    def set_epoch(self, epoch):
        self.epoch, self.first = epoch, 0

    def skip_once(self, batches):
        self.first = batches

    def __len__(self):
        return 3

    def __iter__(self):
        batches = [[0, 1, 2], [3, 4], [5]]
        return iter((batches[self.epoch :] + batches[: self.epoch])[self.first :])


def collate(examples):
    return {"rows": torch.tensor(examples), "drawn": torch.rand(())}


def sized(index, processes=2, **arguments):
    accelerator = SimpleNamespace(num_processes=processes, process_index=index, device=CPU)
    return SizedBatches(list(range(6)), Sampler(), collate, accelerator, TrainingArguments(**arguments))


@pytest.mark.parametrize(
    ("index", "expected"), [(0, [([0, 1, 2], True), ([5], True)]), (1, [([3, 4], True), ([5], False)])]
)
def test_a_process_without_a_batch_gets_a_stand_in(index, expected):
    found = [micro for group in sized(index).rest_of_epoch(0) for micro in group]
    assert [(micro.batch["rows"].tolist(), micro.is_real) for micro in found] == expected


def test_what_is_drawn_follows_from_the_seed():
    def drawn(seed):
        return [float(micro.batch["drawn"]) for (micro,) in sized(0, 1, seed=seed).rest_of_epoch(0)]

    first, other = drawn(1), drawn(2)
    torch.rand(5)
    assert drawn(1) == first
    assert len({*first, *other}) == 6


def test_examples_are_counted_over_steps_and_epochs():
    batches = sized(0, 1)  # 3, 2, 1; then 2, 1, 3
    assert [batches.count_examples(1, last) for last in (1, 2, 3, 4, 5, 6)] == [0, 2, 3, 5, 6, 9]
    assert batches.count_examples(4, 6) == 4
    assert sized(0, 1, gradient_accumulation_steps=2).count_examples(0, 3) == 5 + 1 + 3
    assert batches.step_at(SimpleNamespace(epoch=1, examples=4)) == 3 + 2


def test_a_stream_says_where_it_is_and_is_read_on_from_there():
    PartialState()
    accelerator = SimpleNamespace(num_processes=1, process_index=0, device=CPU)
    settings = {"max_train_steps": 9, "checkpointing_steps": "1", "per_device_train_batch_size": 2}

    def streamed():
        return StreamedBatches(list(range(5)), collate, accelerator, TrainingArguments(**settings))

    def rows(groups):
        return [micro.batch["rows"].tolist() for (micro,) in groups]

    batches = streamed()
    groups = batches.rest_of_epoch(0)
    assert rows([next(groups)]) == [[0, 1]]
    state = batches.state()
    assert state == {"epoch": 0, "examples": 2, "is_exhausted": False, "dataset": None}
    again = streamed()
    again.resume(state)
    assert rows(groups) == rows(again.rest_of_epoch(0)) == [[2, 3], [4]]
    assert again.state() == {"epoch": 1, "examples": 0, "is_exhausted": False, "dataset": None}
    assert rows(again.rest_of_epoch(0)) == [[0, 1], [2, 3], [4]]
    assert (again.state()["epoch"], again.epoch(0)) == (2, 2.0)
    assert again.one_example()["rows"].tolist() == [0]
