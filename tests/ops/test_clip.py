"""Clip: values stay within limits, dtypes as they are where that is possible."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("uint8", 10, 20, "uint8"),
        ("uint8", -5, 300, "uint8"),
        ("uint8", 300, 400, "uint16"),
        ("uint8", -9, -5, "int16"),
        ("int16", 0, None, "int16"),
        ("int16", None, 0.5, "float32"),
        ("float32", -1, 1, "float32"),
        ("float64", 0.1, None, "float64"),
    ],
)
def test_as_numpy(run, profile, dtype, low, high, expected) -> None:
    assert profile("clip", dtype, low=low, high=high).dtype == expected
    image = np.array([[0, 5, 15, 100]], dtype)
    wide = image.astype("float64")
    assert np.array_equal(run("clip", image, low=low, high=high)[0], np.clip(wide, low, high))


def test_range(profile) -> None:
    assert profile("clip", "float32", low=-1, high=1).range == (-1, 1)
    assert profile("clip", "float32", low=-1, high=None).range is None


@pytest.mark.parametrize(
    ("low", "high", "message"), [(None, None, "low, high or both"), (2, 1, "low 2 is greater than high 1")]
)
def test_bad_limits(profile, low, high, message) -> None:
    with pytest.raises(ParameterError, match=message):
        profile("clip", "uint8", low=low, high=high)
