"""Relief lit from one side."""

from __future__ import annotations

import math

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.op import Look, Output, Profile, op, param
from geoloom.ops.terrain import Terrain


@op
class Hillshade(Terrain):
    """Relief lit from one side, 1 (dark) to 255 (facing the light) as gdaldem's (Horn 1981).

    Shown in grey as it is; ``hillshade().blend(coloured, opacity=0.5)`` makes a relief map.
    """

    azimuth: float = param(315.0, doc="Direction the light comes from, clockwise from north.", unit="degree")
    altitude: float = param(45.0, ge=0, le=90, doc="Height of the light above the horizon.", unit="degree")
    output = Output(bands=1, dtype="uint8", unit="1", range=(0, 255))

    def profile(self, *inputs: Profile) -> Profile:
        """Shades of grey."""
        super().profile(*inputs)
        look = Look("grey", ((0.0, 255.0),), name=self.name)
        return Profile((self.name,), "uint8", range=(0.0, 255.0), look=look)

    def kernel(self, elevation: Block, grid: Grid) -> Array:
        """Cosine between the light and the surface's normal, without trigonometry per pixel."""
        east, south = self.gradient(elevation, grid)
        azimuth, altitude = math.radians(self.azimuth), math.radians(self.altitude)
        with np.errstate(all="ignore"):
            lit = east * (-254 * math.cos(altitude) * math.sin(azimuth))
            lit += south * (254 * math.cos(altitude) * math.cos(azimuth))
            lit += 254 * math.sin(altitude)
            east *= east
            south *= south
            east += south
            east += 1
            np.sqrt(east, out=east)
            lit /= east
            lit += 1.5
        shade: Array = np.clip(lit, 1, 255).astype(np.uint8)
        return shade
