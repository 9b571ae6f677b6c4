"""Combine first: each pixel from the first image that is valid there."""

from __future__ import annotations

import numpy as np
import pytest

import geoloom as gl
from geoloom.block import Block
from geoloom.errors import BandError
from geoloom.image import Image
from geoloom.ops.combine_first import CombineFirst
from geoloom.ops.open import Open
from geoloom.profile import Look, Profile

TOP = np.ma.array([[1, 2, 3, 4]], mask=[[0, 1, 1, 1]], dtype="uint8")
NEXT = np.ma.array([[10, 20, 30, 40]], mask=[[0, 0, 1, 1]], dtype="uint8")
LAST = np.ma.array([[100, 100, 100, 100]], mask=[[0, 0, 0, 1]], dtype="uint8")


def test_each_pixel_from_the_first_that_is_valid(run) -> None:
    assert run("combine_first", TOP, NEXT, LAST)[0, 0].tolist() == [1, 20, 100, None]
    assert run("combine_first", LAST, NEXT, TOP)[0, 0].tolist() == [100, 100, 100, None]
    assert run("combine_first", TOP)[0, 0].tolist() == [1, None, None, None]


@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("uint8", "int16"), ("uint16", "float64")])
def test_as_choosing_pixel_by_pixel(run, dtypes: tuple[str, str]) -> None:
    chance = np.random.default_rng(1)
    one, other = (
        np.ma.array(chance.integers(1, 99, (3, 40, 50)).astype(dtype), mask=chance.random((3, 40, 50)) < 0.4)
        for dtype in dtypes
    )
    found = run("combine_first", one, other)
    assert found.dtype == np.result_type(*dtypes)
    assert np.array_equal(found.mask, one.mask & other.mask)
    expected = np.where(one.mask, other.data, one.data)
    assert np.array_equal(found.filled(0), np.where(found.mask, 0, expected))


def test_each_band_by_its_own_validity(run) -> None:
    one = np.ma.array([[[1, 2]], [[3, 4]]], mask=[[[0, 1]], [[1, 0]]], dtype="int16")
    other = np.ma.array([[[5, 6]], [[7, 8]]], mask=[[[0, 0]], [[0, 0]]], dtype="int16")
    assert run("combine_first", one, other)[:, 0].tolist() == [[1, 6], [7, 4]]


def test_a_number_fills_what_is_left(run, profile) -> None:
    assert run("combine_first", TOP, NEXT, 0)[0, 0].tolist() == [1, 20, 0, 0]
    assert profile("combine_first", "uint8", 0).dtype == "uint8"
    assert profile("combine_first", "uint8", -1).dtype == "int16"
    # Beside a float32 image 1e300 would be infinite, so there is nothing to fill with.
    assert run("combine_first", TOP.astype("float32"), 1e300)[0, 0].tolist() == [1, None, None, None]


def test_an_image_without_gaps_is_handed_on() -> None:
    whole = Block(np.ones((1, 4, 4), np.uint8), np.ones((1, 4, 4), np.bool_))
    other = Block(np.full((1, 4, 4), 2, np.uint8), np.ones((1, 4, 4), np.bool_))
    found = CombineFirst().kernel(whole, other, grid=None, dtype=np.dtype(np.uint8))
    assert np.shares_memory(found.data, whole.data)
    assert found.valid is whole.valid


def test_profile(profile) -> None:
    first, second = Profile(("x", "y"), "uint8", unit="m"), Profile(("p", "q"), "int16", unit="m")
    assert profile("combine_first", first, second) == Profile(("x", "y"), "int16", unit="m")
    assert profile("combine_first", 0, second).names == ("p", "q")
    with pytest.raises(BandError, match=r"2 bands \(x, y\) and of 3 bands \(a, b, c\)"):
        profile("combine_first", first, second, Profile(("a", "b", "c"), "uint8"))


def test_a_look_stays_if_all_share_it(profile) -> None:
    look = Look("grey", ((0.0, 1.0),))
    one = Profile(("a",), "uint8", look=look)
    assert profile("combine_first", one, one).look == look
    assert profile("combine_first", one, "uint8").look is None
    assert profile("combine_first", one, 0).look is None


def test_as_function_and_method() -> None:
    a, b = (Image(Open(href=f"/data/{name}.tif").chain(), Profile(("b1",), "uint8"), {}) for name in "ab")
    assert gl.combine_first(a, b, 0).equals(a.combine_first(b, 0))
    assert not a.combine_first(b).equals(b.combine_first(a))
