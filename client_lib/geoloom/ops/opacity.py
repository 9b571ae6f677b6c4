"""Let a picture shine through."""

from __future__ import annotations

from dataclasses import replace

from geoloom.errors import ParameterError
from geoloom.op import Image, Op, Profile, image, op, param


@op
class Opacity(Op):
    """The styled image, more or less transparent."""

    picture: Image = image(doc="An image with a look.")
    value: float = param(doc="From 0 (clear) to 1 (as it is).", ge=0, le=1, unit="1", example=0.5)

    def profile(self, *inputs: Profile) -> Profile:
        """The same picture, its opacity multiplied."""
        source = inputs[0]
        if source.look is None:
            raise ParameterError(
                "opacity() needs an image with a look.",
                hint="Style it first, for example by scale(low, high).",
            )
        return replace(source, look=replace(source.look, opacity=source.look.opacity * self.value))

    def routes(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, int]]:
        """The bands stay where they are."""
        return [(0, i) for i in bands]
