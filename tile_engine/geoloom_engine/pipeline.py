"""From a chain to an answer, in one synchronous place: what the compute thread runs.

This is where the engine's parts meet: sources, planner, evaluator, renderer. Nothing here knows
HTTP, Redis or the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.chain import Chain, Node
from geoloom.errors import FunctionRefused, NotFound
from geoloom.given import Given
from geoloom.grid import Bounds, Grid, Tile
from geoloom.op import decode
from geoloom.ops.coverage import Coverage
from geoloom.ops.execute import Execute
from geoloom.ops.item import Item
from geoloom.ops.open import Open
from geoloom_engine import values
from geoloom_engine.basemap import basemap_tile
from geoloom_engine.cache import BlockCache
from geoloom_engine.evaluate import evaluate, fetch, run
from geoloom_engine.explanation import explained
from geoloom_engine.functions import Functions
from geoloom_engine.items import ItemFailure
from geoloom_engine.legend import legend, legend_png
from geoloom_engine.memory import Memory
from geoloom_engine.nodes import NodeCache
from geoloom_engine.plan import Plan, Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.render import own_colours, png
from geoloom_engine.restrictions import Restrictions
from geoloom_engine.rights import Rights
from geoloom_engine.selections import Blobs
from geoloom_engine.series import series
from geoloom_engine.settings import Settings
from geoloom_engine.unwanted import always
from geoloom_engine.warp import Limits
from geoloom_engine.window import window

if TYPE_CHECKING:
    from geoloom_engine.catalog.catalogues import Catalogues


@dataclass(frozen=True, slots=True)
class Drawn:
    """An encoded tile, the data version it shows, the seconds of each stage, prints, and missing items."""

    png: bytes
    data: str
    stages: dict[str, float]
    printed: tuple[str, ...] = ()
    failures: tuple[ItemFailure, ...] = ()


class Pipeline:
    """Answers questions about chains. Thread-safe as far as its parts are.

    Parameters
    ----------
    functions
        Runs users' functions; by default they do not run.
    load
        What chains name by a key; by default only what was `keep`.

    Raises
    ------
    ValueError
        The settings name sources that cannot be.
    """

    def __init__(
        self,
        settings: Settings,
        functions: Functions | None = None,
        load: Callable[[str], bytes] | None = None,
    ) -> None:
        self._settings = settings
        self.functions = functions or Functions(None, settings.function_modules, _no_text)
        self.blobs = Blobs(load or _no_text)
        self._readers = ThreadPoolExecutor(settings.io_threads, "items")
        self.memory = Memory.of(settings)
        restrictions = Restrictions(settings.restricted)
        self.budget = self.memory.budget
        self.pool = SourcePool(
            settings.sources,
            cache=BlockCache(self.budget, settings.block_cache),
            max_open=settings.open_sources,
            recheck=settings.source_recheck,
            gdal_cache=settings.gdal_cache,
            read_timeout=settings.read_timeout,
            read_retries=settings.read_retries,
            restrictions=restrictions,
        )
        self.rights = Rights(restrictions, self.blobs.selection)
        limits = Limits(source_pixels=settings.max_source_pixels)
        nodes = None if settings.node_cache == 0 else NodeCache(self.budget, settings.node_cache)
        self.planner = Planner(
            self.pool,
            limits,
            settings.cache_epoch,
            nodes,
            self.memory.evaluation,
            self.memory.make_room,
            self.functions.version,
            self.blobs,
            settings.max_reads,
            self._readers,
        )

    @cached_property
    def catalogues(self) -> Catalogues:
        """Where collections are found and searched; loaded with the first question."""
        from geoloom_engine.catalog.catalogues import Catalogues

        settings = self._settings
        return Catalogues(settings.catalogs, settings.indexes, settings.read_timeout)

    def keep(self, key: str, content: bytes) -> None:
        """Remember what a chain names by a key."""
        self.functions.keep(key, content)
        self.blobs.keep(key, content)

    def unfold(self, chain: Chain) -> None:
        """Parse the selections of a chain: of ten thousand items 0.1 s. Raises CorruptChain."""
        for node in chain.nodes.values():
            if "selection" in node.params:
                self.blobs.selection(str(node.params["selection"]))

    def read(self, raw: bytes) -> Chain:
        """A chain from canonical JSON, verified, of ops and parameters this engine knows."""
        chain = Chain.from_json(raw)
        self.check(chain)
        return chain

    def check(self, chain: Chain) -> None:
        """Refuse a chain with unknown ops, wrong parameters, or functions that do not run here.

        Raises
        ------
        ChainError, FunctionRefused
            Naming the node.
        """
        for node in chain.nodes.values():
            op = decode(node)
            if isinstance(op, Execute):
                try:
                    self.functions.check(op)
                except FunctionRefused as error:
                    error.node = node.key
                    raise

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

    def fetched(self, chain: Chain) -> bool:
        """Whether it opens a file over the network: that is waited for before anything is computed."""
        return any(
            node.op == Open.name and "://" in str(node.params["href"]) for node in chain.nodes.values()
        )

    def remote(self, chain: Chain) -> bool:
        """Whether a chain reads over the network: waiting for it must not hold up computation."""
        return self.fetched(chain) or any(map(self._far, chain.nodes.values()))

    def outside(self, chain: Chain) -> str:
        """What computing it waits for: ``function`` (a sandbox), ``remote`` (servers), or nothing."""
        nodes = chain.nodes.values()
        if any(node.op == Execute.name for node in nodes):
            return "function"
        # Files beside the items are read when the first item is computed.
        within = any(node.each is not None for node in nodes) and self.fetched(chain)
        return "remote" if within or any(map(self._far, nodes)) else ""

    def _far(self, node: Node) -> bool:
        """Whether a node reads items of other machines."""
        if node.op != Item.name:
            return False
        return self.blobs.selection(str(node.params["selection"])).remote

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
        session: str = "",
    ) -> Drawn:
        """Evaluate and encode what was read; raises Unwanted if `wanted` says no.

        Parameters
        ----------
        session
            For whom users' functions run.
        """
        begun = time.perf_counter()
        printed: list[str] = []
        call = self.functions.bound(session, wanted, printed)
        supply = self.planner.supply(wanted)
        block = evaluate(plan, blocks, self.planner.nodes, wanted, call, supply)
        computed = time.perf_counter()
        picture = png(block, plan.profile.look)
        own = {"compute": computed - begun, "encode": time.perf_counter() - computed}
        failures = tuple(supply.reader.failures)
        return Drawn(picture, plan.data, stages | own, tuple(printed), failures)

    def tile(
        self,
        chain: Chain,
        tile: Tile,
        ratio: int,
        wanted: Callable[[], bool] = always,
        session: str = "",
    ) -> Drawn:
        """A tile from start to end; raises Unwanted if `wanted` says no."""
        return self.draw(*self.read_pixels(chain, tile.grid(ratio), wanted), wanted, session)

    def scenes(self, chain: Chain, key: str, tile: Tile, ratio: int) -> Array | None:
        """How many items of a node's selection lie at each pixel of a tile; None for any other node."""
        node = chain.nodes.get(key)
        if node is None or "selection" not in node.params:
            return None
        counting = Coverage(selection=str(node.params["selection"])).chain()
        block, _ = run(self.planner, counting, tile.grid(ratio))
        return np.asarray(block.data[0])

    def describe(self, chain: Chain) -> dict[str, Any]:
        """What a chain gives, as ``/info`` answers it."""
        return self.planner.describe(chain).to_json()

    def source(self, href: str) -> dict[str, Any]:
        """What a file holds, as ``/info`` answers it."""
        return self.pool.describe(href)

    def point(
        self,
        chain: Chain,
        lon: float,
        lat: float,
        zoom: int | None,
        wanted: Callable[[], bool] = always,
        session: str = "",
    ) -> dict[str, Any]:
        """Values at a place."""
        call = self.functions.bound(session, wanted, [])
        return values.point(self.planner, chain, lon, lat, zoom, call, wanted)

    def series(
        self,
        chain: Chain,
        lon: float,
        lat: float,
        zoom: int | None,
        wanted: Callable[[], bool] = always,
        session: str = "",
    ) -> dict[str, Any]:
        """Values of all items of a composite at a place."""
        call = self.functions.bound(session, wanted, [])
        return series(self.planner, chain, lon, lat, zoom, call, wanted)

    def statistics(
        self,
        chain: Chain,
        bbox: Bounds | None,
        wanted: Callable[[], bool] = always,
        session: str = "",
    ) -> dict[str, Any]:
        """Statistics of an area."""
        box = None if bbox is None else (bbox.west, bbox.south, bbox.east, bbox.north)
        return values.statistics(self.planner, chain, box, self.functions.bound(session, wanted, []), wanted)

    def window(
        self,
        chain: Chain,
        key: str,
        tile: Tile,
        ratio: int,
        wanted: Callable[[], bool] = always,
        session: str = "",
    ) -> Given:
        """What a user's function in a chain is given for a tile; or, of any other node, what that gives.

        Parameters
        ----------
        key
            Of the node.

        Raises
        ------
        NotFound
            The chain has no such node.
        """
        call = self.functions.bound(session, wanted, [])
        return window(self.planner, chain, key, tile.grid(ratio), call, wanted)

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
        """Close all sources, end all functions."""
        self.functions.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self.memory.close()
        self.pool.close()


def _no_text(key: str) -> bytes:
    raise NotFound(f"No text of a function is stored under {key}.")
