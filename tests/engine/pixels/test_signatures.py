"""Types of parameters, and what types can hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoloom_engine.signatures import number_range


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "uint64"])
def test_the_range_is_what_the_type_can_hold(dtype: str) -> None:
    limits = np.iinfo(dtype)
    low, high, half = number_range(np.dtype(dtype))
    assert (low, half) == (limits.min, 0.5)
    assert int(high) <= limits.max
    assert int(math.nextafter(high, math.inf)) > limits.max - 1
    assert number_range(np.dtype("float32")) == (-math.inf, math.inf, 0.0)
