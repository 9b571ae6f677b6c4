"""Times of files as texts."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

from geoloom_engine.readers.calendars import is_time, real_date, texts


@pytest.mark.parametrize("units", ["days since 1970-01-01", "hours since 1900-01-01 00:00:0.0"])
@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian", None])
def test_times_are_those_of_xarray(units: str, calendar: str | None) -> None:
    numbers = np.array([0, 1, 400.5, 12_345.25, 17_000])
    coded = xarray.Variable("t", numbers, {"units": units, "calendar": calendar or "standard"})
    dates = xarray.coding.times.CFDatetimeCoder().decode(coded).values
    assert texts(numbers, units, calendar) == [f"{np.datetime_as_string(one, unit='s')}Z" for one in dates]


@pytest.mark.parametrize(
    ("units", "calendar", "number", "text"),
    [
        ("days since 2000-01-01", "360_day", 59, "2000-02-30T00:00:00Z"),
        ("days since 2000-01-01", "noleap", 59, "2000-03-01T00:00:00Z"),
        ("days since 2000-01-01", "standard", 59, "2000-02-29T00:00:00Z"),
        ("months since 1955-01-01", "standard", 1.5, "1955-02-15T00:00:00Z"),
        ("months since 1955-01-01", None, 25, "1957-02-01T00:00:00Z"),
        ("years since 2000-01-01", None, 20, "2020-01-01T00:00:00Z"),
        ("months since 2000-01-01", "360_day", 1, "2000-02-01T00:00:00Z"),
        ("seconds since 1970-01-01", None, 0.25, "1970-01-01T00:00:00.250Z"),
        ("days since 1970-01-01", None, 1 / 3, "1970-01-01T08:00:00Z"),
        ("hours since 1970-01-01T00:00:00+02:00", None, 2, "1970-01-01T00:00:00Z"),
    ],
)
def test_units_and_calendars(units: str, calendar: str | None, number: float, text: str) -> None:
    assert texts(np.array([number]), units, calendar) == [text]


@pytest.mark.parametrize(
    ("units", "calendar"),
    [("days since yesterday", None), ("days since 2000-01-01", "mayan"), ("moons since 2000-01-01", None)],
)
def test_what_makes_no_sense_is_no_time(units: str, calendar: str | None) -> None:
    assert texts(np.array([1.0]), units, calendar) is None


def test_a_gap_among_times_is_no_time() -> None:
    assert texts(np.array([1.0, np.nan]), "days since 2000-01-01", None) is None


def test_units_that_count_from_a_date() -> None:
    assert is_time("days since 2000-01-01")
    assert not is_time("days")
    assert not is_time(None)


def test_days_that_only_a_model_has_become_the_last_of_the_month() -> None:
    assert real_date("2020-02-30T12:00:00Z") == "2020-02-29T12:00:00Z"
    assert real_date("2021-02-30T12:00:00Z") == "2021-02-28T12:00:00Z"
    assert real_date("2021-05-31T00:00:00Z") == "2021-05-31T00:00:00Z"
