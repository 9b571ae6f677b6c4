"""Tiles: from the caches, from the worker that owns them, else computed once for all who ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from geoloom.chain import Chain
from geoloom.errors import EngineOverloaded, FunctionFailed, GeoloomError, ItemUnreadable, SourceChanged
from geoloom.grid import Grid, Tile
from geoloom_engine.events import Event
from geoloom_engine.peers import Ask, Mesh, Peers, Reply, Unreached
from geoloom_engine.tile_cache import TileCache, TileName
from geoloom_engine.unwanted import Unwanted
from geoloom_engine.usage import ASKER

if TYPE_CHECKING:
    from geoloom.block import Block
    from geoloom_engine.items import ItemFailure
    from geoloom_engine.pipeline import Drawn
    from geoloom_engine.plan import Plan
    from geoloom_engine.services import Services


BASEMAP_PATIENCE = 30.0
"""Seconds for which a tile of the base map asks for its turn again and again."""

BASEMAP_PAUSE = 0.2
"""Seconds between two attempts."""

PARTIAL = "partial"

MOST_TOLD = 20
"""Items that a session is told of for one tile."""

LATE = 1.0
"""Seconds beyond its longest work that another worker may take to answer."""


@dataclass(frozen=True, slots=True)
class TileAnswer:
    """A tile's bytes, the data version they show, their origin, and the seconds each stage took.

    The origin is ``memory``, ``redis`` or ``computed``, or ``partial``: computed without items that cannot be
    read just now, and so not kept.
    """

    png: bytes
    data: str
    origin: str
    stages: dict[str, float]


@dataclass(slots=True, eq=False)
class _Reading:
    """Pixels of remote sources under way, and how many wait for them."""

    task: asyncio.Task[tuple[Plan, dict[int, Block], dict[str, float]]] | None = None
    waiting: int = 0

    def wanted(self) -> bool:
        return self.waiting > 0


class Tiles:
    """Tiles from the caches, from other workers, else computed once for all who ask.

    Parameters
    ----------
    mesh
        Leads to the other workers; None to compute all tiles here.
    """

    def __init__(self, services: Services, mesh: Mesh | None = None) -> None:
        settings = services.settings
        self._services = services
        self._cache = TileCache(
            services.pipeline.budget, settings.tile_cache, settings.tile_store, settings.tile_ttl
        )
        self._reads: dict[TileName, _Reading] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._owners = mesh.owners if mesh is not None else None
        self._peers: Peers | None = None
        if mesh is not None:
            patience = settings.queue_timeout + settings.tile_timeout + LATE
            self._peers = Peers(mesh.owners.me, mesh.doors, self._answer, patience)

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
        made = await self._asked(name, tile, session) if self._owned(chain) else None
        if made is None:
            made = await self._computed(chain, name, tile, session)
        return TileAnswer(made.png, made.data, made.origin, {**made.stages, "cache": looked})

    async def basemap(self, tile: Tile, ratio: int) -> bytes:
        """A tile of the base map; it has no session to be told of a refusal, so it waits longer."""
        services = self._services
        deadline = time.monotonic() + BASEMAP_PATIENCE
        while True:
            try:
                return await services.compute(
                    ("basemap", tile, ratio),
                    "basemap",
                    lambda: services.pipeline.basemap(tile, ratio),
                    "basemap",
                )
            except EngineOverloaded:
                if services.stopping.is_set() or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(BASEMAP_PAUSE)

    async def close(self) -> None:
        """Close the connections."""
        if self._peers is not None:
            self._peers.close()
        await self._cache.close()

    def _owned(self, chain: Chain) -> bool:
        """Whether the chain's tiles have owners."""
        setting = self._services.settings.tile_owners
        return self._owners is not None and (setting == "on" or self._services.pipeline.remote(chain))

    async def _asked(self, name: TileName, tile: Tile, session: str) -> TileAnswer | None:
        """The tile from the worker that owns it; None if it is to be computed here."""
        worker = self._owners.elsewhere(tile) if self._owners is not None else None
        if worker is None or self._peers is None:
            return None
        begun = time.perf_counter()
        try:
            reply = await self._peers.ask(worker, Ask(name.key, name.data, tile, name.ratio, session))
        except Unreached:
            return None
        if reply.data == name.data and reply.origin != PARTIAL:
            self._cache.remember(name, reply.png)
        hop = time.perf_counter() - begun - reply.seconds
        return TileAnswer(reply.png, reply.data, reply.origin, {**reply.stages, "hop": hop})

    async def _answer(self, ask: Ask) -> Reply:
        """What another worker asks for."""
        services, begun = self._services, time.perf_counter()
        if services.stopping.is_set():
            raise Unreached
        ASKER.set(ask.session)
        try:
            chain = await services.chains.get(ask.key)
            data = await services.chains.version(chain, ask.data)
        except GeoloomError:
            # Who asks has the chain, and whatever is amiss it can tell better.
            raise Unreached from None
        name = TileName(ask.key, data, ask.tile.z, ask.tile.x, ask.tile.y, ask.ratio)
        png = self.remembered(name)
        if png is not None:
            return Reply(png, data, "memory", {}, time.perf_counter() - begun)
        made = await self._computed(chain, name, ask.tile, ask.session)
        return Reply(made.png, made.data, made.origin, made.stages, time.perf_counter() - begun)

    async def _computed(self, chain: Chain, name: TileName, tile: Tile, session: str) -> TileAnswer:
        """The tile, computed here; it is kept for all."""
        try:
            drawn = await self._draw(chain, name, tile, session)
        except FunctionFailed as error:
            self._tell([error.printed] if error.printed else [], name, session)
            raise
        self._tell(drawn.printed, name, session)
        if drawn.failures:
            self._tell_missing(drawn.failures, name, session)
            return TileAnswer(drawn.png, drawn.data, PARTIAL, drawn.stages)
        if drawn.data == name.data and not self._cache.remembers(name):
            self._write(self._cache.put(name, drawn.png))
        return TileAnswer(drawn.png, drawn.data, "computed", drawn.stages)

    def _tell(self, printed: Iterable[str], name: TileName, session: str) -> None:
        """Tell a session what functions printed."""
        for text in printed:
            place = (name.z, name.x, name.y)
            self._services.events.tell(session, Event("print", name.key, {"message": text}, place))

    def _tell_missing(self, failures: tuple[ItemFailure, ...], name: TileName, session: str) -> None:
        """Tell a session which items its tile is shown without."""
        for failure in failures[:MOST_TOLD]:
            message = f"{failure.item}: {failure.error.message}"
            error = ItemUnreadable(message, hint=failure.error.hint, node=failure.error.node)
            told = {**error.to_json(), "item": failure.item}
            self._services.events.tell(session, Event("error", name.key, told, (name.z, name.x, name.y)))

    def _write(self, put: Coroutine[Any, Any, None]) -> None:
        # Begun at once: others who waited for the same tile find it in memory.
        write = asyncio.Task(put, loop=asyncio.get_running_loop(), eager_start=True)
        if not write.done():
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)

    async def _draw(self, chain: Chain, name: TileName, tile: Tile, session: str) -> Drawn:
        services, pipeline = self._services, self._services.pipeline
        draw: partial[Drawn]
        for last in (False, True):
            try:
                if pipeline.fetched(chain):
                    pixels = await self._read(chain, name, tile)
                    draw = partial(pipeline.draw, *pixels, session=session)
                else:
                    draw = partial(pipeline.tile, chain, tile, name.ratio, session=session)
                return await services.compute_while_wanted(
                    name, session, draw, chain.root, tile, pipeline.outside(chain)
                )
            except (SourceChanged, Unwanted):
                # Between plan and read; a new plan sees the new file. A pinned source stays changed.
                # Or others gave up what was being read, just before this one joined them.
                if last:
                    raise
        raise AssertionError("unreachable")

    async def _read(
        self, chain: Chain, name: TileName, tile: Tile
    ) -> tuple[Plan, dict[int, Block], dict[str, float]]:
        """Pixels of remote sources, read once for all who ask."""
        services = self._services
        reading = self._reads.get(name)
        if reading is None or reading.task is None:
            reading = self._reads[name] = _Reading()
            reading.task = asyncio.ensure_future(self._pixels(chain, tile.grid(name.ratio), reading))
            reading.task.add_done_callback(lambda done: self._forget(name, done))
        patience = services.settings.queue_timeout + services.settings.tile_timeout
        reading.waiting += 1
        try:
            done, _ = await asyncio.wait([reading.task], timeout=patience)
        finally:
            reading.waiting -= 1
        if not done:
            raise EngineOverloaded(
                f"The image's servers did not answer within {patience:g} s.", hint="It is asked again later."
            )
        return reading.task.result()

    async def _pixels(
        self, chain: Chain, grid: Grid, reading: _Reading
    ) -> tuple[Plan, dict[int, Block], dict[str, float]]:
        pipeline = self._services.pipeline
        return await self._services.wait_for(
            lambda: pipeline.read_pixels(chain, grid, wanted=reading.wanted), remote=True
        )

    def _forget(self, name: TileName, done: asyncio.Future[Any]) -> None:
        del self._reads[name]
        if not done.cancelled():
            # All who asked may have left; a failure then is nobody's.
            done.exception()
