"""Exchange values for others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Block, Mask, joint
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Image, Number, Op, Profile, image, op, param
from geoloom.ops.elementwise import between_classes

Numbers = tuple[int | float, ...]


def among(data: Array, keys: Numbers) -> Mask:
    """Whether each value is one of ascending keys; by a table for 8- and 16-bit integers."""
    if _is_small(data.dtype):
        found: Mask = np.take(_table(data.dtype, keys)[1], data.view(f"u{data.dtype.itemsize}"))
        return found
    return _searched(data, keys)[1]


def exchanged(data: Array, keys: Numbers, new: Numbers, dtype: np.dtype[Any]) -> tuple[Array, Mask]:
    """The new value of each of ascending keys (anything for others), and whether it is one of them."""
    if _is_small(data.dtype):
        bits = data.view(f"u{data.dtype.itemsize}")
        return np.take(_new_table(data.dtype, keys, new, dtype), bits), among(data, keys)
    index, found = _searched(data, keys)
    return np.take(np.array(new, dtype), index), found


def _is_small(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize <= 2)


def _searched(data: Array, keys: Numbers) -> tuple[npt.NDArray[np.intp], Mask]:
    fitting, index_of = [], []
    for i, key in enumerate(keys):
        if data.dtype.kind == "f":
            fitting.append(key)
            index_of.append(i)
        elif key == int(key) and np.iinfo(data.dtype).min <= key <= np.iinfo(data.dtype).max:
            fitting.append(int(key))
            index_of.append(i)
    if not fitting:
        return np.zeros(data.shape, np.intp), np.zeros(data.shape, np.bool_)
    with np.errstate(over="ignore"):
        sorted_keys = np.array(fitting, data.dtype)
    place = np.searchsorted(sorted_keys, data)
    np.minimum(place, len(fitting) - 1, out=place)
    found = sorted_keys[place] == data
    return np.where(found, np.array(index_of, np.intp)[place], 0), found


@lru_cache(maxsize=64)
def _table(dtype: np.dtype[Any], keys: Numbers) -> tuple[npt.NDArray[np.intp], Mask]:
    """Place among the keys, and whether it is one, of every value by its bits read as unsigned."""
    bits = np.arange(256**dtype.itemsize, dtype=f"u{dtype.itemsize}")
    values = (bits != 0).astype(np.int8) if dtype.kind == "b" else bits.view(dtype)
    index, found = _searched(values, keys)
    index.setflags(write=False)
    found.setflags(write=False)
    return index, found


@lru_cache(maxsize=64)
def _new_table(dtype: np.dtype[Any], keys: Numbers, new: Numbers, to: np.dtype[Any]) -> Array:
    table = np.array(new, to)[_table(dtype, keys)[0]]
    table.setflags(write=False)
    return table


def _pairs(value: Any) -> Any:
    """A dict as (old, new) by old value."""
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, tuple | list) and all(
        isinstance(one, tuple | list) and len(one) == 2 and isinstance(one[0], int | float) for one in value
    ):
        return tuple(sorted(((one[0], one[1]) for one in value), key=lambda one: one[0]))
    return value


@op
class Remap(Op):
    """Other values for some values: ``remap({1: 10, 2: 20})``.

    Values that are not named become `default`, or invalid without one. The result has the smallest
    integer dtype that holds the new values, or float32.
    """

    values: Image = image(doc="The image.")
    pairs: tuple[tuple[Number, Number], ...] = param(
        doc="New value of each old one.",
        unit="same as the image",
        coerce=_pairs,
        min_length=1,
        example=((1, 10), (2, 20)),
    )
    default: Number | None = param(
        None, doc="New value of all others; None makes them invalid.", unit="same as the image"
    )
    bandwise = True
    pointwise = True

    def check(self) -> None:
        """Each old value once."""
        old = [one for one, _ in self.pairs]
        if len(set(old)) != len(old):
            raise ParameterError("remap(): an old value is given twice.")

    def sampling(self, asked: str | None) -> str | None:
        """Nearest or mode: a value between two classes is no class."""
        return between_classes(asked)

    def profile(self, *inputs: Profile) -> Profile:
        """The same bands, with the new values."""
        new = self._new()
        return Profile(inputs[0].names, self._dtype().name, range=(float(min(new)), float(max(new))))

    def effort(self, grid: Grid) -> float:
        """Each pixel is looked up."""
        return 4.0

    def kernel(self, values: Block, grid: Grid) -> Block:
        """Look the new values up."""
        old, new = zip(*self.pairs, strict=True)
        data, found = exchanged(values.data, old, new, self._dtype())
        if self.default is None:
            return Block.of(data, joint(values.valid, found))
        data[~found] = self.default
        return Block.of(data, values.valid)

    def _new(self) -> list[int | float]:
        return [new for _, new in self.pairs] + ([] if self.default is None else [self.default])

    def _dtype(self) -> np.dtype[Any]:
        new = self._new()
        if any(isinstance(one, float) for one in new):
            return np.dtype(np.float32)
        found = np.result_type(np.min_scalar_type(min(new)), np.min_scalar_type(max(new)))
        return np.dtype(np.float64) if found.kind == "f" else found
