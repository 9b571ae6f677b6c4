"""Tiles: ``GET /tiles/{key}/{z}/{x}/{y}.png`` and ``…@2x.png``."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from geoloom.chain import is_key
from geoloom.errors import DemandError, EngineFault, EngineUnreachable, GeoloomError, RequestError
from geoloom.grid import TILE_SIZE, Tile
from geoloom_engine.auth import Capability
from geoloom_engine.callers import NOBODY
from geoloom_engine.events import Event
from geoloom_engine.picture import error_tile, footprints_tile, reason_tile
from geoloom_engine.routes.base import Handler
from geoloom_engine.routes.tile_reply import TileRequest, reply_to

if TYPE_CHECKING:
    from geoloom.block import Array
    from geoloom_engine.services import Services

_RATIO = re.compile(r"@([1-4])x")


REDUCTIONS = ("composite", "quality")
"""Ops that make one image of many scenes."""


class ChainTile(Handler):
    """One tile of a chain; errors are pictures, and events of the layer's session.

    Most tiles are answered by `routes.front`, which hands on what it cannot answer.
    """

    route = "tiles"
    guarded = False

    def initialize(self, services: Services, failure: Exception | None = None) -> None:
        """Note what is asked, for `answer_error`; also wrong methods come there.

        Parameters
        ----------
        failure
            What came of the request already, to be answered now.
        """
        super().initialize(services)
        self._outcome = failure
        self._picture: bytes | None = None
        self._capability: Capability | None = None
        self._tile: Tile | None = None
        self._ratio = 1

    @property
    def asker(self) -> str | None:
        """The capability's session, else that of who came with a token."""
        return self._capability.session if self._capability is not None else super().asker

    async def get(self, key: str, z: str, x: str, y: str, ratio: str | None) -> None:
        """Serve the tile."""
        try:
            await self._serve(key, z, x, y, ratio)
        except GeoloomError as error:
            if self._in_words:
                raise
            # Lettering takes 3 to 10 ms, in which the event loop would answer nobody.
            draw = partial(picture_of, error, TILE_SIZE * self._ratio, await self._scenes(key, error))
            self._picture = await self.services.wait_for(draw, remote=False)
            raise

    @property
    def _in_words(self) -> bool:
        """Whether errors are told as JSON: to who came with a token."""
        known = self.caller is not NOBODY or self.services.callers.open
        return "c" not in self.request.query_arguments and known

    async def _scenes(self, key: str, error: GeoloomError) -> Array | None:
        """Where the scenes lie that are too many for this tile, if that is what is wrong."""
        if not isinstance(error, DemandError) or error.op not in REDUCTIONS or self._tile is None:
            return None
        pipeline, tile, ratio = self.services.pipeline, self._tile, self._ratio
        try:
            chain = await self.services.chains.get(key)
            return await self.services.wait_for(
                lambda: pipeline.scenes(chain, error.node or "", tile, ratio), remote=False
            )
        except GeoloomError:
            return None  # what was wrong first is told

    async def _serve(self, key: str, z: str, x: str, y: str, ratio: str | None) -> None:
        if not is_key(key):
            raise RequestError(f"{key[:40]!r} is not the key of a chain.")
        capability = self._capability = await self.need_capability(key)
        self._ratio = ratio_of(ratio)
        tile = self._tile = tile_of(z, x, y)
        if self._outcome is not None:
            raise self._outcome
        services = self.services
        if capability is not None:
            services.events.seen(capability.session, key)
        else:
            await self.chain(key)
        session = capability.session if capability is not None else self.session
        known = self.request.headers.get("If-None-Match")
        asked = TileRequest(key, tile, self._ratio, self.get_query_argument("d", None), known, session)
        reply = await self.attentive(reply_to(services, asked))
        for name, value in reply.headers.items():
            self.set_header(name, value)
        self.set_status(reply.status)
        self.finish(reply.body or None)

    def answer_error(self, error: GeoloomError) -> None:
        """A picture of the message, and an event; JSON for who came with a token."""
        if self._in_words:
            super().answer_error(error)
            return
        tile = self._tile
        # No map asks for what is no tile. Whoever else has the URL could tell its owner's notebook anything.
        if self._capability is not None and tile is not None:
            event = Event.of(error, self._capability.key, (tile.z, tile.x, tile.y))
            self.services.events.tell(self._capability.session, event)
        self.set_header("Content-Type", "image/png")
        self.set_header("X-Geoloom-Error", type(error).__name__)
        self.finish(self._picture or picture_of(error, TILE_SIZE * self._ratio))


def picture_of(error: GeoloomError, size: int, scenes: Array | None = None) -> bytes:
    """A tile of `size` pixels, as PNG, that tells an error; over `scenes`, if their number is the reason."""
    if scenes is not None:
        return footprints_tile(scenes, error.message, error.hint)
    if isinstance(error, DemandError):
        return reason_tile(error.message, size, error.hint)
    hint = None if isinstance(error, EngineFault | EngineUnreachable) else error.hint
    return error_tile(error.message, size, hint, error.incident)


def tile_of(z: str, x: str, y: str) -> Tile:
    """The tile of a path.

    Raises
    ------
    RequestError
        The parts are no numbers, or there is no such tile.
    """
    for part in (z, x, y):
        if not re.fullmatch(r"[0-9]{1,10}", part):
            raise RequestError(f"{part[:40]!r} is no tile number.", hint="Use /{z}/{x}/{y}.png.")
    return Tile(int(z), int(x), int(y))


def ratio_of(suffix: str | None) -> int:
    """The pixel ratio of a path's suffix such as ``@2x``; 1 without one."""
    if suffix is None:
        return 1
    match = _RATIO.fullmatch(suffix)
    if match is None or match[1] == "3":
        raise RequestError(f"The pixel ratio {suffix[:20]!r} is not served.", hint="Use @2x.")
    return int(match[1])
