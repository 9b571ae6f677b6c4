"""Coarse levels of sources that have none, from the pixels below them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Mask
from geoloom_engine.cache import Decoded
from geoloom_engine.readers.source import Window

_SMALLEST = 256

Edges = npt.NDArray[np.int64]


def sizes(width: int, height: int) -> tuple[tuple[int, int], ...]:
    """(width, height) of each coarse level: half the one before, until it would fit a tile."""
    found = []
    factor = 2
    while max(width, height) * 2 > _SMALLEST * factor and min(width, height) >= factor:
        found.append((-(-width // factor), -(-height // factor)))
        factor *= 2
    return tuple(found)


class Reduction:
    """A rectangle of a coarse level in the making; pixels below it come strip by strip, from the top.

    Each coarse pixel covers the fine ones from ``round(i × fine / coarse)`` on, so that it lies where
    the map puts it though the sizes do not divide.

    Parameters
    ----------
    fine, coarse
        (width, height) of the full resolution and of the level.
    part
        The rectangle of the level.
    classes
        Take the middle pixel instead of the mean.
    """

    def __init__(self, fine: tuple[int, int], coarse: tuple[int, int], part: Window, classes: bool) -> None:
        self._x = _edges(fine[0], coarse[0], part.x, part.width)
        self._y = _edges(fine[1], coarse[1], part.y, part.height)
        self._classes = classes
        self._shape = (part.height, part.width)
        self._sum = np.zeros(self._shape)
        self._count = np.zeros(self._shape)
        self._picked: list[Array] = []

    @property
    def below(self) -> Window:
        """The fine pixels it is made of."""
        x, y = int(self._x[0]), int(self._y[0])
        return Window(x, y, int(self._x[-1]) - x, int(self._y[-1]) - y)

    def add(self, strip: Window, data: Array, valid: Mask | None) -> None:
        """Take in some rows, as wide as `below`; what is not valid is 0."""
        first = int(np.searchsorted(self._y, strip.y, "right")) - 1
        last = int(np.searchsorted(self._y, strip.y + strip.height, "left")) - 1
        columns = self._x[:-1] - self._x[0]
        if self._classes:
            middle = (self._y[first : last + 1] + self._y[first + 1 : last + 2]) // 2 - strip.y
            inside = np.flatnonzero((middle >= 0) & (middle < strip.height))
            across = (self._x[:-1] + self._x[1:]) // 2 - self._x[0]
            picked = np.ix_(middle[inside], across)
            self._picked.append(data[picked])
            self._count[first + inside] = 1.0 if valid is None else valid[picked]
            return
        cuts = np.maximum(self._y[first : last + 1], strip.y) - strip.y
        rows = slice(first, last + 1)
        wide = np.add.reduceat(data, columns, axis=1, dtype=np.float64)
        self._sum[rows] += np.add.reduceat(wide, cuts, axis=0)
        if valid is None:
            tall = np.diff(np.append(cuts, strip.height)).astype(np.float64)
            self._count[rows] += tall[:, np.newaxis] * np.diff(self._x)
        else:
            counted = np.add.reduceat(valid, columns, axis=1, dtype=np.int32)
            self._count[rows] += np.add.reduceat(counted, cuts, axis=0)

    def result(self, dtype: np.dtype[Any]) -> Decoded:
        """The rectangle, once all rows are in."""
        if self._classes:
            valid: Mask = self._count > 0
            data = np.ascontiguousarray(np.concatenate(self._picked))
        else:
            whole = np.diff(self._y)[:, np.newaxis] * np.diff(self._x)
            valid = self._count * 2 >= whole
            mean = np.divide(self._sum, self._count, out=np.zeros(self._shape), where=self._count > 0)
            if dtype.kind in "iu":
                mean = np.trunc(mean + np.copysign(0.5, mean))
            data = mean.astype(dtype)
        data[~valid] = 0
        return Decoded(data, None if valid.all() else valid)


def _edges(fine: int, coarse: int, first: int, count: int) -> Edges:
    """The fine pixels at which the coarse ones from `first` on begin, and where the last one ends."""
    return np.floor(np.arange(first, first + count + 1) * (fine / coarse) + 0.5).astype(np.int64)
