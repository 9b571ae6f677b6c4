"""Tiles: from the caches, else computed once for all who ask."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from geoloom.chain import Chain
from geoloom.errors import EngineOverloaded, SourceChanged
from geoloom.grid import Tile
from geoloom_engine.tile_cache import TileCache, TileName

if TYPE_CHECKING:
    from geoloom.block import Block
    from geoloom_engine.pipeline import Drawn
    from geoloom_engine.plan import Plan
    from geoloom_engine.services import Services


BASEMAP_PATIENCE = 30.0
"""Seconds for which a tile of the base map asks for its turn again and again."""

BASEMAP_PAUSE = 0.2
"""Seconds between two attempts."""


@dataclass(frozen=True, slots=True)
class TileAnswer:
    """A tile's bytes, the data version they show, their origin, and the seconds each stage took."""

    png: bytes
    data: str
    origin: Literal["memory", "redis", "computed"]
    stages: dict[str, float]


class Tiles:
    """Tiles from the caches, else computed once for all who ask."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._services = services
        self._cache = TileCache(
            services.pipeline.budget, settings.tile_cache, settings.tile_store, settings.tile_ttl
        )
        self._reads: dict[TileName, asyncio.Task[tuple[Plan, dict[int, Block], float]]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    def remembered(self, name: TileName) -> bytes | None:
        """The tile, if this process has it in memory."""
        return self._cache.remembered(name)

    async def get(self, chain: Chain, name: TileName, tile: Tile, session: str) -> TileAnswer:
        """The tile, for a session.

        Raises
        ------
        GeoloomError
            Whatever keeps it from being computed.
        """
        begun = time.perf_counter()
        found = await self._cache.get(name)
        looked = time.perf_counter() - begun
        if found is not None:
            return TileAnswer(found[0], name.data, found[1], {"cache": looked})
        drawn = await self._draw(chain, name, tile, session)
        if drawn.data == name.data and self._cache.remembered(name) is None:
            write = asyncio.get_running_loop().create_task(self._cache.put(name, drawn.png))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
        return TileAnswer(drawn.png, drawn.data, "computed", drawn.stages)

    async def basemap(self, tile: Tile, ratio: int) -> bytes:
        """A tile of the base map; it has no session to be told of a refusal, so it waits longer."""
        services = self._services
        deadline = time.monotonic() + BASEMAP_PATIENCE
        while True:
            try:
                return await services.compute(
                    ("basemap", tile, ratio), "basemap", lambda: services.pipeline.basemap(tile, ratio)
                )
            except EngineOverloaded:
                if services.stopping.is_set() or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(BASEMAP_PAUSE)

    async def close(self) -> None:
        """Close the connections."""
        await self._cache.close()

    async def _draw(self, chain: Chain, name: TileName, tile: Tile, session: str) -> Drawn:
        services, pipeline = self._services, self._services.pipeline
        for last in (False, True):
            try:
                if not pipeline.remote(chain):
                    return await services.compute(
                        name, session, lambda: pipeline.tile(chain, tile, name.ratio)
                    )
                pixels = await self._read(chain, name, tile)
                return await services.compute(name, session, partial(pipeline.draw, *pixels))
            except SourceChanged:
                # Between plan and read; a new plan sees the new file. A pinned source stays changed.
                if last:
                    raise
        raise AssertionError("unreachable")

    async def _read(self, chain: Chain, name: TileName, tile: Tile) -> tuple[Plan, dict[int, Block], float]:
        """Pixels of remote sources, read once for all who ask."""
        services = self._services
        task = self._reads.get(name)
        if task is None:
            grid = tile.grid(name.ratio)
            task = asyncio.ensure_future(
                services.wait_for(lambda: services.pipeline.read_pixels(chain, grid), remote=True)
            )
            self._reads[name] = task
            task.add_done_callback(lambda done: self._forget(name, done))
        patience = services.settings.queue_timeout + services.settings.tile_timeout
        done, _ = await asyncio.wait([task], timeout=patience)
        if not done:
            raise EngineOverloaded(
                f"The image's servers did not answer within {patience:g} s.", hint="It is asked again later."
            )
        return task.result()

    def _forget(self, name: TileName, done: asyncio.Future[Any]) -> None:
        del self._reads[name]
        if not done.cancelled():
            # All who asked may have left; a failure then is nobody's.
            done.exception()
