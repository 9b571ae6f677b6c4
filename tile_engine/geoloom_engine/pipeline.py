"""From a chain to an answer, in one synchronous place: what the compute thread runs.

This is where the engine's parts meet: sources, planner, evaluator, renderer. Nothing here knows
HTTP, Redis or the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geoloom.block import Block
from geoloom.chain import Chain
from geoloom.grid import Bounds, Grid, Tile
from geoloom.op import decode
from geoloom.ops.open import Open
from geoloom.param import BlobKey
from geoloom_engine import values
from geoloom_engine.basemap import basemap_tile
from geoloom_engine.cache import BlockCache
from geoloom_engine.evaluate import always, evaluate, fetch
from geoloom_engine.explanation import explained
from geoloom_engine.legend import legend, legend_png
from geoloom_engine.memory import Memory
from geoloom_engine.nodes import NodeCache
from geoloom_engine.plan import Plan, Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.render import own_colours, png
from geoloom_engine.settings import Settings
from geoloom_engine.warp import Limits


@dataclass(frozen=True, slots=True)
class Drawn:
    """An encoded tile, the data version it shows, and the seconds of each stage."""

    png: bytes
    data: str
    stages: dict[str, float]


class Pipeline:
    """Answers questions about chains. Thread-safe as far as its parts are.

    Raises
    ------
    ValueError
        The settings name sources that cannot be.
    """

    def __init__(self, settings: Settings) -> None:
        self.memory = Memory.of(settings)
        self.budget = self.memory.budget
        self.pool = SourcePool(
            settings.sources,
            cache=BlockCache(self.budget, settings.block_cache),
            max_open=settings.open_sources,
            recheck=settings.source_recheck,
            gdal_cache=settings.gdal_cache,
        )
        limits = Limits(source_pixels=settings.max_source_pixels)
        nodes = None if settings.node_cache == 0 else NodeCache(self.budget, settings.node_cache)
        self.planner = Planner(
            self.pool, limits, settings.cache_epoch, nodes, self.memory.evaluation, self.memory.make_room
        )

    def read(self, raw: bytes) -> Chain:
        """A chain from canonical JSON, verified, of ops and parameters this engine knows."""
        chain = Chain.from_json(raw)
        self.check(chain)
        return chain

    def check(self, chain: Chain) -> None:
        """Refuse a chain with unknown ops or wrong parameters; raises ChainError."""
        for node in chain.nodes.values():
            decode(node)

    def version(self, chain: Chain, anew: bool = False) -> str:
        """The data version: changes when a source of the chain does.

        Parameters
        ----------
        anew
            Look at the sources now, however short ago that was done.
        """
        if anew:
            for node in chain.nodes.values():
                if node.op == Open.name:
                    self.pool.recheck(str(node.params["href"]))
        return self.planner.data_version(chain)

    def remote(self, chain: Chain) -> bool:
        """Whether a chain reads over the network: waiting for it must not hold up computation."""
        return any(
            node.op == Open.name and "://" in str(node.params["href"]) for node in chain.nodes.values()
        )

    def blobs(self, chain: Chain) -> tuple[str, ...]:
        """Keys of the blobs a chain needs."""
        found = []
        for node in chain.nodes.values():
            for declared in decode(node).parameters:
                value = node.params.get(declared.name)
                if declared.hint is BlobKey and value is not None:
                    found.append(str(value))
        return tuple(dict.fromkeys(found))

    def read_pixels(
        self, chain: Chain, grid: Grid, wanted: Callable[[], bool] = always
    ) -> tuple[Plan, dict[int, Block], dict[str, float]]:
        """Plan and fetch what is to be drawn: the plan, the pixels by step, and the seconds of each stage.

        Parameters
        ----------
        wanted
            Asked now and then whether to go on.

        Raises
        ------
        ImageUseError
            If the values could not be drawn; nothing has been read then.
        Unwanted
            If `wanted` says no.
        """
        begun = time.perf_counter()
        plan = self.planner.plan(chain, grid)
        if plan.profile.look is None:
            own_colours(plan.profile.dtype, plan.profile.bands)
        self.planner.make_room(plan)
        planned = time.perf_counter()
        blocks = fetch(plan, self.pool, wanted)
        return plan, blocks, {"plan": planned - begun, "read": time.perf_counter() - planned}

    def draw(
        self,
        plan: Plan,
        blocks: dict[int, Block],
        stages: dict[str, float],
        wanted: Callable[[], bool] = always,
    ) -> Drawn:
        """Evaluate and encode what was read; raises Unwanted if `wanted` says no."""
        begun = time.perf_counter()
        block = evaluate(plan, blocks, self.planner.nodes, wanted)
        computed = time.perf_counter()
        picture = png(block, plan.profile.look)
        own = {"compute": computed - begun, "encode": time.perf_counter() - computed}
        return Drawn(picture, plan.data, stages | own)

    def tile(self, chain: Chain, tile: Tile, ratio: int, wanted: Callable[[], bool] = always) -> Drawn:
        """A tile from start to end; raises Unwanted if `wanted` says no."""
        return self.draw(*self.read_pixels(chain, tile.grid(ratio), wanted), wanted)

    def describe(self, chain: Chain) -> dict[str, Any]:
        """What a chain gives, as ``/info`` answers it."""
        return self.planner.describe(chain).to_json()

    def source(self, href: str) -> dict[str, Any]:
        """What a file holds, as ``/info`` answers it."""
        return self.pool.open(href).info.to_json()

    def point(self, chain: Chain, lon: float, lat: float, zoom: int | None) -> dict[str, Any]:
        """Values at a place."""
        return values.point(self.planner, chain, lon, lat, zoom)

    def statistics(self, chain: Chain, bbox: Bounds | None) -> dict[str, Any]:
        """Statistics of an area."""
        box = None if bbox is None else (bbox.west, bbox.south, bbox.east, bbox.north)
        return values.statistics(self.planner, chain, box)

    def explain(self, chain: Chain, tile: Tile | None, zoom: int | None) -> dict[str, Any]:
        """The plan of a tile; by default of the one in the image's middle, at its finest zoom."""
        if tile is None:
            described = self.planner.describe(chain)
            bounds = described.bounds or Bounds(-180.0, -85.0, 180.0, 85.0)
            width = (bounds.east - bounds.west) % 360 or 360.0
            lon = (bounds.west + width / 2 + 180.0) % 360.0 - 180.0
            lat = (bounds.south + bounds.north) / 2
            tile = Tile.at(lon, lat, min(described.zooms[1], 18) if zoom is None else zoom)
        plan = self.planner.plan(chain, tile.grid(), reuse=False)
        return {"tile": [tile.z, tile.x, tile.y], "data": plan.data, **explained(plan)}

    def legend(self, chain: Chain) -> dict[str, Any]:
        """What a layer's colours mean."""
        profile = self.planner.describe(chain).profile
        return legend(profile.look, profile)

    def legend_picture(self, chain: Chain, ratio: int) -> bytes:
        """The legend as PNG."""
        return legend_png(self.legend(chain), ratio)

    def basemap(self, tile: Tile, ratio: int) -> bytes:
        """A tile of the offline base map as PNG."""
        return basemap_tile(tile.z, tile.x, tile.y, ratio)

    def close(self) -> None:
        """Close all sources."""
        self.memory.close()
        self.pool.close()
