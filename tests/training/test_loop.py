"""
The training loop on a tiny classifier: what a step computes, what is kept, and that a resumed run is the same run.
"""

import contextlib
import json
import random

import numpy as np
import pytest
import torch
from tiny_runs import DATA, TOKENIZER, Interrupted, entries, make_loop, weights

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.training import (
    ArgumentsError,
    CheckpointError,
    TrainingArguments,
    TrainingError,
    create_optimizer,
    create_scheduler,
)
from seqnlp.training.batches import MicroBatch
from seqnlp.training.optimization import go_to_step


def test_it_learns_and_records(tmp_path):
    run, loop = make_loop(
        tmp_path, dropout=0.0, num_train_epochs=25, metric_for_best_model="accuracy", logging_steps=5
    )
    loop.train()
    final = run.save(loop.model, TOKENIZER)
    run.finish()
    record = json.loads((tmp_path / "run.json").read_text())
    scores = [entry["validation_accuracy"] for entry in record["history"] if "validation_accuracy" in entry]
    assert len(scores) == 25
    assert max(scores) > 0.95
    best = scores.index(max(scores)) + 1  # the first of the best
    assert record["kept"] == {"step": 9 * best, "epoch": best, "metric": "accuracy", "value": max(scores)}
    # What is saved is the best model, not the last.
    loaded = RecurrentForSequenceClassification.from_pretrained(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), final.state_dict().values(), strict=True)
    )
    logits, labels = loop.predict(DATA)
    assert (logits.argmax(-1) == labels).mean() == pytest.approx(max(scores))
    assert record["num_processes"] == 1
    assert record["hyperparameters"]["learning_rate"] == 0.01
    assert record["model"]["parameters"] == final.num_parameters()
    assert {"torch", "transformers", "seqnlp"} <= set(record["versions"])
    assert str(tmp_path.parent) not in (tmp_path / "run.json").read_text()
    assert not list(tmp_path.rglob("tmp-*"))


def test_accumulated_batches_give_the_gradient_of_the_whole(tmp_path):
    trained = []
    for batch_size, accumulation in ((32, 1), (8, 4), (4, 8)):
        _, loop = make_loop(
            tmp_path / str(batch_size),
            dropout=0.0,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
        )
        collate = loop.collator
        micro = [collate(DATA[start : start + batch_size]) for start in range(0, 32, batch_size)]
        seen = {}
        loop.scheduler.step = lambda: None
        loop.optimizer.step = lambda loop=loop, seen=seen: seen.update(
            {name: parameter.grad.clone() for name, parameter in loop.model.named_parameters()}
        )
        loss = loop.optimizer_step([MicroBatch(batch, True) for batch in micro])
        trained.append((float(loss), seen))
    for loss, gradients in trained[1:]:
        assert loss == pytest.approx(trained[0][0], abs=1e-6)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, trained[0][1][name], rtol=0, atol=1e-6)


def test_each_step_drops_other_units_out_and_the_same_in_another_run(tmp_path):
    def masks(folder, seed=1):
        _, loop = make_loop(folder, dropout=0.5, seed=seed)
        batch = MicroBatch(loop.collator(DATA[:32]), True)
        found = []
        for module in loop.model.modules():
            if isinstance(module, torch.nn.Dropout) and module.p == 0.5:
                module.register_forward_hook(
                    lambda module, inputs, outputs: found.append(outputs == 0) if module.training else None
                )
        for _ in range(4):
            loop.optimizer_step([batch])
        return found, batch.batch["attention_mask"].bool()

    found, is_token = masks(tmp_path / "one")
    assert len(found) == 4
    kept = [mask[is_token] for mask in found]
    n = kept[0].numel()
    for first in range(4):
        # Each unit is dropped with probability 1/2, so two independent masks agree in half of the units.
        assert abs(float(kept[first].float().mean()) - 0.5) < 4 * 0.5 / n**0.5
        for second in range(first):
            agreement = float((kept[first] == kept[second]).float().mean())
            assert abs(agreement - 0.5) < 4 * 0.5 / n**0.5, (first, second)
    assert all(map(torch.equal, found, masks(tmp_path / "two")[0]))
    assert not any(map(torch.equal, found, masks(tmp_path / "three", seed=2)[0]))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_collator_draws_is_new_in_each_batch_of_each_epoch(tmp_path, workers):
    class Drawing:
        """Puts numbers drawn from each of the three generators into the batch."""

        def __init__(self, collator):
            self.collator = collator

        def __call__(self, rows):
            drawn = [random.random(), float(np.random.rand()), float(torch.rand(()))]
            return {**self.collator(rows), "drawn": torch.tensor(drawn, dtype=torch.double)}

    def drawn(folder, **settings):
        settings = {"num_train_epochs": 2.0, "checkpointing_steps": "2", "dataloader_num_workers": workers, **settings}
        _, loop = make_loop(folder, wrap_collator=Drawing, **settings)
        found = {}
        loop.on_step_begin.append(
            lambda loop, group: found.update({loop.step: tuple(group[0].batch.pop("drawn").tolist())})
        )
        with contextlib.suppress(Interrupted):
            loop.train()
        return found

    whole = drawn(tmp_path / "whole")
    assert sorted(whole) == list(range(18))
    assert len({number for numbers in whole.values() for number in numbers}) == 3 * 18
    drawn(tmp_path / "cut", stop_at=13)
    again = drawn(tmp_path / "cut", resume_from_checkpoint="latest")
    assert again == {step: numbers for step, numbers in whole.items() if step >= 12}


@pytest.mark.parametrize("stop_at", [5, 9, 14])  # mid-epoch, at an epoch's end, mid-epoch after a best model
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_run_is_the_same_run_to_the_bit(tmp_path, stop_at, accumulation):
    settings = {"checkpointing_steps": "2", "logging_steps": 3, "gradient_accumulation_steps": accumulation}
    settings |= {"num_train_epochs": 2 * accumulation, "eval_steps": 3}
    _, whole = make_loop(tmp_path / "whole", **settings)
    whole.train()

    _, loop = make_loop(tmp_path / "cut", stop_at=stop_at, **settings)
    with pytest.raises(Interrupted):
        loop.train()
    _, resumed = make_loop(tmp_path / "cut", resume_from_checkpoint="latest", **settings)
    resumed.train()
    assert entries(resumed) == entries(whole)
    assert resumed.best.step == whole.best.step
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_an_unfinished_run_is_not_thrown_away_unasked(tmp_path):
    _, loop = make_loop(tmp_path, stop_at=4, checkpointing_steps="2")
    with pytest.raises(Interrupted):
        loop.train()
    with pytest.raises(ArgumentsError, match="holds the checkpoints of an unfinished run: continue it by --resume"):
        make_loop(tmp_path)
    _, loop = make_loop(tmp_path, overwrite_output_dir=True, max_train_steps=2)
    assert (tmp_path / "checkpoints" / "step-00000002").is_dir()  # until the new run really trains
    loop.train()
    assert loop.record.history[0]["step"] == 2


def test_checkpoints_are_pruned_and_the_best_model_is_kept(tmp_path):
    losses = iter([3.0, 1.0, 2.0, 4.0, 5.0])
    _, loop = make_loop(tmp_path, evaluate=lambda loop: {"loss": next(losses)}, num_train_epochs=5, save_total_limit=2)
    best = {}
    evaluate = loop.evaluate
    loop.evaluate = lambda loop: best.update({loop.step: weights(loop)}) or evaluate(loop)
    loop.train()
    steps = loop.steps_per_epoch
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [f"best-{2 * steps:08d}", f"step-{4 * steps:08d}", f"step-{5 * steps:08d}", "unfinished"]
    assert (loop.best.step, loop.best.metric) == (2 * steps, 1.0)
    for name, tensor in weights(loop).items():
        assert torch.equal(tensor, best[2 * steps][name])


def test_early_stopping(tmp_path):
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    settings = {"num_train_epochs": 5, "metric_for_best_model": "accuracy", "early_stopping_patience": 2}
    _, loop = make_loop(tmp_path, evaluate=lambda loop: {"accuracy": next(scores)}, **settings)
    loop.train()
    assert loop.step == 4 * loop.steps_per_epoch
    assert loop.best.step == 2 * loop.steps_per_epoch

    # Ended between its last step and its results, it has no more to train.
    again = iter([0.9])
    _, resumed = make_loop(
        tmp_path, evaluate=lambda loop: {"accuracy": next(again)}, resume_from_checkpoint="latest", **settings
    )
    resumed.train()
    assert (resumed.step, resumed.best.step) == (loop.step, loop.best.step)
    assert list(again) == [0.9]
    assert all(torch.equal(tensor, weights(loop)[name]) for name, tensor in weights(resumed).items())


@pytest.mark.parametrize(("limit", "share"), [(1e-9, 1.0), (1e9, 0.0), (0.0, None)])
def test_the_share_of_clipped_steps_is_on_record_where_gradients_are_clipped(tmp_path, limit, share):
    _, loop = make_loop(tmp_path, max_grad_norm=limit, max_train_steps=2, logging_steps=2)
    loop.train()
    (entry,) = (entry for entry in loop.record.history if "train_loss" in entry)
    assert entry.get("clipped_share") == share


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(tmp_path):
    _, loop = make_loop(tmp_path, max_train_steps=20)
    before = {}

    def poison(loop, micro_batches):
        if loop.step == 3:
            before.update(weights(loop))
            loop.model.register_forward_hook(
                lambda module, inputs, outputs: outputs.__setitem__("loss", outputs.loss * float("nan"))
            )

    loop.on_step_begin.append(poison)
    with pytest.raises(TrainingError, match="Training diverged at step 4: loss nan") as raised:
        loop.train()
    assert "step-00000003" in str(raised.value)
    assert "--learning_rate 0.01" in str(raised.value)
    _, resumed = make_loop(tmp_path, resume_from_checkpoint="latest", max_train_steps=20)
    resumed.max_steps = 3  # load, and train no further
    resumed.train()
    for name, tensor in weights(resumed).items():
        assert torch.equal(tensor, before[name])
        assert tensor.isfinite().all()


def test_resuming_from_nothing_and_unknown_metrics_are_named(tmp_path):
    _, loop = make_loop(tmp_path / "a", resume_from_checkpoint="latest")
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        loop.train()
    _, loop = make_loop(tmp_path / "b", resume_from_checkpoint=str(tmp_path / "c"))
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        loop.train()
    _, loop = make_loop(tmp_path / "d", metric_for_best_model="bleu", max_train_steps=1)
    with pytest.raises(TrainingError, match="--metric_for_best_model bleu: there is only accuracy, loss"):
        loop.train()


def test_optimizer_and_schedule():
    model = RecurrentForSequenceClassification(RecurrentConfig(vocab_size=5, hidden_size=4))
    arguments = TrainingArguments(learning_rate=0.1, weight_decay=0.3, lr_scheduler_type="linear", warmup_ratio=0.2)
    optimizer = create_optimizer(model, arguments)
    decayed, spared = optimizer.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    assert all(parameter.dim() == 2 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))
    scheduler = create_scheduler(optimizer, arguments, 10)
    rates = []
    for _ in range(10):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.0875, 0.075, 0.0625, 0.05, 0.0375, 0.025, 0.0125])


def rates_of(num_steps, first=0, **arguments):
    model = RecurrentForSequenceClassification(RecurrentConfig(vocab_size=5, hidden_size=4))
    arguments = TrainingArguments(learning_rate=0.1, lr_scheduler_type="linear", **arguments)
    optimizer = create_optimizer(model, arguments)
    scheduler = create_scheduler(optimizer, arguments, num_steps)
    go_to_step(scheduler, first)
    rates = []
    for _ in range(first, num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        assert rates[-1] == scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
    return rates


def test_a_warm_up_longer_than_the_run_rises_to_its_end():
    expected = [0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09]
    np.testing.assert_allclose(rates_of(10, num_warmup_steps=50), expected)


def test_the_schedule_goes_on_at_any_step():
    assert rates_of(10, first=6, num_warmup_steps=2) == rates_of(10, num_warmup_steps=2)[6:]
