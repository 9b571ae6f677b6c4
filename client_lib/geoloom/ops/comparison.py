"""Comparisons, band by band: exact, and bool.

Different dtypes are compared by value, floats with int64 beyond 2⁵³ as float64. A number such as
0.1 beside a float32 image means the float32 nearest to it, as in numpy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.op import Output, Profile, op
from geoloom.ops.elementwise import Binary, applied, between_classes
from geoloom.profile import is_float


class Comparison(Binary):
    """A numpy comparison of two images."""

    output = Output(dtype="bool", range=(0, 1))

    def profile(self, *inputs: Profile) -> Profile:
        """A bool image."""
        found = super().profile(*inputs)
        return Profile(found.names, "bool", range=(0.0, 1.0))

    def working_dtype(self, *inputs: Profile) -> str:
        """The dtype compared in; any integer dtype stands for "as they are"."""
        if not is_float(*inputs):
            return "int64"
        one, other = inputs
        for image, number in ((one, other), (other, one)):
            if image.dtype in ("float16", "float32") and isinstance(number.constant, float):
                return "float32"
        return "float32" if one.dtype == other.dtype == "float32" else "float64"

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """Compare."""
        compare = getattr(np, str(self.ufunc))
        if dtype.kind == "i":
            result: Array = compare(values.data, other.data)
            return result
        return applied(partial(_compared, compare), dtype, values, other)


def _compared(compare: Any, one: Array, other: Array, dtype: np.dtype[Any], casting: str) -> Array:
    """Compare in a dtype; numpy's own ``dtype`` is that of the result."""
    result: Array = compare(one, other, signature=(dtype, dtype, np.bool_), casting=casting)
    return result


class Equality(Comparison):
    """Equal or not: the values themselves matter, so they are not to be interpolated."""

    def sampling(self, asked: str | None) -> str | None:
        """Nearest or mode: a value between two classes is no class."""
        return between_classes(asked)


@op
class Equal(Equality):
    """True where both images are equal."""

    symbol = "=="
    ufunc = "equal"


@op
class NotEqual(Equality):
    """True where the images differ."""

    symbol = "!="
    ufunc = "not_equal"


@op
class Less(Comparison):
    """True where the first image is less than the second."""

    symbol = "<"
    ufunc = "less"


@op
class LessEqual(Comparison):
    """True where the first image is not greater than the second."""

    symbol = "<="
    ufunc = "less_equal"


@op
class Greater(Comparison):
    """True where the first image is greater than the second."""

    symbol = ">"
    ufunc = "greater"


@op
class GreaterEqual(Comparison):
    """True where the first image is not less than the second."""

    symbol = ">="
    ufunc = "greater_equal"
