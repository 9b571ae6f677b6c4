"""Block: what an op computes on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Pixel values and which of them are valid; invalid pixels hold 0.

    A shape of (1, 1) stands for "the same everywhere" (constants) and broadcasts.

    Parameters
    ----------
    data
        (bands, rows, cols).
    valid
        bool, (1, rows, cols) for all bands or (bands, rows, cols).
    """

    data: Array
    valid: Mask

    @property
    def bands(self) -> int:
        """How many bands."""
        return int(self.data.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return int(self.data.shape[1]), int(self.data.shape[2])

    def crop(self, window: tuple[slice, slice]) -> Block:
        """A view of some rows and columns; what is the same everywhere stays as it is."""
        rows, cols = window
        data = self.data if self.shape == (1, 1) else self.data[:, rows, cols]
        valid = self.valid if self.valid.shape[1:] == (1, 1) else self.valid[:, rows, cols]
        return Block(data, valid)

    def pick(self, bands: tuple[int, ...]) -> Block:
        """Some bands, in the order given; a view where they stand side by side."""
        if bands == tuple(range(self.bands)):
            return self
        side_by_side = bands == tuple(range(bands[0], bands[0] + len(bands)))
        index = slice(bands[0], bands[0] + len(bands)) if side_by_side else list(bands)
        return Block(self.data[index], self.valid if self.valid.shape[0] == 1 else self.valid[index])

    def fill(self, rows: int, cols: int) -> Block:
        """The block with broadcasting rows and columns written out; one truth for all is not copied."""
        if self.data.shape[1:] == (rows, cols) and self.valid.shape[1:] == (rows, cols):
            return self
        return Block(
            np.ascontiguousarray(np.broadcast_to(self.data, (self.bands, rows, cols))),
            np.broadcast_to(self.valid, (self.valid.shape[0], rows, cols)),
        )

    @staticmethod
    def of(data: Array, valid: Mask) -> Block:
        """A block that keeps the promise: non-finite values become invalid, invalid data 0.

        `data` is changed in place where it is writable, so hand over an array of your own.
        """
        if data.ndim == 2:
            data = data[np.newaxis]
        if valid.ndim == 2:
            valid = valid[np.newaxis]
        if data.dtype.kind == "f":
            finite = np.isfinite(data)
            if not finite.all():
                valid = valid & finite
        if not everywhere(valid):
            if data.shape[1:] != valid.shape[1:]:
                shape = np.broadcast_shapes(data.shape, valid.shape)
                data = np.broadcast_to(data, (data.shape[0], *shape[1:]))
            data = cleared(data, valid, out=data if data.flags.writeable else None)
        return Block(data, valid)

    @staticmethod
    def empty(bands: int, rows: int, cols: int, dtype: npt.DTypeLike) -> Block:
        """A block without one valid pixel."""
        return Block(np.zeros((bands, rows, cols), dtype), np.zeros((1, rows, cols), np.bool_))


def cleared(data: Array, valid: Mask, out: Array | None = None) -> Array:
    """The data with 0 where they are invalid, in `out` (may be `data` itself) or a new array.

    The bits are multiplied by `valid`: many times as fast as choosing, and 0 whatever was there.
    """
    bits = f"u{data.dtype.itemsize}"
    found: Array = np.multiply(data.view(bits), valid, out=None if out is None else out.view(bits))
    return found.view(data.dtype)


def everywhere(valid: Mask) -> bool:
    """Whether all pixels are valid; known at once of one truth that stands for all pixels of a band."""
    if _is_one(valid) and valid.size:
        if valid.shape[0] == 1 or valid.strides[0] == 0:
            return bool(valid.item(0))
        valid = valid[:, 0, 0]
    return bool(np.logical_and.reduce(valid, axis=None))


def _is_one(valid: Mask) -> bool:
    """Whether one value stands for all pixels of a band."""
    return valid.strides[-2:] == (0, 0) or valid.size == 1


def valid_in_all(blocks: tuple[Block, ...]) -> Mask:
    """Where every one of the blocks is valid."""
    return joint(*(block.valid for block in blocks))


def joint(*masks: Mask) -> Mask:
    """Where all of some masks are true.

    One truth for all pixels, as of a number or of an image without gaps, would cost ten times as much
    to combine as any other, and is left out.
    """
    gaps = [one for one in masks if not _is_one(one) or not everywhere(one)]
    found = gaps[0] if gaps else max(masks, key=lambda one: one.size)
    for one in gaps[1:]:
        if one is not found:
            found = found & one
    return found


def eroded(valid: Mask, up: int, side: int | None = None) -> Mask:
    """Valid only where all pixels up to so many away are; the result is smaller by as many.

    Parameters
    ----------
    valid
        (bands, rows, cols).
    up, side
        Pixels north and south, and west and east (the same unless given).
    """
    side = up if side is None else side
    high, wide = 2 * up + 1, 2 * side + 1
    if everywhere(valid):
        return np.broadcast_to(np.True_, (valid.shape[0], valid.shape[1] - 2 * up, valid.shape[2] - 2 * side))
    invalid = np.zeros((valid.shape[0], valid.shape[1] + 1, valid.shape[2] + 1), np.int32)
    np.cumsum(np.cumsum(~valid, axis=1, dtype=np.int32), axis=2, out=invalid[:, 1:, 1:])
    count = invalid[:, high:, wide:] - invalid[:, :-high, wide:] - invalid[:, high:, :-wide]
    count += invalid[:, :-high, :-wide]
    found: Mask = count == 0
    return found
