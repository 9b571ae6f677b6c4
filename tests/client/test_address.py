"""Addresses of parts of files: written in one way, and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.address import Address
from geoloom.errors import RequestError

NAMES = st.text(min_size=1).filter(lambda text: text != "variable" and _encodable(text))
TEXTS = st.text().filter(lambda text: _encodable(text))


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(c) < 0xE000 for c in text)


def test_an_address_is_written_sorted_and_readable() -> None:
    address = Address("/data/sst.nc", "sst", {"time": "2020-01-15T00:00:00Z", "depth": "0"})
    assert address.text == "/data/sst.nc#depth=0&time=2020-01-15T00:00:00Z&variable=sst"
    assert address == Address.parse(address.text)
    assert hash(address) == hash(Address.parse(address.text))


@given(NAMES, st.dictionaries(NAMES, TEXTS, max_size=3))
def test_any_names_and_values_come_back(variable: str, at: dict[str, str]) -> None:
    address = Address("/data/a b#c.nc", variable, at)
    assert Address.parse(address.text) == address
    assert Address.parse(address.text).text == address.text


@pytest.mark.parametrize(
    "text",
    [
        "/data/scene.tif",
        "/data/scene#1.tif",
        "/data/a#b=c.tif",
        "/data/a#time=2020",
        "/data/a#variable=",
        "/data/a#variable=x&variable=y",
        "/data/a#variable=x&",
        "#variable=x",
        "http://host/a.nc?x=1#top",
    ],
)
def test_what_is_no_address_is_a_file_s_name(text: str) -> None:
    assert Address.parse(text) == Address(text)
    assert Address.parse(text).text == text


def test_coordinates_belong_to_a_variable() -> None:
    with pytest.raises(RequestError, match="no variable"):
        Address("/data/a.nc", None, {"time": "x"})
    with pytest.raises(RequestError, match="cannot be written"):
        Address("/data/a.nc", "v", {"variable": "x"})


def test_a_coordinate_is_set_anew() -> None:
    address = Address("/a.nc", "v", {"time": "1"})
    assert address.with_at(time="2", depth="0") == Address("/a.nc", "v", {"depth": "0", "time": "2"})
