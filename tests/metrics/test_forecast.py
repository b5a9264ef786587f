"""Errors of forecasts by hand, and the forecasts that need no model."""

import math
import warnings

import numpy as np
import pytest

from seqnlp.metrics import forecast_scores, last_value_forecast, straight_line_forecast


PAST = np.array([[[1.0, 9.0], [3.0, 9.0], [4.0, 5.0]]])


def test_scores_by_hand():
    future = np.array([[[1.0, 10.0], [2.0, 20.0]]])
    predictions = future + np.array([[[1.0, -10.0], [3.0, 99.0]]])
    observed = np.array([[[True, True], [True, False]]])
    scores = forecast_scores(predictions, future, observed, np.array([1.0, 10.0]))
    assert scores["mae"] == pytest.approx(14 / 3)
    assert scores["rmse"] == pytest.approx((110 / 3) ** 0.5)
    assert scores["nrmse"] == pytest.approx((11 / 3) ** 0.5)
    assert scores["rmse_last"] == pytest.approx(3)
    assert scores["crps"] == scores["mae"]  # as of a distribution that is sure of one value
    assert scores["ncrps"] == pytest.approx(5 / 3)
    assert len(scores) == 6  # it says nothing of how sure it is


def test_a_last_step_that_was_never_observed_has_no_score_and_nothing_warns_of_it():
    observed = np.array([[[True], [False]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = forecast_scores(np.array([[[3.0], [4.0]]]), np.array([[[1.0], [np.nan]]]), observed, np.array([4.0]))
    assert (scores["rmse"], scores["nrmse"]) == (2, 0.5)
    assert math.isnan(scores["rmse_last"])


def test_last_value_and_straight_line():
    seen = np.ones_like(PAST, dtype=bool)
    assert last_value_forecast(PAST, seen, 2).tolist() == [[[4, 5], [4, 5]]]
    assert straight_line_forecast(PAST, seen, 2).tolist() == [[[5, 1], [6, -3]]]


def test_gaps_are_passed_over():
    seen = np.array([[[True, True], [False, False], [True, False]]])
    assert last_value_forecast(PAST, seen, 1).tolist() == [[[4, 9]]]
    assert straight_line_forecast(PAST, seen, 1).tolist() == [[[5.5, 9]]]
    last_missing = np.array([[[True, False], [True, False], [False, False]]])
    assert straight_line_forecast(PAST, last_missing, 2).tolist() == [[[7, 0], [9, 0]]]
