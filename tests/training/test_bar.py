"""What is said of the pace of training, by a clock that the test sets."""

import pytest
import torch

from seqnlp.training.bar import ProgressBar, in_words
from seqnlp.training.progress import Clock


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def lines_of(capsys, total, seconds_per_step, steps, validation_at=None, step=0, is_shown=True):
    time = Time()
    with ProgressBar(Clock(time), total, step, "tokens", torch.device("cpu"), is_shown) as progress:
        for number in range(step + 1, step + steps + 1):
            time.now += seconds_per_step
            progress.update(number)
            if number == validation_at:
                with progress.paused():
                    time.now += 1000.0
        progress.show(1.5, 2000.0)
        shown = str(progress._bar.postfix)
    return capsys.readouterr().out, shown


def test_the_pace_is_said_once_from_the_first_steps(capsys):
    # ten steps of 0.5 s: 990 steps are left, 495 s or eight minutes
    found, _ = lines_of(capsys, 1000, 0.5, 30)
    assert (
        found.split("\n").count("About 8 minutes to go, validations not counted: 0.5 s per step over the first 10.")
        == 1
    )
    assert found.count("About") == 1


def test_slow_steps_are_watched_for_ten_and_fast_ones_for_three_seconds(capsys):
    assert "over the first 10." in lines_of(capsys, 1000, 60.0, 10)[0]
    assert "over the first 300." in lines_of(capsys, 100_000, 0.01 + 1e-9, 300)[0]
    assert "About" not in lines_of(capsys, 100_000, 0.01, 299)[0]


def test_a_validation_is_no_step_and_a_resumed_run_counts_its_own(capsys):
    found, _ = lines_of(capsys, 1000, 0.5, 10, validation_at=505, step=500)
    assert "About 4 minutes to go, validations not counted: 0.5 s per step over the first 10." in found


def test_nothing_is_said_of_a_short_rest_nor_by_other_processes(capsys):
    assert "About" not in lines_of(capsys, 20, 0.5, 20)[0]
    assert lines_of(capsys, 1000, 0.5, 30, is_shown=False)[0] == ""


def test_loss_speed_and_memory_stand_beside_the_bar(capsys):
    _, shown = lines_of(capsys, 1000, 0.5, 1)
    assert shown.startswith("loss 1.500, 2,000 tokens/s, ")
    assert 0.1 < float(shown.split()[-2]) < 100
    assert shown.endswith("GiB")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (119, "119 seconds"), (150, "2 minutes"), (7100, "118 minutes"), (9000, "2.5 hours")],
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words
