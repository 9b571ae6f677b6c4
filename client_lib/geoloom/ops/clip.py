"""Keep values within limits."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Image, Number, Op, Profile, image, op, param
from geoloom.profile import common_dtype, integer_range, is_float


@op
class Clip(Op):
    """Values below `low` become `low`, values above `high` become `high`."""

    values: Image = image(doc="The image.")
    low: Number | None = param(
        None, doc="Smallest value of the result; None for no limit.", unit="same as the image", example=1
    )
    high: Number | None = param(
        None, doc="Largest value of the result; None for no limit.", unit="same as the image", example=3
    )
    bandwise = True
    pointwise = True
    function = True

    def check(self) -> None:
        """At least one limit, and in order."""
        if self.low is None and self.high is None:
            raise ParameterError("clip() needs low, high or both.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ParameterError(f"clip(): low {self.low} is greater than high {self.high}.")

    def profile(self, *inputs: Profile) -> Profile:
        """The same bands; limits that the dtype cannot pass do not change it."""
        source = replace(inputs[0], constant=None)
        low, high = self._effective(source)
        numbers = [Profile(("limit",), "int32", constant=one) for one in (low, high) if one is not None]
        least, most = source.range or (-math.inf, math.inf)
        least = max(least, -math.inf if self.low is None else float(self.low))
        most = min(most, math.inf if self.high is None else float(self.high))
        known = math.isfinite(least) and math.isfinite(most) and least <= most
        dtype = common_dtype(source, *numbers)
        look = source.look if dtype == source.dtype else None
        return replace(source, dtype=dtype, range=(least, most) if known else None, look=look)

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Array | Block:
        """Apply the limits that matter."""
        low, high = _ends(self, values.data.dtype, dtype)
        data = values.data.astype(dtype, copy=False)
        if low is None and high is None:
            return Block(data, values.valid)
        result: Array = np.clip(data, low, high)
        return result

    def _effective(self, source: Profile) -> tuple[int | float | None, int | float | None]:
        """The limits without those that no value of the image's dtype passes."""
        if is_float(source):
            return self.low, self.high
        least, most = integer_range(source)
        low = None if self.low is None or self.low <= least else self.low
        high = None if self.high is None or self.high >= most else self.high
        return low, high


@lru_cache(maxsize=256)
def _ends(clip: Clip, source: np.dtype[Any], dtype: np.dtype[Any]) -> tuple[Array | None, Array | None]:
    """The limits that matter, in the dtype of the result."""
    low, high = clip._effective(Profile(("values",), source.name))
    return (
        None if low is None else np.array(low).astype(dtype),
        None if high is None else np.array(high).astype(dtype),
    )
