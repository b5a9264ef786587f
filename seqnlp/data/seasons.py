"""How many steps of a regular grid in time make a season."""

import pandas as pd


NAMED = {"D": 7, "B": 5, "MS": 12, "ME": 12, "QS": 4, "QE": 4}
"""Of steps of a day and more: a week of days, five of them working days, and a year of months or quarters."""


def season_of(frequency: str | None) -> int:
    """
    Steps of a season by the step of the grid, as pandas names it: a day of shorter steps, a week of days, a year of
    months or quarters; 1, which is none, for all others and without a grid.
    """
    if frequency is None:
        return 1
    offset, start, day = pd.tseries.frequencies.to_offset(frequency), pd.Timestamp(0), pd.Timedelta("1D")
    step = start + offset - start
    if step < day:
        return int(day / step) if day % step == pd.Timedelta(0) else 1
    return NAMED.get(offset.rule_code.split("-")[0], 1) if offset.n == 1 else 1
