"""Choose the bands that are shown as red, green and blue."""

from __future__ import annotations

from dataclasses import replace

from geoloom.op import BandName, Image, Look, Op, Profile, image, op, param
from geoloom.ops.stack import unique


@op
class Rgb(Op):
    """Three bands to be shown as red, green and blue; follow with ``scale(low, high)``.

    Images of uint8 are shown as they are.
    """

    values: Image = image(doc="The image.")
    red: BandName = param(doc="Band shown as red.", example="b1")
    green: BandName = param(doc="Band shown as green.", example="b1")
    blue: BandName = param(doc="Band shown as blue.", example="b1")

    def profile(self, *inputs: Profile) -> Profile:
        """The three bands; with a look if they are uint8."""
        source = inputs[0]
        chosen = (self.red, self.green, self.blue)
        picked = source.pick(tuple(source.index(name) for name in chosen))
        look = None
        if source.dtype == "uint8":
            look = Look("rgb", limits=((0.0, 255.0),) * 3, unit=source.unit)
        return replace(picked, names=unique(chosen), look=look, constant=None)

    def routes(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, int]]:
        """The places of the three bands."""
        chosen = (self.red, self.green, self.blue)
        return [(0, inputs[0].index(chosen[i])) for i in bands]
