"""Colour shades by a named ramp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from geoloom.block import Block
from geoloom.colour import lut, ramp
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Band, Look, Op, Output, Profile, band, op, param


def indices(shades: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Index 0 to 254 of each shade 0 to 255: `geoloom.paint.GREY_TO_INDEX`, in two quick passes."""
    return shades - (shades >> 7)


def shades_look(op_name: str, source: Profile) -> Look:
    """The look of an image of shades; raises ParameterError if it is none."""
    if source.look is not None and source.look.kind == "grey":
        return source.look
    if source.look is None and source.dtype == "uint8":
        return Look("grey", ((0.0, 255.0),), unit=source.unit, name=source.names[0])
    if source.look is not None:
        raise ParameterError(
            f"{op_name}(): the image has its colours already.", hint=f"Use {op_name}() once, after scale()."
        )
    if source.dtype == "bool":
        raise ParameterError(
            f"{op_name}() needs shades, this image holds true and false.",
            hint='Give what is true a colour: image.palette({1: ("yes", "red")}).',
        )
    raise ParameterError(
        f"{op_name}() needs shades, this image holds values of {source.dtype}.",
        hint=f"Say first which values are the ends of the ramp: image.scale(low, high).{op_name}(…).",
    )


def _ramp_name(value: object) -> object:
    """The ramp's name in lower case; raises ParameterError if there is no such ramp."""
    if not isinstance(value, str):
        return value
    ramp(value)
    return value.strip().lower()


@op
class Colormap(Op):
    """Colours of a named ramp for a scaled band: ``ndvi.scale(-0.2, 1).colormap("rdylgn")``.

    The suffix ``_r`` reverses a ramp.
    """

    shades: Band = band(doc="A band of shades, as scale() gives it.")
    ramp: str = param(doc="The ramp's name.", coerce=_ramp_name, example="viridis")
    pointwise = True
    output = Output(dtype="uint8", range=(0, 254))

    def profile(self, *inputs: Profile) -> Profile:
        """Indices into the ramp's colours."""
        look = shades_look(self.name, inputs[0])
        colours = lut(ramp(self.ramp))
        return Profile(
            inputs[0].names, "uint8", range=(0.0, 254.0), look=replace(look, kind="palette", lut=colours)
        )

    def kernel(self, shades: Block, grid: Grid) -> Block:
        """From 256 shades to 255 colours."""
        return Block(indices(shades.data), shades.valid)
