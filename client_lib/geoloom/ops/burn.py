"""Features as pixels of an image."""

from __future__ import annotations

from geoloom.errors import ParameterError
from geoloom.given import DTYPES
from geoloom.op import Profile, op, param
from geoloom.ops.vectors import Vectors
from geoloom.profile import holds


@op
class Burn(Vectors):
    """Features burnt into pixels as gdal_rasterize does: invalid where there is none, later ones on top.

    In the notebook this is ``vector.burn(…)``.
    """

    attribute: str | None = param(None, doc="Column of numbers whose value each feature gives; or `value`.")
    value: float = param(1.0, unit="any", doc="The number that all features give.")
    all_touched: bool = param(
        False, doc="Whether all pixels touched are burnt, not only those whose centre is inside."
    )
    dtype: str = param("uint8", doc="The result's dtype, by its name in numpy.")

    def check(self) -> None:
        """The dtype is one of an image's and holds the value."""
        super().check()
        if self.dtype not in DTYPES:
            raise ParameterError(
                f"burn(dtype=…): {self.dtype[:60]!r} is not the dtype of an image.",
                hint=f"These are: {', '.join(sorted(DTYPES))}.",
            )
        if self.attribute is None and not holds(self.dtype, self.value):
            raise ParameterError(
                f"burn(): {self.value:g} is no {self.dtype}.", hint='Choose a wider dtype, such as "float32".'
            )

    def profile(self, *inputs: Profile) -> Profile:
        """One band, named after the attribute."""
        return Profile((self.attribute or "burn",), self.dtype)
