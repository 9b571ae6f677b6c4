"""A reduction carried out: item after item is computed and fed to its reducer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoloom.block import Block, Mask, cleared
from geoloom.errors import DemandError, FunctionError
from geoloom.grid import Grid
from geoloom_engine.gathering import Gathering
from geoloom_engine.items import ItemReader, Pixels, Tally
from geoloom_engine.lookup import filled_by_numbers, is_constant
from geoloom_engine.mosaic import First, Reducer, reducer
from geoloom_engine.outline import Floats, centres
from geoloom_engine.steps import Compute as Computed
from geoloom_engine.steps import ItemRead, Read, Reduce, Step, parts_of

if TYPE_CHECKING:
    from geoloom_engine.plan import Plan

Compute = Callable[["Plan", Pixels, dict[int, Block]], Block]
"""Computes an item's block from its pixels; the last argument keeps what is the same for all items."""

ENOUGH = 8
"""Items of one footprint that are read before it is asked whether it holds anything that is still empty."""

USELESS = 1 << 30
"""Stands for so many that no more are read."""


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
    GeoloomError
        Not one of the items could be read; the reason of the first.
    DemandError
        More files had to be read than are allowed, because items did not fill what their footprints promise.
    """
    tally = Tally()
    parts = [_reduced(step, part, own, reader, compute, tally) for part, own in _strips(gathering, grid)]
    tally.check()
    return parts[0] if len(parts) == 1 else _stacked(parts)


def _strips(gathering: Gathering, grid: Grid) -> Iterator[tuple[Gathering, Grid]]:
    if gathering.strips == 1:
        yield gathering, grid
        return
    high = -(-grid.rows // gathering.strips)
    for row in range(grid.row, grid.row + grid.rows, high):
        strip = replace(grid, row=row, rows=min(high, grid.row + grid.rows - row))
        yield gathering.on(strip), strip


def _reduced(
    step: Reduce, gathering: Gathering, grid: Grid, reader: ItemReader, compute: Compute, tally: Tally
) -> Block:
    made = reducer(step.op, step.count, grid.shape, step.dtype, len(gathering.rows))
    shared: dict[int, Block] = {}
    beyond = _beyond(step, gathering, compute, shared) if gathering.rows else None
    read = 0
    files = dict(zip(gathering.rows, gathering.each.tolist(), strict=True))
    for row, pixels in reader.blocks(gathering, tally, _useful(gathering, grid, made)):
        if read >= gathering.limit:
            raise DemandError(
                f"After {read:,} files of items some pixels here are still empty, and no more may "
                "be read for one tile.",
                hint="Zoom in, choose fewer items (limit), or mask less.",
                op=step.op.name,
            )
        read += files[row]
        try:
            block = compute(gathering.inner, pixels, shared)
        except FunctionError as error:
            error.hint = " ".join(
                filter(None, (f"It was on the item {gathering.selection.ids[row]}.", error.hint))
            )
            raise
        if beyond is not None:
            block = _within(block, beyond, gathering, row, pixels, grid)
        made.add(block)
        if made.full:
            break
    return made.result()


def _useful(gathering: Gathering, grid: Grid, made: Reducer) -> Iterator[int]:
    """The rows of a gathering, without those that cannot fill what a mosaic still lacks.

    Beyond the edge of an archive nothing is ever filled, however many scenes there are of its last place.
    A few of each footprint are read all the same: its sides are straight, those of scenes bent.
    """
    if not isinstance(made, First):
        yield from gathering.rows
        return
    places = centres(grid)
    tried: Counter[Any] = Counter()
    read = 0
    for row, files in zip(gathering.rows, gathering.each.tolist(), strict=True):
        footprint = gathering.selection.footprints[row]
        if tried[footprint] < ENOUGH and read < gathering.limit:
            tried[footprint] += 1
        elif tried[footprint] >= USELESS or not _reaches(footprint, places, made.empty()):
            tried[footprint] = USELESS
            continue
        read += files
        yield row


def _reaches(footprint: Any, places: tuple[Floats, Floats], empty: Mask) -> bool:
    """Whether one of the empty pixels has its centre in a footprint."""
    shapely.prepare(footprint)
    return bool(shapely.contains_xy(footprint, *(axis[empty] for axis in places)).any())


def _beyond(step: Reduce, gathering: Gathering, compute: Compute, shared: dict[int, Block]) -> Mask | None:
    """Where an item that has nothing would count, (bands or 1, rows, cols); None if nowhere.

    Such a pixel would depend on which items meet the grid, and each tile show where it ends.
    """
    if not _may_fill(step.steps):
        return None
    if step.exact:
        return np.broadcast_to(np.True_, (1, *gathering.inner.grid.shape))
    nothing = {
        index: Block(np.zeros((one.count, *around.shape), one.dtype), np.zeros((1, *around.shape), np.bool_))
        for index, one, around in gathering.inner.live()
        if isinstance(one, ItemRead)
    }
    valid = compute(gathering.inner, nothing, shared).valid
    return valid if valid.any() else None


def _may_fill(steps: tuple[Step, ...]) -> bool:
    """Whether something may be valid that comes of an item's invalid pixels; what has none counts as that."""
    bound: list[bool] = []
    for step in steps:
        if isinstance(step, Computed):
            images = [part.step for part in step.parts if not is_constant(steps[part.step])]
            fills = step.op.fills or step.op.sandboxed
            numbers = step.op.pointwise and len(images) < len(step.parts)
            fills = fills or not images or (numbers and filled_by_numbers(steps, step))
            bound.append(not fills and all(bound[index] for index in images))
        elif isinstance(step, Read | Reduce):
            bound.append(False)
        else:
            bound.append(all(bound[part.step] for part in parts_of(step)))
    return not bound[-1]


def _within(block: Block, beyond: Mask, gathering: Gathering, row: int, pixels: Pixels, grid: Grid) -> Block:
    """An item's block without what is made of nothing outside its footprint."""
    footprint = gathering.selection.footprints[row]
    shapely.prepare(footprint)
    inside: Mask = shapely.contains_xy(footprint, *centres(grid))
    for index, own in pixels.items():
        around = gathering.inner.grids[index]
        assert around is not None
        inside = inside | own.fill(*around.shape).valid.any(axis=0)[grid.window_in(around)]
    valid = block.valid & (inside | ~beyond)
    rows, cols = grid.shape
    return Block(cleared(block.fill(rows, cols).data, valid), valid)


def _stacked(parts: list[Block]) -> Block:
    """Strips, from north to south, as one block."""
    bands = max(part.valid.shape[0] for part in parts)
    data = np.concatenate([part.data for part in parts], axis=1)
    wide = [np.broadcast_to(part.valid, (bands, *part.valid.shape[1:])) for part in parts]
    return Block(data, np.concatenate(wide, axis=1))
