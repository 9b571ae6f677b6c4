"""Mask keeps what is true."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError
from geoloom.profile import Profile


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
def test_keeps_true_and_not_zero(run, dtype) -> None:
    image = np.array([[5, 6, 7]], "int16")
    assert run("mask", image, np.array([[0, 1, 1]], dtype))[0, 0].tolist() == [None, 6, 7]


def test_invalid_on_either_side(run) -> None:
    image = np.ma.array([[5, 6, 7]], mask=[[1, 0, 0]], dtype="float32")
    keep = np.ma.array([[1, 1, 1]], mask=[[0, 1, 0]], dtype=bool)
    assert run("mask", image, keep)[0, 0].tolist() == [None, None, 7]


def test_one_condition_for_all_bands_or_one_each(run) -> None:
    image = np.ones((2, 1, 2), "uint8")
    keep = np.array([[True, False]])
    assert run("mask", image, keep).mask[:, 0].tolist() == [[False, True], [False, True]]
    assert run("mask", image, np.stack([keep, ~keep])).mask[:, 0].tolist() == [[False, True], [True, False]]


def test_numbers(run) -> None:
    image = np.ones((1, 2, 2), "uint8")
    assert run("mask", image, 0).mask.all()
    assert not run("mask", image, 1).mask.any()
    assert run("mask", 7, np.array([[True, False]]))[0, 0].tolist() == [7, None]


def test_profile_is_the_images(profile, grey, three) -> None:
    assert profile("mask", grey, "bool") == grey
    with pytest.raises(BandError, match="3 bands does not fit an image of 1"):
        profile("mask", grey, three)
    with pytest.raises(BandError, match="2 bands does not fit an image of 3"):
        profile("mask", three, Profile(("a", "b"), "bool"))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "float32", "int64", "float64"])
def test_the_image_itself_stays_and_what_is_masked_is_0(run, dtype) -> None:
    image = -np.ones((1, 3)).astype(dtype) if np.dtype(dtype).kind in "if" else np.ones((1, 3), dtype)
    found = run("mask", image, np.array([[True, False, True]]))
    assert found.data.tolist() == [[[image[0, 0], 0, image[0, 2]]]]
    assert not np.signbit(found.data[0, 0, 1].astype("float64"))
