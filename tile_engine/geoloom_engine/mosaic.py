"""Many items become one block: each statistic as something that is fed block after block.

All work band by band: of each pixel and band those items count that are valid there.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Block, Mask, everywhere
from geoloom.loops import array, compiled
from geoloom.ops.composite import Composite, Reduction

Floats = npt.NDArray[np.float64]


class Reducer(Protocol):
    """Is fed with items' blocks, (bands, rows, cols) each, in their order."""

    @property
    def full(self) -> bool:
        """Whether no further item can change the result."""
        ...

    def add(self, block: Block) -> None:
        """Take an item into account."""
        ...

    def result(self) -> Block:
        """What was made of all items so far."""
        ...


def reducer(op: Reduction, bands: int, shape: tuple[int, int], dtype: str, items: int) -> Reducer:
    """What makes the result of a reduction.

    Parameters
    ----------
    bands, shape, dtype
        Of the result: how many, (rows, cols), and numpy's name.
    items
        How many will be added at most.
    """
    if not isinstance(op, Composite):
        return Best(bands, shape, dtype)
    if op.how in ("first", "last"):
        return First(bands, shape, dtype)
    if op.how in ("min", "max"):
        return Extreme(bands, shape, dtype, np.minimum if op.how == "min" else np.maximum)
    if op.how == "median":
        return Median(bands, shape, dtype, items)
    return Moments(bands, shape, dtype, op.how)


class First:
    """The first valid value."""

    def __init__(self, bands: int, shape: tuple[int, int], dtype: str) -> None:
        self._data = np.zeros((bands, *shape), dtype)
        self._valid: Mask = np.zeros((bands, *shape), np.bool_)
        self.full = False
        self._begun = False

    full: bool

    def add(self, block: Block) -> None:
        """Fill what is not filled yet."""
        if not self._begun:
            self._begun = True
            self._data[...] = block.data
            self._valid[...] = block.valid
        else:
            new = block.valid & ~self._valid
            np.copyto(self._data, block.data, where=new)
            self._valid |= new
        self.full = bool(self._valid.all())

    def empty(self) -> Mask:
        """Where some band is not filled yet, (rows, cols)."""
        found: Mask = ~self._valid.all(axis=0)
        return found

    def result(self) -> Block:
        """The values that were found."""
        return Block(self._data, _shared(self._valid))


class Extreme:
    """The smallest or the largest valid value."""

    full = False

    def __init__(self, bands: int, shape: tuple[int, int], dtype: str, choose: np.ufunc) -> None:
        self._data = np.zeros((bands, *shape), dtype)
        self._valid: Mask = np.zeros((bands, *shape), np.bool_)
        self._choose = choose

    def add(self, block: Block) -> None:
        """Compare where there is a value already, take it where there is none."""
        data = np.broadcast_to(block.data, self._data.shape)
        valid = np.broadcast_to(block.valid, self._valid.shape)
        self._choose(self._data, data, out=self._data, where=valid & self._valid)
        np.copyto(self._data, data, where=valid & ~self._valid)
        self._valid |= valid

    def result(self) -> Block:
        """The values that were found."""
        return Block(self._data, _shared(self._valid))


class Moments:
    """Number, mean or standard deviation of the valid values (Welford 1962, one item after the other)."""

    full = False

    def __init__(self, bands: int, shape: tuple[int, int], dtype: str, how: str) -> None:
        self._how, self._dtype = how, dtype
        self._count = np.zeros((bands, *shape), np.int32)
        self._mean: Floats = np.zeros((bands, *shape) if how != "count" else (0, 0, 0))
        self._squares: Floats = np.zeros((bands, *shape) if how == "std" else (0, 0, 0))

    def add(self, block: Block) -> None:
        """Count, and move mean and squares towards the values."""
        valid = np.broadcast_to(block.valid, self._count.shape)
        self._count += valid
        if self._how == "count":
            return
        away = np.where(valid, block.data - self._mean, 0.0)
        self._mean += away / np.maximum(self._count, 1)
        if self._how == "std":
            self._squares += away * np.where(valid, block.data - self._mean, 0.0)

    def result(self) -> Block:
        """The statistic, invalid where nothing was valid."""
        valid = self._count > 0
        if self._how == "count":
            data: Array = self._count
        elif self._how == "mean":
            data = self._mean
        else:
            data = np.sqrt(self._squares / np.maximum(self._count, 1))
        return Block.of(data.astype(self._dtype), _shared(valid))


class Median:
    """The middle of the valid values; of an even number, the mean of the middle two."""

    full = False

    def __init__(self, bands: int, shape: tuple[int, int], dtype: str, items: int) -> None:
        self._shape, self._dtype, self._items = (bands, *shape), dtype, items
        self._stack: Array | None = None
        self._valid: Mask = np.zeros((0, 0), np.bool_)
        self._added = 0

    def add(self, block: Block) -> None:
        """Keep the item's values beside those of the others."""
        pixels = int(np.prod(self._shape))
        if self._stack is None:
            self._stack = np.empty((self._items, pixels), _sortable(block.data.dtype))
            self._valid = np.empty((self._items, pixels), np.bool_)
        self._stack[self._added].reshape(self._shape)[...] = block.data
        self._valid[self._added].reshape(self._shape)[...] = block.valid
        self._added += 1

    def result(self) -> Block:
        """The medians."""
        out = np.zeros(int(np.prod(self._shape)), self._dtype)
        valid = np.zeros(out.shape, np.bool_)
        if self._stack is not None:
            name = str(self._stack.dtype)
            median = compiled(_medians, f"{name} {self._dtype}", lambda: _median_types(name, self._dtype))
            median(self._stack[: self._added], self._valid[: self._added], out, valid)
        return Block.of(out.reshape(self._shape), _shared(valid.reshape(self._shape)))


class Best:
    """The values of the item with the highest score, which is the last band of each block."""

    full = False

    def __init__(self, bands: int, shape: tuple[int, int], dtype: str) -> None:
        self._data = np.zeros((bands, *shape), dtype)
        self._valid: Mask = np.zeros((bands, *shape), np.bool_)
        self._score: Floats = np.full((bands, *shape), -np.inf)

    def add(self, block: Block) -> None:
        """Take the values where the score is higher than that of all items before."""
        shape = (block.bands, *self._data.shape[1:])
        data, valid = np.broadcast_to(block.data, shape), np.broadcast_to(block.valid, shape)
        better = valid[:-1] & valid[-1:] & (data[-1:] > self._score)
        np.copyto(self._score, data[-1:], where=better)
        np.copyto(self._data, data[:-1], where=better, casting="unsafe")
        self._valid |= better

    def result(self) -> Block:
        """The values that were found."""
        return Block(self._data, _shared(self._valid))


def _shared(valid: Mask) -> Mask:
    """One validity for all bands where they have the same."""
    first = valid[:1]
    if valid.shape[0] > 1 and not (valid == first).all():
        return valid
    return np.broadcast_to(np.True_, first.shape) if everywhere(first) else first


def _sortable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def _medians(stack: Any, valid: Any, out: Any, there: Any) -> None:
    """The median of the valid values of each column of (items, pixels).

    A part of each row at a time, so that the values of its pixels come from memory side by side. The middle
    is found by C. A. R. Hoare's selection ("Find", Communications of the ACM 4 (1961), 321), without sorting.
    """
    items, pixels = stack.shape
    values = np.empty((_PART, items), stack.dtype)
    counts = np.empty(_PART, np.int64)
    for start in range(0, pixels, _PART):
        size = min(_PART, pixels - start)
        counts[:] = 0
        for item in range(items):
            for i in range(size):
                if valid[item, start + i]:
                    values[i, counts[i]] = stack[item, start + i]
                    counts[i] += 1
        for i in range(size):
            number = counts[i]
            if number == 0:
                continue
            there[start + i] = True
            half = number // 2
            low, high = 0, number - 1
            while low < high:
                pivot = values[i, half]
                left, right = low, high
                while left <= right:
                    while values[i, left] < pivot:
                        left += 1
                    while pivot < values[i, right]:
                        right -= 1
                    if left <= right:
                        values[i, left], values[i, right] = values[i, right], values[i, left]
                        left += 1
                        right -= 1
                if right < half:
                    low = left
                if half < left:
                    high = right
            middle = float(values[i, half])
            if number % 2 == 0:
                below = values[i, 0]
                for k in range(1, half):
                    below = max(below, values[i, k])
                middle = (float(below) + middle) / 2.0
            out[start + i] = middle


_PART = 64


def _median_types(dtype: str, out: str) -> tuple[Any, ...]:
    return array(dtype, 2), array("bool", 2), array(out, 1, written=True), array("bool", 1, written=True)
