"""Tiles: from the caches, else computed once for all who ask."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from geoloom.chain import Chain
from geoloom.errors import SourceChanged
from geoloom.grid import Tile
from geoloom_engine.tile_cache import TileCache, TileName

if TYPE_CHECKING:
    from geoloom_engine.pipeline import Drawn
    from geoloom_engine.services import Services


@dataclass(frozen=True, slots=True)
class TileAnswer:
    """A tile's bytes, where they came from, and the seconds each stage took."""

    png: bytes
    origin: Literal["memory", "redis", "computed"]
    stages: dict[str, float]


class Tiles:
    """Tiles from the caches, else computed once for all who ask."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._services = services
        self._cache = TileCache(settings.tile_cache, settings.tile_store, settings.tile_ttl)
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
            return TileAnswer(found[0], found[1], {"cache": looked})
        drawn = await self._draw(chain, name, tile, session)
        if drawn.data == name.data and self._cache.remembered(name) is None:
            write = asyncio.get_running_loop().create_task(self._cache.put(name, drawn.png))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
        return TileAnswer(drawn.png, "computed", drawn.stages)

    async def basemap(self, tile: Tile, ratio: int) -> bytes:
        """A tile of the base map."""
        services = self._services
        return await services.compute(
            ("basemap", tile, ratio), "basemap", lambda: services.pipeline.basemap(tile, ratio)
        )

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
                pixels = await services.wait_for(lambda: pipeline.read_pixels(chain, tile.grid(name.ratio)))
                return await services.compute(name, session, partial(pipeline.draw, *pixels))
            except SourceChanged:
                # Between plan and read; a new plan sees the new file. A pinned source stays changed.
                if last:
                    raise
        raise AssertionError("unreachable")
