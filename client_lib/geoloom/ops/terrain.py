"""The gradient of a surface, shared by slope, aspect and hillshade.

B. K. P. Horn, "Hill shading and the reflectance map", Proceedings of the IEEE 69 (1981), 14–47:
differences over the 3 × 3 pixels around each pixel, the middle ones weighted double.
"""

from __future__ import annotations

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
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
        z: Array = np.broadcast_to(elevation.data[0], shape).astype(dtype, copy=False)
        width, height = (self.z_factor / (8 * size) for size in grid.ground_resolution())
        across = z[:, 2:] - z[:, :-2]
        down = z[2:] - z[:-2]
        east = across[1:-1] * 2
        east += across[:-2]
        east += across[2:]
        east *= width.astype(dtype)
        south = down[:, 1:-1] * 2
        south += down[:, :-2]
        south += down[:, 2:]
        south *= height.astype(dtype)
        return east, south
