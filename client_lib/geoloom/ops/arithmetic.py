"""Sums, products, quotients and powers, band by band.

Whole numbers never wrap. Sums, differences and products are int32 if every possible result fits,
else int64, else float64; int64 sums stay int64, and a pixel that does not fit even there is
invalid. With a float32 image the result is float32, with a float64 image float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block, Mask, everywhere, joint, valid_in_all
from geoloom.grid import Grid
from geoloom.op import Output, Profile, op
from geoloom.ops.elementwise import Binary, Unary, applied, common_unit, looped
from geoloom.profile import float_dtype, integer_dtype, integer_range, is_float

Range = tuple[int, int]
INT64 = np.dtype(np.int64)
LARGEST_POWER = 64
"""Exponents beyond this give float64 unless the base is −1, 0 or 1."""


@op
class Add(Binary):
    """The sum of two images."""

    symbol = "+"
    ufunc = "add"

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """By the smallest and largest sum possible."""
        if is_float(one, other):
            return float_dtype(one, other)
        (a, b), (c, d) = integer_range(one), integer_range(other)
        return _at_most_int64(a + c, b + d, one, other)

    def result_unit(self, one: Profile, other: Profile) -> str | None:
        """Of both."""
        return common_unit(one, other)

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Sum; invalid where int64 is too small."""
        result = applied(np.add, dtype, values, other)
        valid = valid_in_all((values, other))
        if dtype == INT64 and INT64 in (values.data.dtype, other.data.dtype):
            valid = valid & (((values.data ^ result) & (other.data ^ result)) >= 0)
        return Block.of(result, valid)


@op
class Subtract(Binary):
    """The difference of two images."""

    symbol = "-"
    ufunc = "subtract"

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """By the smallest and largest difference possible."""
        if is_float(one, other):
            return float_dtype(one, other)
        (a, b), (c, d) = integer_range(one), integer_range(other)
        return _at_most_int64(a - d, b - c, one, other)

    def result_unit(self, one: Profile, other: Profile) -> str | None:
        """Of both."""
        return common_unit(one, other)

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Difference; invalid where int64 is too small."""
        result = applied(np.subtract, dtype, values, other)
        valid = valid_in_all((values, other))
        if dtype == INT64 and INT64 in (values.data.dtype, other.data.dtype):
            valid = valid & (((values.data ^ other.data) & (values.data ^ result)) >= 0)
        return Block.of(result, valid)


@op
class Multiply(Binary):
    """The product of two images."""

    symbol = "*"
    ufunc = "multiply"

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """By the smallest and largest product possible."""
        if is_float(one, other):
            return float_dtype(one, other)
        products = [x * y for x in integer_range(one) for y in integer_range(other)]
        return integer_dtype(min(products), max(products))

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """Product."""
        return applied(np.multiply, dtype, values, other)


@op
class Divide(Binary):
    """The quotient of two images, as a float; invalid where the divisor is 0."""

    symbol = "/"
    ufunc = "divide"

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Array | Block:
        """Quotient; division by zero is not finite and so invalid."""
        found = looped(np.divide, dtype, values, other)
        if found is None:
            return applied(np.divide, dtype, values, other)
        (result, finite), valid = found, valid_in_all((values, other))
        return Block(result, valid) if finite and everywhere(valid) else Block.of(result, valid)


@op
class FloorDivide(Binary):
    """The quotient of two images rounded down; invalid where the divisor is 0."""

    symbol = "//"
    ufunc = "floor_divide"

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """Whole numbers stay whole."""
        return _whole_dtype(one, other)

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Rounded quotient."""
        result = applied(np.floor_divide, dtype, values, other)
        valid = _divisible(values, other, dtype)
        if dtype == INT64 and INT64 in (values.data.dtype, other.data.dtype):
            valid = valid & ((other.data != -1) | (values.data != np.iinfo(np.int64).min))
        return Block.of(result, valid)


@op
class Modulo(Binary):
    """What is left after `floor_divide`, with the sign of the divisor; invalid where that is 0."""

    symbol = "%"
    ufunc = "remainder"

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """Whole numbers stay whole."""
        return _whole_dtype(one, other)

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Remainder."""
        result = applied(np.remainder, dtype, values, other)
        return Block.of(result, _divisible(values, other, dtype))


@op
class Power(Binary):
    """One image to the power of another.

    Whole numbers to the power of a whole, not negative number stay whole as products do; all
    other powers are floats. Invalid where there is no real result.
    """

    symbol = "**"
    ufunc = "power"

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """As for products, if the exponent is a whole number known beforehand."""
        exponent = other.constant
        if is_float(one, other) or not isinstance(exponent, int) or exponent < 0:
            return float_dtype(one, other)
        low, high = integer_range(one)
        if exponent > LARGEST_POWER and max(-low, high) > 1:
            return "float64"
        ends = [low**exponent, high**exponent] + ([0] if low < 0 < high else [])
        return integer_dtype(min(ends), max(ends))

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """Power."""
        return applied(np.power, dtype, values, other)


@op
class Negative(Unary):
    """The image with the opposite sign."""

    symbol = "-"
    ufunc = "negative"

    output = Output(unit="same")

    def result_dtype(self, one: Profile) -> str:
        """By the smallest and largest result possible."""
        if is_float(one):
            return float_dtype(one)
        low, high = integer_range(one)
        return _at_most_int64(-high, -low, one)

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Opposite sign; invalid where int64 is too small."""
        result = np.negative(values.data, dtype=dtype, casting="unsafe")
        valid = values.valid
        if values.data.dtype == INT64:
            valid = valid & (values.data != np.iinfo(np.int64).min)
        return Block.of(result, valid)


def _at_most_int64(low: int, high: int, *profiles: Profile) -> str:
    """The dtype of sums: int64 ones stay int64 although their sum might not fit."""
    found = integer_dtype(low, high)
    if found == "float64" and not any(one.dtype == "uint64" for one in profiles):
        return "int64"
    return found


def _whole_dtype(one: Profile, other: Profile) -> str:
    """The dtype of whole quotients: it holds both operands and the result."""
    if is_float(one, other):
        return float_dtype(one, other)
    (a, b), (c, d) = integer_range(one), integer_range(other)
    return _at_most_int64(min(a, -b, c), max(b, -a, d), one, other)


def _divisible(values: Block, other: Block, dtype: np.dtype[Any]) -> Mask:
    """Where both are valid and a whole divisor is not 0; by 0, floats give what is not finite."""
    valid = valid_in_all((values, other))
    if dtype.kind == "f":
        return valid
    return joint(valid, other.data != 0)
