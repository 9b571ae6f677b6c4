"""What ops have in common that compute each pixel from the same pixel of their inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.errors import ParameterError
from geoloom.grid import Grid
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

    Numbers are cast beforehand: beside one of another dtype numpy would copy whole arrays.
    """
    arrays = (one.data.astype(dtype) if one.data.size == 1 else one.data for one in blocks)
    return function(*arrays, dtype=dtype, casting="unsafe")


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
