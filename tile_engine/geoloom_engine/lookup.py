"""Runs of pixel by pixel ops over 8- and 16-bit integers, turned into one table.

Such an integer has at most 65,536 values: the ops are computed once for all of them, and each pixel
is then one look into the table, with the same result to the last bit. So a band that is scaled and
coloured costs the same whatever is done to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoloom.block import Array, Block, Mask, cleared
from geoloom.errors import GeoloomError
from geoloom.grid import Grid, Lattice
from geoloom.loops import array, compiled
from geoloom.ops.constant import Constant
from geoloom_engine.steps import Compute, Gather, ItemRead, Lookup, Part, Read, Reduce, Step, parts_of

SHORTEST = 3
"""Ops that a run has at least if its results are wider than a byte: wide tables are slower to read."""

_SMALL = ("uint8", "int8", "uint16", "int16")


_PIXEL = Grid(Lattice.web_mercator(12), 0, 0, 1, 1)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where each band of a step comes from: bands of steps of one small dtype, through some ops."""

    bands: tuple[tuple[int, int], ...]
    dtype: str
    ops: int = 0


def joined(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with each run of pixel by pixel ops over small integers as one `Lookup`.

    Raises
    ------
    GeoloomError
        From an op, with its node.
    """
    origins = _origins(steps)
    wanted = {len(steps) - 1}
    made: dict[int, Step] = {}
    for index in range(len(steps) - 1, -1, -1):
        if index not in wanted:
            continue
        step, origin = steps[index], origins[index]
        if isinstance(step, Compute) and origin is not None and _pays(step, origin):
            made[index] = _lookup(steps, index, origins, origin)
        else:
            made[index] = step
        wanted.update(part.step for part in parts_of(made[index]))
    places = {old: new for new, old in enumerate(sorted(made))}
    return tuple(_moved(made[old], places) for old in sorted(made))


def look_up(step: Lookup, parts: Sequence[Block]) -> Block:
    """Results of a table.

    Parameters
    ----------
    parts
        One band each, (1, rows, cols).

    Returns
    -------
    Block
        (bands, rows, cols).
    """
    rows, cols = np.broadcast_shapes(*(part.shape for part in parts))
    out = np.empty((len(parts), rows, cols), step.dtype)
    for index, part in enumerate(parts):
        translate(part.data[0], step.table[index], out[index])
    masks = [part.valid for part in parts]
    if all(mask is masks[0] for mask in masks):
        masks = masks[:1]
    if step.valid is not None:
        masks = masks * (len(parts) // len(masks))
        for index, part in enumerate(parts):
            made = np.empty((1, rows, cols), np.bool_)
            translate(part.data[0], step.valid[index], made[0])
            masks[index] = masks[index] & made
    valid = (
        masks[0]
        if len(masks) == 1
        else np.concatenate([np.broadcast_to(mask, (1, rows, cols)) for mask in masks])
    )
    if not valid.all():
        cleared(out, valid, out=out)
    return Block(out, valid)


def _pays(step: Compute, origin: _Origin) -> bool:
    """Whether a table is quicker than the ops: not than one that takes a pass or two over bytes."""
    if origin.ops == 1 and np.dtype(origin.dtype).itemsize == 1:
        return step.op.effort(_domain(origin.dtype)) > 1
    return origin.ops > 0 and (np.dtype(step.dtype).itemsize == 1 or origin.ops >= SHORTEST)


def _origins(steps: Sequence[Step]) -> list[_Origin | None]:
    found: list[_Origin | None] = []
    for index, step in enumerate(steps):
        origin = None
        if isinstance(step, Gather):
            origin = _of_gather(step, found)
        elif isinstance(step, Compute):
            origin = _of_compute(steps, step, found)
        if origin is None and step.dtype in _SMALL:
            origin = _Origin(tuple((index, band) for band in range(step.count)), step.dtype)
        found.append(origin)
    return found


def _of_gather(step: Gather, found: Sequence[_Origin | None]) -> _Origin | None:
    """Bands put together from others are those others, as long as nothing was computed."""
    bands: list[tuple[int, int]] = []
    for part in step.parts:
        origin = found[part.step]
        if origin is None or origin.ops or origin.dtype != step.dtype:
            return None
        bands += (origin.bands[band] for band in part.bands)
    return _Origin(tuple(bands), step.dtype)


def _of_compute(steps: Sequence[Step], step: Compute, found: Sequence[_Origin | None]) -> _Origin | None:
    if not step.op.pointwise or step.op.fills or not (step.op.bandwise or step.count == 1):
        return None
    bands: tuple[tuple[int, int], ...] | None = None
    dtype, ops = "", 1
    for part in step.parts:
        if is_constant(steps[part.step]):
            continue
        origin = found[part.step]
        if origin is None:
            return None
        here = tuple(origin.bands[band] for band in part.bands)
        if len(here) == 1:
            here *= step.count
        if len(here) != step.count or (bands is not None and (here, origin.dtype) != (bands, dtype)):
            return None
        bands, dtype = here, origin.dtype
        ops = max(ops, origin.ops + 1)
    if bands is None or filled_by_numbers(steps, step):
        return None
    return _Origin(bands, dtype, ops)


def filled_by_numbers(steps: Sequence[Step], step: Compute) -> bool:
    """Whether its numbers make valid what is invalid in its images, which no table of values can tell."""
    blocks = []
    for part in step.parts:
        source, bands = steps[part.step], len(part.bands)
        if isinstance(source, Compute) and is_constant(source):
            blocks.append(source.op.compute((), _PIXEL, source.profiles).pick(part.bands))
        else:
            blocks.append(Block(np.zeros((bands, 1, 1), source.dtype), np.zeros((1, 1, 1), np.bool_)))
    if not any(block.valid.any() for block in blocks):
        return False
    return bool(step.op.compute(tuple(blocks), _PIXEL, step.profiles).valid.any())


def is_constant(step: Step) -> bool:
    """Whether a step is a number."""
    return isinstance(step, Compute) and isinstance(step.op, Constant)


def _lookup(steps: Sequence[Step], index: int, origins: Sequence[_Origin | None], origin: _Origin) -> Lookup:
    """The table of a run, computed by its ops from all values there are."""
    run = _run(steps, index, origins)
    grid = _domain(origin.dtype)
    size = grid.pixels
    values = np.arange(size, dtype=f"u{np.dtype(origin.dtype).itemsize}").view(origin.dtype)
    domain = Block(values.reshape(1, *grid.shape), np.ones((1, *grid.shape), np.bool_))
    results: dict[int, Block] = {}
    left = {one: sum(one in {part.step for part in parts_of(steps[reader])} for reader in run) for one in run}
    for one in run:
        step = steps[one]
        assert isinstance(step, Compute)
        blocks = []
        for part in step.parts:
            given = results.get(part.step)
            blocks.append(_same(domain, len(part.bands)) if given is None else given.pick(part.bands))
        try:
            results[one] = step.op.compute(tuple(blocks), grid, step.profiles)
        except GeoloomError as error:
            error.node, error.op = error.node or step.key, error.op or step.op.name
            raise
        for below in {part.step for part in step.parts} & left.keys():
            left[below] -= 1
            if not left[below]:
                del results[below]
    made, step = results[index].fill(*grid.shape), steps[index]
    bands = step.count
    table = np.ascontiguousarray(np.broadcast_to(made.data, (bands, *grid.shape))).reshape(bands, size)
    valid = None
    if not made.valid.all():
        valid = np.ascontiguousarray(np.broadcast_to(made.valid, (bands, *grid.shape))).reshape(bands, size)
    parts = tuple(Part(base, (band,)) for base, band in origin.bands)
    ops = tuple(one.op.name for one in map(steps.__getitem__, run) if isinstance(one, Compute) and one.parts)
    return Lookup(step.key, parts, ops, table, valid, step.dtype)


def _domain(dtype: str) -> Grid:
    """A grid with a pixel for each value of a dtype; where a value stands in it is nothing to these ops."""
    return Grid(Lattice.web_mercator(12), 0, 0, 256, 256 ** (np.dtype(dtype).itemsize - 1))


def _run(steps: Sequence[Step], index: int, origins: Sequence[_Origin | None]) -> list[int]:
    """The steps between the values that are looked up and the result, and the constants they take."""
    run, todo = {index}, [index]
    while todo:
        for part in parts_of(steps[todo.pop()]):
            origin = origins[part.step]
            inner = is_constant(steps[part.step]) or (origin is not None and origin.ops > 0)
            if inner and part.step not in run:
                run.add(part.step)
                todo.append(part.step)
    return sorted(run)


def _same(block: Block, bands: int) -> Block:
    return Block(np.broadcast_to(block.data, (bands, *block.data.shape[1:])), block.valid)


def _moved(step: Step, places: dict[int, int]) -> Step:
    if isinstance(step, Read | ItemRead | Reduce):
        return step
    return replace(step, parts=tuple(Part(places[part.step], part.bands) for part in step.parts))


def _looked_up(values: Any, table: Any, out: Any) -> None:
    """``out[…] = table[values[…]]``: values are unsigned integers, and the table has an entry for each."""
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            out[row, col] = table[values[row, col]]


def translate(values: Array, table: Array | Mask, out: Array | Mask) -> None:
    """Look up a band, (rows, cols), by the bits of its values."""
    bits = [f"uint{8 * array.dtype.itemsize}" for array in (values, out)]
    kernel = compiled(_looked_up, " ".join(bits), lambda: _signature(*bits))
    kernel(np.broadcast_to(values, out.shape).view(bits[0]), table.view(bits[1]), out.view(bits[1]))


def _signature(values: str, results: str) -> tuple[Any, ...]:
    # Any layout: a band may be a part of a larger window.
    return (
        array(values, 2, layout="A"),
        array(results, 1),
        array(results, 2, written=True, layout="A"),
    )
