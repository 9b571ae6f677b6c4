"""Functions of each pixel, under numpy's names; not finite results are invalid."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.op import Output, Profile, op, param
from geoloom.ops.elementwise import Binary, Function, Unary, applied
from geoloom.profile import float_dtype, integer_dtype, integer_range, is_float


@op
class Absolute(Unary):
    """The image without sign."""

    function = True
    symbol = "abs"
    ufunc = "absolute"

    output = Output(unit="same")

    def result_dtype(self, one: Profile) -> str:
        """As the image where nothing is negative, else the dtype that holds the largest result."""
        if is_float(one):
            return float_dtype(one)
        low, high = integer_range(one)
        if low >= 0:
            return one.dtype
        found = integer_dtype(0, max(-low, high))
        return "int64" if found == "float64" else found

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Without sign; the smallest int64 has no opposite and is invalid."""
        result = np.absolute(values.data.astype(dtype, copy=False))
        valid = values.valid
        if values.data.dtype == np.int64:
            valid = valid & (result >= 0)
        return Block.of(result, valid)


@op
class Sqrt(Function):
    """Square root; invalid below 0."""

    ufunc = "sqrt"


@op
class Exp(Function):
    """e to the power of the image."""

    ufunc = "exp"


@op
class Log(Function):
    """Natural logarithm; invalid at and below 0."""

    ufunc = "log"


@op
class Log10(Function):
    """Logarithm to the base 10; invalid at and below 0."""

    ufunc = "log10"


@op
class Log2(Function):
    """Logarithm to the base 2; invalid at and below 0."""

    ufunc = "log2"


@op
class Log1p(Function):
    """Natural logarithm of 1 + the image, exact also near 0; invalid at and below −1."""

    ufunc = "log1p"


@op
class Expm1(Function):
    """e to the power of the image − 1, exact also near 0."""

    ufunc = "expm1"


@op
class Sin(Function):
    """Sine of an angle in radians."""

    ufunc = "sin"


@op
class Cos(Function):
    """Cosine of an angle in radians."""

    ufunc = "cos"


@op
class Tan(Function):
    """Tangent of an angle in radians."""

    ufunc = "tan"


@op
class Arcsin(Function):
    """Angle in radians (−π/2 to π/2) whose sine is the image; invalid beyond ±1."""

    ufunc = "arcsin"
    output = Output(unit="rad")


@op
class Arccos(Function):
    """Angle in radians (0 to π) whose cosine is the image; invalid beyond ±1."""

    ufunc = "arccos"
    output = Output(unit="rad")


@op
class Arctan(Function):
    """Angle in radians (−π/2 to π/2) whose tangent is the image."""

    ufunc = "arctan"
    output = Output(unit="rad")


@op
class Tanh(Function):
    """Hyperbolic tangent."""

    ufunc = "tanh"


@op
class Degrees(Function):
    """Radians as degrees."""

    ufunc = "degrees"
    output = Output(unit="degree")


@op
class Radians(Function):
    """Degrees as radians."""

    ufunc = "radians"
    output = Output(unit="rad")


class TwoImages(Binary):
    """A numpy function of two images."""

    function = True

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """The numpy function, computed in the dtype of the result."""
        return applied(getattr(np, str(self.ufunc)), dtype, values, other)


@op
class Arctan2(TwoImages):
    """Angle in radians (−π to π) of the point whose y is the first image and whose x the second."""

    ufunc = "arctan2"

    def result_unit(self, one: Profile, other: Profile) -> str | None:
        """Radians."""
        return "rad"


@op
class Hypot(TwoImages):
    """Length of the hypotenuse: √(a² + b²)."""

    ufunc = "hypot"


class Rounding(Unary):
    """A numpy function to whole numbers; images of whole numbers stay as they are."""

    function = True

    def profile(self, *inputs: Profile) -> Profile:
        """The same bands, unit and dtype."""
        one = inputs[0]
        return Profile(one.names, self.result_dtype(one), unit=one.unit)

    def result_dtype(self, one: Profile) -> str:
        """As the image."""
        return float_dtype(one) if is_float(one) else one.dtype

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block | Array:
        """Round."""
        if dtype.kind != "f":
            return values
        result: Array = getattr(np, str(self.ufunc))(values.data, dtype=dtype, casting="unsafe")
        return result


@op
class Floor(Rounding):
    """The next whole number below; the dtype stays."""

    ufunc = "floor"


@op
class Ceil(Rounding):
    """The next whole number above; the dtype stays."""

    ufunc = "ceil"


@op
class Trunc(Rounding):
    """The next whole number towards 0; the dtype stays."""

    ufunc = "trunc"


@op
class Round(Rounding):
    """The nearest number of so many decimals, halves to the even one as in numpy.

    The dtype stays, but whole numbers rounded to tens or hundreds become int32 or more.
    """

    decimals: int = param(
        0,
        ge=-18,
        le=18,
        doc="Digits behind the point; negative ones round to tens, hundreds and so on.",
        unit="1",
    )
    ufunc = "rint"

    def result_dtype(self, one: Profile) -> str:
        """As the image, or what holds the next ten above."""
        if is_float(one) or self.decimals >= 0:
            return super().result_dtype(one)
        (low, high), step = integer_range(one), 10**-self.decimals
        return integer_dtype(low - step, high + step)

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block | Array:
        """Round; whole numbers only if decimals are negative."""
        if dtype.kind != "f" and self.decimals >= 0:
            return values
        with np.errstate(all="ignore"):
            return np.round(values.data.astype(dtype, copy=False), self.decimals)


@op
class Sign(Rounding):
    """−1, 0 or 1 by the sign of the image; the dtype stays."""

    ufunc = "sign"

    def profile(self, *inputs: Profile) -> Profile:
        """The same bands and dtype."""
        one = inputs[0]
        return Profile(one.names, self.result_dtype(one), range=(-1.0, 1.0))

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block | Array:
        """Sign."""
        if dtype.kind == "b":
            return values
        return np.sign(values.data.astype(dtype, copy=False))
