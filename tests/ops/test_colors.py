"""Ramps of one's own."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.chain import Chain
from geoloom.colour import LEVELS, lut
from geoloom.errors import ParameterError
from geoloom.op import decode, registry
from geoloom.ops.constant import Constant


def test_even_colours(run, profile, grey) -> None:
    wanted = ["#006400", "wheat", (255, 255, 255)]
    assert profile("colors", grey, colors=wanted).look.lut == lut(wanted)
    image = np.array([[0, 255]], "uint8")
    assert run("colors", image, profiles=(grey,), colors=wanted)[0, 0].tolist() == [0, 254]


def test_one_colour_begins_clear(profile, grey) -> None:
    found = profile("colors", grey, colors="red").look.lut
    assert (len(found), found[0], found[-1]) == (LEVELS, "#ff000000", "#ff0000ff")
    assert {colour[:7] for colour in found} == {"#ff0000"}
    half = profile("colors", grey, colors="#ff000080").look.lut
    assert (half[0], half[-1]) == ("#ff000000", "#ff000080")
    assert profile("colors", grey, colors="red", stops=(0.5,)).look.lut == ("#ff0000ff",) * LEVELS


def test_one_colour_of_an_earlier_chain_is_that_of_all_values(grey) -> None:
    params = {"colors": ["#ff0000ff"], "stops": []}
    assert registry()["colors"].version == 2
    for version, first in ((1, "#ff0000ff"), (2, "#ff000000")):
        node = Chain.extend("colors", version, params, (Constant(value=1).chain(),)).node
        assert decode(node).profile(grey).look.lut[0] == first


def test_stops_are_values(profile, grey) -> None:
    look = profile("colors", grey, colors=["black", "red", "white"], stops=(-0.2, 0.1, 1)).look
    assert look.lut[0] == "#000000ff"
    assert look.lut[-1] == "#ffffffff"
    assert look.lut[round(254 * 0.25)].startswith(("#ff0", "#fe0", "#fd0"))
    middle = profile("colors", grey, colors=["black", "white"], stops=(0.4, 0.5)).look.lut
    assert middle[100] == "#000000ff"
    assert middle[-1] == "#ffffffff"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"colors": []}, "at least 1"),
        ({"colors": ["nocolour"]}, "no colour"),
        ({"colors": 5}, "a list"),
        ({"colors": ["red", "blue"], "stops": (1,)}, "1 stops for 2 colours"),
        ({"colors": ["red", "blue"], "stops": (2, 1)}, "greater"),
    ],
)
def test_bad_colours(params, message) -> None:
    with pytest.raises(ParameterError, match=message):
        registry()["colors"](**params)


def test_needs_shades(profile) -> None:
    with pytest.raises(ParameterError, match=r"scale\(low, high\)"):
        profile("colors", "int16", colors=["red"])
