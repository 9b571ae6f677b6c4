"""Choose between two images, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Block, cleared, everywhere, joint
from geoloom.grid import Grid
from geoloom.op import Image, Op, Profile, image, op
from geoloom.ops.elementwise import common_unit
from geoloom.profile import combined_names, common_dtype


@op
class Where(Op):
    """The first image where the condition is true (not 0), the second elsewhere.

    Valid where the condition and the chosen image are.
    """

    condition: Image = image(doc="What decides: true or not 0.")
    chosen: Image = image(doc="Image or number where the condition is true.")
    other: Image = image(doc="Image or number elsewhere.")
    bandwise = True
    pointwise = True
    function = True
    method = False

    def profile(self, *inputs: Profile) -> Profile:
        """Bands of the images, dtype that holds both."""
        condition, chosen, other = inputs
        names = combined_names(self.name, chosen, other, condition)
        if chosen.constant is not None and other.constant is not None:
            names = condition.names
        look = chosen.look if chosen.look == other.look and len(names) == chosen.bands else None
        return Profile(names, common_dtype(chosen, other), unit=common_unit(chosen, other), look=look)

    def kernel(
        self, condition: Block, chosen: Block, other: Block, grid: Grid, dtype: np.dtype[Any]
    ) -> Block:
        """Choose data and validity alike."""
        yes = condition.data if condition.data.dtype == np.bool_ else condition.data != 0
        first = chosen.data.astype(dtype, copy=False)
        second = other.data.astype(dtype, copy=False)
        no = ~yes
        valid = condition.valid
        if not (everywhere(chosen.valid) and everywhere(other.valid)):
            valid = joint(valid, (yes & chosen.valid) | (no & other.valid))
        # Cutting both out and joining their bits takes half the time of numpy.where.
        bits = f"u{dtype.itemsize}"
        joined = cleared(first, yes).view(bits) | cleared(second, no).view(bits)
        return Block.of(joined.view(dtype), valid)
