"""Painters: where pixels come from that are neither read from a raster nor computed from others.

A painter is a module of `geoloom_engine.painters` with a `PAINTER`; there is no list of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from geoloom.block import Block
from geoloom.errors import EngineFault
from geoloom.grid import Bounds, Grid
from geoloom.op import Op
from geoloom.selection import Selection
from geoloom_engine.readers import SourcePool


@dataclass(frozen=True, slots=True)
class Painted:
    """Where something painted lies.

    Parameters
    ----------
    name
        What to call it.
    bounds
        In degrees; None for all of the Earth.
    resolution
        Ground metres of what is finest in it; None if it can be seen at any.
    """

    name: str
    bounds: Bounds | None = None
    resolution: float | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What a painter may use.

    Parameters
    ----------
    pool
        Opens sources.
    blob
        Content by its key.
    selection
        A parsed selection by its key.
    wanted
        To be asked now and then; raises Unwanted when nobody waits any more.
    """

    pool: SourcePool
    blob: Callable[[str], bytes]
    selection: Callable[[str], Selection]
    wanted: Callable[[], None]


class Painter(Protocol):
    """Paints some ops; used from many threads at once."""

    @property
    def ops(self) -> tuple[type[Op], ...]:
        """The ops it paints."""
        ...

    def fingerprint(self, op: Op, given: Given) -> str:
        """A text that changes when the pixels would; raises SourceError."""
        ...

    def describe(self, op: Op, given: Given) -> Painted:
        """Where it lies."""
        ...

    def paint(self, op: Op, grid: Grid, given: Given) -> Block:
        """The op's pixels, (bands, rows, cols) on `grid`: the same for a pixel whatever the grid."""
        ...


@cache
def _painters() -> dict[str, Painter]:
    package = importlib.import_module("geoloom_engine.painters")
    found: dict[str, Painter] = {}
    for module in pkgutil.iter_modules(package.__path__):
        painter = getattr(importlib.import_module(f"geoloom_engine.painters.{module.name}"), "PAINTER", None)
        if painter is not None:
            found.update({op.name: painter for op in painter.ops})
    return found


def painter_of(op: Op) -> Painter:
    """The painter of an op; raises EngineFault if there is none."""
    painter = _painters().get(op.name)
    if painter is None:
        raise EngineFault(f"Nothing here paints {op.name}.", op=op.name)
    return painter
