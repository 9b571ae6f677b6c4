"""One picture over another."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.profile import Look, Profile

WHITE = Profile(("a",), "uint8", look=Look("palette", lut=("#ffffffff",)))
RED = Profile(("b",), "uint8", look=Look("palette", lut=("#ff0000ff",)))


def pixels(found):
    return np.moveaxis(found.filled(0), 0, -1).reshape(-1, 4).tolist()


def test_the_upper_image_covers(run) -> None:
    lower = np.ma.array([[0, 0, 0, 0]], mask=[[0, 0, 1, 1]], dtype="uint8")
    upper = np.ma.array([[0, 0, 0, 0]], mask=[[0, 1, 0, 1]], dtype="uint8")
    found = run("blend", lower, upper, profiles=(WHITE, RED), opacity=0.4)
    assert pixels(found) == [[255, 153, 153, 255], [255, 255, 255, 255], [255, 0, 0, 102], [0, 0, 0, 0]]
    assert found.mask[0, 0].tolist() == [False, False, False, True]
    assert pixels(run("blend", lower, upper, profiles=(WHITE, RED)))[0] == [255, 0, 0, 255]


def test_opacity_of_the_looks_counts(run) -> None:
    image = np.zeros((1, 1), "uint8")
    half = Profile(("b",), "uint8", look=Look("palette", lut=("#ff0000ff",), opacity=0.5))
    assert pixels(run("blend", image, image, profiles=(WHITE, half), opacity=0.8)) == [[255, 153, 153, 255]]


def test_profile(profile, grey) -> None:
    found = profile("blend", WHITE, grey, opacity=0.4)
    assert found.names == ("red", "green", "blue", "alpha")
    assert found.look == Look("rgba")
    with pytest.raises(ParameterError, match="the upper one has none"):
        profile("blend", WHITE, "uint8")
    with pytest.raises(ParameterError, match="the lower one has none"):
        profile("blend", "uint8", WHITE)


def test_blends_of_blends(run, profile) -> None:
    blended = profile("blend", WHITE, RED)
    picture = np.array([[[10]], [[20]], [[30]], [[255]]], "uint8")
    found = run("blend", picture, np.zeros((1, 1), "uint8"), profiles=(blended, RED), opacity=0)
    assert pixels(found) == [[10, 20, 30, 255]]
