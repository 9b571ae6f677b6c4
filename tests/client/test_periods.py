from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from geoloom.errors import ParameterError
from geoloom.periods import periods


def seconds(*days: str) -> list[float]:
    return [datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() for day in days]


@pytest.mark.parametrize(
    ("by", "label", "start", "end"),
    [
        ("day", "29 February 2016", "2016-02-29", "2016-03-01"),
        ("week", "29 February – 6 March 2016", "2016-02-29", "2016-03-07"),
        ("dekad", "21–29 February 2016", "2016-02-21", "2016-03-01"),
        ("month", "February 2016", "2016-02-01", "2016-03-01"),
        ("year", "2016", "2016-01-01", "2017-01-01"),
        (1, "29 February 2016", "2016-02-29", "2016-03-01"),
        (16, "29 February – 15 March 2016", "2016-02-29", "2016-03-16"),
        (365, "29 February 2016 – 27 February 2017", "2016-02-29", "2017-02-28"),
    ],
)
def test_a_date_lies_in_its_period(by: Any, label: str, start: str, end: str) -> None:
    (one,) = periods(seconds("2016-02-29T23:59:59"), by)
    assert (one.label, one.count) == (label, 1)
    assert (one.start, one.end) == (f"{start}T00:00:00Z", f"{end}T00:00:00Z")


@pytest.mark.parametrize("by", ["day", "week", "dekad", "month", "year", 1, 7, 10, 100])
def test_every_date_is_counted_once_in_the_period_that_holds_it(by: Any) -> None:
    dates = [1.4e9 + 86_400 * 3.7 * number for number in range(300)]
    found = periods([*reversed(dates), float("nan")], by)
    assert sum(one.count for one in found) == 300
    texts = [datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for date in dates]
    for one in found:
        assert sum(one.start <= text < one.end for text in texts) == one.count
    assert all(before.end <= after.start for before, after in pairwise(found))


def test_dekads_begin_on_the_1st_11th_and_21st() -> None:
    found = periods(seconds("2016-12-10", "2016-12-11", "2016-12-31"), "dekad")
    labels = [one.label.removesuffix(" December 2016") for one in found]
    assert labels == ["1–10", "11–20", "21–31"]


def test_periods_without_a_date_are_left_out() -> None:
    found = periods(seconds("2016-01-05", "2016-03-01"), "month")
    assert [one.label for one in found] == ["January 2016", "March 2016"]
    assert periods([float("nan")], "month") == ()


@pytest.mark.parametrize("by", ["fortnight", 0, -3, True, None, 1.5, "days"])
def test_what_is_no_period_says_which_there_are(by: Any) -> None:
    with pytest.raises(ParameterError, match=r'"dekad", "month", "year", or a number of days'):
        periods([0.0], by)


def test_too_many_are_refused_with_what_to_do() -> None:
    with pytest.raises(ParameterError, match=r'more than 1,000 frames .* by="month"'):
        periods([86_400.0 * day for day in range(1001)], "day")
