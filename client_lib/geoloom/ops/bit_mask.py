"""Read quality flags."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Image, Op, Output, Profile, image, op, param
from geoloom.ops.elementwise import between_classes, whole_numbers


def _numbers(value: Any) -> Any:
    """One number or many as ascending numbers, each once."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,)
    if isinstance(value, tuple | list) and len(value) == 1 and isinstance(value[0], tuple | list | range):
        value = tuple(value[0])
    if isinstance(value, tuple | list) and all(isinstance(one, int) for one in value):
        return tuple(sorted(set(value)))
    return value


@op
class BitMask(Op):
    """True where a quality band has any of some bits set: ``qa.bit_mask(3, 4)``.

    For a number that fills several bits, name the first and last bit and the values wanted:
    ``qa.bit_mask(first=8, last=9, values=(2, 3))`` is true where bits 8 and 9 hold 2 or 3. Bit 0 is
    the lowest. ``image.mask(~qa.bit_mask(3, 4))`` keeps what has neither.
    """

    quality: Image = image(doc="Whole numbers whose bits are flags.")
    bits: tuple[int, ...] = param(
        (),
        doc="Bits of which any must be set.",
        unit="bit",
        variadic=True,
        ge=0,
        le=63,
        coerce=_numbers,
        example=(3, 4),
    )
    first: int | None = param(None, doc="Lowest bit of the number wanted.", unit="bit", ge=0, le=63)
    last: int | None = param(None, doc="Highest bit of the number wanted.", unit="bit", ge=0, le=63)
    values: tuple[int, ...] = param(
        (), doc="The values wanted, as one number or many.", unit="1", ge=0, coerce=_numbers
    )
    bandwise = True
    pointwise = True
    output = Output(dtype="bool", range=(0, 1))

    def check(self) -> None:
        """Either bits, or first, last and values."""
        field = (self.first is not None, self.last is not None, bool(self.values))
        if bool(self.bits) == any(field) or (any(field) and not all(field)):
            raise ParameterError(
                "bit_mask() takes either bits, or first, last and values.",
                hint="For example bit_mask(3, 4) or bit_mask(first=8, last=9, values=(2, 3)).",
            )
        if self.first is not None and self.last is not None:
            if self.last < self.first:
                raise ParameterError(f"bit_mask(): last {self.last} lies below first {self.first}.")
            largest = (1 << (self.last - self.first + 1)) - 1
            if self.values[-1] > largest:
                field_words = f"bits {self.first} to {self.last} hold at most {largest}"
                raise ParameterError(f"bit_mask(): {field_words}, not {self.values[-1]}.")

    def sampling(self, asked: str | None) -> str | None:
        """Nearest or mode: flags cannot be interpolated."""
        return between_classes(asked)

    def profile(self, *inputs: Profile) -> Profile:
        """A bool image; raises ParameterError if the dtype lacks a bit."""
        source = inputs[0]
        whole_numbers(self.name, source)
        width = 1 if source.dtype == "bool" else 8 * np.dtype(source.dtype).itemsize
        highest = self.bits[-1] if self.bits else self.last
        if highest is not None and highest >= width:
            raise ParameterError(
                f"bit_mask(): an image of {source.dtype} has no bit {highest}.",
                hint=f"Its bits are 0 to {width - 1}.",
            )
        return Profile(source.names, "bool", range=(0.0, 1.0))

    def kernel(self, quality: Block, grid: Grid) -> Array:
        """Cut the bits out of the numbers read as unsigned."""
        data = quality.data.view(f"u{quality.data.dtype.itemsize}")
        unsigned = data.dtype.type
        if self.bits:
            wanted = unsigned(sum(1 << bit for bit in self.bits))
            result: Array = (data & wanted) != 0
            return result
        first, last = self.first or 0, self.last or 0
        field = (data >> unsigned(first)) & unsigned((1 << (last - first + 1)) - 1)
        result = field == unsigned(self.values[0])
        for value in self.values[1:]:
            result |= field == unsigned(value)
        return result
