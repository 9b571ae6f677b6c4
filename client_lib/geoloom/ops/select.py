"""Choose bands by name."""

from __future__ import annotations

from dataclasses import replace

from geoloom.op import BandName, Image, Op, Profile, image, op, param
from geoloom.ops.stack import unique


@op
class Select(Op):
    """Some bands of an image, in the order given."""

    values: Image = image(doc="The image.")
    bands: tuple[BandName, ...] = param(
        doc="Names of the bands; one chosen twice gets a suffix.",
        variadic=True,
        min_length=1,
        example=("b1",),
    )

    def profile(self, *inputs: Profile) -> Profile:
        """The chosen bands; raises BandError for unknown ones."""
        source = inputs[0]
        chosen = tuple(source.index(name) for name in self.bands)
        return replace(source.pick(chosen), names=unique(self.bands), constant=None)

    def routes(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, int]]:
        """The places of the chosen bands."""
        return [(0, inputs[0].index(self.bands[i])) for i in bands]
