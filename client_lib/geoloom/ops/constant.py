"""One number everywhere."""

from __future__ import annotations

import numpy as np

from geoloom.block import Block
from geoloom.grid import Grid
from geoloom.op import Number, Op, Profile, op, param
from geoloom.profile import dtype_of_number


@op
class Constant(Op):
    """One number everywhere; what a number in a formula becomes."""

    value: Number = param(doc="The number.", unit="any", example=3)
    method = False
    bandwise = True

    def profile(self, *inputs: Profile) -> Profile:
        """One band of one number."""
        return Profile(
            ("constant",),
            dtype_of_number(self.value),
            range=(float(self.value), float(self.value)),
            constant=self.value,
        )

    def kernel(self, grid: Grid) -> Block:
        """A block of (1, 1, 1), which broadcasts."""
        data = np.full((1, 1, 1), self.value, dtype_of_number(self.value))
        return Block(data, np.ones((1, 1, 1), np.bool_))
