"""Time series: tables of numbers from files, the Hub or packages, and a simulated ball, cut into past and future."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, DatasetDict

from .arguments import SeriesArguments
from .errors import DataError
from .loaded import DataSource, LoadedData
from .loading import load_splits
from .samples import SAMPLES, SIMULATION


CHANNELS_OF_THE_BALL = ["distance from the left wall", "height"]
SPLITS = ("train", "validation", "test")


def load_series(arguments: SeriesArguments) -> LoadedData:
    """
    The series of a table, each divided by time (the first 70 % train, the next 15 % validate, the last 15 % test), or
    simulated balls, no trajectory in two splits.

    Of a table the columns of numbers are the channels; cells without a number are gaps. With `frequency` the rows are
    put on a regular grid of that step, as pandas names it (`5min`, `D`): the mean of the rows of a step, a gap where
    there is none. Of the simulated balls a fifth as many as `num_trajectories` validate and test.

    Returns:
        Splits with the columns `series` (its name) and `values` (steps by channels, NaN in gaps); the names of the
        channels are among the details.

    Raises:
        DataError: If there is no such table or column, or it holds no numbers.
    """
    if arguments.dataset_name == SIMULATION:
        steps = arguments.context_length + arguments.prediction_length
        splits = SAMPLES[SIMULATION].load(arguments.num_trajectories, steps)
        return LoadedData(splits, DataSource(SIMULATION), details={"channels": CHANNELS_OF_THE_BALL})
    columns, time_column, series_column = arguments.columns, arguments.time_column, arguments.series_column
    frequency = arguments.frequency
    table, source = _read_table(arguments.dataset_name, arguments.dataset_revision)
    where = f"Dataset {source.name!r}"
    for kind, column in (("time", time_column), ("series", series_column)):
        if column is not None and column not in table.columns:
            raise DataError(
                f"{where}: there is no column {column!r}; the columns are {', '.join(map(repr, table.columns))}. Name "
                f"the right one by --{kind}_column."
            )
    if columns is None:
        columns = [c for c in table.select_dtypes("number").columns if c not in (time_column, series_column)]
    missing = [column for column in columns if column not in table.columns]
    if missing or not columns:
        wanted = f"there is no column {missing[0]!r}" if missing else "no column holds numbers"
        raise DataError(
            f"{where}: {wanted}; the columns are {', '.join(map(repr, table.columns))}. Name those of numbers by "
            "--columns."
        )
    if frequency is not None and time_column is None:
        raise DataError(f"{where}: --frequency {frequency} needs --time_column, the column that tells the time.")

    rows = {split: {"series": [], "values": []} for split in SPLITS}
    groups = table.groupby(series_column, sort=True) if series_column else [("series", table)]
    for name, group in groups:
        values = _numbers(group, list(columns), time_column, frequency, arguments.logarithm, where)
        ends = [round(len(values) * share) for share in (0.7, 0.85, 1.0)]
        for split, start, end in zip(SPLITS, [0, *ends], ends, strict=False):
            rows[split]["series"].append(str(name))
            rows[split]["values"].append(values[start:end].tolist())
    splits = DatasetDict({split: Dataset.from_dict(part) for split, part in rows.items()})
    return LoadedData(splits, source, details={"channels": list(columns)})


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
        self.series = [torch.tensor(np.array(values, dtype=np.float32)) for values in series]
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


def _read_table(dataset_name: str, revision: str | None) -> tuple[pd.DataFrame, DataSource]:
    loaded = load_splits(dataset_name, dataset_revision=revision)
    splits, source = loaded.splits, loaded.source
    if len(splits) > 1:
        raise DataError(
            f"Dataset {source.name!r} has the splits {', '.join(splits)}; a table of series is divided by time here. "
            "Give one file."
        )
    return next(iter(splits.values())).to_pandas(), source


def _numbers(group, columns, time_column, frequency, logarithm, where) -> np.ndarray:
    if time_column is not None:
        try:
            times = pd.to_datetime(group[time_column], format="mixed")
        except (ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise DataError(f"{where}, column {time_column!r}: it holds no times ({reason}).") from error
        group = group.assign(**{time_column: times}).sort_values(time_column, kind="stable")
    try:
        numbers = group[columns].astype(float)
        if frequency is not None:
            numbers = numbers.set_axis(pd.DatetimeIndex(group[time_column])).resample(frequency).mean()
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{where}, columns {', '.join(columns)}, --frequency {frequency}: {reason}.") from error
    values = numbers.to_numpy()
    values = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(values).all(axis=0).any():
        empty = columns[int(np.isnan(values).all(axis=0).argmax())]
        raise DataError(f"{where}, column {empty!r}: it holds no numbers.")
    if logarithm:
        if (values <= 0).any():
            raise DataError(f"{where}: --logarithm needs values above 0, and the least is {np.nanmin(values):g}.")
        values = np.log(values)
    return values
