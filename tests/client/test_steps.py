"""All times of a variable as an animation."""

from __future__ import annotations

from typing import Any

import pytest

from geoloom import contents, opening
from geoloom.address import Address
from geoloom.errors import ParameterError
from geoloom.steps import time_steps

MONTHS = [f"2020-{month:02}-16T00:00:00Z" for month in range(1, 13)]


class Ocean:
    """An engine that knows one file, whose times go backwards."""

    def info(self, href: str) -> dict[str, Any]:
        address = Address.parse(href)
        if address.variable is not None:
            band = {"name": "sst", "unit": "degC", "palette": None, "scale": 0.01, "offset": 1.0}
            return {"bands": [band], "dtype": "int16", "bounds": [0, 0, 1, 1]}
        variable = {
            "name": "sst",
            "dtype": "int16",
            "unit": "degC",
            "description": None,
            "dimensions": ["time", "depth", "lat", "lon"],
            "shape": [12, 2, 180, 360],
            "problem": None,
            "x": "lon",
            "y": "lat",
        }
        time = {"kind": "time", "unit": None, "size": 12, "values": MONTHS[::-1]}
        depth = {"kind": "other", "unit": "m", "size": 2, "values": ["0", "10"]}
        return {"variables": [variable], "dimensions": {"time": time, "depth": depth}}


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (contents, opening):
        monkeypatch.setattr(module, "connected", Ocean)


def test_a_frame_is_a_time_and_the_oldest_comes_first() -> None:
    found = time_steps("/data/ocean.nc", depth=0)
    assert found.labels == tuple(text[:10] for text in MONTHS)
    assert found[2].image.equals(opening.open("/data/ocean.nc", time="2020-03", depth=0))
    assert [frame.end for frame in found[:3]] == MONTHS[1:4]
    assert found[11].end == "2020-12-16T00:00:01Z"


def test_some_of_them_unpacked() -> None:
    found = time_steps("/data/ocean.nc", time=slice("2020-03", "2020-05"), depth=10, unpack=True)
    assert found.labels == ("2020-03-16", "2020-04-16", "2020-05-16")
    assert found.profile.dtype == "float32"
    assert found.profile.unit == "degC"


def test_no_time_at_all_is_said() -> None:
    with pytest.raises(ParameterError, match="0 times there"):
        time_steps("/data/ocean.nc", time="2031", depth=0)
