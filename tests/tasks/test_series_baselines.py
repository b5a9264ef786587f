"""The season before and exponential smoothing: by hand, by a loop, and never from what comes later."""

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from seqnlp.data import SeriesWindows
from seqnlp.data.seasons import season_of
from seqnlp.tasks import series_baselines
from seqnlp.tasks.series_baselines import Histories, exponential_smoothing, seasonal_naive


@pytest.mark.parametrize(
    ("frequency", "season"),
    [("5min", 288), ("h", 24), ("7h", 1), ("D", 7), ("2D", 1), ("B", 5), ("MS", 12), ("QE", 4), ("W", 1), (None, 1)],
)
def test_the_season_of_a_grid(frequency, season):
    assert season_of(frequency) == season


def histories_of(train, test, names=("a", "a"), context=4, steps=3):
    """Of one series each, whose names say whether the one goes on with the other."""
    parts = zip(("train", "test"), names, (train, test), strict=True)
    splits = {
        split: Dataset.from_dict({"series": [name], "values": [np.array(values).reshape(-1, 1).tolist()]})
        for split, name, values in parts
    }
    return Histories(DatasetDict(splits), "test", SeriesWindows(splits["test"]["values"], context, steps))


def test_the_season_before_by_hand():
    histories = histories_of([1, 5], [2, 7, 4, 6, 8, 10, 11, 12], context=4, steps=3)
    found = seasonal_naive(histories, 2)
    assert found.predictions[..., 0].tolist() == [[4, 6, 4], [6, 8, 6]]  # after 1 5 2 7 4 6, and then 8
    # Changes over a season so far: 1, 2, 2, -1; then 4. Two seasons lie before the third step.
    deviations = np.sqrt([[10 / 4, 10 / 4, 20 / 4], [26 / 5, 26 / 5, 52 / 5]])
    widths = found.intervals[..., 0, 1, 1] - found.intervals[..., 0, 1, 0]
    np.testing.assert_allclose(widths / (2 * 1.2816 * deviations), 1, atol=0.35)  # of 100 draws
    long = histories_of([], np.arange(2000.0) % 2 * 3, steps=2)
    found = seasonal_naive(long, 1)  # wrong by 3 or not at all, with variances of 9 and 18
    widths = found.intervals[500:, :, 0, 1, 1] - found.intervals[500:, :, 0, 1, 0]
    np.testing.assert_allclose(widths.mean(axis=0), 2 * 1.2816 * 3 * np.sqrt([1, 2]), rtol=0.02)


def test_without_a_whole_season_it_says_the_last_value():
    found = seasonal_naive(histories_of([], [1.0, 2, 3, 4, 5, 6, 7, 8, 9], context=4), 5)
    assert found.predictions[..., 0].tolist() == [[4, 4, 4], [5, 5, 5], [2, 3, 4]]
    assert any("2 of its forecasts come before a whole season" in remark for remark in found.remarks)
    assert any("has 5 steps" in remark for remark in found.remarks)


def test_after_one_value_nothing_is_known_of_changes():
    found = seasonal_naive(histories_of([], [1.0, 2, 4, 8, 16], context=1), 5)
    assert found.predictions[0, :, 0].tolist() == [1, 1, 1]
    assert (found.intervals[0] == 1).all()


def test_series_of_other_names_are_not_joined_and_gaps_hold_the_last_value():
    joined = histories_of([1.0, 2, 3], [np.nan, 5, np.nan, 7, 8, 9, 10, 11])
    assert joined.values[0].flatten().tolist() == [1, 2, 3, 3, 5, 5, 7, 8, 9, 10, 11]
    assert (joined.num_filled, joined.origins[0][0].now) == (2, 7)
    apart = histories_of([1.0, 2, 3], [np.nan, 5, np.nan, 7, 8, 9, 10, 11], names=("a", "b"))
    assert apart.values[0].flatten().tolist() == [0, 5, 5, 7, 8, 9, 10, 11]


def test_smoothing_is_the_recursion_of_its_level_and_knows_nothing_of_later(monkeypatch):
    random = np.random.default_rng(0)
    level = random.standard_normal(300).cumsum() * 0.2
    values = level + random.standard_normal(300)
    monkeypatch.setattr(series_baselines, "FORMS", ({},))
    fitted = []
    best = series_baselines._best_fit
    monkeypatch.setattr(series_baselines, "_best_fit", lambda *given: fitted.append(best(*given)) or fitted[-1])
    found = exponential_smoothing(histories_of(values[:200], values[200:]), 1)
    result = fitted[0][1]
    alpha, smoothed = result.params[:2]
    assert result.nobs == 204  # the training part and the first past
    expected = {}
    for step, value in enumerate(values, 1):
        smoothed += alpha * (value - smoothed)
        expected[step] = smoothed
    np.testing.assert_allclose(found.predictions[:, :, 0], [[expected[row + 204]] * 3 for row in range(94)])
    # Errors of h steps have the variance 1 + (h - 1) alpha^2 (Hyndman et al. 2008, table 6.2).
    variance = result.sse / result.df_resid * (1 + np.arange(3) * alpha**2)
    widths = (found.intervals[:, :, 0, 1, 1] - found.intervals[:, :, 0, 1, 0]).mean(axis=0)
    np.testing.assert_allclose(widths, 2 * 1.2816 * np.sqrt(variance), rtol=0.04)

    values[260:] += 50
    changed = exponential_smoothing(histories_of(values[:200], values[200:]), 1)
    before = 260 - 204 + 1  # forecasts whose past ends before the change
    assert np.array_equal(changed.intervals[:before], found.intervals[:before])
    assert not np.allclose(changed.predictions[before], found.predictions[before])


def test_smoothing_takes_trends_and_short_seasons_where_they_are():
    steps = np.arange(120.0)
    random = np.random.default_rng(0)
    wave = 0.5 * steps + np.array([0.0, 4, -4, 1])[steps.astype(int) % 4] + 0.1 * random.standard_normal(120)
    found = exponential_smoothing(histories_of(wave[:80], wave[80:]), 4)
    came = np.stack([wave[84 + row : 87 + row] for row in range(len(found.rows))])
    assert np.abs(found.predictions[..., 0] - came).mean() < 0.15
    assert np.abs(seasonal_naive(histories_of(wave[:80], wave[80:]), 4).predictions[..., 0] - came).mean() > 1.5


def test_what_cannot_be_smoothed_is_counted_and_long_seasons_are_told():
    found = exponential_smoothing(histories_of([], [2.0] * 4 + [5.0, 6, 7, 8, 9]), 30)
    assert found.predictions[..., 0].tolist() == [[2] * 3, [5] * 3, [6] * 3]
    assert "1 of 1 series were too short or even for ETS: last value." in found.remarks
    assert "ETS has no season here: 30 steps are more than 24." in found.remarks


def test_many_series_are_sampled(monkeypatch):
    monkeypatch.setattr(series_baselines, "MOST_FITS", 3)
    values = np.random.default_rng(0).standard_normal((9, 12, 1)).tolist()
    splits = DatasetDict(test=Dataset.from_dict({"series": [str(n) for n in range(9)], "values": values}))
    found = exponential_smoothing(Histories(splits, "test", SeriesWindows(values, 9, 3)), 1)
    assert found.rows.tolist() == [0, 4, 8]
    assert "ETS made 3 of the 9 forecasts, evenly spread." in found.remarks


def test_of_many_forecasts_some_are_made_evenly_spread(monkeypatch):
    monkeypatch.setattr(series_baselines, "MOST_FORECASTS", 3)
    found = seasonal_naive(histories_of([], np.arange(15.0) ** 2, steps=3), 1)
    assert found.rows.tolist() == [0, 4, 8]
    assert found.predictions[:, 0, 0].tolist() == [9, 49, 121]
    assert "It made 3 of the 9 forecasts, evenly spread." in found.remarks
