"""What ops have in common that compute each pixel from the same pixel of their inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.loops import array, compiled
from geoloom.op import Image, Op, Profile, image
from geoloom.profile import combined_names, float_dtype, is_float


class Unary(Op):
    """One image in, as many bands out."""

    values: Image = image(doc="The image.")
    bandwise = True
    pointwise = True

    def profile(self, *inputs: Profile) -> Profile:
        """The same bands in the dtype of `result_dtype`."""
        one, unit = inputs[0], self.output.unit
        return Profile(one.names, self.result_dtype(one), unit=one.unit if unit == "same" else unit)

    def result_dtype(self, one: Profile) -> str:
        """The dtype of the result: of functions float32, or float64 for float64."""
        return float_dtype(one)


class Function(Unary):
    """A numpy function of one image."""

    function = True

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """The numpy function, computed in the dtype of the result."""
        return applied(getattr(np, str(self.ufunc)), dtype, values)


class Binary(Op):
    """Two images combined band by band; one band combines with any number of bands."""

    values: Image = image(doc="The first image.")
    other: Image = image(doc="The second image, or a number.")
    bandwise = True
    pointwise = True

    def profile(self, *inputs: Profile) -> Profile:
        """The combined bands in the dtype of `result_dtype`."""
        one, other = inputs
        names = combined_names(self.name, one, other)
        return Profile(names, self.result_dtype(one, other), unit=self.result_unit(one, other))

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """The dtype of the result: of functions float32, or float64 for float64."""
        return float_dtype(one, other)

    def result_unit(self, one: Profile, other: Profile) -> str | None:
        """The unit of the result, if known."""
        return None


def applied(function: Callable[..., Array], dtype: np.dtype[Any], *blocks: Block) -> Array:
    """A numpy function of blocks, computed in a dtype.

    Numbers are cast beforehand: beside one of another dtype numpy would copy whole arrays. Sums,
    differences, products and quotients of two bands of small integers, which numpy casts piece by
    piece, are loops: 10 µs instead of 32 for a difference of 256² pixels.
    """
    found = looped(function, dtype, blocks[0], blocks[-1])
    if found is not None:
        return found[0]
    arrays = [one.data.astype(dtype) if one.data.size == 1 else one.data for one in blocks]
    return function(*arrays, dtype=dtype, casting="unsafe")


def looped(
    function: Callable[..., Array], dtype: np.dtype[Any], one: Block, other: Block
) -> tuple[Array, bool] | None:
    """The same by a loop, and whether all of it is finite; None if numpy is as quick."""
    a, b = one.data, other.data
    if a.size == 1 or a.shape != b.shape or a.dtype != b.dtype:
        return None
    # By their letters: the names of dtypes are put together each time they are asked for.
    loop = _loop(function, a.dtype.char, dtype.char)
    if loop is None:
        return None
    out = np.empty(a.shape, dtype)
    return out, loop(np.ascontiguousarray(a), np.ascontiguousarray(b), out)


def _added(a: Any, b: Any, out: Any) -> bool:
    bands, rows, cols = out.shape
    for band in range(bands):
        for row in range(rows):
            for col in range(cols):
                out[band, row, col] = np.int32(a[band, row, col]) + np.int32(b[band, row, col])
    return True


def _subtracted(a: Any, b: Any, out: Any) -> bool:
    bands, rows, cols = out.shape
    for band in range(bands):
        for row in range(rows):
            for col in range(cols):
                out[band, row, col] = np.int32(a[band, row, col]) - np.int32(b[band, row, col])
    return True


def _multiplied(a: Any, b: Any, out: Any) -> bool:
    bands, rows, cols = out.shape
    for band in range(bands):
        for row in range(rows):
            for col in range(cols):
                out[band, row, col] = np.int32(a[band, row, col]) * np.int32(b[band, row, col])
    return True


def _divided(a: Any, b: Any, out: Any) -> Any:
    bands, rows, cols = out.shape
    odd = False
    for band in range(bands):
        for row in range(rows):
            for col in range(cols):
                quotient = np.float32(a[band, row, col]) / np.float32(b[band, row, col])
                out[band, row, col] = quotient
                odd |= quotient - quotient != 0
    return not odd


_LOOPS: dict[tuple[Callable[..., Array], str], Callable[..., bool]] = {
    (np.add, "int32"): _added,
    (np.subtract, "int32"): _subtracted,
    (np.multiply, "int32"): _multiplied,
    (np.divide, "float32"): _divided,
}
_CAST = {"int32": ("uint8", "uint16", "int16"), "float32": ("uint8", "uint16", "int16", "int32")}
"""Dtypes that a loop casts to a dtype; these are compiled before anybody waits for them."""


@cache
def _loop(function: Callable[..., Array], given: str, dtype: str) -> Any:
    """The loop of a function for pairs of a dtype; None if numpy is as quick."""
    source, result = np.dtype(given).name, np.dtype(dtype).name
    loop = _LOOPS.get((function, result))
    if loop is None or source not in _CAST[result]:
        return None
    return compiled(
        loop, source, lambda: (array(source, 3), array(source, 3), array(result, 3, written=True))
    )


def common_unit(*profiles: Profile) -> str | None:
    """The unit that all images share, if they do; numbers have any unit."""
    units = {one.unit for one in profiles if one.constant is None}
    return units.pop() if len(units) == 1 else None


def between_classes(asked: str | None) -> str:
    """The resampling of images whose values stand for themselves: between two there is no third."""
    return "mode" if asked == "mode" else "nearest"


def whole_numbers(op_name: str, *profiles: Profile) -> None:
    """Raises ParameterError unless all images hold whole numbers or bools."""
    for one in profiles:
        if is_float(one):
            raise ParameterError(
                f"{op_name} needs whole numbers, this image holds {one.dtype}.",
                hint="Bits belong to quality flags and masks; compare (image > 0.5) to get a mask.",
            )
