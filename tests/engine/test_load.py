"""Many ask for slow tiles; the engine stays in hand, and light users hardly notice.

``LOAD_SECONDS=120 pytest -s tests/engine/test_load.py`` (``make load``) floods for longer and prints the
figures.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from geoloom import blobs
from geoloom.chain import Chain
from geoloom.grid import Tile
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.execute import Execute
from geoloom.ops.open import Open
from geoloom.ops.scale import Scale

if TYPE_CHECKING:
    from conftest import RunningEngine, StartEngine

CONNECTIONS = 500
SESSIONS = 50
SECONDS = float(os.environ.get("LOAD_SECONDS", "5"))
PATIENCE = 3.0
"""Seconds that the engine lets a request wait."""
KERNEL = 81
"""Rows and columns of the slow chain's kernel: a tile takes about half a second."""
ZOOM = 16
SLOW_FUNCTIONS = 100
"""Tiles of a slow function of one user."""
ROUNDS = 60_000_000
"""Of its loop: they take some seconds."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


class Client:
    """A keep-alive connection, as a browser has."""

    def __init__(self, engine: RunningEngine) -> None:
        self._host = engine.url.removeprefix("http://")

    async def open(self) -> Client:
        host, port = self._host.rsplit(":", 1)
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        return self

    async def get(self, path: str, headers: str = "") -> Answer:
        begun = time.perf_counter()
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{headers}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(fields.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), fields, body, time.perf_counter() - begun)

    def close(self) -> None:
        self._writer.close()


@dataclass
class Figures:
    """What was seen while the engine was flooded."""

    statuses: Counter[int] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)
    health: list[float] = field(default_factory=list)
    light: list[float] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def engine(start_engine: StartEngine, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An engine of two workers without a tile cache in Redis, with little patience."""
    folder = tmp_path_factory.mktemp("load")
    # Longer floods meet tiles again: they are to be computed anew.
    return start_engine(
        valkey, folder, workers=2, queue_timeout=str(PATIENCE), tile_redis_url="", tile_cache="0",
        node_cache="0", tile_owners="on", tile_timeout="120", function_timeout="100",
    )  # fmt: skip


@pytest.fixture(scope="module")
def image(engine: RunningEngine) -> Image:
    op = Open(href=str(engine.raster()))
    info = engine.client().info(op.href)
    return Image(op.chain(), Profile.of_source(info), {op.href: info})


@pytest.fixture(scope="module")
def slow(image: Image) -> Chain:
    weights = [[1.0 + i + j for j in range(KERNEL)] for i in range(KERNEL)]
    return image.convolve(weights, normalize=True).scale(0, 255).colormap("viridis").chain


@pytest.fixture(scope="module")
def light(image: Image) -> Chain:
    return image.scale(0, 255).colormap("magma").chain


def with_function(image: Image, *body: str) -> Chain:
    """The chain of a function of a user's own."""
    text = blobs.keep("\n    ".join(["def f(img):", *body]).encode())
    return Scale(limits=(0.0, 255.0)).chain(Execute(text=text, main="f", dtype="int32").chain(image.chain))


@pytest.fixture(scope="module")
def slow_function(image: Image) -> Chain:
    return with_function(
        image, "number = 0", f"for i in range({ROUNDS}):", "    number += i", "return img[0]"
    )


@pytest.fixture(scope="module")
def quick_function(image: Image) -> Chain:
    return with_function(image, "return img[0] + 1")


def template(engine: RunningEngine, chain: Chain, session: str) -> str:
    answer = engine.ask("POST", "/chains", chain.to_json(), {"X-Geoloom-Session": session})
    return str(answer.json["tiles"])


def tiles() -> Iterator[Tile]:
    """Tiles within the raster, again and again."""
    first = Tile.at(15.01, 45.12, ZOOM)
    places = itertools.product(range(24), range(24))
    return (Tile(ZOOM, first.x + x, first.y + y) for x, y in itertools.cycle(places))


def path(given: str, tile: Tile) -> str:
    return given.format(z=tile.z, x=tile.x, y=tile.y)


async def repeat(ask: Callable[[], Awaitable[Answer]], until: Callable[[], bool]) -> list[float]:
    """Seconds that each answer took; ten are asked for in a second."""
    found = []
    while not until():
        answer = await ask()
        assert answer.status == 200, answer.body
        found.append(answer.seconds)
        await asyncio.sleep(0.1)
    return found


async def flood(engine: RunningEngine, slow: Chain, light: Chain) -> tuple[Figures, list[float]]:
    """Figures of the flood, and the seconds of a light tile without it."""
    figures, wanted = Figures(), tiles()
    names = [f"heavy-{i}" for i in range(SESSIONS)]
    given = [template(engine, slow, name) for name in names]
    mine = template(engine, light, "light")
    user, probe = await Client(engine).open(), await Client(engine).open()
    light_tiles = tiles()

    def ask_light() -> Awaitable[Answer]:
        return user.get(path(mine, next(light_tiles)))

    for _ in range(40):
        await ask_light()
    idle = [(await ask_light()).seconds for _ in range(40)]
    clients = [await Client(engine).open() for _ in range(CONNECTIONS)]
    end = time.monotonic() + SECONDS

    async def keep_asking(number: int, client: Client) -> None:
        while True:
            tile = next(wanted)
            answer = await client.get(path(given[number % SESSIONS], tile))
            figures.statuses[answer.status] += 1
            figures.answered[number] += 1
            if answer.status == 503:
                figures.refused.append((names[number % SESSIONS], f"{tile.z}/{tile.x}/{tile.y}"))
            if time.monotonic() > end:
                return
            if answer.status == 503:
                await asyncio.sleep(float(answer.headers["retry-after"]))

    asking = asyncio.gather(*(keep_asking(i, client) for i, client in enumerate(clients)))
    figures.health, figures.light, _ = await asyncio.gather(
        repeat(lambda: probe.get("/healthz"), asking.done), repeat(ask_light, asking.done), asking
    )
    for client in [*clients, user, probe]:
        client.close()
    return figures, idle


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))]


def told(name: str, seconds: list[float]) -> str:
    p50, p95 = statistics.median(seconds) * 1000, percentile(seconds, 0.95) * 1000
    return f"{name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms of {len(seconds)}"


def say(*lines: str) -> None:
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def resident(engine: RunningEngine) -> list[int]:
    return [psutil.Process(pid).memory_info().rss >> 20 for pid in engine.workers()]


def test_a_flood_of_slow_tiles_keeps_nobody_else_waiting(
    engine: RunningEngine, slow: Chain, light: Chain
) -> None:
    workers, before = engine.workers(), resident(engine)
    limit = 2 * PATIENCE + SECONDS + 30
    figures, idle = asyncio.run(asyncio.wait_for(flood(engine, slow, light), limit))
    after = resident(engine)
    say(
        f"{CONNECTIONS} connections, {dict(figures.statuses)}, resident {before} -> {after} MB",
        told("healthz", figures.health),
        told("light tile, idle", idle),
        told("light tile, flooded", figures.light),
    )
    # All were answered, one way or the other, and nobody died of it.
    assert len(figures.answered) == CONNECTIONS
    assert set(figures.statuses) == {200, 503}
    assert engine.workers() == workers
    assert max(after) < max(before) + 300
    assert statistics.median(figures.health) < 0.05
    assert percentile(figures.health, 0.95) < 0.25
    assert statistics.median(figures.light) < 5 * statistics.median(idle) + 0.1

    # What was refused is told, and comes when there is room.
    session, place = figures.refused[-1]
    events = engine.ask("GET", "/events?timeout=1", headers={"X-Geoloom-Session": session}).json["events"]
    assert slow.root in [event["key"] for event in events if event["type"] == "refused"]
    z, x, y = map(int, place.split("/"))
    again = engine.ask("GET", path(template(engine, slow, session), Tile(z, x, y)))
    assert (again.status, again.headers["content-type"]) == (200, "image/png")
    metrics = engine.ask("GET", "/metrics").body.decode()
    waiting = next(line for line in metrics.splitlines() if line.startswith("geoloom_waiting "))
    assert float(waiting.split()[1]) == 0


def test_forwarded_tiles_are_the_same_bytes(engine: RunningEngine, light: Chain) -> None:
    given = template(engine, light, "both")

    async def worker(client: Client) -> int:
        return int(json.loads((await client.get("/healthz")).body)["pid"])

    async def ask() -> list[tuple[Answer, Answer]]:
        pair = [await Client(engine).open() for _ in range(2)]
        while await worker(pair[0]) == await worker(pair[1]):
            pair.append(await Client(engine).open())
            pair.pop(1).close()
        found = []
        for tile in itertools.islice(tiles(), 0, 600, 23):
            one, other = [await client.get(path(given, tile)) for client in pair]
            found.append((one, other))
        for client in pair:
            client.close()
        return found

    answers = asyncio.run(asyncio.wait_for(ask(), 60))
    assert all(one.status == other.status == 200 for one, other in answers)
    assert all(one.body == other.body for one, other in answers)
    hops = [["hop" in answer.headers["server-timing"] for answer in pair] for pair in answers]
    assert any(one != other for one, other in hops)


def test_no_session_is_starved(engine: RunningEngine, light: Chain) -> None:
    """p95 of 32 clients in a closed loop is near their p50: they take turns."""

    async def ask() -> list[float]:
        given = [template(engine, light, f"client-{i}") for i in range(32)]
        clients = [await Client(engine).open() for _ in given]
        wanted = tiles()
        seconds = []

        async def one(client: Client, template: str) -> None:
            for number in range(40):
                answer = await client.get(path(template, next(wanted)))
                assert answer.status == 200
                if number > 10:
                    seconds.append(answer.seconds)

        await asyncio.gather(*(one(*pair) for pair in zip(clients, given, strict=True)))
        for client in clients:
            client.close()
        return seconds

    seconds = asyncio.run(asyncio.wait_for(ask(), 60))
    say(told("32 clients", seconds))
    # Generous: whoever else uses the machine takes turns too.
    assert percentile(seconds, 0.95) < 10 * statistics.median(seconds) + 0.5


def test_slow_functions_of_one_user_keep_nobody_else_waiting(
    engine: RunningEngine, slow_function: Chain, quick_function: Chain, light: Chain, slow: Chain
) -> None:
    """While they compute, tiles of others are drawn, quick or not. What counts is who comes first."""
    for chain in (slow_function, quick_function):
        engine.client().register(chain)
    wanted, mine, slow_tiles = tiles(), tiles(), 0
    heavy = template(engine, slow_function, "heavy")
    given = {
        name: template(engine, chain, "light")
        for name, chain in {"plain": light, "function": quick_function, "long": slow}.items()
    }

    async def ask(user: Client, name: str, count: int) -> list[tuple[float, int]]:
        """Seconds of some tiles, and how many slow ones came before each of them."""
        found = []
        for _ in range(count):
            before = slow_tiles
            answer = await user.get(path(given[name], next(mine)))
            assert answer.status == 200, answer.body
            found.append((answer.seconds, slow_tiles - before))
        return found

    async def ask_slow(client: Client) -> None:
        nonlocal slow_tiles
        answer = await client.get(path(heavy, next(wanted)))
        # Some are refused: the engine of this test has little patience.
        slow_tiles += answer.status == 200

    def computing() -> bool:
        """Whether both workers of the engine have a function under way."""
        zygote = engine.zygote()
        try:
            found = [] if zygote is None else psutil.Process(zygote).children()
            return sum(process.cpu_times().user > 0.2 for process in found) > 1
        except psutil.NoSuchProcess:
            return False

    async def flood() -> None:
        user = await Client(engine).open()
        for name in given:
            await ask(user, name, 3)
        idle = {name: await ask(user, name, 10) for name in ("plain", "function")}
        clients = [await Client(engine).open() for _ in range(SLOW_FUNCTIONS)]
        asking = [asyncio.ensure_future(ask_slow(client)) for client in clients]
        await asyncio.to_thread(engine.wait_until, computing)
        for name, count in {"plain": 20, "function": 20, "long": 5}.items():
            seen = await ask(user, name, count)
            say(told(f"{name} tile beside slow functions", [seconds for seconds, _ in seen]))
            if name in idle:
                say(told(f"{name} tile, idle", [seconds for seconds, _ in idle[name]]))
            before = [number for _, number in seen]
            assert statistics.median(before) == 0, (name, before)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        for client in [*clients, user]:
            client.close()

    asyncio.run(asyncio.wait_for(flood(), 120))
