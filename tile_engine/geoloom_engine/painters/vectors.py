"""Paints the features of files and texts: burnt in, drawn, or as a heat map."""

from __future__ import annotations

from pathlib import PurePosixPath

from geoloom.block import Block
from geoloom.errors import EngineFault
from geoloom.grid import Grid
from geoloom.op import Op
from geoloom.ops.burn import Burn
from geoloom.ops.draw import Draw
from geoloom.ops.heat import Heat
from geoloom.ops.vectors import Vectors
from geoloom_engine.painting import Given, Painted
from geoloom_engine.readers.vectors import vectors_of
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.drawing import drawn
from geoloom_engine.vectors.painting import burnt, heated


class VectorPainter:
    """Paints burn, draw and heat."""

    ops: tuple[type[Op], ...] = (Burn, Draw, Heat)

    def fingerprint(self, op: Op, given: Given) -> str:
        """The file's; a text is named by its content."""
        asked = _vectors(op)
        if asked.href is None:
            return f"blob-{asked.blob}"
        return vectors_of(given.pool).of_file(asked.href).print_

    def describe(self, op: Op, given: Given) -> Painted:
        """The layer's extent."""
        asked = _vectors(op)
        name = asked.layer or PurePosixPath(asked.href or "features").stem
        return Painted(name, _asked(asked, given).bounds(), None)

    def paint(self, op: Op, grid: Grid, given: Given) -> Block:
        """The pixels of a grid."""
        asked = _asked(_vectors(op), given)
        if isinstance(op, Burn):
            return burnt(asked, op, grid)
        if isinstance(op, Draw):
            return drawn(asked, op.style, grid)
        if isinstance(op, Heat):
            return heated(asked, op, grid)
        raise EngineFault(f"{type(op).__name__} is not painted here.")


def _vectors(op: Op) -> Vectors:
    assert isinstance(op, Vectors)
    return op


def _asked(op: Vectors, given: Given) -> Asked:
    return Asked.of(given.pool, given.blob, op.href, op.blob, op.layer, op.where, op.table, given.wanted)


PAINTER = VectorPainter()
