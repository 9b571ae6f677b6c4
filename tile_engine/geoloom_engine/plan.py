"""Plan: what an evaluation will read and compute. Demand flows from the root down.

A chain's steps are prepared once. A plan adds the grid: each step's margin is the largest any of
its readers needs. Nothing here reads a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from geoloom.block import Block
from geoloom.chain import Chain, canonical, key_of
from geoloom.errors import DemandError, GeoloomError, ParameterError, SourceChanged
from geoloom.grid import Grid
from geoloom.derivation import profiles
from geoloom.op import Op, Profile, decode
from geoloom.ops.execute import Execute
from geoloom.ops.open import Open
from geoloom_engine.description import Description
from geoloom_engine.lookup import joined
from geoloom_engine.memo import Memo
from geoloom_engine.nodes import NodeCache, NodeName, worth_keeping
from geoloom_engine.readers import SourceInfo, SourcePool
from geoloom_engine.steps import Compute, Lookup, Read, Step, Steps, last_readers, parts_of
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

VERSIONS = 4096
"""Data versions remembered by the fingerprints they come from."""


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
            if index not in self.found and isinstance(step, Compute | Lookup):
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
        if sum(sizes.values()) <= SMALL:
            return sum(sizes.values())
        alive = most = sum(sizes[index] for index in self.reads)
        for index, size in sizes.items():
            alive += 0 if index in self.reads else size
            most = max(most, alive)
            alive -= sum(sizes.get(done, 0) for done in self.done.get(index, ()))
        return most

    def live(self) -> Iterator[tuple[int, Step, Grid]]:
        """The steps that are needed, each with its place and its grid."""
        for index, (step, grid) in enumerate(zip(self.steps, self.grids, strict=True)):
            if grid is not None:
                yield index, step, grid


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A prepared chain: its steps without a grid."""

    steps: tuple[Step, ...]
    done: Mapping[int, list[int]]
    names: Mapping[int, NodeName]
    profile: Profile
    sources: dict[str, SourceInfo]
    data: str
    size: int


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
    ) -> None:
        self.pool = pool
        self.limits = limits
        self.memory = memory
        self._make_room = make_room
        self.epoch = epoch
        self.nodes = nodes
        self._functions = ("", functions)
        self._recipes: Memo[_Recipe] = Memo(RECIPE_BYTES, lambda recipe: recipe.size)
        self._versions: Memo[str] = Memo(VERSIONS)

    def data_version(self, chain: Chain) -> str:
        """Hash over the fingerprints of the chain's sources, the epoch, and what users' functions run in.

        Raises
        ------
        SourceError
            If a source is gone, refused or, when pinned, changed.
        """
        found = []
        for node in chain.nodes.values():
            if node.op == Open.name:
                href = str(node.params["href"])
                found.append((href, self._fingerprint(href, node.params.get("fingerprint"), node.key)))
            elif node.op == Execute.name:
                found.append(self._functions)
        return self._version(found)

    def _version(self, fingerprints: Iterable[tuple[str, str]]) -> str:
        """The data version of some sources, by href and fingerprint."""
        key = tuple(sorted(set(fingerprints)))
        return self._versions.get(key, lambda: key_of(canonical([self.epoch, list(map(list, key))]))[:16])

    def describe(self, chain: Chain) -> Description:
        """Bands, dtype, look, bounds and zooms of a chain; raises what is wrong with it."""
        recipe = self._recipe(chain)
        return Description.of(recipe.profile, recipe.sources, self.limits)

    def plan(self, chain: Chain, grid: Grid, reuse: bool = True) -> Plan:
        """What evaluating `chain` on `grid` will read and compute.

        Parameters
        ----------
        reuse
            Whether to leave out what is kept from earlier evaluations.

        Raises
        ------
        DemandError
            If that is more than the limits allow, before anything is read.
        """
        recipe = self._recipe(chain)
        grids, found = _grids(recipe, grid, self.nodes if reuse else None)
        reads: dict[int, ReadPlan] = {}
        for index, (step, around) in enumerate(zip(recipe.steps, grids, strict=True)):
            if isinstance(step, Read) and around is not None and index not in found:
                info = recipe.sources[step.href]
                try:
                    reads[index] = demand(info, around, step.bands, step.resampling, self.limits)
                except GeoloomError as error:
                    error.node, error.op = step.key, Open.name
                    raise
        plan = Plan(
            grid,
            recipe.steps,
            grids,
            found,
            recipe.names,
            reads,
            recipe.sources,
            recipe.profile,
            recipe.data,
            recipe.done,
        )
        self._check(chain, plan)
        return plan

    def _fingerprint(self, href: str, pinned: str | None, key: str) -> str:
        try:
            found = self.pool.fingerprint(href)
        except GeoloomError as error:
            error.node, error.op = key, Open.name
            raise
        if pinned is not None and pinned != found:
            raise SourceChanged(
                f"{href} has changed since the image was pinned.",
                hint="Open it again, and pin it if the new content is what you want.",
                node=key,
                op=Open.name,
            )
        return found

    def _recipe(self, chain: Chain) -> _Recipe:
        data = self.data_version(chain)
        return self._recipes.get((chain.root, data), lambda: self._prepare(chain, data))

    def _prepare(self, chain: Chain, data: str) -> _Recipe:
        sources: dict[str, SourceInfo] = {}

        def of_source(op: Op) -> Profile:
            if not isinstance(op, Open):
                raise ParameterError(
                    f"{op.name}() stands for the item of a collection and has no pixels of its own.",
                    hint="Use it inside collection.map(…).",
                )
            sources[op.href] = self.pool.open(op.href).info
            return Profile.of_source(sources[op.href].to_json())

        ops = {node.key: decode(node) for node in chain.topological()}
        known = profiles(chain, of_source)
        found = [(href, info.fingerprint) for href, info in sources.items()]
        found += [self._functions for op in ops.values() if op.sandboxed]
        if self._version(found) != data:
            # Else new pixels would be kept under the old version.
            raise SourceChanged("A file changed while its chain was being prepared.", hint="Ask again.")
        steps = joined(Steps(chain, ops, known, sources).build())
        names = {} if self.nodes is None else worth_keeping(steps, known, self._below(steps, sources))
        # What it holds beside its parameters counts as much as a short chain does.
        size = chain.size + 4096 + sum(step.table.nbytes for step in steps if isinstance(step, Lookup)) // 8
        return _Recipe(steps, last_readers(steps), names, known[chain.root], sources, data, size)

    def make_room(self, plan: Plan) -> None:
        """Have caches let go of what stands in the way of carrying out a plan."""
        if self._make_room is not None:
            self._make_room(plan.memory + plan.bytes)

    def _check(self, chain: Chain, plan: Plan) -> None:
        """Refuse a plan that would take too much memory or time; nothing has been read yet."""
        fewer = "Choose fewer bands before computing with them."
        allowed = f"more than the {self.memory >> 20} MB"
        wanted, hint = None, fewer
        if plan.memory > self.memory:
            wanted = f"{plan.memory >> 20} MB for its blocks, {allowed}"
        elif plan.bytes > self.memory:
            wanted = f"to read {plan.bytes >> 20} MB of source pixels, {allowed}"
            hint = "Zoom in, choose fewer bands, or make overviews (gdaladdo)."
        elif plan.cost > MAX_COST:
            most = f"{MAX_COST / 1e9:,.0f} thousand million"
            wanted = f"about {plan.cost / 1e9:,.1f} thousand million operations, more than the {most}"
            hint = f"Use smaller neighbourhoods and fewer steps, or ask for fewer pixels. {fewer}"
        if wanted is not None:
            raise DemandError(
                f"This view needs {wanted} that are allowed.", hint=hint, node=chain.root, op=chain.node.op
            )

    def _below(self, steps: tuple[Step, ...], sources: Mapping[str, SourceInfo]) -> list[str]:
        """By step: the data version of the sources it comes from."""
        found: list[frozenset[tuple[str, str]]] = []
        for step in steps:
            own = []
            if isinstance(step, Read):
                own = [(step.href, sources[step.href].fingerprint)]
            elif isinstance(step, Compute) and step.op.sandboxed:
                own = [self._functions]
            found.append(frozenset(own).union(*(found[part.step] for part in parts_of(step))))
        return [self._version(below) for below in found]


def _grids(
    recipe: _Recipe, grid: Grid, nodes: NodeCache | None
) -> tuple[tuple[Grid | None, ...], dict[int, Block]]:
    """The grid of each step, the largest any of its readers needs, and the blocks that are kept."""
    steps = recipe.steps
    margins: list[int | None] = [None] * len(steps)
    margins[-1] = 0
    grids: list[Grid | None] = [None] * len(steps)
    found: dict[int, Block] = {}
    for index in range(len(steps) - 1, -1, -1):
        step, needed = steps[index], margins[index]
        if needed is None:
            continue
        around = grids[index] = grid.expand(needed)
        name = recipe.names.get(index)
        if nodes is not None and name is not None and isinstance(step, Read | Compute):
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
