"""Weighted sums of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Block, eroded
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Image, Op, Profile, image, op, param
from geoloom.profile import float_dtype

LARGEST = 101
"""Rows and columns of a kernel at most."""


@op
class Convolve(Op):
    """The sum of the pixels around each pixel, weighted by a kernel laid over them as it is written.

    The kernel is not mirrored (mathematics calls this a correlation). Valid where all pixels under
    the kernel are.
    """

    values: Image = image(doc="The image.")
    weights: tuple[tuple[float, ...], ...] = param(
        doc="Rows of weights, from north to south and west to east; odd numbers of rows and columns.",
        unit="1",
        min_length=1,
        example=((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0)),
    )
    normalize: bool = param(False, doc="Divide by the sum of the weights, for a weighted mean.")
    bandwise = True

    def check(self) -> None:
        """A full rectangle of odd sides, and a sum to divide by."""
        rows, cols = self._shape()
        if any(len(row) != cols for row in self.weights):
            raise ParameterError("convolve(): the rows of the kernel differ in length.")
        if rows % 2 == 0 or cols % 2 == 0:
            raise ParameterError(
                f"convolve(): a kernel of {rows} × {cols} has no middle.",
                hint="Use odd numbers of rows and columns.",
            )
        if max(rows, cols) > LARGEST:
            raise ParameterError(
                f"convolve(): a kernel of {rows} × {cols} is too large.",
                hint=f"At most {LARGEST} × {LARGEST}; resample the image or use focal_mean.",
            )
        if self.normalize and sum(map(sum, self.weights)) == 0:
            raise ParameterError("convolve(): the weights sum up to 0 and cannot be normalised.")

    def margin(self, grid: Grid) -> int:
        """Half the kernel's longer side."""
        return max(self._shape()) // 2

    def effort(self, grid: Grid) -> float:
        """One product and sum a weight."""
        rows, cols = self._shape()
        return float(rows * cols)

    def profile(self, *inputs: Profile) -> Profile:
        """The same bands as floats."""
        return Profile(inputs[0].names, float_dtype(inputs[0]))

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Add weighted, shifted copies in a fixed order, in float64."""
        rows, cols = self._shape()
        margin = self.margin(grid)
        around = values.fill(grid.rows + 2 * margin, grid.cols + 2 * margin)
        top, left = margin - rows // 2, margin - cols // 2
        total = np.zeros((values.bands, *grid.shape))
        term = np.empty_like(total)
        with np.errstate(all="ignore"):
            for i, row in enumerate(self.weights, top):
                for j, weight in enumerate(row, left):
                    if weight == 0:
                        continue
                    part = around.data[:, i : i + grid.rows, j : j + grid.cols]
                    np.multiply(part, weight, out=term, casting="unsafe")
                    total += term
            if self.normalize:
                total /= sum(map(sum, self.weights))
            result = total.astype(dtype, copy=False)
        under = around.valid[:, top : around.valid.shape[1] - top, left : around.valid.shape[2] - left]
        return Block.of(result, eroded(under, rows // 2, cols // 2))

    def _shape(self) -> tuple[int, int]:
        return len(self.weights), len(self.weights[0])
