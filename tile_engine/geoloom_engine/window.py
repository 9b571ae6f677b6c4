"""The pixels of one window, as arrays: what a user's function is given for a tile."""

from __future__ import annotations

from collections.abc import Callable

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.errors import FunctionError, GeoloomError, NotFound
from geoloom.given import Given
from geoloom.grid import Grid
from geoloom.ops.resample import Resample
from geoloom_engine.evaluate import evaluate, fetch, run
from geoloom_engine.functions import FunctionCall
from geoloom_engine.gathering import Gathering
from geoloom_engine.plan import Planner
from geoloom_engine.steps import Compute, Reduce
from geoloom_engine.unwanted import always


def window(
    planner: Planner,
    chain: Chain,
    key: str,
    grid: Grid,
    call: FunctionCall,
    wanted: Callable[[], bool] = always,
) -> Given:
    """The input of the user's function at a node, where the root is wanted on `grid`.

    At any other node it is what that node gives on `grid`. A function that is applied to each item of a
    collection gets those of the first item on which it fails, or of the first one.

    Raises
    ------
    NotFound
        The chain has no such node.
    """
    if key not in chain.nodes:
        raise NotFound(f"The image has no step {key}.", hint="Its steps are in image.chain.nodes.")
    plan = planner.plan(chain, grid, reuse=False)
    for step, around in zip(plan.steps, plan.grids, strict=True):
        if isinstance(step, Compute) and step.key == key and step.op.sandboxed and around is not None:
            return _given(planner, chain, step, around, call, wanted)
    for index, gathering in plan.gatherings.items():
        reduction = plan.steps[index]
        assert isinstance(reduction, Reduce)
        if any(isinstance(one, Compute) and one.key == key and one.op.sandboxed for one in reduction.steps):
            return _of_item(planner, gathering, key, call, wanted)
    block, plan = run(planner, chain.at(key), grid, call, wanted)
    return Given.of(block, plan.profile.names, grid)


def _given(
    planner: Planner, chain: Chain, step: Compute, grid: Grid, call: FunctionCall, wanted: Callable[[], bool]
) -> Given:
    margin = step.op.margin_on(grid)
    below = chain.at(chain.nodes[step.key].inputs[0])
    if step.asked is not None:
        below = Resample(how=step.asked).chain(below)
    block, plan = run(planner, below, grid.expand(margin), call, wanted)
    return Given.of(block, plan.profile.names, grid, margin)


def _of_item(
    planner: Planner, gathering: Gathering, key: str, call: FunctionCall, wanted: Callable[[], bool]
) -> Given:
    """What the function at a node is given of the first item on which it fails, else of the first one."""
    met: list[Given] = []

    def watched(step: Compute, block: Block, grid: Grid) -> Block:
        if step.key == key:
            met.append(Given.of(block, step.profiles[0].names, grid, step.op.margin_on(grid)))
        return call(step, block, grid)

    supply = planner.supply(wanted)
    own = fetch(gathering.inner, planner.pool, wanted)
    for _, pixels in supply.reader.outcomes(gathering):
        if isinstance(pixels, GeoloomError):
            continue
        try:
            evaluate(gathering.inner, {**own, **pixels}, None, wanted, watched, supply)
        except FunctionError:
            if met:
                return met[-1]
            raise
        del met[1:]
    if not met:
        raise NotFound("No item of the collection lies there.", hint="Choose a tile where there is one.")
    return met[0]
