"""Paints the features of files and texts: burnt in, drawn, or as a heat map."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from geoloom.block import Array, Block
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
from geoloom_engine.vectors.burning import burn
from geoloom_engine.vectors.density import kernel, spread, strew
from geoloom_engine.vectors.drawing import drawn
from geoloom_engine.vectors.sheet import sheets


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
            return heat(asked, op, grid)
        raise EngineFault(f"{type(op).__name__} is not painted here.")


def burnt(asked: Asked, op: Burn, grid: Grid) -> Block:
    """One band of what the last feature of each pixel gives."""
    shown, values = asked.shown, None
    if op.attribute is not None:
        values = asked.numbers(op.attribute)
        shown = shown & ~np.isnan(values)
    top = np.full(grid.shape, -1, np.int32)
    data = np.zeros(grid.shape, op.dtype)
    for sheet in sheets(asked.pack, grid, exact=True):
        asked.wanted()
        before = top.copy()
        row = np.zeros(grid.shape, np.int64)
        burn(sheet, sheet.of(asked.pack.order), sheet.of(shown), op.all_touched, top, row)
        new = top != before
        given = op.value if values is None else sheet.of(values)[row[new]]
        data[new] = _fitting(given, op.dtype)
    return Block.of(data, top >= 0)


def heat(asked: Asked, op: Heat, grid: Grid) -> Block:
    """One band of density; valid where it is felt."""
    weights = kernel(op.radius)
    margin = len(weights) // 2
    amount = np.ones(len(asked.pack)) if op.weight is None else asked.numbers(op.weight)
    amount = np.where(asked.shown, amount, np.nan)
    strewn = np.zeros((grid.rows + 2 * margin, grid.cols + 2 * margin))
    for sheet in sheets(asked.pack, grid, margin + 1, exact=True):
        asked.wanted()
        strew(sheet, sheet.of(amount), margin, strewn)
    density = spread(strewn, weights).astype(np.float32)
    return Block.of(density, density != 0)


def _fitting(values: float | Array, dtype: str) -> Array:
    """Numbers in a dtype; what does not fit becomes the nearest that does, as in gdal_rasterize."""
    kind = np.dtype(dtype)
    found = np.asarray(values, np.float64)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        high = float(limits.max) if float(limits.max) <= limits.max else np.nextafter(float(limits.max), 0)
        found = np.clip(np.floor(found + 0.5), float(limits.min), high)
    return found.astype(kind)


def _vectors(op: Op) -> Vectors:
    assert isinstance(op, Vectors)
    return op


def _asked(op: Vectors, given: Given) -> Asked:
    return Asked.of(given.pool, given.blob, op.href, op.blob, op.layer, op.where, op.table, given.wanted)


PAINTER = VectorPainter()
