"""From what a file stores to what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Image, Op, Profile, image, op, param

_NARROW = ("bool", "int8", "uint8", "int16", "uint16", "float32")


@op
class Unpack(Op):
    """Measured values of packed ones: stored × scale + offset, as netCDF's conventions have it.

    ``gl.open(…, unpack=True)`` takes scale and offset from the file.
    """

    values: Image = image(doc="The image, as it is stored.")
    scale: float = param(
        doc="Measured difference of one stored count.", unit="measured per stored", example=0.01
    )
    offset: float = param(0.0, doc="Measured value of a stored 0.", unit="that of the measured values")
    unit: str | None = param(None, doc="Of the measured values; None for that of the image.", example="K")
    bandwise = True
    pointwise = True

    def check(self) -> None:
        """A scale of 0 makes all values equal."""
        if self.scale == 0:
            raise ParameterError("unpack(): a scale of 0 would make all values equal.")

    def profile(self, *inputs: Profile) -> Profile:
        """float32, or float64 of what float32 cannot hold."""
        source = inputs[0]
        dtype = "float32" if source.dtype in _NARROW else "float64"
        unit = source.unit if self.unit is None else self.unit
        return replace(source, dtype=dtype, unit=unit, range=None, look=None, constant=None)

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """In double precision, as 0.01 has no exact float32."""
        data = values.data.astype(np.float64)
        data *= self.scale
        data += self.offset
        result: Array = data.astype(dtype)
        return result
