"""Series: the simulated ball against physics, tables with gaps, splits by time, stretches."""

import numpy as np
import pandas as pd
import pytest
import torch

from seqnlp.data import (
    SIMULATION,
    DataError,
    SeriesArguments,
    SeriesWindows,
    channel_statistics,
    cut_windows,
    load_series,
    read_series_file,
    simulate_balls,
)


def load(name, **fields):
    sizes = {"num_trajectories": 10, "context_length": 4, "prediction_length": 2}
    return load_series(SeriesArguments(dataset_name=str(name), **sizes, **fields))


def test_between_bounces_a_ball_flies_along_a_parabola():
    step = 0.01
    paths = simulate_balls(20, 4, seed=1, step=step, box=(1000.0, 1000.0), noise=0.0)
    acceleration = np.diff(paths, n=2, axis=1) / step**2  # of a parabola the second difference is exact
    np.testing.assert_allclose(acceleration[..., 0], 0, atol=1e-6)
    np.testing.assert_allclose(acceleration[..., 1], -9.81, atol=1e-6)


def test_a_ball_stays_in_its_box_and_loses_height_at_each_bounce():
    paths = simulate_balls(50, 200, seed=2, box=(2.0, 1.5), noise=0.0)
    assert paths.min() >= -0.01
    assert (paths.max(axis=(0, 1)) <= [2.01, 1.51]).all()
    heights = paths[..., 1]
    assert heights[:, 150:].max(axis=1).mean() < 0.5 * heights[:, :50].max(axis=1).mean()
    # A bounce off the floor turns the fall round: 0.6 of the speed is 0.36 of the height.
    dropped = simulate_balls(200, 400, seed=3, step=0.005, speed=0.0, restitution=0.6, noise=0.0)[..., 1]
    for path in dropped[:5]:
        floor = (np.diff(path) > 0).argmax()  # where it first rises
        np.testing.assert_allclose(path[floor:].max(), 0.36 * path[0], rtol=0.05, atol=0.01)


def test_noise_and_seed():
    quiet, noisy = (simulate_balls(300, 5, seed=4, noise=noise) for noise in (0.0, 0.05))
    assert (noisy - quiet).std() == pytest.approx(0.05, rel=0.1)
    assert np.array_equal(noisy, simulate_balls(300, 5, seed=4, noise=0.05))
    loaded = load(SIMULATION)
    splits = loaded.splits
    assert {split: len(part) for split, part in splits.items()} == {"train": 10, "validation": 2, "test": 2}
    assert np.array(splits["train"]["values"]).shape == (10, 6, 2)
    assert (len(loaded.details["channels"]), loaded.source.name) == (2, SIMULATION)
    values = [str(row) for part in splits.values() for row in part["values"]]
    assert len(set(values)) == 14  # no trajectory twice
    assert len(loaded.describe()["splits"]["test"]["fingerprint"]) == 32


def test_a_table_is_sorted_put_on_a_grid_and_divided_by_time(tmp_path):
    times = pd.date_range("2020-01-01", periods=40, freq="5min").delete([7, 8])
    table = pd.DataFrame({"when": times, "a": np.arange(38.0), "name": "x"}).sample(frac=1, random_state=0)
    table.loc[table["a"] == 3, "a"] = np.nan
    for ending, write in (("csv", table.to_csv), ("parquet", table.to_parquet)):
        write(tmp_path / f"table.{ending}", index=False)
        loaded = load(tmp_path / f"table.{ending}", time_column="when", columns=["a"], frequency="5min")
        splits = loaded.splits
        values = [np.array(splits[split]["values"][0], dtype=float)[:, 0] for split in splits]
        assert [len(part) for part in values] == [28, 6, 6]
        whole = np.concatenate(values)
        assert loaded.details["channels"] == ["a"]
        assert np.flatnonzero(np.isnan(whole)).tolist() == [3, 7, 8]
        rest = whole[~np.isnan(whole)]
        assert (np.diff(rest) > 0).all()
        assert rest[-1] == 37
    assert load(tmp_path / "table.csv").details["channels"] == ["a"]  # the columns that hold numbers


def test_several_series_in_one_table_and_logarithms(tmp_path):
    table = pd.DataFrame({"who": ["b", "a"] * 20, "v": np.exp(np.arange(40.0))})
    table.to_csv(tmp_path / "t.csv", index=False)
    splits = load(tmp_path / "t.csv", series_column="who", columns=["v"], logarithm=True).splits
    assert splits["test"]["series"] == ["a", "b"]
    np.testing.assert_allclose(np.array(splits["train"]["values"][0])[:, 0], np.arange(1, 29, 2))


@pytest.mark.parametrize(
    ("name", "columns", "series"), [("glucose", "glucose", None), ("stocks", "Adj Close", "Ticker")]
)
def test_packaged_tables(name, columns, series):
    time = {"glucose": "datetime", "stocks": "Date"}[name]
    loaded = load(f"sample:{name}", columns=[columns], series_column=series, time_column=time)
    total = sum(len(values) for part in loaded.splits.values() for values in part["values"])
    assert total == {"glucose": 52281, "stocks": 12154}[name]
    assert loaded.source.name == f"sample:{name}"


def test_stretches_do_not_cross_series_and_end_in_something_observed():
    series = [[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [float("nan"), float("nan")], [5.0, 0.0]], [[7.0, 0.0]] * 3]
    windows = SeriesWindows(series, 2, 1)
    assert windows.windows == [(0, 0), (1, 0)]  # from step 1 on no future, from step 2 on no last past
    first = windows[0]
    assert first["past_values"].tolist() == [[1, 0], [2, 0]]
    assert first["future_values"].tolist() == [[3, 0]]
    assert first["future_observed_mask"].dtype == torch.bool
    longer = SeriesWindows(series, 2, 2)[0]
    assert longer["future_observed_mask"][:, 0].tolist() == [True, False]
    assert longer["future_values"].isfinite().all()
    assert len(SeriesWindows([[[1.0]] * 10], 2, 1, stride=3)) == 3
    gap = float("nan")
    assert len(SeriesWindows([[[1.0, 0.0], [gap, 0.0], [3.0, gap]]], 2, 1)) == 1  # one channel is enough


def test_statistics_leave_gaps_out():
    mean, std = channel_statistics([[[1.0, 5.0], [3.0, 5.0]], [[float("nan"), 5.0]]])
    assert (mean, std) == ([2, 5], [1, 1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": ["b"]}, "there is no column 'b'; the columns are 'when', 'a', 'name'. Name those of numbers"),
        ({"time_column": "t"}, "there is no column 't'.*--time_column"),
        ({"time_column": "name"}, "column 'name': 'v' is no time"),
        ({"columns": ["name"]}, "column 'name': it holds something else than numbers, e.g. "),
        ({"frequency": "5min"}, "--frequency 5min needs --time_column"),
        ({"columns": ["a"], "logarithm": True}, "--logarithm needs values above 0, and the least is 0"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, fields, message):
    pd.DataFrame({"when": range(5), "a": range(5), "name": list("vwxyz")}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "t.csv", **fields)


def test_too_short_series_and_unknown_samples_are_refused():
    splits = load(SIMULATION).splits
    with pytest.raises(DataError, match=r"longest series has 6 steps. Lower --context_length 5"):
        cut_windows(splits, 5, 2)
    with pytest.raises(DataError, match=r"There is no sample 'sample:weather'; there is .*sample:glucose"):
        load("sample:weather")


def table_of(tmp_path, **columns):
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def whole(loaded, series=0):
    parts = [loaded.splits[split]["values"][series] for split in ("train", "validation", "test")]
    return np.concatenate([np.array(part, dtype=float).reshape(len(part), -1) for part in parts])


def test_channels_stand_in_the_order_in_which_they_are_named(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": range(1, 21), "b": range(101, 121), "c": range(201, 221)}).to_csv(path, index=False)
    loaded = load(path, columns=["c", "a"])
    assert loaded.details["channels"] == ["c", "a"]
    assert loaded.splits["train"]["values"][0][0] == [201, 1]
    values, names, _ = read_series_file(str(path), ("c", "a"))
    assert (values[0].tolist(), names) == ([201, 1], ["c", "a"])


def test_times_sort_and_a_grid_holds_every_row(tmp_path):
    times = pd.date_range("2009-01-01", periods=60, freq="h").strftime("%d.%m.%Y %H:%M:%S")
    order = np.random.default_rng(0).permutation(60)
    path = table_of(tmp_path, t=times[order], y=np.arange(60.0)[order])
    assert whole(load(path, time_column="t"))[:, 0].tolist() == list(range(60))
    path = table_of(tmp_path, t=range(1_700_000_000, 1_700_000_000 + 60 * 3600, 3600), y=np.arange(60.0))
    assert whole(load(path, time_column="t", frequency="h"))[:, 0].tolist() == list(range(60))
    with pytest.raises(DataError, match="--frequency h needs dates, and these numbers are neither"):
        load(table_of(tmp_path, t=range(60), y=range(60), z=range(60)), time_column="t", frequency="h")
    with pytest.raises(DataError, match=r"more than 10,000,000 steps of ms\. Is one of these times wrong"):
        load(table_of(tmp_path, t=["1970-01-01", "2024-01-01"], y=[1, 2]), time_column="t", frequency="ms")


def test_several_series_that_share_their_times_are_asked_about(tmp_path):
    path = table_of(
        tmp_path, day=[f"2024-01-{n // 2 + 1:02}" for n in range(40)], who=list("ab") * 20, v=range(0, 80, 2)
    )
    with pytest.raises(
        DataError, match=r"2 rows have the time 2024-01-01 00:00:00, .*tells them apart by --series_column"
    ):
        load(path, time_column="day", columns=["v"], frequency="D")
    loaded = load(path, time_column="day", columns=["v"], series_column="who")
    assert [whole(loaded, series)[:3, 0].tolist() for series in (0, 1)] == [[0, 4, 8], [2, 6, 10]]
    assert loaded.remarks == []


def test_rows_without_a_time_or_a_series_and_repeated_times_are_counted(tmp_path):
    days = [f"2024-01-{n + 1:02}" for n in range(20)]
    days[3], days[7], days[19] = "", "2024-01-07", "2024-01-19"
    who = ["a"] * 20
    who[10] = None
    loaded = load(
        table_of(tmp_path, t=days, w=who, v=range(0, 40, 2)), time_column="t", series_column="w", frequency="D"
    )
    assert [remark.split("column ")[1] for remark in loaded.remarks] == [
        "'t': rows without a time, left out: 1.",
        "'w': rows without a series, left out: 1.",
        "'t': rows that share their time with another, averaged: 4.",
    ]
    values = whole(loaded)[:, 0]
    assert values[:3].tolist() == [0, 2, 4]
    assert np.isnan(values[[3, 7, 10]]).all()
    assert values[[6, 18]].tolist() == [13, 37]  # the means of 12 and 14, of 36 and 38


def test_gaps_have_many_names_and_commas_may_be_points(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("n;a;b\n" + "".join(f"{n};{n},5;{'N/A' if n == 3 else n}\n" for n in range(20)))
    loaded = load(path)
    assert loaded.details["channels"] == ["a", "b"]
    values = whole(loaded)
    assert values[:3].tolist() == [[0.5, 0], [1.5, 1], [2.5, 2]]
    assert np.isnan(values[3, 1])
    assert [remark.split("'>', ")[-1].split("': ")[-1] for remark in loaded.remarks] == [
        "t.csv: its columns are separated by semicolons, not by commas.",
        "column 'n' counts the rows and is left out; name it in --columns to keep it.",
        "commas are read as decimal points.",
        "cells with a word for a missing number, read as gaps: 1.",
    ]
    assert load(path, columns=["n"]).details["channels"] == ["n"]
    path.write_text('a\n"1,234"\n"5,678"\n')  # one and a bit, or a thousand?
    with pytest.raises(DataError, match=r"column 'a': it holds something else than numbers, e.g. '1,234'"):
        load(path, columns=["a"])


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,2E-05", 1.2e-5),
        (",5", 0.5),
        ("-,25", -0.25),
        ("2,", 2),
        ("+1,5e3", 1500),
        ("1e-3", 0.001),
        ("\u22122,5", -2.5),
    ],
)
def test_numbers_with_a_decimal_comma(tmp_path, written, number):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\na\n" + "0,5\n" * 19 + f"{written}\n")
    assert whole(load(path))[:, 0].tolist() == [0.5] * 19 + [number]


def test_the_sign_of_typeset_tables_is_minus(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "0.5,1\n" * 19 + "\u22121e\u22125,\u2212\n", encoding="utf-8")
    loaded = load(path)
    np.testing.assert_array_equal(whole(loaded), [[0.5, 1]] * 19 + [[-1e-5, np.nan]])
    assert [remark.split("column ")[-1] for remark in loaded.remarks] == [
        "'a': cells with the sign U+2212, read as minus: 1.",
        "'b': cells with a word for a missing number, read as gaps: 1.",
        "'b': cells with the sign U+2212, read as minus: 1.",
    ]


@pytest.mark.parametrize("other", ["0,5", "1.234,5", "\u22121.234,5"])
def test_beside_decimal_commas_a_point_may_stand_between_thousands(tmp_path, other):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\na;b\n" + f"1.234;{other}\n987;{other}\n" * 20)
    with pytest.raises(DataError, match=r"column 'a': 1.234 may be 1234, since the column 'b' has decimal commas"):
        load(path)
    with pytest.raises(DataError, match=r"column 'a': 1.234 may be 1234"):
        read_series_file(str(path))
    path.write_text("sep=;\na;b\n" + f"1.2345;{other}\n0.5;{other}\n-2000.25;{other}\n" * 20)  # these are none
    assert whole(load(path, columns=["a"]))[:3, 0].tolist() == [1.2345, 0.5, -2000.25]


def test_a_channel_without_numbers_to_train_on_is_named(tmp_path):
    path = table_of(tmp_path, a=np.arange(20.0) / 3, b=[None] * 15 + [1.5] * 5)
    with pytest.raises(DataError, match="column 'b': it holds no numbers in the first 70 % of the steps"):
        load(path)


def test_a_high_level_costs_no_precision(tmp_path):
    wave = np.sin(np.arange(60) / 5)
    path = table_of(tmp_path, y=1e9 + wave)
    windows = cut_windows(load(path).splits, 4, 2)["train"]
    read = windows[3]["past_values"]
    assert read.dtype == torch.float64
    np.testing.assert_allclose(read[:, 0] - 1e9, wave[3:7], atol=1e-6)


def test_series_whose_names_are_whole_numbers_keep_every_digit(tmp_path):
    names = pd.array([2**60 + n % 2 for n in range(40)], dtype="Int64")
    names[39] = None
    table = pd.DataFrame({"t": pd.date_range("2024-01-01", periods=20).repeat(2), "id": names, "y": np.arange(40.0)})
    for kind in ("csv", "parquet"):
        path = tmp_path / f"t.{kind}"
        table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
        loaded = load(path, time_column="t", series_column="id")
        assert loaded.splits["train"]["series"] == [str(2**60), str(2**60 + 1)]
        assert [whole(loaded, series)[:3, 0].tolist() for series in (0, 1)] == [[0, 2, 4], [1, 3, 5]]


def test_a_column_that_one_cell_keeps_from_being_a_channel_is_said(tmp_path):
    columns = {"y": np.arange(20.0) ** 2, "z": [*range(19), "9.5*"], "ok": [True] * 20, "gap": [""] * 20}
    path = table_of(tmp_path, **columns)
    loaded = load(path)
    assert loaded.details["channels"] == ["y"]
    assert loaded.remarks == [
        "Dataset '<local:t.csv>': left out, as columns that hold something else than numbers: z ('9.5*'), ok ('True')."
    ]
    assert load(path, columns=["y"]).remarks == []


def test_steps_that_are_not_of_one_length_are_said(tmp_path):
    business = pd.bdate_range("2024-01-01", periods=40)  # seven weekends lie between
    (said,) = load(table_of(tmp_path, t=business, y=np.arange(40.0)), time_column="t").remarks
    assert "column 't': 7 of 39 steps are shorter or longer than the usual 1 days 00:00:00, and count as one" in said
    assert load(tmp_path / "t.csv", time_column="t", frequency="B").remarks == []
    months = pd.date_range("2024-01-01", periods=40, freq="MS")
    assert load(table_of(tmp_path, t=months, y=np.arange(40.0)), time_column="t").remarks == []
