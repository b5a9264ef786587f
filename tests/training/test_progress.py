"""Clock, means and best model, by numbers worked out by hand, alone and in the loop."""

import math

import numpy as np
import pytest
import torch
from tiny_runs import DATA, make_loop

from seqnlp.training import TrainingArguments
from seqnlp.training.progress import BestModel, Clock, Meter, Place


class Hands:
    """A clock whose hands are moved by hand."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


def test_the_clock_adds_up_what_the_runs_of_a_training_took():
    hands = Hands()
    first = Clock(hands)
    hands.time += 50  # spent before training begins
    first.start()
    hands.time += 7
    assert (first.seconds, first.seconds_of_this_run) == (7, 7)
    second = Clock(hands)
    second.load(first.state())
    hands.time += 1000
    second.start()
    hands.time += 5
    assert (second.seconds, second.seconds_of_this_run) == (12, 5)


def test_the_meter_gives_means_over_steps_and_leaves_out_pauses():
    hands = Hands()
    meter = Meter(Clock(hands), torch.device("cpu"))
    assert meter.is_empty
    for loss, targets, clipped in ((1.0, 10, True), (2.0, 20, False), (6.0, 30, False)):
        hands.time += 2
        meter.add(torch.tensor(loss), targets, torch.tensor(clipped))
        with meter.paused():
            hands.time += 100
    assert meter.read() == {"train_loss": 3.0, "targets_per_second": 10.0, "clipped_share": pytest.approx(1 / 3)}
    assert meter.is_empty
    meter.add(torch.tensor(5.0), 8, None)
    again = Meter(Clock(hands), torch.device("cpu"))
    again.load(meter.state())
    hands.time += 60
    again.start()  # the time until then is nobody's
    hands.time += 4
    again.add(torch.tensor(6.0), 12, None)
    assert again.read() == {"train_loss": 5.5, "targets_per_second": 3.0, "clipped_share": 0.0}


def test_a_meter_takes_up_numbers_of_any_size():
    meter = Meter(Clock(Hands()), torch.device("cpu"))
    meter.load({"steps": 2, "loss": 10**30, "clipped": 1})
    assert meter.state() == {"steps": 2, "loss": pytest.approx(1e30), "clipped": 1.0}


@pytest.mark.parametrize(("greater_is_better", "best"), [(True, (0.7, 2)), (False, (0.4, 4))])
def test_the_best_model_is_the_first_with_the_best_metric_and_nan_is_none(greater_is_better, best):
    found = BestModel(TrainingArguments(greater_is_better=greater_is_better))
    offered = [found.offer(metric, step) for step, metric in enumerate((math.nan, 0.5, 0.7, 0.7, 0.4, math.nan))]
    assert offered == [False, True, greater_is_better, False, not greater_is_better, False]
    assert (found.metric, found.step) == best
    assert found.evaluations_without_gain == (3 if greater_is_better else 1)
    again = BestModel(TrainingArguments(greater_is_better=greater_is_better))
    again.load(found.state())
    assert vars(again) | {"_arguments": None} == vars(found) | {"_arguments": None}


def test_a_place_is_taken_up_as_it_was_left():
    place = Place(step=7, epoch=2, examples=33)
    again = Place()
    again.load(place.state())
    assert again == place
    assert Place().state() == {"step": 0, "epoch": 0, "examples": 0, "owes_validation": False}
    again.begin_epoch(3)
    assert again == Place(step=7, epoch=3, examples=0)


def test_the_training_loss_is_the_mean_of_the_steps_and_evaluation_is_no_training_time(tmp_path):
    """8 examples per step, a step per second, evaluation of 100 seconds after every second step."""
    settings = {"dropout": 0.0, "logging_steps": 3, "eval_steps": 2, "max_train_steps": 9, "learning_rate": 1e-12}
    hands = Hands()

    def evaluate(loop):
        hands.time += 100
        return {"loss": 1.0}

    _, loop = make_loop(tmp_path, evaluate=evaluate, **settings)
    loop.clock.now = hands
    batches = []

    def begin(loop, micro_batches):
        hands.time += 1
        batches.append(micro_batches[0].batch)

    loop.on_step_begin.append(begin)
    loop.train()
    with torch.no_grad():
        losses = [float(loop.model(**batch).loss) for batch in batches]
    records = [entry for entry in loop.record.history if "train_loss" in entry]
    assert [entry["step"] for entry in records] == [3, 6, 9]
    means = [np.mean(losses[:3]), np.mean(losses[3:6]), np.mean(losses[6:])]
    np.testing.assert_allclose([entry["train_loss"] for entry in records], means, rtol=1e-5)
    sizes = [len(batch["labels"]) for batch in batches]
    expected = [round(sum(sizes[first : first + 3]) / 3, 1) for first in (0, 3, 6)]
    assert [entry["targets_per_second"] for entry in records] == expected
    assert loop.seconds == 9 + 4 * 100 + 100
    assert loop.place.examples == sum(sizes) == len(DATA)
