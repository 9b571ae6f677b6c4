"""Colour shades by a ramp of one's own."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from geoloom.block import Block
from geoloom.colour import LEVELS, components, lut, parse
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Band, Op, Output, Profile, band, op, param
from geoloom.ops.colormap import indices, shades_look


def _parsed(value: Any) -> Any:
    """Colours as ``#rrggbbaa``; raises ParameterError."""
    if isinstance(value, str):
        value = [value]
    return tuple(parse(one) for one in value) if isinstance(value, tuple | list) else value


class _OwnRamp(Op):
    """What all versions of `Colors` have in common."""

    shades: Band = band(doc="A band of shades, as scale() gives it.")
    colors: tuple[str, ...] = param(
        doc="Colours: CSS names, #rrggbb, #rrggbbaa or (r, g, b).",
        coerce=_parsed,
        min_length=1,
        example=("#006400ff", "#f5deb3ff", "#ffffffff"),
    )
    stops: tuple[float, ...] = param(
        (),
        doc="Value at which each colour is reached, growing; without them the colours lie evenly.",
        unit="as the limits of scale()",
    )
    pointwise = True
    output = Output(dtype="uint8", range=(0, 254))

    def check(self) -> None:
        """As many stops as colours, in order."""
        if not self.stops:
            return
        if len(self.stops) != len(self.colors):
            raise ParameterError(f"colors() got {len(self.stops)} stops for {len(self.colors)} colours.")
        if any(low >= high for low, high in pairwise(self.stops)):
            raise ParameterError("colors(): each stop must be greater than the one before.")

    def profile(self, *inputs: Profile) -> Profile:
        """Indices into the ramp's colours."""
        look = shades_look(self.name, inputs[0])
        if self.stops:
            colours = self._lut(*(look.limits[0] if look.limits else (0.0, 255.0)))
        else:
            colours = lut(self._even())
        return Profile(
            inputs[0].names, "uint8", range=(0.0, 254.0), look=replace(look, kind="palette", lut=colours)
        )

    def kernel(self, shades: Block, grid: Grid) -> Block:
        """From 256 shades to 255 colours."""
        return Block(indices(shades.data), shades.valid)

    def _even(self) -> tuple[str, ...]:
        """The colours that lie evenly between the limits."""
        return self.colors

    def _lut(self, low: float, high: float) -> tuple[str, ...]:
        """The colours of `LEVELS` values from low to high."""
        values = np.linspace(low, high, LEVELS)
        parts = np.array([components(one) for one in self.colors], np.float64)
        mixed = np.rint([np.interp(values, self.stops, parts[:, i]) for i in range(4)]).astype(int)
        return tuple("#" + "".join(f"{part:02x}" for part in entry) for entry in mixed.T)


@op(name="colors")
class ColorsFirst(_OwnRamp):
    """As `Colors`; one colour was that of all values."""

    version = 1


@op
class Colors(_OwnRamp):
    """Colours of a ramp of one's own for a scaled band.

    ``dem.scale(0, 3000).colors(["darkgreen", "wheat", "white"])``: the first colour is that of the
    low limit, the last that of the high one. One colour alone is that of the high limit, and the low one is
    clear: ``burnt.scale(0, 1).colors(["lime"])`` shows where there are ones.
    """

    version = 2

    def _even(self) -> tuple[str, ...]:
        if len(self.colors) > 1:
            return self.colors
        (colour,) = self.colors
        return colour[:7] + "00", colour
