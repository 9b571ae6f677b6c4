"""Which variable, time and depth is meant: chosen from what a file holds, or explained."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pytest

from geoloom import contents
from geoloom.address import Address
from geoloom.contents import Variables, choose
from geoloom.errors import ParameterError

MONTHS = [f"2020-{month:02}-16T00:00:00Z" for month in range(1, 13)]
HOURS = [f"2020-01-{day:02}T{hour:02}:00:00Z" for day in (1, 2) for hour in range(24)]
FILE = "/data/ocean.nc"


def variable(name: str, *dims: str, problem: str | None = None, **more: Any) -> dict[str, Any]:
    sizes = {"time": 12, "hour": 48, "depth": 3, "level": 60, "lat": 180, "lon": 360, "run": 1, "pass": 4}
    return {
        "name": name,
        "dtype": "int16",
        "unit": "degC",
        "description": "Temperature",
        "dimensions": [*dims, "lat", "lon"],
        "shape": [sizes[dim] for dim in (*dims, "lat", "lon")],
        "problem": problem,
        "x": "lon",
        "y": "lat",
        **more,
    }


def dimension(kind: str, values: list[str], unit: str | None = None) -> dict[str, Any]:
    return {"size": len(values), "kind": kind, "unit": unit, "values": values, "calendar": None}


DIMENSIONS = {
    "time": dimension("time", MONTHS, "days since 1970-01-01"),
    "hour": dimension("time", HOURS),
    "depth": dimension("other", ["0.5", "10", "50"], "m"),
    "level": dimension("other", [str(i) for i in range(60)]),
    "run": dimension("other", ["7"]),
    "pass": dimension("other", ["day", "night", "dawn", "dusk"]),
}


def file(*variables: dict[str, Any]) -> dict[str, Any]:
    return {"variables": list(variables), "dimensions": DIMENSIONS}


SST = file(variable("sst", "time"))
DEEP = file(variable("temperature", "time", "depth"), variable("ice", "time"))


@pytest.mark.parametrize(
    ("time", "month"),
    [
        ("2020-01", 1),
        ("2020-02-16", 2),
        ("2020-03-16T00:00:00Z", 3),
        ("2020-03-20", 3),
        (datetime.date(2020, 4, 3), 4),
        (datetime.datetime(2020, 5, 16, 12), 5),
        (np.datetime64("2020-06"), 6),
        (np.datetime64("2020-07-16T00:00:00"), 7),
        (0, 1),
        (-1, 12),
        (np.int64(3), 4),
    ],
)
def test_a_time_is_a_date_or_a_position(time: Any, month: int) -> None:
    assert choose(FILE, SST, None, time, {}) == Address(FILE, "sst", {"time": MONTHS[month - 1]})


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("2020", r"12 times in 2020: from 2020-01-16 to 2020-12-16"),
        (2020, "12 times in 2020"),
        ("2021-06", r"no time 2021-06.*12, from 2020-01-16 to 2020-12-16"),
        (12, r"no time number 12.*0 to 11"),
        ("soon", "no date"),
        (None, r"12, from 2020-01-16 to 2020-12-16 along time, and none.*time='2020-01-16'.*time_steps"),
        (slice("2020-01", "2020-03"), r"one time.*gl.time_steps"),
    ],
)
def test_a_time_that_is_not_clear_is_explained(time: Any, said: str) -> None:
    with pytest.raises(ParameterError) as told:
        choose(FILE, SST, "sst", time, {})
    assert re.search(said, f"{told.value.message} {told.value.hint}")


def test_an_hour_is_the_nearest_one() -> None:
    info = file(variable("wind", "hour"))
    assert choose(FILE, info, None, "2020-01-01T13:20", {}).at["hour"] == "2020-01-01T13:00:00Z"
    assert choose(FILE, info, None, datetime.datetime(2020, 1, 2, 7), {}).at["hour"] == "2020-01-02T07:00:00Z"
    with pytest.raises(ParameterError, match="24 times in 2020-01-01"):
        choose(FILE, info, None, "2020-01-01", {})


def test_a_model_s_calendar_has_a_thirtieth_of_february() -> None:
    values = [f"2020-{month:02}-30T00:00:00Z" for month in range(1, 13)]
    info = {"variables": [variable("t", "time")], "dimensions": {"time": dimension("time", values)}}
    assert choose(FILE, info, None, "2020-02", {}).at["time"] == "2020-02-30T00:00:00Z"
    assert choose(FILE, info, None, "2020-02-27", {}).at["time"] == "2020-02-30T00:00:00Z"


@pytest.mark.parametrize(("depth", "found"), [(0, "0.5"), (0.5, "0.5"), ("10", "10"), (12, "10"), (60, "50")])
def test_the_nearest_depth_is_taken(depth: Any, found: str) -> None:
    assert choose(FILE, DEEP, "temperature", 0, {"depth": depth}).at["depth"] == found


@pytest.mark.parametrize("depth", [-5, 80, "deep"])
def test_a_depth_far_from_all_is_refused(depth: Any) -> None:
    with pytest.raises(ParameterError, match="no depth"):
        choose(FILE, DEEP, "temperature", 0, {"depth": depth})


def test_names_are_coordinates_too() -> None:
    info = file(variable("swath", "pass"))
    assert choose(FILE, info, None, None, {"pass": "night"}).at == {"pass": "night"}
    with pytest.raises(ParameterError) as told:
        choose(FILE, info, None, None, {"pass": "nihgt"})
    assert "night" in (told.value.hint or "")


def test_a_short_dimension_left_free_becomes_the_bands() -> None:
    assert choose(FILE, DEEP, "temperature", 0, {}) == Address(FILE, "temperature", {"time": MONTHS[0]})
    with pytest.raises(ParameterError, match="60, from 0 to 59 along level"):
        choose(FILE, file(variable("t", "level")), None, None, {})
    with pytest.raises(ParameterError, match="several dimensions that are not chosen: depth, pass"):
        choose(FILE, file(variable("t", "depth", "pass")), None, None, {})


def test_what_is_the_only_one_need_not_be_chosen() -> None:
    assert choose(FILE, file(variable("t", "run")), None, None, {}) == Address(FILE, "t", {"run": "7"})


def test_a_missing_variable_is_answered_with_those_there_are() -> None:
    with pytest.raises(ParameterError) as told:
        choose(FILE, DEEP, None, 0, {})
    assert told.value.message == (
        "ocean.nc holds 2 variables: temperature (time, depth, lat, lon), ice (time, lat, lon)."
    )
    with pytest.raises(ParameterError) as told:
        choose(FILE, DEEP, "temprature", 0, {})
    assert "Did you mean temperature?" in (told.value.hint or "")


def test_variables_without_a_place_are_passed_over() -> None:
    bad = variable("u", "time", problem="u lies on a curvilinear grid.")
    assert choose(FILE, file(variable("sst", "time"), bad), None, 0, {}).variable == "sst"
    with pytest.raises(ParameterError, match="no variable that can be shown") as told:
        choose(FILE, file(bad), None, 0, {})
    assert told.value.hint == "u lies on a curvilinear grid."


def test_other_dimensions_are_refused_with_those_there_are() -> None:
    with pytest.raises(ParameterError, match="no dimension 'deppth'") as told:
        choose(FILE, DEEP, "ice", 0, {"deppth": 1})
    assert told.value.hint == "Its dimensions are: time."
    with pytest.raises(ParameterError, match="has no time"):
        choose(FILE, file(variable("t", "depth")), None, "2020", {"depth": 0})


def test_an_image_s_file_is_not_asked_for_variables() -> None:
    with pytest.raises(ParameterError, match=r"scene.tif holds bands, not variables"):
        choose("/data/scene.tif", {"bands": []}, "sst", None, {})


def test_choices_of_an_address_are_kept() -> None:
    before = Address(FILE, "temperature", {"time": MONTHS[4], "depth": "10"})
    assert choose(before.text, DEEP, None, 5, {}) == before.with_at(time=MONTHS[5])


def test_the_table_says_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def info(self, href: str) -> dict[str, Any]:
            assert href == FILE
            return DEEP

    monkeypatch.setattr(contents, "connected", Engine)
    table = contents.variables(FILE)
    assert list(table) == ["temperature", "ice"]
    assert table.coordinates("ice") == {"time": MONTHS}
    assert table["ice"]["unit"] == "degC"
    assert "time: 12 from 2020-01-16 to 2020-12-16; depth: 3 from 0.5 to 50 m" in repr(table)
    html = table._repr_html_()
    assert html.count("<tr>") == 3
    assert "360 × 180" in html
    with pytest.raises(ParameterError, match="no variable 'salt'"):
        table.coordinates("salt")


def test_the_table_is_of_files_of_variables_and_shows_nothing_as_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Engine:
        def info(self, href: str) -> dict[str, Any]:
            return {"bands": []}

    monkeypatch.setattr(contents, "connected", Engine)
    with pytest.raises(ParameterError, match="holds bands"):
        contents.variables("/data/scene.tif")
    shown = Variables("/a<b>.nc", file(variable("<script>", "time")))._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
