"""Quality flags: single bits and numbers of several bits."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry

QA = np.array([[0b0, 0b1000, 0b10000, 0b11000, 0b100000]], "uint16")


def test_any_of_some_bits(run) -> None:
    assert run("bit_mask", QA, bits=(3, 4))[0, 0].tolist() == [False, True, True, True, False]
    assert run("bit_mask", QA, bits=([4, 3],))[0, 0].tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint64", "int64"])
def test_every_bit_of_every_dtype(run, dtype) -> None:
    width = 8 * np.dtype(dtype).itemsize
    patterns = np.array([1 << bit for bit in range(width)], f"u{width // 8}").view(dtype)[np.newaxis]
    for bit in (0, 1, width - 2, width - 1):
        assert np.flatnonzero(run("bit_mask", patterns, bits=(bit,))[0, 0]).tolist() == [bit]


def test_numbers_of_several_bits(run) -> None:
    cloud_confidence = np.array([[n << 8 | 0b11111111 for n in range(4)]], "uint16")
    found = run("bit_mask", cloud_confidence, first=8, last=9, values=(2, 3))
    assert found[0, 0].tolist() == [False, False, True, True]
    found = run("bit_mask", cloud_confidence, first=8, last=9, values=0)
    assert found[0, 0].tolist() == [True, False, False, False]
    negative = np.array([[-1, 0]], "int16")
    assert run("bit_mask", negative, first=0, last=15, values=65535)[0, 0].tolist() == [True, False]
    assert run("bit_mask", negative.astype("int64"), first=0, last=62, values=0)[0, 0].tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "either bits, or first"),
        ({"bits": (3,), "first": 1}, "either bits, or first"),
        ({"first": 1, "last": 2}, "either bits, or first"),
        ({"first": 3, "last": 2, "values": 1}, "lies below"),
        ({"first": 2, "last": 3, "values": (1, 4)}, "at most 3, not 4"),
        ({"bits": (-1,)}, "at least 0"),
        ({"bits": (64,)}, "at most 63"),
        ({"bits": ("a",)}, "whole number"),
    ],
)
def test_bad_bits(params, message) -> None:
    with pytest.raises(ParameterError, match=message):
        registry()["bit_mask"](**params)


def test_bits_that_the_dtype_lacks(profile) -> None:
    with pytest.raises(ParameterError, match=r"uint8 has no bit 8.*0 to 7"):
        profile("bit_mask", "uint8", bits=(8,))
    with pytest.raises(ParameterError, match="whole numbers"):
        profile("bit_mask", "float32", bits=(1,))
    assert profile("bit_mask", "uint8", bits=(7,)).dtype == "bool"


def test_flags_are_not_interpolated() -> None:
    flags = registry()["bit_mask"](bits=(1,))
    assert [flags.sampling(asked) for asked in (None, "cubic", "mode")] == ["nearest", "nearest", "mode"]
