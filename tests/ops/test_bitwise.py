"""Bits of whole numbers; on masks the logical operations."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError

A = np.array([[0, 1, 5, 255]], "uint8")
B = np.array([[1, 1, 4, 170]], "uint8")


@pytest.mark.parametrize(
    ("name", "ufunc"),
    [("bit_and", np.bitwise_and), ("bit_or", np.bitwise_or), ("bit_xor", np.bitwise_xor)],
)
def test_as_numpy(run, name, ufunc) -> None:
    assert np.array_equal(run(name, A, B)[0], ufunc(A, B))
    masks = A > 1, B > 1
    found = run(name, *masks)
    assert found.dtype == np.bool_
    assert np.array_equal(found[0], ufunc(*masks))


def test_dtype_stays(profile) -> None:
    assert profile("bit_and", "uint16", 8).dtype == "uint16"
    assert profile("bit_or", "uint8", 256).dtype == "uint16"
    assert profile("bit_and", "uint8", "int16").dtype == "int16"
    assert profile("bit_and", "bool", "bool").dtype == "bool"
    assert profile("invert", "uint8").dtype == "uint8"
    assert profile("shift_left", "uint8", 4).dtype == "uint8"
    assert profile("shift_left", "bool", 4).dtype == "int32"


def test_invert(run) -> None:
    assert np.array_equal(run("invert", A)[0], ~A)
    assert np.array_equal(run("invert", A > 1)[0], A <= 1)


def test_shifts(run) -> None:
    assert run("shift_left", A, 1)[0, 0].tolist() == [0, 2, 10, 254]
    assert run("shift_right", A, 2)[0, 0].tolist() == [0, 0, 1, 63]
    assert run("shift_left", A, 300)[0, 0].tolist() == [0, 0, 0, 0]
    assert run("shift_right", A, np.array([[0, 64, 8, 255]], "uint8"))[0, 0].tolist() == [0, 0, 0, 0]
    assert run("shift_right", -A.astype("int16"), 70)[0, 0].tolist() == [0, -1, -1, -1]


def test_shift_by_negative_pixels_is_invalid(run) -> None:
    bits = np.array([[0, -1, 1, 2]], "int8")
    assert run("shift_left", A, bits).mask.tolist() == [[[False, True, False, False]]]


@pytest.mark.parametrize("name", ["bit_and", "bit_or", "bit_xor", "shift_left", "shift_right"])
def test_floats_are_refused(profile, name) -> None:
    with pytest.raises(ParameterError, match="whole numbers"):
        profile(name, "float32", "uint8")
    with pytest.raises(ParameterError, match="whole numbers"):
        profile(name, "uint8", 1.0)


def test_other_bad_input(profile) -> None:
    with pytest.raises(ParameterError, match="whole numbers"):
        profile("invert", "float64")
    with pytest.raises(ParameterError, match="-1 bits"):
        profile("shift_left", "uint8", -1)
    with pytest.raises(ParameterError, match="no integer holds both"):
        profile("bit_and", "uint64", "int8")
