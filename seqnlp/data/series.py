"""Time series: tables of numbers from files, the Hub or packages, and a simulated ball, cut into past and future."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, DatasetDict

from .errors import DataError
from .loading import DataSource, load_splits


SIMULATION = "simulated:ball"
GRAVITY = 9.81  # m/s^2
SERIES_SAMPLES = {"sample:glucose": "CGM.csv.gz", "sample:stocks": "stocks.csv.gz"}
SPLITS = ("train", "validation", "test")


def simulate_balls(
    num_balls: int,
    num_steps: int,
    seed: int = 0,
    step: float = 0.05,
    box: tuple[float, float] = (4.0, 3.0),
    speed: float = 3.0,
    restitution: float = 0.85,
    noise: float = 0.01,
) -> np.ndarray:
    """
    Balls that fly through a box under gravity, without air, and bounce off its floor, ceiling and walls.

    Each starts anywhere in the box with a normally distributed velocity. Between two measurements the parabola is
    computed exactly in 20 pieces; a piece that leaves the box is mirrored at the wall, and the velocity across the
    wall turned round and damped.

    Args:
        num_balls: Number of trajectories.
        num_steps: Measurements of each.
        seed: Fixes them.
        step: Time between two measurements, in s.
        box: Width and height, in m.
        speed: Standard deviation of each component of the first velocity, in m/s.
        restitution: Share of the speed across a wall that a bounce leaves.
        noise: Standard deviation of the error of each measured coordinate, in m.

    Returns:
        Measured positions, `(num_balls, num_steps, 2)`: distance from the left wall and height, in m.
    """
    generator = np.random.default_rng(seed)
    size = np.array(box)
    position = generator.uniform(0, size, (num_balls, 2))
    velocity = generator.normal(0, speed, (num_balls, 2))
    acceleration = np.array([0.0, -GRAVITY])
    pieces, path = 20, []
    piece = step / pieces
    for _ in range(num_steps):
        path.append(position.copy())
        for _ in range(pieces):
            position = position + velocity * piece + acceleration * piece**2 / 2
            velocity = velocity + acceleration * piece
            wall = np.where(position < 0, 0.0, size)
            outside = (position < 0) | (position > size)
            position = np.where(outside, 2 * wall - position, position)
            velocity = np.where(outside, -restitution * velocity, velocity)
    path = np.stack(path, axis=1)
    return path + generator.normal(0, noise, path.shape)


def load_series(arguments) -> tuple[DatasetDict, list[str], DataSource]:
    """
    The series of a table, each divided by time (the first 70 % train, the next 15 % validate, the last 15 % test), or
    simulated balls, no trajectory in two splits.

    Args:
        arguments: An object with these attributes:
            `dataset_name`: `sample:glucose` or `sample:stocks` (docs/data.md), a local csv, tsv, json or parquet file,
            a dataset on the Hub with one split, or `simulated:ball`.
            `dataset_revision`: Branch, tag or commit on the Hub.
            `columns`: The columns of numbers, one a channel; `None` for all that hold numbers. Cells without a number
            are gaps.
            `time_column`: Column to sort by; `None` for the order of the rows.
            `series_column`: Column whose values tell several series in one table apart.
            `frequency`: Put the rows on a regular grid of this step, as pandas names it (`5min`, `D`): the mean of the
            rows of a step, a gap where there is none.
            `logarithm`: Take the natural logarithm of every value: equal steps are then equal ratios.
            `num_trajectories`: Balls to train on; a fifth as many validate and test.
            `context_length`, `prediction_length`: Together the steps of each ball.

    Returns:
        Splits with the columns `series` (its name) and `values` (steps by channels, NaN in gaps); the names of the
        channels; the source.

    Raises:
        DataError: If there is no such table or column, or it holds no numbers.
    """
    if arguments.dataset_name == SIMULATION:
        return _load_balls(arguments.num_trajectories, arguments.context_length + arguments.prediction_length)
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
    return DatasetDict({split: Dataset.from_dict(part) for split, part in rows.items()}), list(columns), source


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


def _load_balls(num_balls: int, num_steps: int) -> tuple[DatasetDict, list[str], DataSource]:
    splits = {}
    for seed, split in enumerate(SPLITS):
        count = num_balls if split == "train" else max(1, num_balls // 5)
        names = [f"{split} {index}" for index in range(count)]
        values = simulate_balls(count, num_steps, seed).tolist()
        splits[split] = Dataset.from_dict({"series": names, "values": values})
    return DatasetDict(splits), ["distance from the left wall", "height"], DataSource(SIMULATION, None, None)


def _read_table(dataset_name: str, revision: str | None) -> tuple[pd.DataFrame, DataSource]:
    if dataset_name.startswith("sample:"):
        return _read_sample(dataset_name), DataSource(dataset_name, None, None)
    splits, source = load_splits(dataset_name, dataset_revision=revision)
    if len(splits) > 1:
        raise DataError(
            f"Dataset {source.name!r} has the splits {', '.join(splits)}; a table of series is divided by time here. "
            "Give one file."
        )
    return next(iter(splits.values())).to_pandas(), source


def _read_sample(name: str) -> pd.DataFrame:
    if name not in SERIES_SAMPLES:
        raise DataError(f"There is no packaged table {name!r}; there is {', '.join(SERIES_SAMPLES)}.")
    try:
        package = importlib.metadata.distribution("bokeh-sampledata")
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"The packaged table {name} needs the package 'bokeh-sampledata', which is not installed: pip install "
            '"seqnlp[series]".'
        ) from error
    file = Path(str(package.locate_file(f"bokeh_sampledata/_data/{SERIES_SAMPLES[name]}")))
    if not file.is_file():
        raise DataError(f"The installed package bokeh-sampledata {package.version} has no file {file.name!r}.")
    return pd.read_csv(file)


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
