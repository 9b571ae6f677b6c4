"""The normalised difference of two bands, such as NDVI."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
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

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """Three passes over an array of its own; 0/0 and x/0 are not finite and so invalid."""
        a = values.data[:1].astype(dtype)
        b = values.data[1:2].astype(dtype, copy=False)
        with np.errstate(all="ignore"):
            total = a + b
            a -= b
            a /= total
        return a
