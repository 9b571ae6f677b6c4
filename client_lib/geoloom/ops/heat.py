"""Points as a heat map."""

from __future__ import annotations

from geoloom.op import Profile, op, param
from geoloom.ops.vectors import Vectors


@op
class Heat(Vectors):
    """Kernel density of points, per pixel of the map: a heat map, once it has colours.

    Each point is spread smoothly over the pixels around it. The radius is in pixels of the map: the picture
    gets finer as one zooms in. In the notebook this is ``vector.heat(…)``.
    """

    radius: float = param(15.0, gt=0, le=100, unit="pixel", doc="How far from a point it is felt.")
    weight: str | None = param(None, doc="Column that says how much a point counts; without it each is 1.")

    def profile(self, *inputs: Profile) -> Profile:
        """One band of density, not below 0."""
        return Profile(("density",), "float32")
