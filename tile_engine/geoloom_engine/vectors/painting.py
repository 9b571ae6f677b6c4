"""Features as values: burnt in, and as a density."""

from __future__ import annotations

import numpy as np

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.ops.burn import Burn
from geoloom.ops.heat import Heat
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.burning import burn
from geoloom_engine.vectors.density import kernel, spread, strew
from geoloom_engine.vectors.sheet import sheets


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


def heated(asked: Asked, op: Heat, grid: Grid) -> Block:
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
