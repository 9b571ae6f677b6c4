"""Choose how sources are read between their pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from geoloom.op import Image, Op, Profile, image, op, param


@op
class Resample(Op):
    """The image, its sources read by the given method instead of the one they declare."""

    values: Image = image(doc="The image.")
    how: Literal["nearest", "bilinear", "cubic", "average", "mode"] = param(
        doc="nearest and mode keep classes; bilinear, cubic and average mix values.", example="bilinear"
    )

    def sampling(self, asked: str | None) -> str | None:
        """The method, whatever later steps would like."""
        return self.how

    def profile(self, *inputs: Profile) -> Profile:
        """The same image."""
        return replace(inputs[0], constant=None)

    def routes(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, int]]:
        """The bands stay where they are."""
        return [(0, i) for i in bands]
