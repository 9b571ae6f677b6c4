"""Lay one picture over another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoloom.block import Block, everywhere
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Image, Look, Op, Output, Profile, image, op, param
from geoloom.paint import over, rgba

BANDS = ("red", "green", "blue", "alpha")


@op
class Blend(Op):
    """A styled image over this styled one (Porter and Duff 1984, "over").

    Where the upper one is invalid the lower one is seen, and the other way round.
    """

    lower: Image = image(doc="The lower image, with a look.")
    upper: Image = image(doc="The upper image, with a look.")
    opacity: float = param(1.0, ge=0, le=1, unit="1", doc="Of the upper image, from 0 (clear) to 1.")
    output = Output(bands=4, dtype="uint8", range=(0, 255))

    def profile(self, *inputs: Profile) -> Profile:
        """Red, green, blue and alpha."""
        for place, one in zip(("lower", "upper"), inputs, strict=True):
            if one.look is None:
                raise ParameterError(
                    f"blend() needs two images with looks; the {place} one has none.",
                    hint="Style it first, for example by scale(low, high).",
                )
        return Profile(BANDS, "uint8", range=(0.0, 255.0), look=Look("rgba"))

    def kernel(self, lower: Block, upper: Block, grid: Grid, inputs: tuple[Profile, ...]) -> Block:
        """Paint both, then lay one over the other."""
        below, above = inputs[0].look, inputs[1].look
        if below is None or above is None:
            raise ParameterError("blend() needs two images with looks.")
        above = replace(above, opacity=above.opacity * self.opacity)
        bottom = rgba(lower.data, lower.valid, below)
        top = rgba(upper.data, upper.valid, above)
        shape = np.broadcast_shapes(top.shape, bottom.shape)
        data = over(np.broadcast_to(top, shape), np.broadcast_to(bottom, shape))
        if everywhere(lower.valid):
            return Block(data, np.broadcast_to(np.True_, (1, *data.shape[1:])))
        valid = lower.valid.all(axis=0, keepdims=True) | upper.valid.all(axis=0, keepdims=True)
        return Block.of(data, valid)
