"""Carried state, streamed data and a limit of time: each resumed to the bit."""

import datasets
import numpy as np
import pytest
import torch
from tiny_runs import Interrupted, interrupt

from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.training import ArgumentsError, CheckpointError, TrainingArguments, TrainingLoop, start_run


STREAM = torch.randint(1, 12, (4, 61), generator=torch.Generator().manual_seed(0))


class Windows:
    """The batches of four parallel streams cut into windows of five tokens: example `4 * window + stream`."""

    def set_epoch(self, epoch):
        self.epoch = epoch

    def skip_once(self, batches):
        self.first = batches

    def __len__(self):
        return 12

    def __iter__(self):
        return iter([[4 * window + stream for stream in range(4)] for window in range(self.first, 12)])


WINDOWS = [STREAM[index % 4, 5 * (index // 4) :][:6] for index in range(48)]


def collate(rows):
    rows = torch.stack([torch.as_tensor(row) for row in rows])
    # Already shifted, so that each window has as many targets as tokens.
    return {"input_ids": rows[:, :-1], "shift_labels": rows[:, 1:].contiguous(), "labels": rows[:, 1:]}


def examples():
    for index in range(23):
        yield {"ids": STREAM[index % 4, index : index + 6].tolist()}


def collate_streamed(rows):
    return collate([row["ids"] for row in rows])


def make_loop(folder, data, sampler, collator, carries_state=False, stop_at=None, dropout=0.2, **arguments):
    settings = {"report_to": "none", "learning_rate": 0.01, "num_threads": 1, "logging_steps": 5}
    settings["greater_is_better"] = False
    arguments = TrainingArguments(output_dir=str(folder), **{**settings, **arguments})
    run = start_run("test", "lstm", arguments)
    config = RecurrentConfig(vocab_size=12, hidden_size=8, cell_type="lstm", dropout=dropout, num_hidden_layers=2)
    loop = TrainingLoop(
        run,
        arguments,
        RecurrentForCausalLM(config),
        data,
        sampler,
        collator,
        evaluate=lambda loop: {"loss": 1 / (1 + loop.step)},
        carries_state=carries_state,
    )
    interrupt(loop, stop_at)
    return run, loop


def same_weights(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(("accumulation", "r_drop"), [(1, 0.0), (2, 0.0), (1, 1.0)])
def test_carried_state_goes_from_batch_to_batch_and_through_a_checkpoint(tmp_path, accumulation, r_drop):
    settings = {"checkpointing_steps": "2", "num_train_epochs": 2.0 * accumulation, "carries_state": True}
    settings |= {"gradient_accumulation_steps": accumulation, "r_drop": r_drop}
    _, whole = make_loop(tmp_path / "whole", WINDOWS, Windows(), collate, **settings)
    whole.train()
    _, cut = make_loop(tmp_path / "cut", WINDOWS, Windows(), collate, stop_at=9, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    assert list(tmp_path.glob("cut/checkpoints/step-00000008/carried_state_0.safetensors"))
    _, resumed = make_loop(tmp_path / "cut", WINDOWS, Windows(), collate, resume_from_checkpoint="latest", **settings)
    resumed.train()
    assert resumed.step == 24
    assert same_weights(whole, resumed)
    _, fresh = make_loop(tmp_path / "fresh", WINDOWS, Windows(), collate, **{**settings, "carries_state": False})
    fresh.train()
    assert not same_weights(whole, fresh)


@pytest.mark.parametrize("r_drop", [0.0, 1.0])
def test_windows_with_carried_state_are_read_as_one_text(r_drop, tmp_path):
    arguments = {"carries_state": True, "dropout": 0.0, "num_train_epochs": 2.0, "logging_steps": 1, "r_drop": r_drop}
    _, loop = make_loop(tmp_path, WINDOWS, Windows(), collate, **arguments)
    loop.optimizer.step = lambda: None
    loop.train()
    losses = [entry["train_loss"] for entry in loop.record.history if "train_loss" in entry]
    with torch.no_grad():
        whole = loop.model(STREAM[:, :-1]).logits
    expected = [
        torch.nn.functional.cross_entropy(
            whole[:, start : start + 5].flatten(0, 1), STREAM[:, start + 1 : start + 6].flatten()
        )
        for start in range(0, 60, 5)
    ]
    # The second epoch begins afresh.
    np.testing.assert_allclose(losses, [float(loss) for loss in expected * 2], rtol=1e-5)


class Counting:
    """An iterable that is no dataset of anybody's, with a position of its own."""

    def __init__(self):
        self.first = self.position = 0
        self.loaded = []

    def __iter__(self):
        first, self.first = self.first, 0
        for self.position, row in enumerate(examples(), 1):
            if self.position > first:
                yield row

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.loaded.append(state)
        self.first = state["position"]


STREAMS = {
    "datasets": lambda: datasets.IterableDataset.from_generator(examples),
    "shuffled": lambda: datasets.IterableDataset.from_generator(examples).shuffle(seed=1, buffer_size=8),
    "own": Counting,
    "plain": lambda: list(examples()),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_goes_on_where_it_stopped(tmp_path, kind):
    settings = {"max_train_steps": 9, "checkpointing_steps": "1", "per_device_train_batch_size": 4}
    settings["gradient_accumulation_steps"] = 2
    _, whole = make_loop(tmp_path / "whole", STREAMS[kind](), None, collate_streamed, **settings)
    seen = []
    whole.on_step_begin.append(
        lambda loop, group: seen.append([len(micro.batch["input_ids"]) * micro.is_real for micro in group])
    )
    whole.train()
    assert seen == [[4, 4], [4, 4], [4, 3]] * 3  # 23 examples an epoch
    assert whole.record.history[-1]["epoch"] == 2
    for stop_at in (4, 6):  # within the second epoch, and where the third begins
        folder = tmp_path / str(stop_at)
        _, cut = make_loop(folder, STREAMS[kind](), None, collate_streamed, stop_at=stop_at, **settings)
        with pytest.raises(Interrupted):
            cut.train()
        data = STREAMS[kind]()
        _, resumed = make_loop(folder, data, None, collate_streamed, resume_from_checkpoint="latest", **settings)
        resumed.train()
        assert same_weights(whole, resumed)
        if kind == "own" and stop_at == 4:
            assert data.loaded == [{"position": 8}]


def test_a_stream_is_not_dealt_out_to_other_processes_in_the_middle(tmp_path):
    settings = {"max_train_steps": 9, "checkpointing_steps": "1", "per_device_train_batch_size": 4}
    _, cut = make_loop(tmp_path, STREAMS["plain"](), None, collate_streamed, stop_at=4, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    settings |= {"resume_from_checkpoint": "latest", "resume_with_changes": True}
    _, loop = make_loop(tmp_path, STREAMS["plain"](), None, collate_streamed, **settings)
    loop.num_processes = loop.setup["num_processes"] = 2
    with pytest.raises(CheckpointError, match="was made by 1 processes; streamed data cannot be dealt out to 2"):
        loop.train()


def test_what_streamed_data_needs_is_named(tmp_path):
    with pytest.raises(ArgumentsError, match="Streamed training data has no known length: give --max_train_steps"):
        make_loop(tmp_path, STREAMS["plain"](), None, collate_streamed, checkpointing_steps="2")
    with pytest.raises(ArgumentsError, match="--checkpointing_steps epoch: streamed training data has no known end"):
        make_loop(tmp_path, STREAMS["plain"](), None, collate_streamed, max_train_steps=2)
    _, loop = make_loop(tmp_path, [], None, collate_streamed, max_train_steps=2, checkpointing_steps="2")
    with pytest.raises(ArgumentsError, match="The streamed training data is empty"):
        loop.train()


def test_when_time_is_up_the_run_stops_and_can_go_on_as_planned(tmp_path, capsys):
    settings = {"carries_state": True, "num_train_epochs": 2.0, "eval_steps": 4}
    _, whole = make_loop(tmp_path / "whole", WINDOWS, Windows(), collate, **settings)
    whole.train()
    assert whole.record.stopped is None

    _, short = make_loop(tmp_path / "cut", WINDOWS, Windows(), collate, max_train_minutes=5, **settings)
    # Five minutes are over in the seventh step.
    short.clock.now = lambda: 1000.0 + (299.9 if short.step < 6 else 300.0) * (short.step > 0)
    short.train()
    assert short.record.stopped == {"reason": "max_train_minutes", "step": 7, "planned_steps": 24}
    assert "time is up at step 7 of 24; go on as planned by --resume_from_checkpoint latest" in capsys.readouterr().out
    assert short.best.step == 4
    assert (tmp_path / "cut" / "checkpoints" / "step-00000007").is_dir()
    with pytest.raises(ArgumentsError, match="holds the checkpoints of an unfinished run"):
        make_loop(tmp_path / "cut", WINDOWS, Windows(), collate, **settings)

    _, resumed = make_loop(tmp_path / "cut", WINDOWS, Windows(), collate, resume_from_checkpoint="latest", **settings)
    resumed.train()
    assert resumed.step == 24
    assert same_weights(whole, resumed)


def test_rows_are_evaluated_in_order_by_a_function_of_model_and_batch(tmp_path):
    _, loop = make_loop(tmp_path, WINDOWS, Windows(), collate, per_device_eval_batch_size=7, max_train_steps=1)
    loop.model.train()

    def texts(model, batch):
        assert not model.training
        assert not torch.is_grad_enabled()
        generated = model.generate(batch["input_ids"], max_new_tokens=2, do_sample=False)
        return [(row.tolist(), "text") for row in generated[:, :5]]

    assert loop.evaluate_rows(WINDOWS, texts) == [(window[:5].tolist(), "text") for window in WINDOWS]
    assert loop.model.training
