"""Remap: values for values."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry

DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "int32", "uint64", "int64", "float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_any_dtype(run, dtype) -> None:
    image = np.array([[0, 1, 1, 0]], dtype)
    assert run("remap", image, pairs={1: 10, 0: 20, -7: 3, 2.5: 4})[0, 0].tolist() == [20, 10, 10, 20]


@pytest.mark.parametrize("dtype", DTYPES)
def test_others_are_invalid_or_the_default(run, dtype) -> None:
    image = np.ma.array([[0, 1, 1]], mask=[[0, 0, 1]], dtype=dtype)
    assert run("remap", image, pairs={1: 10})[0, 0].tolist() == [None, 10, None]
    assert run("remap", image, pairs={1: 10}, default=7)[0, 0].tolist() == [7, 10, None]


def test_extremes(run) -> None:
    image = np.array([[-32768, 32767, -1]], "int16")
    assert run("remap", image, pairs={-32768: 1, 32767: 2, -1: 3, 65535: 4})[0, 0].tolist() == [1, 2, 3]
    image = np.array([[2**64 - 1, 0]], "uint64")
    assert run("remap", image, pairs={2**64 - 1: 1, 0: 2})[0, 0].tolist() == [1, 2]
    assert run("remap", np.full((1, 1), 0.1, "float32"), pairs={0.1: 5})[0, 0].tolist() == [5]


@pytest.mark.parametrize(
    ("pairs", "default", "expected"),
    [
        ({1: 10}, None, "uint8"),
        ({1: 10}, -1, "int16"),
        ({1: 70000}, None, "uint32"),
        ({1: 0.5}, None, "float32"),
    ]
    + [({1: -1, 2: 200}, None, "int16"), ({1: -1, 2: 2**63}, None, "float64")],
)
def test_dtype_is_the_smallest(run, profile, pairs, default, expected) -> None:
    assert profile("remap", "uint8", pairs=pairs, default=default).dtype == expected
    run("remap", np.array([[1, 2]], "uint8"), pairs=pairs, default=default)


def test_order_does_not_matter() -> None:
    remap = registry()["remap"]
    assert remap(pairs={2: 1, 1: 5}) == remap(pairs={1: 5, 2: 1}) == remap(pairs=[(2, 1), (1, 5)])


@pytest.mark.parametrize(
    "pairs", [{}, {1: "a"}, {"a": 1}, [(1, 2, 3)], [(1, 2), (1, 3)], 5, {1: float("nan")}]
)
def test_bad_pairs(pairs) -> None:
    with pytest.raises(ParameterError):
        registry()["remap"](pairs=pairs)


def test_classes_are_not_interpolated() -> None:
    assert registry()["remap"](pairs={1: 2}).sampling("bilinear") == "nearest"
