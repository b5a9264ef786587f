"""What is shown at each validation: by hand."""

from types import SimpleNamespace

import numpy as np
from datasets import Dataset

from seqnlp.tasks.reporting.telling import shortened, surest_error
from seqnlp.tasks.tagging import Tagging
from seqnlp.tasks.trajectory import Trajectory
from seqnlp.training import Predictions


def test_the_error_that_a_classifier_is_surest_of():
    # ln 3 beside 0 is a share of 3 in 4, ln 9 one of 9 in 10; the surest of all, row 3, is right
    logits = np.log([[3.0, 1.0], [1.0, 9.0], [1.0, 3.0], [1.0, 99.0]])
    found = surest_error(Predictions(logits, np.array([1, 0, 1, 1])), ["no", "yes"], "abcd".__getitem__)
    assert found == "Surest error of 2: is no, taken for yes (90.0%): b"
    assert surest_error(Predictions(logits, np.array([0, 1, 1, 1])), ["no", "yes"], str) == ""


def test_long_texts_are_cut_and_are_one_line():
    assert shortened("a\n b") == "a b"
    assert shortened("x" * 200) == "x" * 160 + "..."


def test_the_worst_forecast():
    future = np.zeros((3, 2, 1))
    observed = np.ones((3, 2, 1), dtype=bool)
    observed[2, 0] = False  # a gap, whatever is said of it
    said = np.array([[[1.0], [1.0]], [[3.0], [4.0]], [[99.0], [0.0]]])
    found = {"future_values": future, "future_observed_mask": observed, "predictions": said}
    task = SimpleNamespace(unit="m")
    # of the second the root of (9 + 16) / 2
    assert Trajectory.sample(task, None, None, found) == (
        "Worst forecast of 3: off by 3.54 m (RMSE); at its end 4, where 0 came."
    )


def test_the_sentence_with_most_wrong_labels(monkeypatch):
    rows = Dataset.from_dict({"tokens": [["a", "b"], ["c", "d", "e"]], "tags": [[0, 1], [1, None, 1]]})
    names = [["X", "Y"], ["Y", "Y"]]
    monkeypatch.setattr("seqnlp.tasks.tagging.right_names", lambda data, split: names)
    data = SimpleNamespace(loaded=SimpleNamespace(splits={"validation": rows}))
    task = SimpleNamespace(predicted_names=lambda *_: [["X", "X"], ["X", "X"]])
    assert Tagging.sample(task, None, data, None) == "Worst sentence, 2 of 2 wrong: c/X (is Y) e/X (is Y)"
    task = SimpleNamespace(predicted_names=lambda *_: names)
    assert Tagging.sample(task, None, data, None) == ""
