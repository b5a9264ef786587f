"""Times as tables have them: one way to read a whole column, never one per cell."""

import re
import warnings

import numpy as np
import pandas as pd

from .errors import DataError


# Of numbers, by their size: what they count, and from where on.
_EPOCHS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))
_YEARS = (1000, 2999)
_DATE = re.compile(
    r"^(?P<first>\d{1,4})(?P<mark>[./-])(?P<second>\d{1,2})(?P=mark)(?P<third>\d{1,4})\.?"
    r"(?:[T ,]+(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?$"
)
_MONTH = re.compile(r"(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)")
# With the name of a month, and in no format that pandas guesses; a month and two digits may be of a day or a year.
_NAMED = ("%b %Y", "%B %Y", "%Y %b", "%Y %B", "%d %b %y", "%d %B %y")
_HAS_ZONE = re.compile(r"\d{1,2}:\d{2}.*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})\s*$")
# Digits without marks between them, by their number.
_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_COMPACT_YEARS = (1000, 2199)


def read_times(column: pd.Series, where: str, day_first: bool | None, remarks: list[str]) -> pd.Series:
    """
    The times of a column as dates without a zone (those with one become UTC), or, if it holds plain numbers, as these.

    Numbers from 1000 to 2999 are years; numbers all of which are dates as they stand are these, such as 20240131 or
    202401312359; others are Unix times in seconds, milliseconds, microseconds or nanoseconds, by their size, or only
    order the rows. Words are read by one format for the whole column. Of dates such as 3/4/2024 a number above 12
    anywhere in the column tells day from month; with dots the day comes first. A year of two digits may stand first
    or last: that reading counts by which the rows are in the order of time.

    Args:
        column: Without blanks.
        where: Begins an error: dataset and column.
        day_first: Whether the day comes first where the column does not tell.
        remarks: Takes what is to be said.

    Raises:
        DataError: For what is no time, for dates that could be read in two ways, and for two formats in one column.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return _in_utc(column)
    if pd.api.types.is_numeric_dtype(column):
        return _from_numbers(column, remarks, where)
    words = column.astype(str).str.strip()
    zoned = words.str.contains(_HAS_ZONE)
    if zoned.any() and not zoned.all():
        row = zoned.index[zoned != zoned.iloc[0]][0]
        raise DataError(
            f"{where}: some times have an offset from UTC and others none, e.g. {words.iloc[0]!r} and "
            f"{words.loc[row]!r}. Write them all one way."
        )
    parts = words.str.extract(_DATE)
    if parts["first"].notna().all():
        words = _as_iso(parts, words, where, day_first)
    try:
        times = pd.to_datetime(words, format="ISO8601", utc=True)
    except (ValueError, TypeError):
        times = _by_first(words, where)
    if zoned.any():
        remarks.append(f"{where}: times are read with their offsets and turned into UTC.")
    return times.dt.tz_localize(None)


def _in_utc(column: pd.Series) -> pd.Series:
    return column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column


def _from_numbers(column: pd.Series, remarks: list[str], where: str) -> pd.Series:
    low, high = column.min(), column.max()
    if low >= _YEARS[0] and high <= _YEARS[1] and (column % 1 == 0).all():
        remarks.append(f"{where}: {low:g} to {high:g} are read as years.")
        return pd.to_datetime(column.astype(int).astype(str), format="%Y")
    dates, unit = dates_of_digits(column), unix_unit(column)
    if dates is not None:
        remarks.append(f"{where}: {low:.0f} to {high:.0f} are read as dates, digit by digit.")
        return dates
    if unit is None:
        return column
    remarks.append(f"{where}: numbers are read as Unix times in {unit}.")
    try:
        return pd.to_datetime(column, unit=unit).astype("datetime64[ns]")
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: {high:.0f} is no Unix time in {unit} before the year 2262.") from error


def dates_of_digits(column: pd.Series) -> pd.Series | None:
    """Whole numbers that all are dates as they stand, such as 20240131 or 202401312359; `None` for others."""
    low, high = f"{column.min():.0f}", f"{column.max():.0f}"
    if len(low) != len(high) or len(low) not in _COMPACT or not (column % 1 == 0).all():
        return None
    dates = pd.to_datetime(column.astype("int64").astype(str), format=_COMPACT[len(low)], errors="coerce")
    return dates if dates.notna().all() and dates.dt.year.between(*_COMPACT_YEARS).all() else None


def unix_unit(column: pd.Series) -> str | None:
    """What numbers count since 1970 by their size; `None` if they are too small or too far apart."""
    low, high = column.min(), column.max()
    return next((unit for least, unit in _EPOCHS if low >= least and high < 1000 * least), None)


def _as_iso(parts: pd.DataFrame, words: pd.Series, where: str, day_first: bool | None) -> pd.Series:
    """Dates of three numbers, the year first as it is written or last, in the order of ISO 8601."""
    if parts["mark"].nunique() > 1:
        raise DataError(f"{where}: some dates are written with {' and others with '.join(parts['mark'].unique())}.")
    first, second, third = (parts[name].astype(int) for name in ("first", "second", "third"))
    lengths = parts["first"].str.len(), parts["third"].str.len()
    if (lengths[0] == 4).all():
        year, month, day = first, second, third
    elif (lengths[0] <= 2).all() and lengths[1].isin([2, 4]).all() and lengths[1].nunique() == 1:
        year = third if (lengths[1] == 4).all() else third.where(third > 68, third + 100) + 1900
        if _is_year_first(first, second, third, lengths[1], words, where, day_first):
            year, month, day = first.where(first > 68, first + 100) + 1900, second, third
        elif _is_day_first(first, second, parts["mark"].iloc[0], words, where, day_first):
            day, month = first, second
        else:
            month, day = first, second
    else:
        raise DataError(f"{where}: the year stands first in some dates and last in others, or has 2 digits and 4.")
    iso = year.astype(str).str.zfill(4) + "-" + month.astype(str).str.zfill(2) + "-" + day.astype(str).str.zfill(2)
    if parts["clock"].isna().all():
        return iso
    clock = parts["clock"].fillna("00:00")
    half = parts["half"].str.lower().str[0]
    hour = clock.str.split(":").str[0].astype(int)
    hour = np.where(half.isna(), hour, hour % 12 + 12 * (half == "p"))
    minutes = clock.str.split(":", n=1).str[1]
    zone = parts["zone"].fillna("").replace(["UTC", "GMT"], "Z")
    return iso + "T" + pd.Series(hour, index=iso.index).astype(str).str.zfill(2) + ":" + minutes + zone


def _is_year_first(first, second, third, length, words, where: str, day_first: bool | None) -> bool:
    """Whether dates such as 21/01/31 begin with the year; where the year could as well be last, their order tells."""
    could_be_day = third.between(1, 31).all() and first.max() > 12 and second.between(1, 12).all()
    if day_first is not None or (length == 4).all() or not could_be_day:
        return False
    year_first, year_last = (
        days.is_monotonic_increasing or days.is_monotonic_decreasing
        for days in (first * 10_000 + second * 100 + third, third * 10_000 + second * 100 + first)
    )
    if year_first == year_last:
        raise DataError(
            f"{where}: {words[first > 12].iloc[0]!r} may begin with the year or end with it, and the order of the "
            "rows does not tell. If it ends with it, give --day_first true; else write 2024-12-31."
        )
    return year_first


def _is_day_first(first, second, mark: str, words, where: str, day_first: bool | None) -> bool:
    known = {True: first.max() > 12, False: second.max() > 12}
    if all(known.values()):
        raise DataError(
            f"{where}: the day stands first in some dates and second in others, e.g. {words[first > 12].iloc[0]!r} "
            f"and {words[second > 12].iloc[0]!r}. Write them all one way."
        )
    if any(known.values()):
        found = known[True]
        if day_first is not None and day_first != found:
            example = words[(first > 12) | (second > 12)].iloc[0]
            raise DataError(f"{where}: --day_first {day_first} does not fit {example!r}.")
        return found
    if day_first is None and mark != ".":
        raise DataError(
            f"{where}: {words.iloc[0]!r} may be day and month or month and day, and no other date tells. Say by "
            "--day_first true or false, or write 2024-12-31."
        )
    return True if day_first is None else day_first


def _by_first(words: pd.Series, where: str) -> pd.Series:
    """By the format of the first cell, which pandas guesses: months by their names, such as 5 Jan 2024. Or by ours."""
    nameless = words[~words.str.contains(_MONTH)]
    nameless = nameless[pd.to_datetime(nameless, format="ISO8601", utc=True, errors="coerce").isna()]
    if len(nameless):
        raise DataError(f"{where}: {nameless.iloc[0][:40]!r} is no time, or the times are in several formats.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas warns, and then guesses anew for each cell
            return pd.to_datetime(words, utc=True)
    except UserWarning as error:
        parts = words.str.replace(r"[-/., ]+", " ", regex=True)
        for written in _NAMED:
            times = pd.to_datetime(parts, format=written, utc=True, errors="coerce")
            if times.notna().all():
                return times
        raise DataError(f"{where}: {words.iloc[0][:40]!r} is in no format that is read: write 2024-12-31.") from error
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{where}: not all of it is times in one format ({reason}).") from error
