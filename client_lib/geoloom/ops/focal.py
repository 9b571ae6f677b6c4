"""Statistics of the pixels around each pixel.

A pixel's result must not depend on the window it is computed in, to the last bit. So sums are taken
in an order that belongs to the pixel (along each row from the centre outwards, then from north to
south), never by running sums over the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Block, Mask
from geoloom.errors import DemandError, ParameterError
from geoloom.grid import MERCATOR_EXTENT, Grid
from geoloom.op import Image, Op, Profile, image, op, param
from geoloom.ops.sliding_median import sliding_median
from geoloom.profile import float_dtype

Widths = npt.NDArray[np.int32]
REACH = 512
"""Pixels to each side at most."""


class Focal(Op):
    """A statistic of the valid pixels around each pixel; valid where the pixel itself is."""

    values: Image = image(doc="The image.")
    radius: float = param(
        doc="How far the window reaches from the pixel's centre; 1 pixel gives 3 × 3.",
        gt=0,
        example=1.0,
        unit="`unit`",
    )
    unit: Literal["pixel", "m"] = param(
        "pixel", doc='What the radius counts: pixels, or ground metres ("m"), whatever the zoom.'
    )
    shape: Literal["square", "circle"] = param("square", doc="Shape of the window.")
    bandwise = True
    reach: ClassVar[int] = REACH
    sums: ClassVar[int] = 2
    """How often the window is summed up, at most."""

    def check(self) -> None:
        """A radius in pixels is known to fit."""
        if self.unit == "pixel" and self.radius >= self.reach + 1:
            raise ParameterError(
                f"{self.name}(): a radius of {self.radius:g} pixels is too large.",
                hint=f"At most {self.reach}.",
            )

    def margin(self, grid: Grid) -> int:
        """The farthest pixel in the window of any row.

        Raises
        ------
        DemandError
            If that is farther than `reach`.
        """
        width, height = self._reaches(grid)
        margin = int(max(width.max(initial=0), height.max(initial=0)))
        if margin > self.reach:
            raise DemandError(
                f"{self.name}(radius={self.radius:g} m) reaches over {margin} pixels at this resolution; "
                f"at most {self.reach} are allowed.",
                hint="Zoom out, or use a smaller radius.",
            )
        return margin

    def effort(self, grid: Grid) -> float:
        """Sums along rows are shared by the rows of the window, so only its height counts (measured)."""
        return 2.0 * self.sums * (2 * self.margin(grid) + 1)

    def profile(self, *inputs: Profile) -> Profile:
        """The same bands and unit, as floats."""
        source = inputs[0]
        return Profile(source.names, self.result_dtype(source), unit=source.unit)

    def result_dtype(self, source: Profile) -> str:
        """Float32, or float64 for float64."""
        return float_dtype(source)

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """The statistic, band by band."""
        widths = self.widths(grid)
        margin = widths.shape[1] // 2
        around = values.fill(grid.rows + 2 * margin, grid.cols + 2 * margin)
        out = np.empty((values.bands, *grid.shape), dtype)
        for band in range(values.bands):
            valid = around.valid[min(band, around.valid.shape[0] - 1)]
            with np.errstate(all="ignore"):
                out[band] = self.statistic(around.data[band], valid, widths)
        rows, cols = grid.window_in(grid.expand(margin))
        return Block.of(out, around.valid[:, rows, cols])

    def statistic(self, data: Array, valid: Mask, widths: Widths) -> Array:
        """The statistic of one band with margins (rows + 2 m, cols + 2 m), as (rows, cols)."""
        raise NotImplementedError

    def widths(self, grid: Grid) -> Widths:
        """Half-width in pixels of the window's rows, or −1 for none: (rows, 2 · margin + 1)."""
        margin = self.margin(grid)
        offset = np.abs(np.arange(-margin, margin + 1))
        reach_x, reach_y = self._reaches(grid)
        if self.shape == "square":
            found = np.where(offset <= reach_y, reach_x, -1)
        else:
            width, height = self._pixel(grid)
            rest = (self.radius * (1 + 1e-9)) ** 2 - (offset * height) ** 2
            found = np.where(rest >= 0, np.floor(np.sqrt(np.maximum(rest, 0)) / width), -1)
            found = np.where(offset <= reach_y, np.minimum(found, reach_x), -1)
        return np.ascontiguousarray(np.broadcast_to(found, (grid.rows, 2 * margin + 1)), np.int32)

    def _pixel(self, grid: Grid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Width and height of each row's pixels in the radius's unit, (rows, 1) each."""
        if self.unit == "pixel":
            return np.ones((grid.rows, 1)), np.ones((grid.rows, 1))
        return grid.ground_resolution()

    def _reaches(self, grid: Grid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Whole pixels within the radius to the side and up, per row: (rows, 1) each.

        Rows beyond the map's edge hold nothing; theirs are 0, for metres shrink to nothing there.
        """
        width, height = (np.floor(self.radius * (1 + 1e-9) / size) for size in self._pixel(grid))
        if self.unit == "m" and grid.lattice.unit != "metre":
            edge = MERCATOR_EXTENT if grid.lattice.unit == "mercator" else 90.0
            rows = grid.row + np.arange(grid.rows)[:, np.newaxis] + 0.5
            inside = np.abs(grid.lattice.y0 - rows * grid.lattice.dy) <= edge
            width, height = width * inside, height * inside
        return width, height


@op
class FocalMean(Focal):
    """Mean of the valid pixels around each pixel."""

    def statistic(self, data: Array, valid: Mask, widths: Widths) -> Array:
        """Sum over count."""
        total = _sums(data.astype(np.float64), widths)
        return total / _counts(valid, widths)


@op
class FocalStd(Focal):
    """Standard deviation (of the population) of the valid pixels around each pixel."""

    sums = 3

    def statistic(self, data: Array, valid: Mask, widths: Widths) -> Array:
        """Root of the mean square less the squared mean; what is below rounding is 0."""
        numbers = data.astype(np.float64)
        count = _counts(valid, widths)
        mean = _sums(numbers, widths) / count
        square = _sums(numbers * numbers, widths) / count
        variance = square - mean * mean
        variance[variance < count * square * np.finfo(np.float64).eps] = 0
        return np.sqrt(variance)


class Extreme(Focal):
    """The smallest or largest value; the dtype stays."""

    sums = 1
    largest: ClassVar[bool]

    def result_dtype(self, source: Profile) -> str:
        """As the image."""
        return source.dtype

    def statistic(self, data: Array, valid: Mask, widths: Widths) -> Array:
        """In float64, which holds all but 64-bit integers exactly; those stay as they are."""
        whole = data.dtype.kind in "iu" and data.dtype.itemsize == 8
        numbers = data.astype(data.dtype if whole else np.float64)
        if whole:
            ends = np.iinfo(data.dtype)
            numbers[~valid] = ends.min if self.largest else ends.max
        else:
            numbers[~valid] = -math.inf if self.largest else math.inf
        out = np.empty((widths.shape[0], data.shape[1] - widths.shape[1] + 1), numbers.dtype)
        _compiled()["extreme"](numbers, widths, self.largest, out)
        out[~np.isfinite(out)] = 0
        return out


@op
class FocalMin(Extreme):
    """Smallest of the valid pixels around each pixel."""

    largest = False


@op
class FocalMax(Extreme):
    """Largest of the valid pixels around each pixel."""

    largest = True


@op
class FocalMedian(Focal):
    """Median of the valid pixels around each pixel; of an even number, the mean of the middle two."""

    reach = 25

    def effort(self, grid: Grid) -> float:
        """The window's edges are counted, then the median's place is looked for (measured)."""
        return 50.0 + 2.0 * (2 * self.margin(grid) + 1)

    def statistic(self, data: Array, valid: Mask, widths: Widths) -> Array:
        """By counts of ranks that slide along."""
        return sliding_median(data, valid, widths)


def _sums(numbers: npt.NDArray[np.float64], widths: Widths) -> npt.NDArray[np.float64]:
    """Sums over the windows, (rows, cols)."""
    out = np.zeros((widths.shape[0], numbers.shape[1] - widths.shape[1] + 1))
    _compiled()["sums"](numbers, widths, out)
    return out


def _counts(valid: Mask, widths: Widths) -> npt.NDArray[np.float64]:
    """Valid pixels in the windows, (rows, cols) or broadcasting to it; at least 1."""
    if valid.all():
        return (2 * np.maximum(widths, -0.5) + 1).sum(axis=1, keepdims=True)
    counts: npt.NDArray[np.float64] = np.maximum(_sums(valid.astype(np.float64), widths), 1)
    return counts


@cache
def _compiled() -> dict[str, Any]:
    """The loops, compiled when first used and kept on disk."""
    from numba import njit

    def compiled(loop: Callable[..., None]) -> Any:
        try:
            return njit(nogil=True, cache=True)(loop)
        except RuntimeError:  # no folder to keep it in can be written
            return njit(nogil=True)(loop)

    @compiled
    def sums(numbers: Any, widths: Any, out: Any) -> None:
        rows, cols = out.shape
        across = widths.shape[1]
        margin = across // 2
        part = np.empty((margin + 1, cols))
        for source in range(rows + across - 1):
            first, last = max(0, source - across + 1), min(rows, source + 1)
            widest = -1
            for row in range(first, last):
                widest = max(widest, widths[row, source - row])
            for width in range(widest + 1):
                for col in range(cols):
                    if width == 0:
                        part[0, col] = numbers[source, col + margin]
                    else:
                        pair = numbers[source, col + margin - width] + numbers[source, col + margin + width]
                        part[width, col] = part[width - 1, col] + pair
            for row in range(first, last):
                width = widths[row, source - row]
                if width >= 0:
                    for col in range(cols):
                        out[row, col] += part[width, col]

    @compiled
    def extreme(numbers: Any, widths: Any, largest: bool, out: Any) -> None:
        rows, cols = out.shape
        across = widths.shape[1]
        margin = across // 2
        out[:] = numbers[margin : margin + rows, margin : margin + cols]
        part = np.empty((margin + 1, cols), numbers.dtype)
        for source in range(rows + across - 1):
            first, last = max(0, source - across + 1), min(rows, source + 1)
            widest = -1
            for row in range(first, last):
                widest = max(widest, widths[row, source - row])
            for width in range(widest + 1):
                for col in range(cols):
                    west = numbers[source, col + margin - width]
                    east = numbers[source, col + margin + width]
                    best = max(west, east) if largest else min(west, east)
                    if width > 0:
                        before = part[width - 1, col]
                        best = max(before, best) if largest else min(before, best)
                    part[width, col] = best
            for row in range(first, last):
                width = widths[row, source - row]
                if width >= 0:
                    for col in range(cols):
                        if largest:
                            out[row, col] = max(out[row, col], part[width, col])
                        else:
                            out[row, col] = min(out[row, col], part[width, col])

    return {"sums": sums, "extreme": extreme}
