"""Unpack: stored × scale + offset."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", "float32"), ("int16", "float32"), ("float32", "float32"), ("int32", "float64")],
)
def test_as_netcdf_unpacks(run, profile, dtype, expected) -> None:
    image = np.array([[0, 5, 100, 127]], dtype)
    assert profile("unpack", dtype, scale=0.01, offset=-2.0).dtype == expected
    found = run("unpack", image, scale=0.01, offset=-2.0)[0]
    assert np.array_equal(found, (image.astype("float64") * 0.01 - 2).astype(expected))


def test_the_unit_is_of_what_was_measured(profile) -> None:
    assert profile("unpack", "int16", scale=0.01, unit="K").unit == "K"


def test_a_scale_of_nought_is_refused(profile) -> None:
    with pytest.raises(ParameterError, match="scale of 0"):
        profile("unpack", "int16", scale=0.0)
