"""Composite: what is checked before an engine sees it."""

from __future__ import annotations

import pytest

from geoloom.errors import EngineFault, ParameterError
from geoloom.op import Profile, registry
from geoloom.ops.composite import Composite, moment

KEY = "0" * 32
EACH = Profile(("red", "nir"), "uint16", unit="1", range=(0, 10000))


@pytest.mark.parametrize(
    ("how", "dtype"),
    [("first", "uint16"), ("max", "uint16"), ("mean", "float32"), ("median", "float32"), ("count", "int32")],
)
def test_the_profile_is_that_of_an_item(how: str, dtype: str) -> None:
    profile = Composite(selection=KEY, how=how).described(EACH)
    assert profile.names == EACH.names
    assert profile.dtype == dtype


def test_wide_floats_stay_wide() -> None:
    assert Composite(selection=KEY, how="median").described(Profile(("x",), "float64")).dtype == "float64"


@pytest.mark.parametrize("wrong", ["2016-07-01", "2016-07-01T00:00:00", "2016-13-01T00:00:00Z", "", "now"])
def test_moments_are_written_one_way(wrong: str) -> None:
    with pytest.raises(ParameterError, match="is no moment"):
        Composite(selection=KEY, start=wrong)


def test_start_is_before_end() -> None:
    with pytest.raises(ParameterError, match="start must be before end"):
        Composite(selection=KEY, start="2016-07-02T00:00:00Z", end="2016-07-01T00:00:00Z")


def test_moments_are_utc() -> None:
    assert moment("1970-01-02T00:00:00Z").timestamp() == 86400


@pytest.mark.parametrize("name", ["composite", "quality"])
def test_only_the_engine_computes_it(name: str) -> None:
    with pytest.raises(EngineFault, match="as if it were one image"):
        registry()[name](selection=KEY).kernel(grid=None)
