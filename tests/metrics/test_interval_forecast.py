"""The CRPS and central intervals of sample paths: by hand, by closed form, and as chance has it."""

import numpy as np
import pytest
from scipy import stats

from seqnlp.metrics import LEVELS, crps_of_paths, forecast_report, forecast_scores, intervals_of_paths


def test_the_crps_by_hand():
    paths = np.array([3.0, 1.0, 4.0])
    # |x - 2| is 1, 1 and 2; the three pairs are 2, 3 and 1 apart, 2 on average: 4/3 - 2/2.
    assert crps_of_paths(paths, np.array(2.0)) == pytest.approx(1 / 3)
    assert crps_of_paths(paths[:1], np.array(2.0)) == 1
    assert crps_of_paths(np.full(5, 7.0), np.array(4.0)) == 3


@pytest.mark.parametrize("count", [2, 10, 1000])
def test_it_is_that_of_the_normal_in_closed_form_however_few_paths_there_are(count):
    """Gneiting & Raftery 2007, section 4.2: sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))."""
    random = np.random.default_rng(0)
    z, mean, sigma = np.array([-2.0, 0.0, 0.7]), 3.0, 1.5
    times = 200_000 // count
    paths = mean + sigma * random.standard_normal((count, times, 3))
    found = crps_of_paths(paths, np.broadcast_to(mean + sigma * z, (times, 3)))
    expected = sigma * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - np.pi**-0.5)
    error = found.std(axis=0) / times**0.5
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all()


def test_central_intervals_by_hand():
    numbers = np.arange(1.0, 100.0)  # the p quantile of 99 is at the place 100 p
    found = intervals_of_paths(np.random.default_rng(0).permutation(numbers).reshape(99, 1))
    np.testing.assert_allclose(found, [[[25, 75], [10, 90], [2.5, 97.5]]])


def test_one_more_draw_lies_in_them_as_often_as_they_say():
    random = np.random.default_rng(1)
    draws, came = random.standard_t(3, (39, 40_000, 1, 1)), random.standard_t(3, (40_000, 1, 1))
    observed = np.ones_like(came, dtype=bool)
    found = forecast_scores(came, came, observed, np.ones(1), intervals=intervals_of_paths(draws))
    for level in LEVELS:
        assert found[f"coverage_{100 * level:.0f}"] == pytest.approx(level, abs=0.01)


def test_scores_over_observed_numbers_alone_and_their_report():
    future = np.array([[[1.0], [2.0]], [[5.0], [0.0]]])
    observed = np.array([[[True], [True]], [[True], [False]]])
    ends = np.array([[0.0, 1.0], [-1.0, 2.0], [-2.0, 4.0]])
    intervals = np.broadcast_to(ends, (2, 2, 1, 3, 2))
    crps = np.array([[[0.5], [1.0]], [[3.0], [99.0]]])
    scores = forecast_scores(future, future, observed, np.array([2.0]), crps, intervals)
    assert (scores["mae"], scores["crps"], scores["ncrps"]) == (0, 1.5, 0.75)
    shares = [scores[f"coverage_{level}"] for level in (50, 80, 95)]
    assert shares == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert [scores[f"width_{level}"] for level in (50, 80, 95)] == [1, 3, 6]
    point = forecast_scores(future, future, observed, np.array([2.0]))
    first, second = forecast_report(2, {"gru": scores, "last_value": point}, "m").split("\n\n")[1:]
    assert "crps (m)" in first
    assert "last value" in first
    assert "33.3%" in second
    assert "last value" not in second
