"""Times as tables have them, against the moments they stand for."""

import pandas as pd
import pytest

from seqnlp.data import DataError
from seqnlp.data.times import read_times


MOMENTS = pd.date_range("2024-01-02 03:04:00", periods=40, freq="25h").to_series(index=range(40))


def read(cells, day_first=None):
    remarks = []
    return read_times(pd.Series(cells), "column 't'", day_first, remarks), remarks


@pytest.mark.parametrize(
    "written",
    [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y/%m/%d %H:%M",
        "%d.%m.%Y %H:%M",
        "%d.%m.%y %H:%M:%S",
        "%d/%m/%Y %H:%M",
        "%d-%m-%Y, %H:%M",
        "%m/%d/%Y %I:%M %p",
        "%m/%d/%y %H:%M",
        "%d %b %Y %H:%M",
        "%B %d, %Y %H:%M",
        "%Y-%m-%d %H:%M+00:00",
        "%Y-%m-%d %H:%MZ",
    ],
)
def test_one_format_per_column(written):
    # 40 days of January and February: some day is above 12, and tells it from the month.
    times, _ = read(MOMENTS.dt.strftime(written))
    assert times.tolist() == MOMENTS.tolist()


@pytest.mark.parametrize("written", ["%b %Y", "%B %Y", "%Y %b", "%b-%Y", "%d-%b-%y", "%d %B %y", "%d.%b.%y"])
def test_months_by_their_names(written):
    months = pd.date_range("1969-01-01", "2068-12-01", freq="MS").to_series(index=range(1200))
    assert read(months.dt.strftime(written))[0].tolist() == months.tolist()


@pytest.mark.parametrize("written", ["%y/%m/%d", "%d/%m/%y", "%d.%m.%y", "%m-%d-%y"])
@pytest.mark.parametrize(("first", "last"), [("1969-01-01", "1999-12-31"), ("2000-01-01", "2068-12-31")])
def test_a_year_of_two_digits_is_one_from_1969_to_2068(written, first, last):
    days = pd.Series(pd.date_range(first, last, freq="97D"))
    assert read(days.dt.strftime(written))[0].tolist() == days.tolist()


def test_a_month_and_two_digits_may_be_a_day_or_a_year():
    for cells in (["Jan-20", "Feb-20"], ["20-Jan", "20-Feb"]):
        with pytest.raises(DataError, match=f"'{cells[0]}' is in no format that is read: write 2024-12-31"):
            read(cells)


def test_the_whole_column_decides_which_number_is_the_day():
    assert read(["03/04/2024", "13/04/2024"])[0].tolist() == [pd.Timestamp(2024, 4, 3), pd.Timestamp(2024, 4, 13)]
    assert read(["03/04/2024", "03/13/2024"])[0].tolist() == [pd.Timestamp(2024, 3, 4), pd.Timestamp(2024, 3, 13)]
    assert read(["03.04.2024"])[0].tolist() == [pd.Timestamp(2024, 4, 3)]  # with dots the day comes first


def test_what_no_cell_tells_is_asked_about():
    with pytest.raises(
        DataError, match=r"'03/04/2024' may be day and month or month and day.*--day_first true or false"
    ):
        read(["03/04/2024", "05/06/2024"])
    assert read(["03/04/2024"], day_first=True)[0].iloc[0] == pd.Timestamp(2024, 4, 3)
    assert read(["03/04/2024"], day_first=False)[0].iloc[0] == pd.Timestamp(2024, 3, 4)
    with pytest.raises(DataError, match="--day_first True does not fit '03/13/2024'"):
        read(["03/04/2024", "03/13/2024"], day_first=True)


def test_offsets_that_change_with_daylight_saving():
    moments = pd.date_range("2024-03-29", periods=96, freq="h", tz="Europe/Madrid")
    times, remarks = read([str(moment) for moment in moments])
    assert times.tolist() == moments.tz_convert("UTC").tz_localize(None).tolist()
    assert remarks == ["column 't': times are read with their offsets and turned into UTC."]
    assert read(moments)[0].tolist() == times.tolist()  # a column of times, as parquet has it


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_unix_times(unit, factor):
    seconds = (MOMENTS - pd.Timestamp(0)) // pd.Timedelta("1s")
    times, remarks = read(seconds * factor)
    assert times.tolist() == MOMENTS.tolist()
    assert remarks == [f"column 't': numbers are read as Unix times in {unit}."]


def test_other_numbers():
    assert read([1990, 1991])[0].tolist() == [pd.Timestamp(1990, 1, 1), pd.Timestamp(1991, 1, 1)]
    assert read([20240131, 20240201])[0].tolist() == [pd.Timestamp(2024, 1, 31), pd.Timestamp(2024, 2, 1)]
    assert read([0, 1, 2])[0].tolist() == [0, 1, 2]
    assert read([0.5, 1990.25])[0].tolist() == [0.5, 1990.25]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2024-01-01", "soon"], "'soon' is no time"),
        (["01/02/2024", "01/13/2024", "13/01/2024"], "the day stands first in some dates and second in others"),
        (["01/02/2024", "01.02.2024"], "some dates are written with / and others with"),
        (["1/2/2024", "2024/1/2"], "the year stands first in some dates and last in others"),
        (["2024-01-01 10:00", "2024-01-01 10:00+01:00"], "some times have an offset from UTC and others none"),
        (["01/02/2024 10h", "01/03/2024 11h"], "'01/02/2024 10h' is no time"),
        (["31.02.2024"], "is no time"),
        (["Jan 5, 2024", "5 February 2024"], "not all of it is times in one format"),
        (["Jan-10", "Feb-10"], "'Jan-10' is in no format that is read: write 2024-12-31"),
    ],
)
def test_what_is_no_time_or_in_two_formats_is_refused(cells, message):
    with pytest.raises(DataError, match=f"^column 't': .*{message}") as raised:
        read(cells)
    assert "\n" not in str(raised.value)
