"""The normalised difference, such as NDVI."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError
from geoloom.op import registry
from geoloom.profile import Profile

NDVI = {"a": "nir", "b": "red"}


def of(dtype):
    return Profile(("red", "nir"), dtype)


def test_as_the_formula(run) -> None:
    rng = np.random.default_rng(3)
    red, nir = rng.integers(0, 10_000, (2, 5, 6)).astype("uint16")
    found = run("normalized_difference", np.stack([red, nir]), profiles=(of("uint16"),), **NDVI)
    expected = (nir.astype(float) - red) / (nir.astype(float) + red)
    assert found.shape == (1, 5, 6)
    assert np.allclose(found[0], expected, rtol=1e-6, atol=1e-7)
    assert found.min() >= -1
    assert found.max() <= 1


def test_no_wrapping_and_no_division_by_zero(run) -> None:
    image = np.array([[[65535, 0, 5, -0]], [[65535, 0, 0, 7]]], "uint16")
    found = run("normalized_difference", image, profiles=(of("uint16"),), **NDVI)
    assert found[0, 0].tolist() == [0, None, -1, 1]
    image = np.array([[[-5, 1]], [[5, 2]]], "float32")
    assert run("normalized_difference", image, profiles=(of("float32"),), **NDVI).mask.tolist() == [[[1, 0]]]


def test_valid_where_both_bands_are(run) -> None:
    image = np.ma.array(np.full((2, 1, 3), 4, "uint8"), mask=[[[1, 0, 0]], [[0, 1, 0]]])
    found = run("normalized_difference", image, profiles=(of("uint8"),), **NDVI)
    assert found[0, 0].tolist() == [None, None, 0]


def test_profile(profile) -> None:
    assert profile("normalized_difference", of("uint16"), **NDVI) == Profile(
        ("normalized_difference",), "float32", unit="1", range=(-1.0, 1.0)
    )
    assert profile("normalized_difference", of("int16"), **NDVI).range is None
    assert profile("normalized_difference", of("float64"), **NDVI).dtype == "float64"
    with pytest.raises(BandError, match=r"no band 'swir'.*red, nir"):
        profile("normalized_difference", of("uint8"), a="swir", b="red")


def test_only_its_two_bands_are_read(three) -> None:
    op = registry()["normalized_difference"](a="blue", b="green")
    assert op.reads((0,), (three,)) == [(2, 1)]
