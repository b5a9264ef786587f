"""Power laws: by hand, made up with noise, and what has none."""

import math

import numpy as np
import pytest

from seqnlp.diagnostics import DiagnosticsError
from seqnlp.diagnostics.scaling import fit_power_law, frontier


def test_a_straight_line_on_logarithms_by_hand():
    # From 10 to 1000 the loss falls from 4 to 2, by 2^(1/2) per decade: the exponent is log10(sqrt 2).
    law = fit_power_law([10, 100, 1000], [4, 4 / 2**0.5, 2], resamples=10)
    assert law.exponent == pytest.approx(np.log10(2) / 2)
    assert (law.offset, law.has_offset, law.reference) == (0, False, pytest.approx(100))
    assert law.at([100]) == pytest.approx([4 / 2**0.5])
    assert law.interval == pytest.approx([law.exponent] * 2)
    assert law.factor_to_halve == pytest.approx(2 ** (1 / law.exponent))
    assert law.at([10 * law.factor_to_halve]) == pytest.approx([2])
    assert fit_power_law([10, 1000], [4, 2]).interval is None  # as many numbers as points


def test_all_three_numbers_are_found_where_there_is_no_noise():
    # Those that Hoffmann et al. 2022 publish, with endless data.
    sizes = np.geomspace(1e4, 1e8, 6)
    law = fit_power_law(sizes, 1.69 + 406.4 * sizes**-0.34, resamples=20)
    assert law.has_offset
    assert law.exponent == pytest.approx(0.34, abs=1e-4)
    assert law.offset == pytest.approx(1.69, abs=1e-4)
    assert law.scale == pytest.approx(406.4 * law.reference**-0.34, rel=1e-3)


def test_the_exponent_lies_within_its_interval_as_often_as_it_says():
    sizes, chance = np.repeat(np.geomspace(1e4, 1e8, 8), 2), np.random.default_rng(0)
    inside, widths = 0, []
    for number in range(15):
        losses = (1.7 + 400 * sizes**-0.34) * np.exp(0.01 * chance.standard_normal(len(sizes)))
        law = fit_power_law(sizes, losses, resamples=40, seed=number)
        inside += law.interval[0] <= 0.34 <= law.interval[1]
        widths.append(law.interval[1] - law.interval[0])
        assert law.interval[0] <= law.exponent <= law.interval[1]
    assert inside >= 12  # 14 are expected; fewer than 12 come of 95 % in five of a thousand
    assert max(widths) < 0.1


def test_few_points_have_an_interval_that_is_wide_enough():
    sizes, chance, inside = np.geomspace(1e4, 1e7, 4), np.random.default_rng(1), 0
    for number in range(60):
        losses = 30 * sizes**-0.2 * np.exp(0.02 * chance.standard_normal(4))
        interval = fit_power_law(sizes, losses, with_offset=False, resamples=60, seed=number).interval
        inside += interval[0] <= 0.2 <= interval[1]
    assert inside >= 50  # 57 are expected; without Student's t it would be some 45


def test_the_offset_is_fitted_from_four_sizes_on_or_as_asked():
    sizes = [1e3, 1e4, 1e5, 1e6]
    losses = [3.0, 2.5, 2.2, 2.1]
    assert fit_power_law(sizes, losses, resamples=5).has_offset
    assert not fit_power_law(sizes[:3], losses[:3]).has_offset
    without = fit_power_law(sizes, losses, with_offset=False, resamples=5)
    # numpy's own line through the logarithms.
    assert without.exponent == pytest.approx(-np.polyfit(np.log(sizes), np.log(losses), 1)[0])


def test_what_has_no_law_is_refused():
    with pytest.raises(DiagnosticsError, match="needs 2 different sizes, and there is 1"):
        fit_power_law([5, 5], [1, 2])
    for losses in ([1, 0], [1, -1], [1, float("nan")]):
        with pytest.raises(DiagnosticsError, match="must be above 0"):
            fit_power_law([1, 2], losses)
    with pytest.raises(DiagnosticsError, match="must be above 0, and finite"):
        fit_power_law([float("inf"), 1, 2], [3, 2, 1])


def test_a_loss_that_does_not_fall_is_not_settled():
    sizes = [1e5, 1e6, 1e7]
    rising = fit_power_law(sizes, [2.0, 2.1, 2.2])
    assert rising.exponent == pytest.approx(-math.log10(1.1) / 2)  # of a straight line through three even places
    assert not rising.is_settled
    assert not fit_power_law(sizes, [2.0, 2.1, 1.9]).is_settled
    assert fit_power_law(sizes, [2.2, 2.1, 2.0]).is_settled
    assert fit_power_law(sizes, [2.2, 2.1, 2.0]).factor_to_halve == pytest.approx(2 ** (2 / math.log10(1.1)))
    slow = fit_power_law([1.0, 2.0, 4.0], [2**-0.0001, 2**-0.0002, 2**-0.0003])
    assert slow.factor_to_halve == math.inf  # 2 to the power of 10,000


def test_the_frontier_is_what_nothing_beats():
    points = [(1, 5), (2, 4), (2, 3), (3, 3.5), (4, 2), (5, 2), (6, 1)]
    assert frontier(points) == [(1, 5), (2, 3), (4, 2), (6, 1)]
