"""Scale: values become shades."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError, ParameterError
from geoloom.op import registry
from geoloom.profile import Look, Profile


def shades(image, low, high, gamma=1.0):
    part = np.clip((image.astype("float64") - low) / (high - low), 0, 1)
    return part ** (1 / gamma) * 255


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("limits", [(0, 100), (100, 0), (-30, 70), (-0.2, 1), (20.5, 20.75)])
@pytest.mark.parametrize("gamma", [1, 2.2, 0.5])
def test_within_half_a_shade(run, dtype, limits, gamma) -> None:
    image = np.arange(-40, 120).reshape(8, 20)
    image = np.abs(image).astype(dtype) if np.dtype(dtype).kind in "ub" else image.astype(dtype)
    found = run("scale", image, limits=limits, gamma=gamma)[0]
    assert found.dtype == np.uint8
    assert np.abs(found.astype("float64") - shades(image, *limits, gamma)).max() <= 0.5001


def test_limits_are_0_and_255(run) -> None:
    image = np.array([[-1e30, 0, 3000, 1e30]], "float32")
    assert run("scale", image, limits=(0, 3000))[0, 0].tolist() == [0, 0, 255, 255]
    assert run("scale", image, limits=(3000, 0))[0, 0].tolist() == [255, 255, 0, 0]
    assert run("scale", image, limits=(-1e200, 1e200))[0, 0].tolist() == [128, 128, 128, 128]


def test_limits_of_each_band(run) -> None:
    image = np.full((3, 1, 1), 100, "uint16")
    assert run("scale", image, limits=(0, 100, 0, 200, 100, 200))[:, 0, 0].tolist() == [255, 128, 0]
    scale = registry()["scale"](limits=(0, 100, 0, 200, 100, 200), gamma=2)
    assert scale.restrict((2, 0)) == registry()["scale"](limits=(100, 200, 0, 100), gamma=2)


def test_looks(profile, three) -> None:
    one = Profile(("ndvi",), "float32", unit="1")
    assert profile("scale", one, limits=(0, 1)).look == Look("grey", ((0.0, 1.0),), unit="1", name="ndvi")
    rgb = profile("scale", three, limits=(0, 3000)).look
    assert (rgb.kind, rgb.limits) == ("rgb", ((0.0, 3000.0),) * 3)
    assert profile("scale", three, limits=(0, 1, 0, 2, 0, 3)).look.limits == ((0, 1), (0, 2), (0, 3))
    assert profile("scale", Profile(("a", "b"), "uint8"), limits=(0, 1)).look is None


def test_limits_that_do_not_fit_the_bands(profile, three) -> None:
    with pytest.raises(BandError, match=r"2 bands for 3.*red, green, blue"):
        profile("scale", three, limits=(0, 1, 0, 2))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"limits": (0,)}, "at least 2"),
        ({"limits": (0, 1, 2)}, "not pairs"),
        ({"limits": (5, 5)}, "equal"),
        ({"limits": (0, 1e-310)}, "told apart"),
        ({"limits": (-1.7e308, 1.7e308)}, "told apart"),
        ({"limits": (0, float("inf"))}, "finite"),
        ({"limits": ("a", "b")}, "a number"),
        ({"limits": (0, 1), "gamma": 0}, "greater than 0"),
    ],
)
def test_bad_limits(params, message) -> None:
    with pytest.raises(ParameterError, match=message):
        registry()["scale"](**params)


def test_invalid_pixels_are_0(run) -> None:
    image = np.ma.array([[5.0, 6.0]], mask=[[True, False]], dtype="float32")
    assert run("scale", image, limits=(10, 0))[0, 0].tolist() == [None, 102]
