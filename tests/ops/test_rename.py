"""Rename: all bands, or some by a dict."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError, ParameterError
from geoloom.op import registry


def test_all_or_some(run, profile, three) -> None:
    assert profile("rename", three, names=("a", "b", "c")).names == ("a", "b", "c")
    assert profile("rename", three, names=({"green": "g"},)).names == ("red", "g", "blue")
    assert profile("rename", three, names=({"red": "blue", "blue": "red"},)).names == ("blue", "green", "red")
    image = np.arange(12, dtype="uint16").reshape(3, 2, 2)
    assert np.array_equal(run("rename", image, names=("a", "b", "c")), image)


def test_everything_else_stays(profile, grey) -> None:
    found = profile("rename", grey, names=("x",))
    assert (found.look, found.dtype, found.unit) == (grey.look, grey.dtype, grey.unit)


def test_json(three) -> None:
    rename = registry()["rename"]
    assert rename(names=("a", "b")).params() == {"names": [["a"], ["b"]]}
    assert rename(names=({"a": "b"},)).params() == {"names": [["a", "b"]]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b"), "2 names for 3 bands.*red, green, blue"),
        (({"nir": "x"},), "no band 'nir'.*red, green, blue"),
        (({"red": "blue"},), "two bands the name 'blue'"),
        (("a", "b", "a"), "two bands the name 'a'"),
    ],
)
def test_bad_names(profile, three, names, message) -> None:
    with pytest.raises(BandError, match=message):
        profile("rename", three, names=names)


@pytest.mark.parametrize("names", [(), ("",), ("a", ("b", "c")), (("a", "b", "c"),), ({},)])
def test_bad_forms(names) -> None:
    with pytest.raises(ParameterError):
        registry()["rename"](names=names)
