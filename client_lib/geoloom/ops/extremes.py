"""The smaller and the larger of two images, band by band."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.op import Profile, op
from geoloom.ops.elementwise import Binary, applied, common_unit
from geoloom.profile import common_dtype


class Extreme(Binary):
    """A numpy function that picks one of two values."""

    function = True

    def result_dtype(self, one: Profile, other: Profile) -> str:
        """The dtype that holds both."""
        return common_dtype(one, other)

    def result_unit(self, one: Profile, other: Profile) -> str | None:
        """Of both."""
        return common_unit(one, other)

    def kernel(self, values: Block, other: Block, grid: Grid, dtype: np.dtype[Any]) -> Array:
        """Pick."""
        return applied(getattr(np, str(self.ufunc)), dtype, values, other)


@op
class Minimum(Extreme):
    """The smaller value of two images, where both are valid."""

    ufunc = "minimum"


@op
class Maximum(Extreme):
    """The larger value of two images, where both are valid."""

    ufunc = "maximum"
