"""How a loss falls with size or compute: a power law fitted to it, with an interval for its exponent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import DiagnosticsError


LEAST_SIZES = 2
SIZES_FOR_OFFSET = 4
"""Different sizes from which three numbers are fitted: two would leave no degree of freedom with three sizes."""
STARTS = [(exponent, share) for exponent in (0.05, 0.2, 0.6) for share in (1e-3, 0.5, 0.9, 0.99)]
STEEPEST = 5.0


@dataclass(frozen=True)
class PowerLaw:
    """
    `L(x) = E + (x / x0)^-alpha * A`.

    Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", equation 2, with the amount of data fixed:
    `E` is the loss that no size gets below. Without it, `L(x) = (x_c / x)^alpha` as in Kaplan et al. 2020, "Scaling
    Laws for Neural Language Models", equation 1.1.

    Attributes:
        exponent: `alpha`.
        scale: `A`, the part of the loss at `x0` that falls.
        reference: `x0`, the geometric mean of the sizes, so that scale and exponent are not bound to each other.
        offset: `E`; 0 where it was not fitted.
        interval: A 95 % interval of the exponent by the bootstrap; `None` where there are as many numbers as points.
        has_offset: Whether `E` was fitted.
    """

    exponent: float
    scale: float
    reference: float
    offset: float
    interval: tuple[float, float] | None
    has_offset: bool

    def at(self, sizes: Sequence[float] | np.ndarray) -> np.ndarray:
        """The loss at these sizes."""
        return self.offset + self.scale * (np.asarray(sizes, dtype=float) / self.reference) ** -self.exponent

    @property
    def factor_to_halve(self) -> float:
        """How many times as much it takes to halve the part of the loss that falls; infinity beyond all numbers."""
        with np.errstate(over="ignore"):
            return float(np.exp2(1 / self.exponent))

    @property
    def is_settled(self) -> bool:
        """Whether the loss falls at all: neither the exponent nor its interval reaches down to 0."""
        return self.exponent > 0 and (self.interval is None or self.interval[0] > 0)


def fit_power_law(
    sizes: Sequence[float],
    losses: Sequence[float],
    with_offset: bool | None = None,
    resamples: int = 300,
    seed: int = 0,
) -> PowerLaw:
    """
    Fit a power law by least squares on the logarithm of the loss, and an interval by the bootstrap of its residuals.

    The residuals, widened by the square root of `n / (n - p)` for the `p` numbers that were fitted, are dealt out to
    the sizes at random and the law is fitted again (Efron & Tibshirani 1993, chapter 9): the sizes stay where they
    are, since they were chosen and not drawn. The quantiles are moved away from the exponent as much as Student's t is
    wider than the normal distribution with so few degrees of freedom.

    Args:
        sizes: Parameters or operations, above 0; several points may have one size.
        losses: The loss of each, above 0.
        with_offset: Whether `E` is fitted; by default where there are four different sizes.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DiagnosticsError: For fewer than two different sizes, and for what has no logarithm.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    sizes, losses = np.asarray(sizes, dtype=float), np.asarray(losses, dtype=float)
    different = len(np.unique(sizes))
    if different < LEAST_SIZES:
        raise DiagnosticsError(f"A power law needs {LEAST_SIZES} different sizes, and there is {different}.")
    numbers = np.concatenate([sizes, losses])
    if not (np.isfinite(numbers).all() and (numbers > 0).all()):
        raise DiagnosticsError("A power law is fitted to logarithms: every size and loss must be above 0, and finite.")
    has_offset = different >= SIZES_FOR_OFFSET if with_offset is None else with_offset
    reference = float(np.exp(np.log(sizes).mean()))
    places = np.log(sizes / reference)
    best = _fit(places, np.log(losses), has_offset, _starts(places, losses, has_offset))
    fitted = _log_loss(best, places)
    free = len(losses) - len(best)
    interval = None
    if free > 0:
        residuals = (np.log(losses) - fitted) * np.sqrt(len(losses) / free)
        chance = np.random.default_rng(seed)
        drawn = [chance.choice(residuals - residuals.mean(), len(losses)) for _ in range(resamples)]
        exponents = [_fit(places, fitted + noise, has_offset, [best])[0] for noise in drawn]
        wider = student.ppf(0.975, free) / norm.ppf(0.975)
        ends = best[0] + wider * (np.percentile(exponents, [2.5, 97.5]) - best[0])
        interval = float(ends[0]), float(ends[1])
    offset = float(np.exp(best[2])) if has_offset else 0.0
    return PowerLaw(float(best[0]), float(np.exp(best[1])), reference, offset, interval, has_offset)


def _starts(places: np.ndarray, losses: np.ndarray, has_offset: bool) -> list[np.ndarray]:
    if not has_offset:
        return [np.array([0.1, np.log(losses).mean()])]
    least = losses.min()
    scales = [max(losses.mean() - share * least, 1e-6 * least) for _, share in STARTS]
    return [
        np.array([exponent, np.log(scale), np.log(share * least)])
        for (exponent, share), scale in zip(STARTS, scales, strict=True)
    ]


def _log_loss(numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
    falling = numbers[1] - numbers[0] * places
    return falling if len(numbers) == 2 else np.logaddexp(numbers[2], falling)


def _fit(places: np.ndarray, logs: np.ndarray, has_offset: bool, starts: list[np.ndarray]) -> np.ndarray:
    """The numbers `alpha, log A` and, if there is an offset, `log E` of the best fit."""
    from scipy.optimize import least_squares

    if not has_offset:  # a straight line
        slope, height = np.polyfit(places, logs, 1)
        return np.array([-slope, height])
    # Below the least loss by more than is seen; and no higher, or nothing would be left to fall.
    bounds = [0.0, -np.inf, -50.0], [STEEPEST, np.inf, logs.min() + 0.1]
    starts = [np.clip(start, [1e-6, -np.inf, -49.0], [STEEPEST - 1e-6, np.inf, logs.min()]) for start in starts]
    found = [
        least_squares(lambda numbers: _log_loss(numbers, places) - logs, start, bounds=bounds) for start in starts
    ]
    return min(found, key=lambda fit: fit.cost).x


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of `(compute, loss)` pairs that none has less of both: what each amount of compute reaches at best."""
    best, kept = np.inf, []
    for compute, loss in sorted(points):
        if loss < best:
            kept.append((compute, loss))
            best = loss
    return kept
