"""Many items of a collection as one image."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from geoloom.errors import EngineFault, ParameterError
from geoloom.grid import Grid
from geoloom.op import BlobKey, Op, Profile, SubChain, op, param, sub_chain
from geoloom.profile import float_dtype

Method = Literal["first", "last", "min", "max", "mean", "median", "count", "std"]

MOMENT = "%Y-%m-%dT%H:%M:%SZ"
"""How a moment is written in a chain, in UTC."""


class Reduction(Op):
    """Base of the ops that make one image of many items; the engine computes them item by item."""

    start: str | None = param(None, doc="Only items from this moment on (UTC, as 2016-07-01T00:00:00Z).")
    end: str | None = param(None, doc="Only items before this moment.")
    selection: str
    method = False

    def needs(self, bands: tuple[int, ...], each: Profile) -> tuple[int, ...]:
        """The bands of each item that these bands of the result need."""
        return bands

    def check(self) -> None:
        """Moments are moments, in their order."""
        for name in ("start", "end"):
            written = getattr(self, name)
            try:
                fine = written is None or moment(written).strftime(MOMENT) == written
            except ValueError:
                fine = False
            if not fine:
                raise ParameterError(
                    f"{self.name}({name}=…): {written[:40]!r} is no moment.",
                    hint="Write it as 2016-07-01T00:00:00Z.",
                )
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ParameterError(f"{self.name}(): start must be before end.")

    def effort(self, grid: Grid) -> float:
        """What many items take is worth keeping."""
        return 50.0

    def kernel(self, *blocks: Any, grid: Grid) -> Any:
        """Never called: the engine evaluates the sub-chain for each item."""
        raise EngineFault(f"{self.name} was about to be computed as if it were one image.", op=self.name)


@op
class Composite(Reduction):
    """Many items as one image: of each pixel and band one value, made of the items where they are valid.

    A band is invalid where no item is valid. ``mean``, ``median`` and ``std`` (of the population, as numpy's)
    are floats; ``count`` is the number of valid items.
    """

    each: SubChain = sub_chain(doc="What is computed of each item.")
    selection: BlobKey = param(doc="Key of the items' table.", example="0" * 32)
    how: Method = param(
        "first", doc="The first or last valid value in the table's order, or a statistic of all valid ones."
    )

    def profile(self, *inputs: Profile) -> Profile:
        """The bands of one item."""
        each = inputs[-1]
        if self.how in ("mean", "median", "std"):
            unit = each.unit
            return replace(each, dtype=float_dtype(each), unit=unit, look=None, constant=None)
        if self.how == "count":
            return replace(each, dtype="int32", unit="1", range=None, look=None, constant=None)
        return replace(each, constant=None)


def moment(written: str) -> datetime:
    """The moment that a chain or query names; raises ValueError."""
    return datetime.strptime(written, MOMENT).replace(tzinfo=UTC)


def stamp(seconds: float) -> str:
    """How a chain or query names a moment, given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
