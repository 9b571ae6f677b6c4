"""Keep only some pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoloom.block import Block, cleared, joint
from geoloom.errors import BandError
from geoloom.grid import Grid
from geoloom.op import Image, Op, Profile, image, op


@op
class Mask(Op):
    """The image where a condition is true (not 0); elsewhere, and where it is invalid, invalid.

    It keeps what is true, as Earth Engine's updateMask does. A vector, GeoJSON or a shapely geometry as the
    condition keeps what lies inside.
    """

    values: Image = image(doc="The image.")
    condition: Image = image(doc="What to keep: one band for all, or as many bands as the image.")
    bandwise = True
    pointwise = True

    def profile(self, *inputs: Profile) -> Profile:
        """The image's own."""
        source, condition = inputs
        if condition.bands not in (1, source.bands):
            raise BandError(
                f"mask(): a condition of {condition.bands} bands does not fit an image of {source.bands}.",
                hint="Use a condition of one band, or of as many bands as the image.",
            )
        return replace(source, constant=None)

    def kernel(self, values: Block, condition: Block, grid: Grid) -> Block:
        """Take validity from both."""
        keep = condition.data if condition.data.dtype == np.bool_ else condition.data != 0
        keep = joint(values.valid, condition.valid, keep)
        if keep.all():
            return Block(values.data, keep)
        return Block(cleared(values.data, keep), keep)
