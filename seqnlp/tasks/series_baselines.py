"""Forecasts of series with intervals that need no network: the season before, and exponential smoothing.

Both are fitted on what precedes a forecast, the series' own earlier splits included, and not on the other series.
Shapes: `N` forecasts, `P` steps of the future, `D` channels, `S` draws.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from datasets import DatasetDict

from ..data import SeriesWindows
from ..data.columns import evenly_spread
from ..metrics import crps_of_paths, intervals_of_paths


NUM_DRAWS = 100
"""Of each forecast, as many as models draw by default."""
LONGEST_FIT = 2000
"""Steps before the first forecast of a series on which its smoothing is fitted, at most: the last ones."""
MOST_FITS = 200
"""Series, times their channels, to which smoothing is fitted."""
MOST_FORECASTS = 20_000
"""Forecasts, times their channels, that are made: each takes milliseconds, and a long table has a million of them."""
LONGEST_SEASON = 24
"""Of exponential smoothing, whose state holds a number for each step of a season (as in R's forecast package)."""
FORMS = ({}, {"trend": "add"}, {"trend": "add", "damped_trend": True})
"""ETS(A,N,N), ETS(A,A,N) and ETS(A,Ad,N); with a season also ETS(A,.,A)."""


class Baseline(NamedTuple):
    """
    What a baseline says.

    Attributes:
        rows: Which of the forecasts it makes, `(N,)`.
        predictions: Their means, `(N, P, D)`.
        crps: The CRPS of each number, of that shape.
        intervals: Central intervals, `(N, P, D, levels, 2)`.
        remarks: How it came about.
    """

    rows: np.ndarray
    predictions: np.ndarray
    crps: np.ndarray
    intervals: np.ndarray
    remarks: list[str]


class Origin(NamedTuple):
    """
    A forecast's place.

    Attributes:
        row: Its number among the forecasts.
        now: Steps before it in the series, earlier splits included.
    """

    row: int
    now: int


class Histories:
    """
    The series of a split with all that came before, and the places of its forecasts.

    Gaps hold the last value before them, as models read them, and 0 before the first. Of more than [`MOST_FORECASTS`]
    forecasts some are made, evenly spread.

    Args:
        splits: All splits, in time; a series goes on where the next split has one of its name at the same place.
        split: The one that is forecast.
        windows: Its forecasts.
    """

    def __init__(self, splits: DatasetDict, split: str, windows: SeriesWindows):
        names, series = list(splits), splits[split]["series"]
        earlier = [splits[name] for name in names[: names.index(split)] if splits[name]["series"] == series]
        self.windows, self.values, starts = windows, [], []
        self.num_filled = 0
        for place, part in enumerate(splits[split]["values"]):
            before = [np.array(one["values"][place], dtype=np.float64) for one in earlier]
            whole = np.concatenate([*(one for one in before if one.size), np.array(part, dtype=np.float64)])
            starts.append(len(whole) - len(part))
            observed = ~np.isnan(whole)
            self.num_filled += int((~observed).sum())
            last = np.maximum.accumulate(np.where(observed, np.arange(len(whole))[:, None], -1), axis=0)
            filled = np.take_along_axis(np.nan_to_num(whole), last.clip(min=0), axis=0)
            self.values.append(np.where(last >= 0, filled, 0.0))
        self.origins: dict[int, list[Origin]] = {}
        for row in evenly_spread(range(len(windows)), max(1, MOST_FORECASTS // self.num_channels)):
            place, start = windows.windows[row]
            now = starts[place] + start + windows.context_length
            self.origins.setdefault(place, []).append(Origin(row, now))
        self.steps = windows.length - windows.context_length

    @property
    def num_channels(self) -> int:
        """Of each series."""
        return self.values[0].shape[1]

    def spread(self, count: int) -> list[int]:
        """At most `count` of the series that are forecast, evenly spread."""
        return evenly_spread(list(self.origins), count)


def seasonal_naive(histories: Histories, season: int) -> Baseline:
    """
    The value of the last season at each step, with normal errors (Hyndman & Athanasopoulos 2021, Forecasting:
    principles and practice, sections 5.2 and 5.5).

    Their variance is the mean square of all changes over a season so far, times the seasons that lie between. Where a
    series has not yet lasted a season, its last value is said instead.

    Args:
        histories: The series and the places of the forecasts.
        season: Steps of a season; 1 for none, which says the last value.
    """
    steps, too_short = np.arange(1, histories.steps + 1), 0

    def forecasts(place: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        nonlocal too_short
        values = histories.values[place]
        lags = {lag for lag in (1, season) if lag < len(values)}
        squares = {lag: np.cumsum((values[lag:] - values[:-lag]) ** 2, axis=0) for lag in lags}
        for row, now in histories.origins[place]:
            lag = season if now > season else 1
            too_short += lag != season
            seasons = -(-steps // lag)  # how many back to the last one that is known
            mean = values[now - 1 + steps - seasons * lag]
            variance = squares[lag][now - lag - 1] / (now - lag) if now > lag else np.zeros(values.shape[1])
            yield row, mean, np.sqrt(variance * seasons[:, None])

    remarks = []
    if season == 1:
        remarks.append("The seasonal-naive forecast has no season (--season_length) and says the last value.")
    else:
        remarks.append(f"The season of the seasonal-naive forecast has {season:,} steps.")
    found = _drawn(histories, list(histories.origins), forecasts, remarks)
    found.remarks.extend(_told_of_rest("It", found, histories))
    if too_short:
        found.remarks.append(f"{too_short:,} of its forecasts come before a whole season and say the last value.")
    return found


def exponential_smoothing(histories: Histories, season: int) -> Baseline:
    """
    ETS with additive errors (Hyndman, Koehler, Ord & Snyder 2008, Forecasting with exponential smoothing), each
    channel by itself, by statsmodels.

    Of the forms without trend, with a trend and with a damped one, and each of them with a season, the one with the
    lowest AICc is taken (Hyndman & Khandakar 2008, Journal of Statistical Software 27). It is fitted once per series,
    on what precedes its first forecast; states go on with what came up to each forecast, and its errors are normal
    with the variance of the fit.

    Args:
        histories: The series and the places of the forecasts.
        season: Steps of a season; 1 for none.

    Raises:
        ImportError: Without statsmodels.
    """
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    forms = [dict(form) for form in FORMS]
    if 1 < season <= LONGEST_SEASON:
        forms += [{**form, "seasonal": "add", "seasonal_periods": season} for form in FORMS]
    fits = {"fits": 0, "unfitted": 0, "unconverged": 0}

    def of_channel(values: np.ndarray, origins: list[Origin]) -> tuple[np.ndarray, np.ndarray]:
        first = origins[0].now
        begin = max(0, first - LONGEST_FIT)
        best = _best_fit(ETSModel, values[begin:first], forms)
        fits["fits"] += 1
        if best is None:  # nothing to smooth: it says the last value
            fits["unfitted"] += 1
            means = np.repeat([[values[now - 1]] for _, now in origins], histories.steps, axis=1)
            deviation = np.sqrt(np.mean(np.diff(values[:first]) ** 2)) if first > 1 else 0.0
            return means, np.broadcast_to(deviation * np.sqrt(np.arange(1, histories.steps + 1)), means.shape)
        form, fitted = best
        fits["unconverged"] += not fitted.mle_retvals["converged"]
        deviation = np.sqrt(fitted.sse / fitted.df_resid)
        smoothed = ETSModel(values[begin : origins[-1].now], **form).smooth(fitted.params)
        # A second path with an error of 1 at its first step tells what becomes of errors: the model is linear.
        errors = np.zeros((histories.steps, 2))
        errors[0, 1] = 1.0
        paths = np.stack(
            [
                smoothed.simulate(histories.steps, anchor=now - 1 - begin, repetitions=2, random_errors=errors)
                for _, now in origins
            ]
        )
        effect = paths[:, :, 1] - paths[:, :, 0]
        return paths[:, :, 0], deviation * np.sqrt(np.cumsum(effect**2, axis=1))

    def forecasts(place: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        origins = histories.origins[place]
        channels = [of_channel(channel, origins) for channel in histories.values[place].T]
        means, deviations = (np.stack([channel[part] for channel in channels], axis=-1) for part in (0, 1))
        for (row, _), mean, deviation in zip(origins, means, deviations, strict=True):
            yield row, mean, deviation

    places = histories.spread(max(1, MOST_FITS // histories.num_channels))
    found = _drawn(histories, places, forecasts, [])
    remarks = found.remarks
    if season > LONGEST_SEASON:
        remarks.append(f"ETS has no season here: {season:,} steps are more than {LONGEST_SEASON}.")
    remarks.extend(_told_of_rest("ETS", found, histories))
    if fits["unfitted"]:
        remarks.append(f"{fits['unfitted']:,} of {fits['fits']:,} series were too short or even for ETS: last value.")
    if fits["unconverged"]:
        remarks.append(f"{fits['unconverged']:,} of {fits['fits']:,} fits of ETS did not converge; they were used.")
    return found


def _told_of_rest(name: str, found: Baseline, histories: Histories) -> list[str]:
    """A line if a baseline made some of the forecasts alone."""
    made, asked = len(found.rows), len(histories.windows)
    return [f"{name} made {made:,} of the {asked:,} forecasts, evenly spread."] if made < asked else []


def _best_fit(model: type, values: np.ndarray, forms: list[dict]) -> tuple[dict, object] | None:
    """The form with the lowest AICc, and what statsmodels fitted; `None` if none could be."""
    if np.ptp(values) == 0:
        return None
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fits that do not converge are counted
        for form in forms:
            try:
                fitted = model(values, **form).fit(disp=False)
            except ValueError:  # too short for its states
                continue
            if fitted.df_resid > 0 and not np.isnan(fitted.aicc):
                found.append((form, fitted))
    return min(found, key=lambda one: one[1].aicc, default=None)


def _drawn(
    histories: Histories,
    places: list[int],
    forecasts: Callable[[int], Iterator[tuple[int, np.ndarray, np.ndarray]]],
    remarks: list[str],
) -> Baseline:
    """Means and deviations of the forecasts of some series as scores need them: by draws, as a model's are."""
    random, found = np.random.default_rng(0), {}
    for row, mean, deviation in (one for place in places for one in forecasts(place)):
        draws = mean + deviation * random.standard_normal((NUM_DRAWS, *mean.shape))
        came = histories.windows[row]["future_values"].numpy()
        found[row] = mean, crps_of_paths(draws, came), intervals_of_paths(draws)
    rows = np.array(sorted(found))
    return Baseline(rows, *(np.stack([found[row][part] for row in rows]) for part in range(3)), remarks)
