"""Whether everything is served: asked again and again, each question apart, all through the soak."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geoloom.grid import Tile
from soak.browser import Answer, Browser, Lost
from soak.ledger import Ledger
from soak.pictures import FUNCTION, Known, Land, digest

if TYPE_CHECKING:
    from soak.deployment import Deployment

PAUSE = 0.1
"""Seconds between two questions of a probe."""

LONG = 2.0
"""Seconds after which an answer came late: what was asked was not served meanwhile."""

PATIENCE = 10.0
"""Seconds after which an answer counts as none."""


class NotServed(Exception):
    """What was asked for is not there; the message says why."""


@dataclass
class Probe:
    """One question, and when it was answered and when not.

    Parameters
    ----------
    ask
        Raises `NotServed` or `Lost` where the answer is not the right one.
    """

    name: str
    ask: Callable[[], Awaitable[None]]
    failed: float = 0.0
    """When the last question that failed, or took long, was answered or given up."""
    good: float = 0.0
    """When the first question after that was answered."""
    begun: float = field(default_factory=time.monotonic)
    """When the present question was asked."""
    reason: str = ""

    async def run(self, ledger: Ledger) -> None:
        """Ask for ever."""
        while True:
            begun = self.begun = time.monotonic()
            problem = ""
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.ask()
            except (NotServed, Lost, TimeoutError, OSError) as error:
                problem = str(error) or "no answer in time"
                ledger.count(f"probe {self.name} failed")
            now = time.monotonic()
            if problem or now - begun > LONG:
                self.failed, self.reason = now, problem or "the answer took long"
            if not problem and self.good <= self.failed:
                self.good = now
            await asyncio.sleep(PAUSE)

    def back(self, since: float, settled: float) -> float | None:
        """Seconds from a kill until all was well; None while it is not, or not for long enough.

        Parameters
        ----------
        since
            When something was killed.
        settled
            Seconds for which nothing must have failed.
        """
        now = time.monotonic()
        if self.good < self.failed or now - max(self.failed, since) < settled or self.begun < since:
            return None
        if now - self.begun > LONG:
            return None  # a question is open
        return max(0.0, self.good - since) if self.failed > since else 0.0


class Tiles:
    """The questions about layers: known ones, new ones, ones that run a function."""

    def __init__(self, deployment: Deployment, land: Land, known: Known, ledger: Ledger) -> None:
        self._land, self._known, self._ledger = land, known, ledger
        self._deployment = deployment
        self._headers = {
            "Authorization": f"Bearer {deployment.token(0)}",
            "X-Geoloom-Session": "soak-probe",
        }
        self._numbers = itertools.count(9_000_000)
        self._places = itertools.cycle(land.tiles()[::7])
        (west, east), (north, south) = land.reach(land.zooms[0])
        self._middle = Tile(land.zooms[0], (west + east) // 2, (north + south) // 2)
        self._browsers: list[Browser] = []
        self._layers: dict[str, tuple[str, float]] = {}

    def probes(self) -> Sequence[Probe]:
        """One for each question."""
        return [
            Probe("a layer's tile", self._asking(self._known_tile)),
            Probe("a new layer", self._asking(self._new_layer)),
            Probe("a function", self._asking(self._function)),
        ]

    async def slow_function(self) -> None:
        """Have a function compute that takes its time, until its tile is there."""
        browser, kernel = Browser(self._deployment.tiles), Browser(self._deployment.engine)
        chain = self._land.slow(next(self._numbers))
        try:
            _need(await kernel.post("/blobs", FUNCTION.encode(), self._headers))
            while True:
                told = _need(await kernel.post("/chains", chain.to_json(), self._headers)).json
                self._ledger.acknowledged(told["key"])
                try:
                    await self._tile(browser, "function", told["tiles"], self._middle)
                except (NotServed, Lost) as error:
                    self._ledger.error(f"slow function: {error}")
                    await asyncio.sleep(PAUSE)
                else:
                    return
        finally:
            browser.close()
            kernel.close()

    def close(self) -> None:
        """Close all connections."""
        for one in self._browsers:
            one.close()

    def _asking(
        self, question: Callable[[Browser, Browser], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        browser, kernel = Browser(self._deployment.tiles), Browser(self._deployment.engine)
        self._browsers += [browser, kernel]

        async def ask() -> None:
            await question(browser, kernel)

        return ask

    async def _known_tile(self, browser: Browser, kernel: Browser) -> None:
        template, renew_at = self._layers.get("slope", ("", 0.0))
        if renew_at < time.time():
            template = await self._register(kernel, "slope", None)
        await self._tile(browser, "slope", template)

    async def _new_layer(self, browser: Browser, kernel: Browser) -> None:
        await self._tile(browser, "grey", await self._register(kernel, "grey", next(self._numbers)))

    async def _function(self, browser: Browser, kernel: Browser) -> None:
        template = await self._register(kernel, "function", next(self._numbers))
        await self._tile(browser, "function", template)

    async def _register(self, kernel: Browser, picture: str, variant: int | None) -> str:
        if picture == "function":
            _need(await kernel.post("/blobs", FUNCTION.encode(), self._headers))
        answer = _need(
            await kernel.post("/chains", self._land.chain(picture, variant).to_json(), self._headers)
        )
        told = answer.json
        self._ledger.acknowledged(told["key"])
        self._layers[picture] = told["tiles"], time.time() + 0.6 * (told["expires"] - time.time())
        return str(told["tiles"])

    async def _tile(self, browser: Browser, picture: str, template: str, tile: Tile | None = None) -> None:
        tile = tile or next(self._places)
        answer = _need(await browser.get(template.format(z=tile.z, x=tile.x, y=tile.y)))
        if digest(answer.body) != self._known[picture, tile.z, tile.x, tile.y]:
            self._ledger.mistaken(f"{picture} {tile.z} {tile.x} {tile.y}", " of a probe", answer.body)


def page(name: str, base: str, path: str, wanted: bytes = b"", token: str = "") -> Probe:
    """A probe of a web page: status 200 (or a way on from it), and something that stands in it."""
    browser = Browser(base)
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def ask() -> None:
        answer = await browser.get(path, headers)
        if answer.status not in (200, 302) or wanted not in answer.body:
            raise NotServed(f"{path}: {answer.status}")

    return Probe(name, ask)


def _need(answer: Answer) -> Answer:
    # A proxy that knows no routes yet sends tiles' requests to the hub, which leads to its login.
    if not 200 <= answer.status < 300:
        raise NotServed(f"{answer.status} {answer.headers.get('x-geoloom-error', answer.body[:200])}")
    return answer
