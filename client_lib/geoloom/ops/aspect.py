"""Direction in which a surface falls."""

from __future__ import annotations

import numpy as np

from geoloom.block import Block, eroded, joint
from geoloom.grid import Grid
from geoloom.op import Output, op
from geoloom.ops.terrain import Terrain


@op
class Aspect(Terrain):
    """Direction in which a surface falls, in degrees clockwise from north (Horn 1981), as gdaldem's.

    Flat ground has no direction and is invalid.
    """

    output = Output(bands=1, dtype="float32", unit="degree", range=(0, 360))

    def kernel(self, elevation: Block, grid: Grid) -> Block:
        """Azimuth of the way down; 0 up to, not including, 360."""
        east, south = self.gradient(elevation, grid)
        sloping = (east != 0) | (south != 0)
        angle = np.degrees(np.arctan2(-east, south)).astype(np.float32, copy=False)
        np.add(angle, 360, out=angle, where=angle < 0)
        angle[angle >= 360] = 0
        valid = elevation.valid if elevation.valid.shape[1:] == (1, 1) else eroded(elevation.valid, 1)
        return Block.of(angle, joint(valid, sloping[np.newaxis]))
