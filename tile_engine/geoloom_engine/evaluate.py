"""Evaluate: a plan and the pixels it asked for become one block. No tornado, no Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.errors import EngineFault, GeoloomError, SourceChanged
from geoloom.grid import Grid
from geoloom.ops.open import Open
from geoloom_engine.compositing import reduced
from geoloom_engine.items import Pixels
from geoloom_engine.lookup import look_up
from geoloom_engine.nodes import NodeCache
from geoloom_engine.painting import painter_of
from geoloom_engine.plan import Plan, Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.steps import Compute, Gather, ItemRead, Lookup, Part, Read, Reduce
from geoloom_engine.supply import Supply
from geoloom_engine.unwanted import Unwanted, always
from geoloom_engine.warp import warp

if TYPE_CHECKING:
    from geoloom_engine.functions import FunctionCall

RETRIES = 3
"""How often `run` plans anew when a source changes under its hands."""


def fetch(plan: Plan, pool: SourcePool, wanted: Callable[[], bool] = always) -> dict[int, Block]:
    """Read and warp the pixels of the Read steps whose pixels the plan needs, by step.

    Parameters
    ----------
    wanted
        Asked before each read whether to go on.

    Raises
    ------
    Unwanted
        If it says no.
    SourceChanged
        If a file is no longer the one the plan was made for.
    SourceError
        With node and op of the read that failed.
    """
    blocks: dict[int, Block] = {}
    for index, demanded in plan.reads.items():
        step, grid = plan.steps[index], plan.grids[index]
        assert isinstance(step, Read)
        assert grid is not None
        if not wanted():
            raise Unwanted
        try:
            source = pool.open(step.href)
            if source.info.fingerprint != plan.sources[step.href].fingerprint:
                raise SourceChanged(f"{step.href} changed while it was being read.", hint="Ask again.")
            blocks[index] = warp(source, grid, step.bands, step.resampling, plan=demanded)
        except GeoloomError as error:
            error.node, error.op = step.key, Open.name
            raise
    return blocks


def evaluate(
    plan: Plan,
    blocks: Mapping[int, Block],
    nodes: NodeCache | None = None,
    wanted: Callable[[], bool] = always,
    call: FunctionCall | None = None,
    supply: Supply | None = None,
    each: Reduce | None = None,
    shared: dict[int, Block] | None = None,
) -> Block:
    """Compute the root's block on the plan's grid.

    Parameters
    ----------
    plan
        What to compute.
    blocks
        Of every Read step the plan reads, on that step's grid: (bands of the step, rows, cols).
    nodes
        Keeps what the plan names; with None nothing is kept.
    wanted
        Asked before each step whether to go on.
    call
        Runs users' functions.
    supply
        Where painted pixels and those of items come from. What it could not read is not kept.
    each, shared
        The reduction that an item is computed for, and the blocks that are the same for all of its items:
        they are computed with the first.

    Returns
    -------
    Block
        (bands of the root, rows, cols) on ``plan.grid``.

    Raises
    ------
    Unwanted
        If `wanted` says no.
    """
    results: list[Block | None] = [None] * len(plan.steps)
    behind = each.settled if each is not None and shared else frozenset()
    for index, (step, grid) in enumerate(zip(plan.steps, plan.grids, strict=True)):
        if grid is None:
            continue
        result = plan.found.get(index)
        if result is None and shared is not None:
            result = shared.get(index)
        if result is None and index in behind:
            continue
        if result is None:
            if not wanted():
                raise Unwanted
            if isinstance(step, Read | ItemRead):
                result = blocks[index]
            elif isinstance(step, Reduce):
                result = _reduce(plan, index, step, grid, wanted, call, supply)
            elif isinstance(step, Gather):
                result = _gather(plan, step, grid, results)
            elif isinstance(step, Lookup):
                result = look_up(step, [_part(plan, part, grid, results) for part in step.parts])
            else:
                result = _compute(plan, step, grid, results, call, supply)
            name = plan.names.get(index)
            whole = supply is None or not supply.reader.failures
            if nodes is not None and name is not None and whole and not isinstance(step, Gather | Lookup):
                nodes.put(name, grid, step.bands, result)
            if shared is not None and each is not None and index in each.lasting:
                shared[index] = result
        results[index] = result
        for done in plan.done.get(index, ()):
            results[done] = None
    root = results[-1]
    assert root is not None
    return root.fill(plan.grid.rows, plan.grid.cols)


def run(
    planner: Planner,
    chain: Chain,
    grid: Grid,
    call: FunctionCall | None = None,
    wanted: Callable[[], bool] = always,
) -> tuple[Block, Plan]:
    """Plan, fetch and evaluate; plans anew when a source changed in between."""
    for attempt in range(RETRIES):
        try:
            plan = planner.plan(chain, grid)
            planner.make_room(plan)
            blocks = fetch(plan, planner.pool)
        except SourceChanged:
            if attempt == RETRIES - 1:
                raise
            continue
        return evaluate(plan, blocks, planner.nodes, wanted, call, planner.supply(wanted)), plan
    raise AssertionError("unreachable")


def _part(plan: Plan, part: Part, grid: Grid, results: list[Block | None]) -> Block:
    block, given = results[part.step], plan.grids[part.step]
    assert block is not None
    assert given is not None
    if given is not grid and given != grid:
        block = block.crop(grid.window_in(given))
    return block.pick(part.bands)


def _reduce(
    plan: Plan,
    index: int,
    step: Reduce,
    grid: Grid,
    wanted: Callable[[], bool],
    call: FunctionCall | None,
    supply: Supply | None,
) -> Block:
    """The block of a reduction, its items computed one after the other."""
    if supply is None:
        raise EngineFault(f"{step.op.name} has nothing to read items with.", node=step.key, op=step.op.name)
    # Of the last plan, which is kept too: another one could be at its place in memory.
    beside: list[tuple[Plan, dict[int, Block]]] = []

    def compute(inner: Plan, pixels: Pixels, shared: dict[int, Block]) -> Block:
        if not beside or beside[0][0] is not inner:
            read = partial(fetch, inner, supply.reader.pool, wanted)
            far = any("://" in source for source in inner.sources)
            aside = getattr(wanted, "aside", None) if far and inner.reads else None
            beside[:] = [(inner, read() if aside is None else aside(read))]
        own = {**beside[0][1], **pixels}
        return evaluate(inner, own, None, wanted, call, supply, step, shared)

    try:
        return reduced(step, plan.gatherings[index], grid, supply.reader, compute)
    except GeoloomError as error:
        error.node, error.op = error.node or step.key, error.op or step.op.name
        raise


def _compute(
    plan: Plan,
    step: Compute,
    grid: Grid,
    results: list[Block | None],
    call: FunctionCall | None,
    supply: Supply | None,
) -> Block:
    try:
        around = grid.expand(step.op.margin_on(grid))
        blocks = tuple(_part(plan, part, around, results) for part in step.parts)
        if step.op.painted and supply is not None:
            block = painter_of(step.op).paint(step.op, grid, supply.given)
        elif step.op.sandboxed and call is not None:
            block = call(step, blocks[0], grid)
        else:
            block = step.op.compute(blocks, grid, step.profiles)
    except GeoloomError as error:
        error.node, error.op = error.node or step.key, error.op or step.op.name
        raise
    if block.data.dtype != step.dtype:
        raise EngineFault(
            f"{step.op.name} gave {block.data.dtype} where {step.dtype} was declared.",
            node=step.key,
            op=step.op.name,
        )
    return block


def _gather(plan: Plan, step: Gather, grid: Grid, results: list[Block | None]) -> Block:
    parts = [_part(plan, part, grid, results) for part in step.parts]
    if len(parts) == 1:
        return Block(parts[0].data.astype(step.dtype, copy=False), parts[0].valid)
    rows, cols = grid.shape
    parts = [part.fill(rows, cols) for part in parts]
    data = np.concatenate([part.data for part in parts], axis=0, dtype=step.dtype, casting="unsafe")
    if all(part.valid.shape[0] == 1 and part.valid is parts[0].valid for part in parts):
        return Block(data, parts[0].valid)
    valid = np.concatenate([np.broadcast_to(part.valid, (part.bands, rows, cols)) for part in parts], axis=0)
    return Block(data, valid)
