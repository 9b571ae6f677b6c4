"""Functions of each pixel, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.op import registry
from geoloom.ops.elementwise import Function

UNARY = sorted(name for name, cls in registry().items() if issubclass(cls, Function))
VALUES = np.array([[-40000.0, -2, -1, -0.5, 0, 0.25, 1, 2.5, 3.5, 100]])


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64", "bool"])
def test_as_numpy(run, name, dtype) -> None:
    image = np.abs(VALUES).astype(dtype) if dtype == "uint8" else VALUES.astype(dtype)
    float_dtype = np.dtype("float64" if dtype == "float64" else "float32")
    with np.errstate(all="ignore"):
        expected = np.ma.masked_invalid(getattr(np, registry()[name].ufunc)(image.astype(float_dtype)))
    found = run(name, image)[0]
    assert found.dtype == float_dtype
    assert np.array_equal(found.mask, np.ma.getmaskarray(expected))
    assert np.allclose(found.filled(0), expected.filled(0), rtol=1e-6)


@pytest.mark.parametrize("name", ["arctan2", "hypot"])
def test_of_two_images(run, profile, name) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 4, 5)) - 0.5
    assert np.array_equal(run(name, a, b)[0], getattr(np, name)(a, b))
    assert profile(name, "uint8", 2).dtype == "float32"


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "sign"])
def test_rounding(run, profile, name) -> None:
    image = VALUES.astype("float32")
    assert np.array_equal(run(name, image)[0], getattr(np, name)(image))
    whole = VALUES.astype("int16")
    expected = np.sign(whole) if name == "sign" else whole
    assert np.array_equal(run(name, whole)[0], expected)
    for dtype in ("bool", "uint8", "int64", "float64"):
        assert profile(name, dtype).dtype == dtype


@pytest.mark.parametrize("decimals", [-2, -1, 0, 1, 3])
def test_round(run, decimals) -> None:
    image = np.array([[-1234.5678, 0.5, 1.5, 2.25, 15, 250]], "float64")
    assert np.array_equal(run("round", image, decimals=decimals)[0], np.round(image, decimals))
    whole = np.array([[5, 15, 255]], "uint8")
    expected = np.round(whole.astype("int32"), min(decimals, 0))
    assert np.array_equal(run("round", whole, decimals=decimals)[0], expected)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("bool", "bool"), ("uint8", "uint8"), ("uint64", "uint64"), ("int8", "int32"), ("int32", "int64")]
    + [("int64", "int64"), ("float32", "float32"), ("float64", "float64")],
)
def test_absolute(run, profile, dtype, expected) -> None:
    assert profile("absolute", dtype).dtype == expected
    if np.dtype(dtype).kind == "i":
        lowest = int(np.iinfo(dtype).min)
        found = run("absolute", np.array([[lowest, -1, 1]], dtype))[0, 0]
        assert found[1:].tolist() == [1, 1]
        if dtype == "int64":
            assert found.mask.tolist() == [True, False, False]
        else:
            assert int(found[0]) == -lowest
    else:
        image = np.array([[0, 1]], dtype)
        assert np.array_equal(run("absolute", image)[0], image)


def test_units(profile) -> None:
    from geoloom.profile import Profile

    metres = Profile(("dem",), "float32", unit="m")
    assert profile("absolute", metres).unit == "m"
    assert profile("round", metres).unit == "m"
    assert profile("sqrt", metres).unit is None
    assert profile("arctan", "float32").unit == "rad"
    assert profile("arctan2", "float32", "float32").unit == "rad"
    assert profile("degrees", "float32").unit == "degree"


def test_numbers_of_64_bits_overflow_to_invalid(run) -> None:
    assert run("exp", np.array([[1000.0, 0]])).mask.tolist() == [[[True, False]]]
    assert run("exp", np.array([[100.0, 0]], "float32")).mask.tolist() == [[[True, False]]]
