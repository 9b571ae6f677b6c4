"""Relief lit from one side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.loops import array, compiled, number
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
        single = east.dtype.type
        weights = (
            single(-254 * math.cos(altitude) * math.sin(azimuth)),
            single(254 * math.cos(altitude) * math.cos(azimuth)),
            single(254 * math.sin(altitude)),
        )
        shade = np.empty(grid.shape, np.uint8)
        compiled(_loop, east.dtype.name, lambda: _types(east.dtype.name))(east, south, *weights, shade)
        return shade


def _types(dtype: str) -> tuple[Any, ...]:
    weight = number(dtype)
    return array(dtype, 2), array(dtype, 2), weight, weight, weight, array("uint8", 2, written=True)


def _loop(east: Any, south: Any, to_east: Any, to_south: Any, up: Any, shade: Any) -> None:
    kind = east.dtype.type
    rows, cols = shade.shape
    for row in range(rows):
        for col in range(cols):
            x, y = east[row, col], south[row, col]
            lit = (x * to_east + y * to_south + up) / np.sqrt(x * x + y * y + kind(1)) + kind(1.5)
            shade[row, col] = np.uint8(np.int32(min(max(lit, kind(1)), kind(255))))
