"""The pixels of one window, as arrays: what a user's function is given for a tile."""

from __future__ import annotations

from collections.abc import Callable

from geoloom.chain import Chain
from geoloom.errors import NotFound
from geoloom.given import Given
from geoloom.grid import Grid
from geoloom.ops.resample import Resample
from geoloom_engine.evaluate import run
from geoloom_engine.functions import FunctionCall
from geoloom_engine.plan import Planner
from geoloom_engine.steps import Compute
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

    At any other node it is what that node gives on `grid`.

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
