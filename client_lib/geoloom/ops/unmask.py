"""Fill invalid pixels with a number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from geoloom.block import Block, everywhere
from geoloom.grid import Grid
from geoloom.op import Image, Number, Op, Profile, image, op, param
from geoloom.profile import common_dtype


@op
class Unmask(Op):
    """The image with a number where it is invalid; every pixel becomes valid."""

    values: Image = image(doc="The image.")
    value: Number = param(0, doc="What invalid pixels become, in the image's unit.", unit="same as the image")
    bandwise = True
    pointwise = True
    fills = True

    def profile(self, *inputs: Profile) -> Profile:
        """The image's own, in a dtype that holds the number too."""
        source = inputs[0]
        number = Profile(("value",), "int32", constant=self.value)
        dtype = common_dtype(replace(source, constant=None), number)
        look = source.look if dtype == source.dtype else None
        span = source.range
        if span is not None:
            span = min(span[0], float(self.value)), max(span[1], float(self.value))
        return replace(source, dtype=dtype, range=span, look=look, constant=None)

    def kernel(self, values: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Fill."""
        data = values.data.astype(dtype, copy=False)
        valid = np.broadcast_to(np.True_, (1, *values.valid.shape[1:]))
        if everywhere(values.valid):
            return Block(data, valid)
        return Block.of(np.where(values.valid, data, np.array(self.value).astype(dtype)), valid)
