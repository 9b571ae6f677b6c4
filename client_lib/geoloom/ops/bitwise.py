"""Bits of whole numbers, band by band; on bool images the logical and, or, xor and not."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block, valid_in_all
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Profile, op
from geoloom.ops.elementwise import Binary, Unary, whole_numbers
from geoloom.profile import common_dtype


class Bitwise(Binary):
    """A numpy bit function of two images."""

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """The dtype that holds both."""
        whole_numbers(self.name, one, other)
        found = common_dtype(one, other)
        if found == "float64":
            raise ParameterError(
                f"{self.name} cannot combine {one.dtype} and {other.dtype}: no integer holds both.",
                hint="Compare or remap one of the images first.",
            )
        return found

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """Combine bits."""
        result: Array = getattr(np, str(self.ufunc))(values.data, other.data, dtype=dtype, casting="unsafe")
        return result


@op
class BitAnd(Bitwise):
    """Bits set in both images; on masks: true where both are."""

    symbol = "&"
    ufunc = "bitwise_and"


@op
class BitOr(Bitwise):
    """Bits set in either image; on masks: true where one or both are."""

    symbol = "|"
    ufunc = "bitwise_or"


@op
class BitXor(Bitwise):
    """Bits set in just one of the images; on masks: true where just one is."""

    symbol = "^"
    ufunc = "bitwise_xor"


@op
class Invert(Unary):
    """All bits turned over; on masks: true where the image is false."""

    symbol = "~"
    ufunc = "invert"

    def result_dtype(self, one: Profile) -> str:
        """As the image."""
        whole_numbers(self.name, one)
        return one.dtype

    def kernel(self, values: Block, grid: Grid) -> Array:
        """Turn bits over."""
        return np.invert(values.data)


class Shift(Binary):
    """A numpy bit shift; the result keeps the image's dtype (bool becomes int32)."""

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """As the image whose bits are shifted."""
        whole_numbers(self.name, one, other)
        if other.constant is not None and other.constant < 0:
            raise ParameterError(
                f"{self.name} by {other.constant} bits is not possible.", hint="Shift the other way."
            )
        return "int32" if one.dtype == "bool" else one.dtype

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Shift; invalid where the number of bits is negative."""
        bits = np.clip(other.data, 0, 64).astype(dtype)
        result = getattr(np, str(self.ufunc))(values.data.astype(dtype, copy=False), bits)
        valid = valid_in_all((values, other))
        if other.data.dtype.kind == "i":
            valid = valid & (other.data >= 0)
        return Block.of(result, valid)


@op
class ShiftLeft(Shift):
    """Bits moved up by so many places; those beyond the image's dtype are lost."""

    symbol = "<<"
    ufunc = "left_shift"


@op
class ShiftRight(Shift):
    """Bits moved down by so many places."""

    symbol = ">>"
    ufunc = "right_shift"
