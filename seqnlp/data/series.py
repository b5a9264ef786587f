"""Time series: tables of numbers from files, the Hub or packages, and a simulated ball, cut into past and future."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, DatasetDict

from .arguments import SeriesArguments
from .errors import DataError
from .loaded import DataSource, LoadedData
from .loading import listed, load_splits, printable
from .samples import SAMPLES, SIMULATION
from .tables import read_file
from .times import dates_of_digits, read_times, unix_unit


CHANNELS_OF_THE_BALL = ["distance from the left wall", "height"]
# In a column of numbers, or of times, whatever their case.
MISSING = ("", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "-", "?")
MINUS = "\N{MINUS SIGN}"  # of typeset tables, where most programs write a hyphen
MOST_STEPS = 10_000_000  # of a regular grid
UNEVEN = 1.5  # times longer or shorter than most steps: more than months are, which nobody takes for uneven
_NUMBER = r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*"
_COMMA_NUMBER = _NUMBER.replace("[.,]", ",")
_POINTS_AND_COMMA = r"[+-]?\d{1,3}(\.\d{3})+,\d+"
_THOUSANDS = r"[+-]?[1-9]\d{0,2}(,\d{3})+"
SPLITS = ("train", "validation", "test")


def load_series(arguments: SeriesArguments) -> LoadedData:
    """
    The series of a table, each divided by time (the first 70 % train, the next 15 % validate, the last 15 % test), or
    simulated balls, no trajectory in two splits.

    Of a table the columns of numbers are the channels, but for a first column that counts the rows; cells without a
    number are gaps. Times are read by [`seqnlp.data.times.read_times`]. With `frequency` the rows are
    put on a regular grid of that step, as pandas names it (`5min`, `D`): the mean of the rows of a step, a gap where
    there is none. Of the simulated balls a fifth as many as `num_trajectories` validate and test.

    Returns:
        Splits with the columns `series` (its name) and `values` (steps by channels, NaN in gaps); the names of the
        channels are among the details.

    Raises:
        DataError: If there is no such table or column, or it holds no numbers.
    """
    unread = arguments.splits_unread("test")
    if arguments.dataset_name == SIMULATION:
        steps = arguments.context_length + arguments.prediction_length
        splits = SAMPLES[SIMULATION].load(arguments.num_trajectories, steps)
        splits = DatasetDict({name: splits[name] for name in splits if name not in unread})
        return LoadedData(splits, DataSource(SIMULATION), details={"channels": CHANNELS_OF_THE_BALL})
    table, source, remarks = _read_table(arguments)
    where = f"Dataset {source.name!r}"
    columns = _find_channels(table, arguments, where, remarks)
    table[columns] = _all_numbers(table, columns, where, remarks)
    table = _with_times(table, arguments, where, remarks)

    rows = {split: {"series": [], "values": []} for split in SPLITS}
    groups = table.groupby(arguments.series_column, sort=True) if arguments.series_column else [("series", table)]
    for name, group in groups:
        values = _values(group, columns, arguments, where)
        ends = [round(len(values) * share) for share in (0.7, 0.85, 1.0)]
        for split, start, end in zip(SPLITS, [0, *ends], ends, strict=False):
            rows[split]["series"].append(str(name))
            rows[split]["values"].append(values[start:end].tolist())
    _check_training_part(rows["train"]["values"], columns, where)
    splits = DatasetDict({split: Dataset.from_dict(part) for split, part in rows.items() if split not in unread})
    return LoadedData(splits, source, details={"channels": columns}, remarks=remarks)


def read_series_file(file: str, wanted: Sequence[str] = ()) -> tuple[np.ndarray, list[str], list[str]]:
    """
    One series from a file, its rows as they stand.

    Args:
        file: A csv, tsv, json, jsonl or parquet file.
        wanted: The columns that are read where the file has all of them; else every column of numbers is, but for a
            first one that counts the rows.

    Returns:
        `(steps, channels)` values, NaN in gaps; the names of the channels; and remarks on how they were read.

    Raises:
        DataError: If there is no such file, or it holds no numbers.
    """
    rows, remarks = read_file(file)
    table, where = rows.to_pandas(), f"The file {file!r}"
    columns = list(wanted) if wanted and set(wanted) <= set(table.columns) else None
    found = _find_channels(table, SeriesArguments(columns=columns), where, remarks)
    values = _all_numbers(table, found, where, remarks)
    left = [str(column) for column in table.columns if column not in found] if columns else []
    remarks += [f"Not read: {', '.join(left)}."] if left else []
    return values.to_numpy(dtype=np.float64), found, remarks


class SeriesWindows(torch.utils.data.Dataset):
    """
    Every stretch of a past and a future in some series, as the models for time series take it.

    Left out are stretches whose last step of the past was not observed, since nothing could be said to be carried on,
    and those whose future was not observed at all.

    Args:
        series: Arrays of shape `(steps, channels)`, NaN in gaps.
        context_length: Steps of the past.
        prediction_length: Steps of the future.
        stride: Steps from the beginning of one stretch to that of the next.
    """

    def __init__(self, series: Sequence, context_length: int, prediction_length: int, stride: int = 1):
        self.context_length = context_length
        self.length = context_length + prediction_length
        # Not in float32, in which a billion and its next neighbors are one number: the model subtracts the level.
        self.series = [torch.tensor(np.array(values, dtype=np.float64)) for values in series]
        self.windows = []
        for index, values in enumerate(self.series):
            observed = ~values.isnan()
            for start in range(0, len(values) - self.length + 1, stride):
                now = start + context_length
                if observed[now - 1].any() and observed[now : start + self.length].any():
                    self.windows.append((index, start))

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        number, start = self.windows[index]
        values = self.series[number][start : start + self.length]
        observed = ~values.isnan()
        past, future = values.nan_to_num().tensor_split([self.context_length])
        past_observed, future_observed = observed.tensor_split([self.context_length])
        return {
            "past_values": past,
            "past_observed_mask": past_observed,
            "future_values": future,
            "future_observed_mask": future_observed,
        }


def cut_windows(
    splits: DatasetDict, context_length: int, prediction_length: int, stride: int = 1
) -> dict[str, SeriesWindows]:
    """
    The stretches of each split, as [`SeriesWindows`].

    Raises:
        DataError: If a split has none.
    """
    windows = {
        split: SeriesWindows(part["values"], context_length, prediction_length, stride)
        for split, part in splits.items()
    }
    for split, part in windows.items():
        if len(part) == 0:
            longest = max(map(len, part.series), default=0)
            raise DataError(
                f"Split {split!r} has no stretch of {context_length + prediction_length} steps that ends in an "
                f"observed past and future; its longest series has {longest} steps. Lower --context_length "
                f"{context_length} or --prediction_length {prediction_length}."
            )
    return windows


def channel_statistics(series: Sequence) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all steps of all series; 1 for one that never changes."""
    values = np.concatenate([np.array(part, dtype=np.float64) for part in series])
    mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    return mean.tolist(), np.where(std > 0, std, 1.0).tolist()


def _read_table(arguments: SeriesArguments) -> tuple[pd.DataFrame, DataSource, list[str]]:
    loaded = load_splits(arguments.dataset_name, dataset_revision=arguments.dataset_revision)
    if len(loaded.splits) > 1:
        raise DataError(
            f"Dataset {loaded.source.name!r} has the splits {', '.join(loaded.splits)}; a table of series is divided "
            "by time here. Give one file."
        )
    rows = next(iter(loaded.splits.values())).with_format("arrow")[:]
    # With gaps, pandas would make floats of whole numbers, which lose the last digits of long ones, such as ids.
    return rows.to_pandas(integer_object_nulls=True), loaded.source, loaded.remarks


def _find_channels(table: pd.DataFrame, arguments: SeriesArguments, where: str, remarks: list[str]) -> list[str]:
    """The columns of numbers: those asked for, or all but time, series and a first column that counts the rows."""
    keys = {"time": arguments.time_column, "series": arguments.series_column}
    for kind, column in keys.items():
        if column is not None and column not in table.columns:
            raise DataError(
                f"{where}: there is no column {column!r}; the columns are {', '.join(map(repr, table.columns))}. Name "
                f"the right one by --{kind}_column."
            )
    columns = arguments.columns
    if columns is None:
        columns = [c for c in table.columns if c not in keys.values() and _holds_numbers(table[c])]
        first = table.columns[0]
        for column in [c for c in columns if _tells_time(table[c]) or (c == first and _counts_rows(table[c]))]:
            if len(columns) == 1:
                break
            what = "tells the times of the rows" if _tells_time(table[column]) else "counts the rows"
            remarks.append(f"{where}: column {column!r} {what} and is left out; name it in --columns to keep it.")
            columns.remove(column)
        if left := [f"{c} ({odd})" for c in table.columns if c not in keys.values() and (odd := _no_number(table[c]))]:
            remarks.append(f"{where}: left out, as columns that hold something else than numbers: {listed(left)}.")
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise DataError(f"--columns names {twice!r} twice.")
    missing = [column for column in columns if column not in table.columns]
    if missing or not columns:
        wanted = f"there is no column {missing[0]!r}" if missing else "no column holds numbers"
        raise DataError(
            f"{where}: {wanted}; the columns are {', '.join(map(repr, table.columns))}. Name those of numbers by "
            "--columns."
        )
    return list(columns)


def _holds_numbers(column: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    if pd.api.types.is_numeric_dtype(column):
        return True
    filled = _written_numbers(column).dropna().astype(str)
    return len(filled) > 0 and bool(filled.str.fullmatch(_NUMBER).all())


def _no_number(column: pd.Series) -> str:
    """The first cell of a column of something else than numbers that is none; empty for other columns."""
    if _holds_numbers(column):
        return ""
    filled = _written_numbers(column).dropna().astype(str)
    odd = filled[~filled.str.fullmatch(_NUMBER)]
    return repr(printable(odd.iloc[0], 20)) if len(odd) else ""


def _counts_rows(column: pd.Series) -> bool:
    return pd.api.types.is_integer_dtype(column) and len(column) > 1 and _has_equal_steps(column)


def _tells_time(column: pd.Series) -> bool:
    """Whether whole numbers that only rise are dates, such as 20240131, or Unix times that are equally far apart."""
    if not pd.api.types.is_integer_dtype(column) or len(column) < 3 or not column.is_monotonic_increasing:
        return False
    if not column.is_unique:
        return False
    return (unix_unit(column) is not None and _has_equal_steps(column)) or dates_of_digits(column) is not None


def _has_equal_steps(column: pd.Series) -> bool:
    steps = column.diff()[1:]
    return bool((steps > 0).all()) and steps.nunique() == 1


def _written_numbers(column: pd.Series) -> pd.Series:
    """The column with a hyphen for each sign of minus, and the usual words for a missing number as gaps."""
    column = column.replace(MINUS, "-", regex=True)
    return column.where(~column.astype(str).str.strip().str.lower().isin(MISSING))


def _all_numbers(table: pd.DataFrame, columns: list[str], where: str, remarks: list[str]) -> pd.DataFrame:
    """The columns in float64, gaps as NaN. Points that may divide thousands are refused where others have commas."""
    found = {column: _numbers(table[column], f"{where}, column {column!r}", remarks) for column in columns}
    doubtful = [column for column in columns if _may_be_thousands(found[column])]
    commas = [column for column in table.columns if doubtful and _tells_decimal_commas(table[column])]
    for column in doubtful:
        if commas and column not in commas:
            number = found[column][found[column] % 1 > 0].iloc[0]
            raise DataError(
                f"{where}, column {column!r}: {number:g} may be {number * 1000:.0f}, since the column {commas[0]!r} "
                "has decimal commas, and points may then stand between thousands. Write all numbers one way."
            )
    return pd.DataFrame(found)


def _may_be_thousands(numbers: pd.Series) -> bool:
    """Whether all fractions have one to three digits before and behind the point, as `1.234` has."""
    fractions = numbers[numbers % 1 > 0].abs()
    thousands = fractions * 1000
    is_whole = np.isclose(thousands, thousands.round(), rtol=0, atol=1e-6)
    return len(fractions) > 0 and bool(fractions.between(1, 1000).all() and is_whole.all())


def _numbers(column: pd.Series, where: str, remarks: list[str]) -> pd.Series:
    """A column in float64, gaps as NaN."""
    if not pd.api.types.is_numeric_dtype(column):
        words = _written_numbers(column)
        if _has_decimal_commas(words):
            remarks.append(f"{where}: commas are read as decimal points.")
            words = words.str.replace(",", ".")
        marks = int(words.isna().sum() - column.isna().sum())
        if marks:
            remarks.append(f"{where}: cells with a word for a missing number, read as gaps: {marks:,}.")
        if signs := int(column.astype(str).str.contains(MINUS).sum()):
            remarks.append(f"{where}: cells with the sign U+2212, read as minus: {signs:,}.")
        column = words
    try:
        values = column.astype("float64")
    except (ValueError, TypeError) as error:
        wrong = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        raise DataError(
            f"{where}: it holds something else than numbers, e.g. {str(wrong.iloc[0])[:40]!r}. Write them without "
            "units and without marks between thousands."
        ) from error
    if endless := int(np.isinf(values).sum()):
        remarks.append(f"{where}: infinite cells, read as gaps: {endless:,}.")
    return values.where(np.isfinite(values))


def _tells_decimal_commas(column: pd.Series) -> bool:
    """Whether its numbers have decimal commas; some with marks between thousands, too, which are not read."""
    if pd.api.types.is_numeric_dtype(column):
        return False
    written = _written_numbers(column)
    words = written.astype(str).str.strip()
    return _has_decimal_commas(written) or bool(words.str.fullmatch(_POINTS_AND_COMMA).any())


def _has_decimal_commas(written: pd.Series) -> bool:
    """Of what [`_written_numbers`] gives."""
    words = written.dropna().astype(str).str.strip()
    commas = words[words.str.contains(",")]
    is_plain = words.str.fullmatch(_COMMA_NUMBER).all()
    return len(commas) > 0 and bool(is_plain) and not commas.str.fullmatch(_THOUSANDS).all()


def _with_times(table: pd.DataFrame, arguments: SeriesArguments, where: str, remarks: list[str]) -> pd.DataFrame:
    """The rows with a time and a series, sorted by time; the series that share their times need to be told apart."""
    time, series = arguments.time_column, arguments.series_column
    if arguments.frequency is not None and time is None:
        raise DataError(
            f"{where}: --frequency {arguments.frequency} needs --time_column, the column that tells the time."
        )
    for kind, column in (("time", time), ("series", series)):
        if column is None:
            continue
        words = table[column].astype(str).str.strip()
        blank = table[column].isna() | (words.str.lower().isin(MISSING) if kind == "time" else words == "")
        if blank.all():
            raise DataError(f"{where}, column {column!r}: it is blank. Name another by --{kind}_column.")
        if blank.any():
            remarks.append(f"{where}, column {column!r}: rows without a {kind}, left out: {int(blank.sum()):,}.")
            table = table[~blank].infer_objects()
    if series is not None and pd.api.types.is_string_dtype(table[series]):
        names = table[series].str.strip()
        if stripped := int((names != table[series]).sum()):
            remarks.append(f"{where}, column {series!r}: names with white space around them, dropped: {stripped:,}.")
        table = table.assign(**{series: names})
    if time is None:
        return table
    times = read_times(table[time], f"{where}, column {time!r}", arguments.day_first, remarks)
    table = table.assign(**{time: times})
    steps = times.diff() if series is None else table.groupby(series)[time].diff()
    before = int((steps < steps * 0).sum())
    if before and (steps > steps * 0).any():  # else they stand in order, the first or the last on top
        remarks.append(f"{where}, column {time!r}: rows behind a later one: {before:,}; all are sorted by time.")
    table = table.sort_values(time, kind="stable")
    repeated = table.duplicated([time] if series is None else [series, time], keep=False)
    if repeated.mean() > 0.5:
        rows = int((table[time] == table[time][repeated].iloc[0]).sum())
        raise DataError(
            f"{where}, column {time!r}: {rows} rows have the time {table[time][repeated].iloc[0]}, and so on: these "
            "are several series. Name the column that tells them apart by --series_column."
        )
    if repeated.any():
        done = "averaged" if arguments.frequency else "kept in their order"
        remarks.append(
            f"{where}, column {time!r}: rows that share their time with another, {done}: {int(repeated.sum()):,}."
        )
    if arguments.frequency is None and pd.api.types.is_datetime64_any_dtype(table[time]):
        steps = (table[time] if series is None else table.groupby(series)[time]).diff()
        steps = steps[steps > pd.Timedelta(0)]
        usual = steps.median()
        uneven = int((~steps.between(usual / UNEVEN, usual * UNEVEN)).sum())
        if uneven:
            remarks.append(
                f"{where}, column {time!r}: {uneven:,} of {len(steps):,} steps are shorter or longer than the usual "
                f"{usual}, and count as one like all others; --frequency makes a grid of equal ones."
            )
    return table


def _values(group: pd.DataFrame, columns: list[str], arguments: SeriesArguments, where: str) -> np.ndarray:
    numbers, frequency = group[columns], arguments.frequency
    if frequency is not None:
        numbers = _on_grid(
            numbers, group[arguments.time_column], frequency, f"{where}, column {arguments.time_column!r}"
        )
    values = numbers.to_numpy(dtype=np.float64)
    if arguments.logarithm:
        if (values <= 0).any():
            raise DataError(f"{where}: --logarithm needs values above 0, and the least is {np.nanmin(values):g}.")
        values = np.log(values)
    return values


def _on_grid(numbers: pd.DataFrame, times: pd.Series, frequency: str, where: str) -> pd.DataFrame:
    if not pd.api.types.is_datetime64_any_dtype(times):
        raise DataError(
            f"{where}: --frequency {frequency} needs dates, and these numbers are neither years nor Unix times."
        )
    try:
        first = times.iloc[0]
        step = first + pd.tseries.frequencies.to_offset(frequency) - first
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{where}: --frequency {frequency} is no step in time ({reason}).") from error
    if step <= pd.Timedelta(0):
        raise DataError(f"{where}: --frequency {frequency} is no step forward in time, such as 5min or D.")
    if (times.iloc[-1] - first) / step > MOST_STEPS:
        raise DataError(
            f"{where}: from {first} to {times.iloc[-1]} there are more than {MOST_STEPS:,} steps of {frequency}. Is "
            "one of these times wrong?"
        )
    return numbers.set_axis(pd.DatetimeIndex(times)).resample(frequency).mean()


def _check_training_part(series: list, columns: list[str], where: str) -> None:
    observed = np.zeros(len(columns), dtype=bool)
    for values in series:
        observed |= np.isfinite(np.array(values, dtype=np.float64).reshape(-1, len(columns))).any(axis=0)
    if not observed.all():
        empty = columns[int(np.argmin(observed))]
        raise DataError(
            f"{where}, column {empty!r}: it holds no numbers in the first 70 % of the steps, which are trained on. "
            "Leave it out by --columns."
        )
