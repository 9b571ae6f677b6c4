"""A reduction carried out: item after item is computed and fed to its reducer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from geoloom.block import Block
from geoloom.errors import DemandError
from geoloom.grid import Grid
from geoloom_engine.gathering import Gathering, files_of
from geoloom_engine.items import ItemReader, Pixels
from geoloom_engine.mosaic import reducer
from geoloom_engine.steps import Reduce

if TYPE_CHECKING:
    from geoloom_engine.plan import Plan

Compute = Callable[["Plan", Pixels, dict[int, Block]], Block]
"""Computes an item's block from its pixels; the last argument keeps what is the same for all items."""


def reduced(
    step: Reduce,
    gathering: Gathering,
    grid: Grid,
    reader: ItemReader,
    compute: Compute,
) -> Block:
    """The block of a Reduce step.

    Parameters
    ----------
    gathering
        Of the step on `grid`.
    compute
        Computes one item.

    Returns
    -------
    Block
        (bands of the step, rows, cols).

    Raises
    ------
    DemandError
        More files had to be read than are allowed, because items did not fill what their footprints promise.
    """
    if gathering.strips > 1:
        high = -(-grid.rows // gathering.strips)
        strips = [
            replace(grid, row=row, rows=min(high, grid.row + grid.rows - row))
            for row in range(grid.row, grid.row + grid.rows, high)
        ]
        parts = [reduced(step, gathering.on(strip), strip, reader, compute) for strip in strips]
        return _stacked(parts)
    return _reduced(step, gathering, grid, reader, compute)


def _reduced(step: Reduce, gathering: Gathering, grid: Grid, reader: ItemReader, compute: Compute) -> Block:
    made = reducer(step.op, step.count, grid.shape, step.dtype, len(gathering.rows))
    each = files_of(step, gathering.selection, gathering.rows)
    shared: dict[int, Block] = {}
    for count, pixels in enumerate(reader.blocks(gathering)):
        if count * each >= gathering.limit:
            raise DemandError(
                f"After {count * each:,} files of items some pixels here are still empty, and no more may "
                "be read for one tile.",
                hint="Zoom in, choose fewer items (limit), or mask less.",
                op=step.op.name,
            )
        made.add(compute(gathering.inner, pixels, shared))
        if made.full:
            break
    return made.result()


def _stacked(parts: list[Block]) -> Block:
    """Strips, from north to south, as one block."""
    bands = max(part.valid.shape[0] for part in parts)
    data = np.concatenate([part.data for part in parts], axis=1)
    wide = [np.broadcast_to(part.valid, (bands, *part.valid.shape[1:])) for part in parts]
    return Block(data, np.concatenate(wide, axis=1))
