from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.dates import edges, instant, months, period, words
from geoloom.errors import ParameterError
from geoloom.query import EARLIEST, LATEST, Query

pd = pytest.importorskip("pandas")

JULY_13 = ("2016-07-13T00:00:00Z", "2016-07-14T00:00:00Z")
SUMMER = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    "day",
    [
        "2016-07-13",
        " 2016-7-13 ",
        "2016-07-13T09:30:00Z",
        date(2016, 7, 13),
        datetime(2016, 7, 13),
        datetime(2016, 7, 13, 9, 30),
        np.datetime64("2016-07-13"),
        np.datetime64("2016-07-13T09:30:00.123456789"),
        pd.Timestamp("2016-07-13"),
        pd.Timestamp("2016-07-13", tz="UTC"),
        pd.Period("2016-07-13", "D"),
    ],
)
def test_one_day(day: Any) -> None:
    assert period(day) == JULY_13


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        (("2016",), "2016-01-01", "2017-01-01"),
        ((2016,), "2016-01-01", "2017-01-01"),
        ((np.int64(2016),), "2016-01-01", "2017-01-01"),
        (("2016-07",), "2016-07-01", "2016-08-01"),
        (("2016-12",), "2016-12-01", "2017-01-01"),
        ((np.datetime64("2016-07"),), "2016-07-01", "2016-08-01"),
        ((pd.Period("2016-07", "M"),), "2016-07-01", "2016-08-01"),
        (("2016-06-01", "2016-09-30"), "2016-06-01", "2016-10-01"),
        (("2016-06-01/2016-09-30",), "2016-06-01", "2016-10-01"),
        (("2015", "2016"), "2015-01-01", "2017-01-01"),
        (("2016-06", date(2016, 9, 30)), "2016-06-01", "2016-10-01"),
        ((pd.Timestamp("2016-06-01"), pd.Timestamp("2016-09-30")), "2016-06-01", "2016-10-01"),
        (
            (np.datetime64("2016-06-01T00", "ns"), np.datetime64("2016-09-30", "ns")),
            "2016-06-01",
            "2016-10-01",
        ),
        (("2016-06-01", "2016-09-30T00:00Z"), "2016-06-01", "2016-09-30"),
        ((datetime(2016, 7, 13, tzinfo=SUMMER),), "2016-07-12T22", "2016-07-13T22"),
        (("2016-07-13T09:30+02:00", "2016-07-13T09:30:00.5Z"), "2016-07-13T07:30", "2016-07-13T09:30:00.5"),
    ],
)
def test_ranges(given: tuple[Any, ...], start: str, end: str) -> None:
    def full(text: str) -> str:
        return text + "2016-01-01T00:00:00Z"[len(text) :] if "." not in text else text + "Z"

    assert period(*given) == (full(start), full(end))


def test_open_ranges() -> None:
    assert period("2016", "..") == period("2016/..") == ("2016-01-01T00:00:00Z", LATEST)
    assert period(None, "2016-06") == period("../2016-06") == (EARLIEST, "2016-07-01T00:00:00Z")
    assert period(before="2016") == (EARLIEST, "2016-01-01T00:00:00Z")
    assert period(after="2016-07-13") == ("2016-07-14T00:00:00Z", LATEST)
    assert period(after="2015", before="2017") == period("2016")
    assert period("2016", before="2016-07") == ("2016-01-01T00:00:00Z", "2016-07-01T00:00:00Z")


def test_the_ends_of_time() -> None:
    assert period("0001") == (EARLIEST, "0002-01-01T00:00:00Z")
    assert period("9999-12-31")[1] == LATEST
    assert period("9999") == ("9999-01-01T00:00:00Z", LATEST)
    assert period("0001-01-01T00:00:00+02:00", "2000")[0] == EARLIEST


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("2016-06-31",), "June 2016 has 30 days"),
        (("2015-02-29",), "February 2015 has 28 days"),
        (("2016-13",), "month must be in"),
        (("13.07.2016",), "is no date"),
        (("07/13/2016",), "is no date"),
        (("July",), "is no date"),
        (("",), "is no date"),
        (("2016-07-13T25:00",), "hour must be in"),
        ((pd.NaT,), "NaT"),
        ((np.datetime64("NaT", "D"),), "NaT"),
        ((3.5,), "is no date"),
        ((True,), "is no date"),
        ((b"2016",), "is no date"),
        (("2016-09-30", "2016-06-01"), r"Was filter_date\('2016-06-01', '2016-09-30'\) meant"),
        (("0000",), "year"),
    ],
)
def test_what_is_no_date_is_told(given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        period(*given)


@given(st.dates(date(1, 1, 2), date(9999, 12, 30)), st.dates(date(1, 1, 2), date(9999, 12, 30)))
def test_ranges_of_days_hold_both_ends(one: date, other: date) -> None:
    first, last = sorted((one, other))
    start, end = (datetime.fromisoformat(text) for text in period(first, last))
    assert start == datetime(first.year, first.month, first.day, tzinfo=UTC)
    assert end - start == timedelta(days=(last - first).days + 1)
    assert period(str(first), str(last)) == period(first, last)
    assert Query("s2", dates=(period(first, last),)).dates == (period(first, last),)


@given(st.datetimes(timezones=st.timezones()) | st.datetimes())
def test_any_moment_gives_what_a_query_takes(moment: datetime) -> None:
    assert Query("s2", near=instant(moment)).near == instant(moment)


def test_instants() -> None:
    assert instant("2016-07-13T09:30:00.250+02:00") == "2016-07-13T07:30:00.25Z"
    assert instant("2016-07-13") == "2016-07-13T12:00:00Z"


def test_edges() -> None:
    assert edges("2016-07-13") == JULY_13
    assert edges("2016-07-13T09:30Z") == ("2016-07-13T09:30:00Z", "2016-07-13T09:30:00Z")


def test_months() -> None:
    assert months(7) == months("July") == months("jul") == months([7, "July"]) == (7,)
    assert months(range(6, 9)) == months(np.array([8, 6, 7])) == (6, 7, 8)
    for wrong in (0, 13, True, 2.0, "ju", "summer", None, [[6]]):
        with pytest.raises(ParameterError, match="is no month"):
            months(wrong)
    with pytest.raises(ParameterError, match="No month"):
        months([])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("2016-07-13",), "on 2016-07-13"),
        (("2016-07-01", "2016-07-31"), "in 2016-07"),
        (("2016-06-01", "2016-09-30"), "from 2016-06-01 to 2016-09-30"),
        (("2016",), "in 2016"),
        (("2015", "2016"), "from 2015 to 2016"),
        (("2016-07",), "in 2016-07"),
        (("2016-07-13T09:30Z", ".."), "from 2016-07-13T09:30:00Z on"),
        (("2016-07-13", ".."), "from 2016-07-13 on"),
        (("..", "2015"), "before 2016-01-01"),
        (("2016-07-13T09:30Z", "2016-07-14"), "from 2016-07-13T09:30:00Z until before 2016-07-15T00:00:00Z"),
    ],
)
def test_words(given: tuple[Any, ...], said: str) -> None:
    assert words(*period(*given)) == said
    assert words(EARLIEST, LATEST) == "at any time"
