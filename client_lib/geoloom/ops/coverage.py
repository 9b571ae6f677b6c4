"""Where the items of a collection lie."""

from __future__ import annotations

from geoloom.errors import EngineFault
from geoloom.grid import Grid
from geoloom.op import BlobKey, Op, Profile, op, param


@op
class Coverage(Op):
    """How many items' footprints hold each pixel; no file is read for it. Invalid where none does."""

    selection: BlobKey = param(doc="Key of the items' table.", example="0" * 32)
    painted = True
    method = False

    def profile(self, *inputs: Profile) -> Profile:
        """One band of counts."""
        return Profile(("coverage",), "int32", unit="1")

    def kernel(self, grid: Grid) -> None:
        """Never called: a painter of the engine paints it."""
        raise EngineFault(
            "coverage was about to be computed as if it had pixels to start from.", op=self.name
        )
