"""Plan: what an evaluation will read and compute. Demand flows from the root down.

A chain's steps are prepared once. A plan adds the grid: each step's margin is the largest any of
its readers needs. Nothing here reads a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.errors import DemandError, GeoloomError, NotFound
from geoloom.grid import Grid
from geoloom.op import Profile
from geoloom.ops.open import Open
from geoloom_engine.description import Description
from geoloom_engine.gathering import Gathering, gathered
from geoloom_engine.items import ItemReader
from geoloom_engine.memo import Memo
from geoloom_engine.nodes import NodeCache, NodeName
from geoloom_engine.painting import Given
from geoloom_engine.readers import SourceInfo, SourcePool
from geoloom_engine.recipe import Recipe, prepare
from geoloom_engine.selections import Blobs
from geoloom_engine.steps import Compute, Gather, ItemRead, Read, Reduce, Step, parts_of
from geoloom_engine.supply import Supply
from geoloom_engine.unwanted import always, insist
from geoloom_engine.versions import Versions
from geoloom_engine.warp import Limits, ReadPlan, demand

MAX_MARGIN = 512
MAX_MEMORY = 1 << 30
"""Bytes of blocks that one evaluation may hold, unless the planner is told of less."""
MAX_COST = 4_000_000_000
"""What one evaluation may do, as `Plan.cost` counts it: about 7 s of one core (measured)."""
SMALL = 16 << 20
"""Up to so many bytes of all results together nobody asks which of them are there at one time."""
RECIPE_BYTES = 8 << 20
"""Size of the prepared chains kept by one planner, as JSON; in memory it is some ten times as much."""

MAX_READS = 500
"""Files of items that one evaluation may read, unless the planner is told otherwise."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A chain on a grid, ready to be fetched and evaluated.

    Parameters
    ----------
    grid
        What is asked for.
    steps
        In the order of evaluation; the last is the root.
    grids
        Of each step: `grid` and the margin its readers need; None if nothing needs the step, because
        what would is in `found`.
    found
        Blocks that are there already, by step.
    names
        Under which names results are kept, by step.
    reads
        What each Read step will read, by step.
    sources
        By href, as they were when the plan was made.
    profile
        Of the root.
    data
        The data version the plan was made with.
    done
        By step: the earlier steps whose blocks nothing later reads.
    gatherings
        Which items each Reduce step that is computed needs, and what is computed of one.
    """

    grid: Grid
    steps: tuple[Step, ...]
    grids: tuple[Grid | None, ...]
    found: dict[int, Block]
    names: Mapping[int, NodeName]
    reads: dict[int, ReadPlan]
    sources: dict[str, SourceInfo]
    profile: Profile
    data: str
    done: Mapping[int, list[int]]
    gatherings: dict[int, Gathering] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """Files of items that will be read at most."""
        return sum(one.files + one.inner.files for one in self.gatherings.values())

    @property
    def least(self) -> int:
        """Files of items that will be read if footprints keep what they promise."""
        return sum(one.least + one.inner.least for one in self.gatherings.values())

    @property
    def pixels(self) -> int:
        """Source pixels to read."""
        return sum(read.pixels for read in self.reads.values())

    @property
    def bytes(self) -> int:
        """Estimated bytes of source to read, uncompressed."""
        return sum(read.bytes for read in self.reads.values())

    @property
    def cost(self) -> int:
        """Pixels read, and pixels computed of every band by the effort of their op."""
        computed = 0.0
        for index, step, grid in self.live():
            if index in self.found or isinstance(step, Read | ItemRead | Gather):
                continue
            if isinstance(step, Reduce):
                computed += self.gatherings[index].cost
            else:
                effort = step.op.effort(grid) if isinstance(step, Compute) else 1.0
                computed += step.count * grid.pixels * effort
        return self.pixels + int(computed)

    @property
    def memory(self) -> int:
        """Most bytes of blocks that are alive at one time of the evaluation."""
        sizes = {
            index: grid.pixels * step.count * (np.dtype(step.dtype).itemsize + 1)
            for index, step, grid in self.live()
        }
        inner = max((one.memory for one in self.gatherings.values()), default=0)
        if sum(sizes.values()) <= SMALL:
            return sum(sizes.values()) + inner
        alive = most = sum(sizes[index] for index in self.reads)
        for index, size in sizes.items():
            alive += 0 if index in self.reads else size
            most = max(most, alive)
            alive -= sum(sizes.get(done, 0) for done in self.done.get(index, ()))
        return most + inner

    def live(self) -> Iterator[tuple[int, Step, Grid]]:
        """The steps that are needed, each with its place and its grid."""
        for index, (step, grid) in enumerate(zip(self.steps, self.grids, strict=True)):
            if grid is not None:
                yield index, step, grid


class Planner:
    """Makes plans. Thread-safe.

    Parameters
    ----------
    pool
        Opens sources.
    limits
        What a plan may demand.
    epoch
        Changes every data version, to empty all caches at once.
    nodes
        Results that need not be computed again; None for none.
    memory
        Bytes of blocks that one evaluation may hold.
    make_room
        Told, before a plan is carried out, how many bytes that will take.
    functions
        Version of what users' functions run in: part of the data version of what they compute.
    blobs
        What chains name by key, the tables of their items above all.
    max_reads
        Files of items that one evaluation may read.
    executor
        Threads in which items of other machines are read side by side; None to read them in turn.
    """

    def __init__(
        self,
        pool: SourcePool,
        limits: Limits,
        epoch: str = "",
        nodes: NodeCache | None = None,
        memory: int = MAX_MEMORY,
        make_room: Callable[[int], None] | None = None,
        functions: str = "",
        blobs: Blobs | None = None,
        max_reads: int = MAX_READS,
        executor: Executor | None = None,
    ) -> None:
        self.pool = pool
        self.limits = limits
        self.memory = memory
        self.max_reads = max_reads
        self._make_room = make_room
        self._executor = executor
        self.nodes = nodes
        self.blobs = Blobs(_nothing) if blobs is None else blobs
        self._versions = Versions(pool, epoch, functions, self.given())
        self._recipes: Memo[Recipe] = Memo(RECIPE_BYTES, lambda recipe: recipe.size)

    def supply(self, wanted: Callable[[], bool] = always) -> Supply:
        """What an evaluation gets its pixels from, beside what is read before it."""
        reader = ItemReader(self.pool, self.limits, self._executor, wanted)
        return Supply(self.given(wanted), reader)

    def given(self, wanted: Callable[[], bool] = always) -> Given:
        """What painters may use."""
        return Given(self.pool, self.blobs.get, self.blobs.selection, insist(wanted))

    def data_version(self, chain: Chain) -> str:
        """Hash over the fingerprints of the chain's sources, the epoch, and what users' functions run in.

        Raises
        ------
        SourceError
            If a source is gone, refused or, when pinned, changed.
        """
        return self._versions.of(chain)

    def describe(self, chain: Chain) -> Description:
        """Bands, dtype, look, bounds and zooms of a chain; raises what is wrong with it."""
        recipe = self._recipe(chain)
        return Description.of(
            recipe.profile, recipe.sources, self.limits, recipe.painted.values(), recipe.selections.values()
        )

    def plan(self, chain: Chain, grid: Grid, reuse: bool = True, reads: int | None = None) -> Plan:
        """What evaluating `chain` on `grid` will read and compute.

        Parameters
        ----------
        reuse
            Whether to leave out what is kept from earlier evaluations.
        reads
            Files of items that may be read, if other than for a tile.

        Raises
        ------
        DemandError
            If that is more than the limits allow, before anything is read.
        """
        recipe = self._recipe(chain)
        most = self.max_reads if reads is None else reads
        plan = self._lay_out(recipe, recipe.steps, recipe.done, grid, most, self.nodes if reuse else None)
        self._check(chain, plan, most)
        return plan

    def _lay_out(
        self,
        recipe: Recipe,
        steps: tuple[Step, ...],
        done: Mapping[int, list[int]],
        grid: Grid,
        most: int,
        nodes: NodeCache | None = None,
    ) -> Plan:
        """Steps on a grid, those that are computed of each item included."""
        outer = steps is recipe.steps
        names = recipe.names if outer else {}
        grids, found = _grids(steps, names, grid, nodes)
        reads: dict[int, ReadPlan] = {}
        gatherings: dict[int, Gathering] = {}
        for index, (step, around) in enumerate(zip(steps, grids, strict=True)):
            if around is None or index in found:
                continue
            try:
                if isinstance(step, Read):
                    info = recipe.sources[step.href]
                    reads[index] = demand(info, around, step.bands, step.resampling, self.limits)
                elif isinstance(step, Reduce):
                    gatherings[index] = self._gather(recipe, step, most, grid, around)
            except GeoloomError as error:
                error.node = error.node or step.key
                error.op = error.op or (Open.name if isinstance(step, Read) else None)
                raise
        return Plan(
            grid,
            steps,
            grids,
            found,
            names,
            reads,
            recipe.sources,
            recipe.profile,
            recipe.data,
            done,
            gatherings,
        )

    def _gather(self, recipe: Recipe, step: Reduce, most: int, tile: Grid, grid: Grid) -> Gathering:
        inner = self._lay_out(recipe, step.steps, step.done, grid, most)
        again = partial(self._gather, recipe, step, most, tile)
        return gathered(step, recipe.selections[step.selection], inner, tile, self.memory, most, again)

    def _recipe(self, chain: Chain) -> Recipe:
        data = self.data_version(chain)

        def make() -> Recipe:
            return prepare(chain, data, self._versions, self.given(), self.nodes is not None)

        return self._recipes.get((chain.root, data), make)

    def make_room(self, plan: Plan) -> None:
        """Have caches let go of what stands in the way of carrying out a plan."""
        if self._make_room is not None:
            self._make_room(plan.memory + plan.bytes)

    def _check(self, chain: Chain, plan: Plan, most: int) -> None:
        """Refuse a plan that would take too much memory or time; nothing has been read yet."""
        fewer = "Choose fewer bands before computing with them."
        allowed = f"more than the {self.memory >> 20} MB"
        wanted, hint = None, fewer
        if plan.memory > self.memory:
            wanted = f"{plan.memory >> 20} MB for its blocks, {allowed}"
        elif plan.bytes > self.memory:
            wanted = f"to read {plan.bytes >> 20} MB of source pixels, {allowed}"
            hint = "Zoom in, choose fewer bands, or make overviews (gdaladdo)."
        elif plan.least > most:
            wanted = f"{plan.least:,} files for all its composites together, more than the {most:,}"
            hint = "Zoom in, choose fewer items (limit, a shorter time), or look at one composite at a time."
        elif plan.cost > MAX_COST:
            operations = f"{MAX_COST / 1e9:,.0f} thousand million"
            wanted = f"about {plan.cost / 1e9:,.1f} thousand million operations, more than the {operations}"
            hint = f"Use smaller neighbourhoods and fewer steps, or ask for fewer pixels. {fewer}"
        if wanted is not None:
            raise DemandError(
                f"This view needs {wanted} that are allowed.", hint=hint, node=chain.root, op=chain.node.op
            )


def _nothing(key: str) -> bytes:
    raise NotFound(f"Nothing is stored under {key}.")


def _grids(
    steps: tuple[Step, ...], names: Mapping[int, NodeName], grid: Grid, nodes: NodeCache | None
) -> tuple[tuple[Grid | None, ...], dict[int, Block]]:
    """The grid of each step, the largest any of its readers needs, and the blocks that are kept."""
    margins: list[int | None] = [None] * len(steps)
    margins[-1] = 0
    grids: list[Grid | None] = [None] * len(steps)
    found: dict[int, Block] = {}
    for index in range(len(steps) - 1, -1, -1):
        step, needed = steps[index], margins[index]
        if needed is None:
            continue
        around = grids[index] = grid.expand(needed)
        name = names.get(index)
        if nodes is not None and name is not None and isinstance(step, Read | Compute | Reduce):
            block = nodes.get(name, around, step.bands)
            if block is not None:
                found[index] = block
                continue
        if isinstance(step, Compute):
            needed += step.op.margin_on(around)
            if needed > MAX_MARGIN:
                raise DemandError(
                    f"This image needs {needed} pixels around each tile here, "
                    f"more than the {MAX_MARGIN} that are allowed.",
                    hint="Use smaller radii, or fewer neighbourhoods one after the other; those in metres "
                    "shrink when you zoom out.",
                    node=step.key,
                    op=step.op.name,
                )
        for part in parts_of(step):
            margins[part.step] = max(margins[part.step] or 0, needed)
    return tuple(grids), found
