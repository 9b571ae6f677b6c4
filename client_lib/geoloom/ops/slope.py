"""Steepness of a surface."""

from __future__ import annotations

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.op import Output, op
from geoloom.ops.terrain import Terrain


@op
class Slope(Terrain):
    """Steepest slope of a surface in degrees (Horn 1981), as gdaldem computes it."""

    output = Output(bands=1, dtype="float32", unit="degree", range=(0, 90))

    def kernel(self, elevation: Block, grid: Grid) -> Array:
        """Angle of the gradient."""
        east, south = self.gradient(elevation, grid)
        east *= east
        south *= south
        east += south
        np.sqrt(east, out=east)
        np.arctan(east, out=east)
        east *= 180 / np.pi
        return east.astype(np.float32, copy=False)
