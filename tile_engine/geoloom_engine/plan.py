"""Plan: what an evaluation will read and compute. Demand flows from the root down.

A chain's steps are prepared once. A plan adds the grid: each step's margin is the largest any of
its readers needs. Nothing here reads a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoloom.chain import Chain, canonical, key_of
from geoloom.errors import DemandError, GeoloomError, ParameterError, SourceChanged
from geoloom.grid import MAX_ZOOM, Bounds, Grid, Lattice
from geoloom.op import Op, Profile, decode, profiles
from geoloom.ops.open import Open
from geoloom_engine.cache import Memo
from geoloom_engine.readers import SourceInfo, SourcePool
from geoloom_engine.steps import Compute, Gather, Read, Step, Steps, last_readers
from geoloom_engine.warp import Limits, ReadPlan, demand

MAX_MARGIN = 512
MAX_MEMORY = 1 << 30
"""Bytes of blocks that one evaluation may hold."""
MAX_COST = 4_000_000_000
"""What one evaluation may do, as `Plan.cost` counts it: about 7 s of one core (measured)."""
RECIPE_BYTES = 8 << 20
"""Size of the prepared chains kept by one planner, as JSON; in memory it is some ten times as much."""


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
        Of each step: `grid` and the margin its readers need.
    reads
        What each Read step will read, by step.
    sources
        By href, as they were when the plan was made.
    profile
        Of the root.
    data
        The data version the plan was made with.
    limits
        What the plan was allowed to demand.
    done
        By step: the earlier steps whose blocks nothing later reads.
    """

    grid: Grid
    steps: tuple[Step, ...]
    grids: tuple[Grid, ...]
    reads: dict[int, ReadPlan]
    sources: dict[str, SourceInfo]
    profile: Profile
    data: str
    limits: Limits
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
        computed = sum(
            step.count * grid.rows * grid.cols * step.op.effort(grid)
            for step, grid in zip(self.steps, self.grids, strict=True)
            if isinstance(step, Compute)
        )
        return self.pixels + int(computed)

    @property
    def memory(self) -> int:
        """Most bytes of blocks that are alive at one time of the evaluation."""
        sizes = [
            grid.rows * grid.cols * step.count * (np.dtype(step.dtype).itemsize + 1)
            for step, grid in zip(self.steps, self.grids, strict=True)
        ]
        if sum(sizes) <= MAX_MEMORY:
            return sum(sizes)
        alive = most = sum(sizes[index] for index in self.reads)
        for index, size in enumerate(sizes):
            alive += 0 if index in self.reads else size
            most = max(most, alive)
            alive -= sum(sizes[done] for done in self.done.get(index, ()))
        return most

    def to_json(self) -> dict[str, Any]:
        """The plan in words and numbers, for ``/explain``."""
        steps: list[dict[str, Any]] = []
        for index, (step, grid) in enumerate(zip(self.steps, self.grids, strict=True)):
            margin = (grid.cols - self.grid.cols) // 2
            entry: dict[str, Any] = {"node": step.key, "rows": grid.rows, "cols": grid.cols, "margin": margin}
            if isinstance(step, Read):
                info = self.sources[step.href]
                entry |= {
                    "op": "read",
                    "href": step.href,
                    "bands": [info.bands[i].name for i in step.bands],
                    "resampling": step.resampling,
                    **_read_json(self.reads[index]),
                }
            elif isinstance(step, Compute):
                entry |= {"op": step.op.name, "params": step.op.params(), "dtype": step.dtype}
            else:
                entry |= {"op": "gather", "dtype": step.dtype}
            steps.append(entry)
        return {
            "steps": steps,
            "reads": len(self.reads),
            "pixels": self.pixels,
            "bytes": self.bytes,
            "cost": self.cost,
            "bands": list(self.profile.names),
            "dtype": self.profile.dtype,
        }


@dataclass(frozen=True, slots=True)
class Description:
    """What a chain gives and where, without evaluating it.

    Parameters
    ----------
    profile
        Of the root.
    bounds
        In degrees, of all sources together; None for a chain without sources.
    zooms
        The lowest zoom the engine's limits allow, and the zoom of the finest source's pixels.
    resolution
        Ground metres of the finest source's pixels.
    sources
        By href.
    """

    profile: Profile
    bounds: Bounds | None
    zooms: tuple[int, int]
    resolution: float | None
    sources: dict[str, SourceInfo]

    def to_json(self) -> dict[str, Any]:
        """The description as ``/info`` answers it."""
        look, bounds = self.profile.look, self.bounds
        return {
            "bands": list(self.profile.names),
            "dtype": self.profile.dtype,
            "unit": self.profile.unit,
            "range": None if self.profile.range is None else list(self.profile.range),
            "look": None if look is None else look.kind,
            "bounds": None if bounds is None else [bounds.west, bounds.south, bounds.east, bounds.north],
            "zooms": list(self.zooms),
            "resolution_m": self.resolution,
            "sources": [info.to_json() for info in self.sources.values()],
        }


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A prepared chain: its steps without a grid."""

    steps: tuple[Step, ...]
    done: Mapping[int, list[int]]
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
    """

    def __init__(self, pool: SourcePool, limits: Limits, epoch: str = "") -> None:
        self.pool = pool
        self.limits = limits
        self.epoch = epoch
        self._recipes: Memo[_Recipe] = Memo(RECIPE_BYTES, lambda recipe: recipe.size)

    def data_version(self, chain: Chain) -> str:
        """Hash over the fingerprints of the chain's sources and the epoch.

        Raises
        ------
        SourceError
            If a source is gone, refused or, when pinned, changed.
        """
        found = []
        for node in chain.nodes.values():
            if node.op == Open.name:
                href = str(node.params["href"])
                fingerprint = self._fingerprint(href, node.params.get("fingerprint"), node.key)
                found.append([href, fingerprint])
        return key_of(canonical([self.epoch, sorted(found)]))[:16]

    def describe(self, chain: Chain) -> Description:
        """Bands, dtype, look, bounds and zooms of a chain; raises what is wrong with it."""
        recipe = self._recipe(chain)
        infos = list(recipe.sources.values())
        if not infos:
            return Description(recipe.profile, None, (0, MAX_ZOOM), None, {})
        finest = min(info.ground_resolution for info in infos)
        lowest = max(_lowest_zoom(info, self.limits) for info in infos)
        highest = min(max(math.ceil(_zoom_of(finest)), 0), MAX_ZOOM)
        bounds = Bounds.around([info.bounds for info in infos])
        return Description(recipe.profile, bounds, (min(lowest, highest), highest), finest, recipe.sources)

    def plan(self, chain: Chain, grid: Grid) -> Plan:
        """What evaluating `chain` on `grid` will read and compute.

        Raises
        ------
        DemandError
            If that is more than the limits allow, before anything is read.
        """
        recipe = self._recipe(chain)
        grids = _grids(recipe.steps, grid)
        reads: dict[int, ReadPlan] = {}
        for index, (step, around) in enumerate(zip(recipe.steps, grids, strict=True)):
            if isinstance(step, Read):
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
            reads,
            recipe.sources,
            recipe.profile,
            recipe.data,
            self.limits,
            recipe.done,
        )
        _check_demand(chain, plan)
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
        steps = Steps(chain, ops, known, sources).build()
        # What it holds beside its parameters counts as much as a short chain does.
        return _Recipe(steps, last_readers(steps), known[chain.root], sources, data, chain.size + 4096)


def _check_demand(chain: Chain, plan: Plan) -> None:
    """Refuse a plan that would take too much memory or time; nothing has been read yet."""
    fewer = "Choose fewer bands before computing with them."
    wanted, hint = None, fewer
    if plan.memory > MAX_MEMORY:
        wanted = f"{plan.memory >> 20} MB for its blocks, more than the {MAX_MEMORY >> 20} MB"
    elif plan.bytes > MAX_MEMORY:
        wanted = f"to read {plan.bytes >> 20} MB of source pixels, more than the {MAX_MEMORY >> 20} MB"
        hint = "Zoom in, choose fewer bands, or make overviews (gdaladdo)."
    elif plan.cost > MAX_COST:
        most = f"{MAX_COST / 1e9:,.0f} thousand million"
        wanted = f"about {plan.cost / 1e9:,.1f} thousand million operations, more than the {most}"
        hint = f"Use smaller neighbourhoods and fewer steps, or ask for fewer pixels. {fewer}"
    if wanted is not None:
        raise DemandError(
            f"This view needs {wanted} that are allowed.", hint=hint, node=chain.root, op=chain.node.op
        )


def _read_json(read: ReadPlan) -> dict[str, Any]:
    window = read.window
    return {
        "level": read.level,
        "window": None if window is None else [window.x, window.y, window.width, window.height],
        "pixels": read.pixels,
        "bytes": read.bytes,
    }


def _grids(steps: tuple[Step, ...], grid: Grid) -> tuple[Grid, ...]:
    """The grid of each step: the largest any of its readers needs."""
    margins = [0] * len(steps)
    for index in range(len(steps) - 1, -1, -1):
        step = steps[index]
        if isinstance(step, Read):
            continue
        needed = margins[index]
        if isinstance(step, Compute):
            needed += step.op.margin_on(grid.expand(margins[index]))
            if needed > MAX_MARGIN:
                raise DemandError(
                    f"{step.op.name} needs {needed} pixels around each tile here, "
                    f"more than the {MAX_MARGIN} that are allowed.",
                    hint="Zoom out, or use a smaller radius.",
                    node=step.key,
                    op=step.op.name,
                )
        for part in step.parts if isinstance(step, Gather) else step.inputs:
            margins[part.step] = max(margins[part.step], needed)
    return tuple(grid.expand(margin) for margin in margins)


def _zoom_of(resolution: float) -> float:
    """The zoom whose pixels measure `resolution` metres at the equator."""
    return math.log2(Lattice.web_mercator(0).dx / max(resolution, 1e-6))


def _lowest_zoom(info: SourceInfo, limits: Limits) -> int:
    """The lowest zoom at which a tile's window of a source stays within the limits."""
    width, height = info.overviews[-1] if info.overviews else (info.width, info.height)
    if width * height <= limits.source_pixels:
        return 0
    coarsest = info.ground_resolution * info.width / width
    reach = math.sqrt(limits.source_pixels) / 256
    return max(0, math.ceil(_zoom_of(coarsest * reach)))
