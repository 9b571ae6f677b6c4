"""Of each pixel the best item."""

from __future__ import annotations

from dataclasses import replace

from geoloom.errors import BandError, ParameterError
from geoloom.given import DTYPES
from geoloom.op import BlobKey, Profile, SubChain, op, param, sub_chain
from geoloom.ops.composite import Reduction


@op
class Quality(Reduction):
    """Of each pixel and band the value of the item whose score is highest there.

    The score is the last band of the sub-chain and not part of the result. Of equal scores the first item's
    value is taken; where score or band is invalid an item does not count.
    """

    each: SubChain = sub_chain(doc="The bands of each item and, as the last band, its score.")
    selection: BlobKey = param(doc="Key of the items' table.", example="0" * 32)
    dtype: str | None = param(
        None, doc="The result's dtype, where the score needs another one than the bands have."
    )

    def needs(self, bands: tuple[int, ...], each: Profile) -> tuple[int, ...]:
        """Those bands and, last, the score."""
        return (*bands, each.bands - 1)

    def check(self) -> None:
        """The dtype is one of an image."""
        super().check()
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ParameterError(f"quality(dtype=…): {self.dtype[:60]!r} is not the dtype of an image.")

    def profile(self, *inputs: Profile) -> Profile:
        """The bands of one item without the score."""
        each = inputs[-1]
        if each.bands < 2:
            raise BandError("quality() needs at least one band beside the score.")
        return replace(each, names=each.names[:-1], dtype=self.dtype or each.dtype, look=None, constant=None)
