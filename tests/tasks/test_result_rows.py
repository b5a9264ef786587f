"""Rows of the tables of results, from records made up."""

import pytest

from seqnlp.tasks.image_classification import ImageClassification
from seqnlp.tasks.trajectory import Trajectory


def image_record(accuracy, rows=400):
    return {
        "dataset": {"splits": {"test": {"rows": rows}}},
        "metrics": {"validation": {"accuracy": 0.99}, "test": {"accuracy": accuracy}},
        "baselines": {"nearest neighbours": {"test": {"accuracy": 0.986}}},
    }


def test_one_run_of_images_has_the_interval_of_its_test_and_several_have_their_spread():
    row = ImageClassification.results_row([image_record(0.975)], "test")
    # Wilson 1927 by hand: (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4 n^2)) / (1 + z^2 / n), with z = 1.95996
    assert row == {
        "validation": "99.0",
        "accuracy, %": "97.5 [95.5, 98.6] (test)",
        "nearest neighbours": "98.6",
    }
    z, n, p = 1.959964, 400, 0.975
    half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = ((p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    assert (100 * low, 100 * high) == (pytest.approx(95.5, abs=0.05), pytest.approx(98.6, abs=0.05))
    several = ImageClassification.results_row([image_record(0.97), image_record(0.99)], "test")
    assert several["accuracy, %"] == "98.0 ± 1.4 (test)"


def test_series_stand_beside_the_last_value_and_smoothing_in_their_own_unit():
    record = {
        "hyperparameters": {
            "prediction_length": 12,
            "step": 5.0,
            "step_unit": "min",
            "value_unit": "mg/dl",
            "logarithm": False,
        },
        "metrics": {"validation": {"rmse": 20.04}, "test": {"rmse": 26.05}},
        "baselines": {
            "last_value": {"test": {"rmse": 30.96}},
            "straight_line": {"test": {"rmse": 42.96}},
            "last_1_steps_seen": {"test": {"rmse": 29.38}},
        },
    }
    row = Trajectory.results_row([record], "test")
    assert list(row.values()) == ["12 steps, 60 min, in mg/dl", "26.1 (31.0)", "", ""]
    assert list(row)[1] == "RMSE, test (last value, ETS)"
    record["metrics"]["test"] |= {"crps": 12.04, "coverage_80": 0.7912}
    smoothed = {"rmse": 28.0, "crps": 14.0, "coverage_80": 0.9}
    record["baselines"] |= {"seasonal_naive": {"test": {"crps": 40.0, "coverage_80": 0.8}}, "ets": {"test": smoothed}}
    other = {**record, "metrics": {"test": {"rmse": 26.25, "crps": 12.24, "coverage_80": 0.8}}}
    assert list(Trajectory.results_row([record, other], "test").values())[1:] == [
        "26.1 ± 0.1 (31.0, 28.0)",
        "12.1 ± 0.1 (40.0, 14.0)",
        "79.6% ± 0.6% (90.0%)",
    ]
    short = Trajectory.in_short([record, other], "test")
    assert short == ("RMSE over 12 steps, 60 min, in mg/dl: 26.1 ± 0.1 (test)", "31.0 (last value)")
    without = {**record, "baselines": {}}
    assert list(Trajectory.results_row([without], "test").values())[1:] == ["26.1", "12.0", "79.1%"]
    assert Trajectory.in_short([without], "test")[1] == ""
    record["hyperparameters"]["logarithm"] = True
    assert Trajectory.results_row([record], "test")["forecast"] == "12 steps, 60 min, in ln mg/dl"
