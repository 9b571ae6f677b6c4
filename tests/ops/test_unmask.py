"""Unmask fills."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.profile import Profile


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [("uint8", 0, "uint8"), ("uint8", 255, "uint8"), ("uint8", -1, "int16"), ("uint8", 0.5, "float32")]
    + [("bool", 1, "bool"), ("bool", 2, "uint8"), ("float64", 0.1, "float64"), ("float32", -9999, "float32")],
)
def test_fills(run, profile, dtype, value, expected) -> None:
    image = np.ma.array([[1, 1, 1]], mask=[[1, 0, 1]], dtype=dtype)
    assert profile("unmask", dtype, value=value).dtype == expected
    found = run("unmask", image, value=value)
    filled = np.dtype(expected).type(value).item()
    assert not found.mask.any()
    assert found[0, 0].tolist() == [filled, 1, filled]


def test_bands_have_their_own_gaps(run) -> None:
    image = np.ma.array(np.ones((2, 1, 2), "uint8"), mask=[[[1, 0]], [[0, 0]]])
    assert run("unmask", image, value=9)[:, 0].tolist() == [[9, 1], [1, 1]]


def test_range_widens(profile, grey) -> None:
    source = Profile(("a",), "float32", range=(0.0, 1.0))
    assert profile("unmask", source, value=-5).range == (-5, 1)
    assert profile("unmask", grey).look == grey.look
