"""What a request for a tile is answered with, whichever way it came in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders

from geoloom.grid import Tile
from geoloom_engine.events import Event
from geoloom_engine.tile_cache import TileName
from geoloom_engine.tiles import PARTIAL
from geoloom_engine.usage import ASKER

if TYPE_CHECKING:
    from geoloom_engine.services import Services

KEPT = "private, max-age=31536000, immutable"
"""`Cache-Control` of a tile whose URL names the data version it shows."""

ASKED_AGAIN = "private, no-cache"
"""`Cache-Control` of any other tile: browsers ask whether it still holds."""


@dataclass(frozen=True, slots=True)
class TileRequest:
    """A request for a tile that whoever sent it may make.

    Parameters
    ----------
    key
        The chain's key.
    ratio
        Pixels per pixel of the map: 1, 2 or 4.
    data
        The data version named in the URL, if any.
    known
        The header `If-None-Match`, if any.
    session
        Who asks.
    """

    key: str
    tile: Tile
    ratio: int
    data: str | None
    known: str | None
    session: str


@dataclass(frozen=True, slots=True)
class TileReply:
    """An answer: status 200 or 304, its own headers, and the body (empty for 304)."""

    status: int
    headers: HTTPHeaders
    body: bytes


async def reply_to(services: Services, asked: TileRequest) -> TileReply:
    """The tile, or that the browser has it.

    A tile in the process's memory is answered without waiting for anything.

    Raises
    ------
    GeoloomError
        Whatever keeps the tile from being drawn.
    """
    tile, ratio = asked.tile, asked.ratio
    chain = await services.chains.get(asked.key)
    data = await services.chains.version(chain, asked.data)
    if asked.data is not None and asked.data != data:
        # Tiles of both versions would stand side by side until the map asks by the new one's URL.
        services.events.tell(asked.session, Event("changed", asked.key, {}))
    name = TileName(asked.key, data, tile.z, tile.x, tile.y, ratio)
    etag = name.etag
    headers = HTTPHeaders()
    headers["Cache-Control"] = KEPT if asked.data == data else ASKED_AGAIN
    headers["Etag"] = etag
    if asked.known is not None and is_known(etag, asked.known):
        services.usage.tile(asked.session, 0, hit=True)
        return TileReply(304, headers, b"")
    headers["Content-Type"] = "image/png"
    remembered = services.tiles.remembered(name)
    if remembered is not None:
        services.metrics.tile("memory", {})
        services.usage.tile(asked.session, len(remembered), hit=True)
        headers["Server-Timing"] = "cache;desc=memory"
        return TileReply(200, headers, remembered)
    begun = time.perf_counter()
    ASKER.set(asked.session)
    owner = services.requests.enter(asked.session)
    try:
        answer = await services.tiles.get(chain, name, tile, asked.session)
    finally:
        services.requests.leave(owner)
    stages = answer.stages
    if "encode" in stages:
        # What is left was spent in the queue, here or at the worker that computed the tile.
        left = time.perf_counter() - begun - sum(stages.values())
        stages = {"queue": max(left, 0.0), **stages}
    if answer.data != data or answer.origin == PARTIAL:
        # The file changed on the way: these are the pixels of the version to come. Or items are missing.
        del headers["Etag"]
        headers["Cache-Control"] = ASKED_AGAIN
    services.metrics.tile(answer.origin, stages)
    services.usage.tile(asked.session, len(answer.png), hit=answer.origin in ("memory", "redis"))
    headers["Server-Timing"] = server_timing(answer.origin, stages)
    return TileReply(200, headers, answer.png)


def server_timing(origin: str, stages: Mapping[str, float]) -> str:
    """The header `Server-Timing`: milliseconds of each stage, and where the tile came from."""
    timing = [f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in stages.items() if stage != "cache"]
    looked = f";dur={stages['cache'] * 1000:.2f}" if "cache" in stages else ""
    return ", ".join([*timing, f"cache;desc={origin}{looked}"])


def is_known(etag: str, known: str) -> bool:
    """Whether `If-None-Match` names a validator (RFC 9110, 13.1.2: compared weakly; ``*`` is any)."""
    if known == etag:
        return True
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in known.split(","))
