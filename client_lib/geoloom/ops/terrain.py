"""The gradient of a surface, shared by slope, aspect and hillshade.

B. K. P. Horn, "Hill shading and the reflectance map", Proceedings of the IEEE 69 (1981), 14–47:
differences over the 3 × 3 pixels around each pixel, the middle ones weighted double.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.loops import array, compiled
from geoloom.op import Band, Op, Output, Profile, band, param


class Terrain(Op):
    """An op over the gradient of a surface; its margin is one pixel."""

    elevation: Band = band(unit="m", doc="Surface height.")
    z_factor: float = param(
        1.0, gt=0, unit="1", doc="Vertical exaggeration, or metres in the unit of the heights (feet: 0.3048)."
    )
    margin = 1

    def sampling(self, asked: str | None) -> str | None:
        """Bilinear at least: nearest would make steps of a smooth surface."""
        return "bilinear" if asked in (None, "nearest", "mode") else asked

    def profile(self, *inputs: Profile) -> Profile:
        """One band, named as the op."""
        output: Output = self.output
        return Profile((self.name,), output.dtype, unit=output.unit, range=output.range)

    def gradient(self, elevation: Block, grid: Grid) -> tuple[Array, Array]:
        """Rise per ground metre eastwards and southwards, two arrays of (rows, cols).

        Heights that are neighbours are subtracted before anything is added, so float32 is enough
        for heights that are given in float32.
        """
        shape = (grid.rows + 2, grid.cols + 2)
        wide = elevation.data.dtype.kind == "f" or elevation.data.dtype.itemsize <= 2
        dtype = np.float64 if elevation.data.dtype.itemsize == 8 or not wide else np.float32
        z = np.ascontiguousarray(np.broadcast_to(elevation.data[0], shape), dtype)
        pixel = grid.ground_resolution()
        width, height = ((self.z_factor / (8 * size)).astype(dtype).reshape(-1) for size in pixel)
        east, south = np.empty(grid.shape, dtype), np.empty(grid.shape, dtype)
        compiled(_loop, dtype.__name__, lambda: _types(dtype.__name__))(z, width, height, east, south)
        return east, south


def _types(dtype: str) -> tuple[Any, ...]:
    read, written = array(dtype, 2), array(dtype, 2, written=True)
    return read, array(dtype, 1), array(dtype, 1), written, written


def _loop(z: Any, width: Any, height: Any, east: Any, south: Any) -> None:
    """In one pass, 0.04 ms instead of 0.2 at 256² pixels."""
    rows, cols = east.shape
    two = z.dtype.type(2)
    for row in range(rows):
        for col in range(cols):
            across = (z[row + 1, col + 2] - z[row + 1, col]) * two + (z[row, col + 2] - z[row, col])
            down = (z[row + 2, col + 1] - z[row, col + 1]) * two + (z[row + 2, col] - z[row, col])
            east[row, col] = (across + (z[row + 2, col + 2] - z[row + 2, col])) * width[row]
            south[row, col] = (down + (z[row + 2, col + 2] - z[row, col + 2])) * height[row]
