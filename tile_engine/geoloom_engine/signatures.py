"""The types of what the loops of the warp are given, for `geoloom.loops.compiled`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from geoloom.loops import array

_types: Any = types


def source_types(dtype: str) -> tuple[Any, ...]:
    """Types of the parameters (data, valid, masked, window)."""
    arrays = (array(dtype, 3, layout="A"), array("bool", 3, layout="A"))
    return (*arrays, types.boolean, _types.UniTuple(types.int64, 4))


def cell_types() -> tuple[Any, ...]:
    """Types of the parameters (nodes, exact, slots, row, col)."""
    return array("float64", 4), array("float64", 4), array("int32", 2), types.int64, types.int64


def grid_types(dtype: str) -> tuple[Any, ...]:
    """Types of the parameters (part, out, out_valid)."""
    arrays = (array(dtype, 3, written=True), array("bool", 3, written=True))
    return (_types.UniTuple(types.int64, 4), *arrays)


def number_range(dtype: Any) -> tuple[float, float, float]:
    """Lowest and highest float64 that the type holds, and what rounding adds."""
    if dtype.kind == "f":
        return -math.inf, math.inf, 0.0
    limits = np.iinfo(dtype)
    high = float(limits.max)
    return float(limits.min), high if high <= limits.max else math.nextafter(high, 0.0), 0.5
