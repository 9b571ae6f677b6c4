"""One of many: a notebook with a map. The kernel registers layers, renews their rights and listens; the
browser pans and zooms, a view of twenty tiles at a time, and asks again for what did not come."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from geoloom.chain import Chain
from geoloom.grid import Tile
from soak.browser import Answer, Browser, Lost
from soak.ledger import REFUSED, Ledger
from soak.pictures import FUNCTION, PICTURES, Known, Land, digest

COLUMNS, ROWS = 5, 4
"""Tiles of a view."""

PAUSES = (0.25, 0.5, 1.0)
"""Seconds before a tile or a question is asked again; the last from then on."""

ABANDONED = 60.0
"""Seconds after which a tile that did not come is taken never to come."""

RENEW_AFTER = 0.6
"""Part of its lifetime after which a right is renewed, as `geoloom.layers` does."""

POLL_SECONDS = 10.0
"""How long the engine may hold a poll open, as `geoloom.watch` asks for."""

FRESH, SAVED, CANCELLED, ASKED_AGAIN = 0.3, 0.2, 0.15, 0.3
"""Shares: of layers that nobody has seen before, of those that are saved, of views that are left before they
are complete, of tiles in the browser's cache that are asked for again, as at a reload."""


@dataclass
class Layer:
    """A registered chain on the map."""

    picture: str
    chain: Chain
    template: str
    renew_at: float
    shown: dict[str, str] = field(default_factory=dict)
    """The browser's cache: validators by path."""


class User:
    """Pans until told to stop.

    Parameters
    ----------
    number
        Seeds what this user does.
    tiles, engine
        Where the browser finds tiles, and where the kernel finds the engine.
    token
        The kernel's.
    """

    def __init__(
        self, number: int, tiles: str, engine: str, token: str, land: Land, known: Known, ledger: Ledger,
        pause: float,
    ) -> None:  # fmt: skip
        self._number = number
        self._random = random.Random(number)
        self._land, self._known, self._ledger = land, known, ledger
        self._browser = Browser(tiles)
        self._kernel = Browser(engine)
        self._pause = pause
        self._headers = {"Authorization": f"Bearer {token}", "X-Geoloom-Session": f"soak-{number}"}
        self._stop = asyncio.Event()
        self._news = asyncio.Event()
        self._made = 0

    async def live(self) -> None:
        """Use the map until `leave`."""
        listening = asyncio.create_task(self._listen())
        try:
            await self._rest(self._pause)
            while not self._stop.is_set():
                await self._look_at(await self._layer())
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            self._browser.close()
            self._kernel.close()

    def leave(self) -> None:
        """Come to an end with the present view."""
        self._stop.set()

    async def _layer(self) -> Layer:
        picture = self._random.choice(list(PICTURES))
        variant = None
        if self._random.random() < FRESH:
            self._made += 1
            variant = self._number * 10_000 + self._made
        chain = self._land.chain(picture, variant)
        layer = Layer(picture, chain, "", 0.0)
        await self._register(layer)
        self._ledger.count("layers" if variant is None else "layers never seen before")
        if self._random.random() < SAVED and not self._stop.is_set():
            await self._ask("PUT", f"/chains/{chain.root}/saved", b"")
            self._ledger.saved.add(chain.root)
        return layer

    async def _register(self, layer: Layer) -> None:
        answer = await self._ask("POST", "/chains", layer.chain.to_json())
        if answer.status == 404:
            # As `EngineClient.register`: the store let go of a text, or never had it.
            await self._ask("POST", "/blobs", FUNCTION.encode())
            answer = await self._ask("POST", "/chains", layer.chain.to_json())
        told = answer.json
        self._ledger.acknowledged(told["key"])
        layer.template = told["tiles"]
        layer.renew_at = time.time() + RENEW_AFTER * (told["expires"] - time.time())

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        """Ask the engine as a kernel does, until it answers."""
        begun = time.monotonic()
        for attempt in range(10_000):
            try:
                answer = await self._kernel.ask(method, path, body, self._headers)
            except Lost as lost:
                self._ledger.error(f"kernel: {lost}")
            else:
                if answer.status < 400 or (answer.status, method, path) == (404, "POST", "/chains"):
                    self._ledger.count(f"{method} {path.split('/')[1]}")
                    return answer
                self._ledger.error(f"kernel: {_why(answer)}")
            if time.monotonic() - begun > ABANDONED:
                self._ledger.fail(f"{method} {path.split('/')[1]} was not answered within {ABANDONED:g} s")
                break
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
        raise asyncio.CancelledError

    async def _listen(self) -> None:
        last = ""
        while True:
            try:
                answer = await self._kernel.get(
                    f"/events?after={last}&timeout={POLL_SECONDS:g}", self._headers
                )
            except Lost as lost:
                self._ledger.error(f"events: {lost}")
                await asyncio.sleep(1.0)
                continue
            if answer.status != 200:
                self._ledger.error(f"events: {_why(answer)}")
                await asyncio.sleep(1.0)
                continue
            last = answer.json["last"]
            self._ledger.count("polls")
            for event in answer.json["events"]:
                self._ledger.count(f"event: {event['type']}")
                if event["type"] == "refused":
                    self._news.set()

    async def _look_at(self, layer: Layer) -> None:
        """Some views of one layer, each beside the one before or a zoom away."""
        zoom = self._random.randint(*self._land.zooms)
        (west, east), (north, south) = self._land.reach(zoom)
        x, y = self._random.randint(west, east), self._random.randint(north, south)
        for _ in range(self._random.randint(3, 8)):
            if layer.renew_at <= time.time():
                await self._register(layer)
                self._ledger.count("rights renewed")
            await self._view(layer, self._tiles(zoom, x, y))
            await self._rest(self._random.uniform(0.5, 1.5) * self._pause)
            if self._stop.is_set():
                return
            step = self._random.random()
            if step < 0.15 and zoom < self._land.zooms[1]:
                zoom, x, y = zoom + 1, 2 * x + 1, 2 * y + 1
            elif step < 0.3 and zoom > self._land.zooms[0]:
                zoom, x, y = zoom - 1, x // 2, y // 2
            else:
                x, y = x + self._random.randint(-2, 2), y + self._random.randint(-2, 2)

    def _tiles(self, zoom: int, x: int, y: int) -> list[Tile]:
        """Those of a view whose middle is near a tile, as far as they are known; the middle first."""
        (west, east), (north, south) = self._land.reach(zoom)
        left = min(max(x - COLUMNS // 2, west), max(west, east - COLUMNS + 1))
        top = min(max(y - ROWS // 2, north), max(north, south - ROWS + 1))
        found = [
            Tile(zoom, col, row)
            for col in range(left, min(left + COLUMNS, east + 1))
            for row in range(top, min(top + ROWS, south + 1))
        ]
        return sorted(found, key=lambda tile: abs(tile.x - left - 2) + abs(tile.y - top - 1.5))

    async def _view(self, layer: Layer, tiles: list[Tile]) -> None:
        showing = asyncio.gather(*(self._tile(layer, tile) for tile in tiles))
        patience = None
        if self._random.random() < CANCELLED:
            patience = self._random.uniform(0.05, 0.5)
        try:
            await asyncio.wait_for(showing, patience)
            self._ledger.count("views complete")
        except TimeoutError:
            self._ledger.count("views left early")

    async def _tile(self, layer: Layer, tile: Tile) -> None:
        """One tile until it is there and right."""
        path = layer.template.format(z=tile.z, x=tile.x, y=tile.y)
        kept = layer.shown.get(path)
        if kept is not None and self._random.random() > ASKED_AGAIN:
            self._ledger.count("tiles from the browser's cache")
            return
        headers = {} if kept is None else {"If-None-Match": kept}
        begun = time.monotonic()
        for attempt in range(10_000):
            try:
                answer = await self._browser.get(path, headers)
            except Lost as lost:
                self._ledger.error(f"tile: {lost}")
            else:
                if answer.status in (200, 304):
                    self._check(layer, tile, path, kept, answer)
                    self._ledger.shown(time.monotonic() - begun)
                    return
                self._ledger.error(f"tile: {_why(answer)}" if answer.status != 503 else _why(answer))
                if answer.status == 403 and layer.renew_at <= time.time():
                    await self._register(layer)
                    path = layer.template.format(z=tile.z, x=tile.x, y=tile.y)
            if time.monotonic() - begun > ABANDONED:
                self._ledger.fail(f"a tile ({layer.picture}) did not come within {ABANDONED:g} s")
                return
            # The map asks again when the engine tells of a refusal, or after a while.
            self._news.clear()
            try:
                async with asyncio.timeout(PAUSES[min(attempt, len(PAUSES) - 1)]):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _check(self, layer: Layer, tile: Tile, path: str, kept: str | None, answer: Answer) -> None:
        etag = answer.headers.get("etag")
        if answer.status == 304:
            self._ledger.count("tiles not modified")
            if etag != kept:
                self._ledger.wrong.append(f"{layer.picture} {tile}: 304 for {kept} with {etag}")
            return
        origin = answer.headers.get("server-timing", "").partition("cache;desc=")[2].split(";")[0]
        self._ledger.count(f"tiles: {origin or 'of unknown origin'}")
        if digest(answer.body) != self._known[layer.picture, tile.z, tile.x, tile.y]:
            self._ledger.mistaken(
                f"{layer.picture} {tile.z} {tile.x} {tile.y}",
                f" of {layer.chain.root}: {len(answer.body)} bytes, {origin}, "
                f"{time.monotonic() - self._ledger.window.begun:.1f} s after {self._ledger.window.kind}",
                answer.body,
            )
        if etag is not None:
            layer.shown[path] = etag

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass


def _why(answer: Answer) -> str:
    """An error in a few words: who told it, and what it is."""
    name = answer.headers.get("x-geoloom-error")
    if name is None:
        try:
            name = str(answer.json["error"])
        except (ValueError, KeyError, TypeError):
            name = "not of the engine"
    if name == "EngineOverloaded":
        return REFUSED
    return f"{answer.status} {name}"
