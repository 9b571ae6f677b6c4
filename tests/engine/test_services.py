"""The wiring of a worker, with a pipeline that does what a test wants."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import tornado.httpserver
import tornado.netutil

from geoloom.chain import Chain
from geoloom.errors import DemandError, EngineOverloaded, SourceChanged, SourceNotFound
from geoloom.grid import Tile
from geoloom.selection import Selection
from geoloom_engine import lanes
from geoloom_engine.cache import Budget
from geoloom_engine.functions import Functions
from geoloom_engine.items import ItemFailure
from geoloom_engine.lanes import Wanted
from geoloom_engine.metrics import Metrics
from geoloom_engine.owners import Owners
from geoloom_engine.peers import Mesh
from geoloom_engine.pipeline import Drawn
from geoloom_engine.restrictions import Restrictions
from geoloom_engine.rights import Rights
from geoloom_engine.server import application
from geoloom_engine.services import Services
from geoloom_engine.settings import Settings, load
from geoloom_engine.tile_cache import TileName
from geoloom_engine.unwanted import Unwanted

CHAIN = Chain.extend("constant", 1, {"value": 1})
TILE = Tile(3, 4, 2)


@pytest.fixture(autouse=True)
def nothing_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is queued behind a computation stays there, however long that takes."""
    monkeypatch.setattr(lanes, "LONG", 60.0)


def no_selection(key: str) -> Selection:
    raise AssertionError(key)


class Pipeline:
    """Answers `tile` by `draw`; remote chains pass by `read_pixels` first."""

    def __init__(self) -> None:
        self.data = uuid.uuid4().hex[:16]
        self.budget = Budget(1 << 20)
        self.far = False
        self.functions = Functions(None, (), lambda key: b"")
        self.rights = Rights(Restrictions(()), no_selection)
        self.tiles: list[Tile] = []
        self.reads = 0
        self.draw_tile: Callable[[], Drawn] = lambda: Drawn(b"png", self.data, {"compute": 0.0})

    def check(self, chain: Chain) -> None: ...

    def version(self, chain: Chain, anew: bool = False) -> str:
        return self.data

    def keep(self, key: str, content: bytes) -> None: ...

    def unfold(self, chain: Chain) -> None: ...

    def remote(self, chain: Chain) -> bool:
        return self.far

    def fetched(self, chain: Chain) -> bool:
        return self.far

    def outside(self, chain: Chain) -> str:
        return ""

    def tile(self, chain: Chain, tile: Tile, ratio: int, wanted: Wanted, session: str) -> Drawn:
        self.tiles.append(tile)
        return self.draw_tile()

    def read_pixels(self, chain: Chain, grid: Any, wanted: Wanted) -> Any:
        self.reads += 1
        return None, {}, {}

    def draw(self, plan: Any, blocks: Any, stages: Any, wanted: Wanted, session: str) -> Drawn:
        return self.draw_tile()

    def basemap(self, tile: Tile, ratio: int) -> bytes:
        return b"land"


def with_services(url: str, use: Callable[[Services, Pipeline], Awaitable[Any]], *more: str) -> Any:
    settings: Settings = load(
        ["--redis-url", url, "--token", "t", "--signing-key", "k", "--nonce", "n", *more], {}
    )

    async def run() -> Any:
        pipeline = Pipeline()
        services = Services(settings, Metrics(1), pipeline)  # type: ignore[arg-type]
        while problem := await services.problem():
            assert "failed" not in problem, problem
            await asyncio.sleep(0.01)
        try:
            return await use(services, pipeline)
        finally:
            await services.close()

    return asyncio.run(asyncio.wait_for(run(), 180))


def with_two_workers(
    url: str, use: Callable[[Services, Services, Pipeline, Tile], Awaitable[Any]], *more: str
) -> Any:
    """Two workers in one event loop, connected, their pipeline, and a tile that the second owns."""
    settings: Settings = load(
        ["--redis-url", url, "--tile-redis-url", "", "--token", "t", "--signing-key", "k"]
        + ["--tile-owners", "on", *more],
        {},
    )

    async def run() -> Any:
        pipeline, mesh, workers = Pipeline(), Mesh(2), []
        for number in (0, 1):
            mesh.owners.claim(number)
            # Each process would have its own.
            own = copy.copy(mesh)
            own.owners = copy.copy(mesh.owners)
            workers.append(Services(settings, Metrics(1), pipeline, own))  # type: ignore[arg-type]
        first, second = workers
        await first.chains.register(CHAIN.to_json())
        tile = next(tile for x in range(0, 64, 4) if mesh.owners.owner(tile := Tile(6, x, 9)) == 1)
        answer, far, pipeline.far = None, pipeline.far, True
        while answer is None or "hop" not in answer.stages:
            # Another tile with the same owner, until the connection stands.
            beside = Tile(6, tile.x + 1, tile.y)
            answer = await first.tiles.get(CHAIN, named(pipeline, beside, uuid.uuid4().hex[:16]), beside, "a")
            await asyncio.sleep(0.01)
        pipeline.tiles.clear()
        pipeline.far = far
        try:
            return await use(first, second, pipeline, tile)
        finally:
            await asyncio.gather(*(services.close() for services in workers))
            mesh.close()

    return asyncio.run(asyncio.wait_for(run(), 180))


def named(pipeline: Pipeline, tile: Tile, data: str | None = None) -> TileName:
    return TileName(CHAIN.root, data or pipeline.data, tile.z, tile.x, tile.y, 1)


async def held(services: Services) -> tuple[asyncio.Future[None], threading.Event]:
    """A computation that runs until the gate is opened."""
    entered, gate = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        gate.wait(30)

    holding = asyncio.ensure_future(services.compute("gate", "gate", hold))
    await asyncio.to_thread(entered.wait, 30)
    return holding, gate


def test_a_tile_comes_from_its_owner_and_is_computed_once(valkey: str) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        pipeline.draw_tile = lambda: Drawn(uuid.uuid4().bytes * 3000, pipeline.data, {"compute": 0.5})
        wanted, gate = named(pipeline, tile), threading.Event()
        holding = asyncio.ensure_future(second.compute("gate", "gate", lambda: gate.wait(30)))
        there = second.tiles.get(CHAIN, wanted, tile, "a")
        asked = asyncio.gather(*(first.tiles.get(CHAIN, wanted, tile, s) for s in "abc"), there)
        while wanted not in second.queue._jobs or len(second.queue._jobs[wanted].waiters) < 4:
            assert not asked.done()
            await asyncio.sleep(0.005)
        gate.set()
        await holding
        answers = await asked
        assert len({answer.png for answer in answers}) == 1
        assert all("hop" in answer.stages for answer in answers[:3])
        assert answers[0].stages.get("compute", 0.5) == 0.5
        assert pipeline.tiles == [tile]
        assert first.tiles.remembered(wanted) == second.tiles.remembered(wanted) == answers[0].png
        # One of its own is computed here.
        own = next(t for x in range(0, 64, 4) if Owners(2).owner(t := Tile(6, x, 9)) == 0)
        assert "hop" not in (await first.tiles.get(CHAIN, named(pipeline, own), own, "a")).stages

    with_two_workers(valkey, use)


def test_an_owner_refuses_as_if_it_had_been_asked_itself(valkey: str) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        def fail() -> Drawn:
            raise DemandError("too much", hint="zoom in", node="n", op="slope")

        pipeline.draw_tile = fail
        with pytest.raises(DemandError) as caught:
            await first.tiles.get(CHAIN, named(pipeline, tile), tile, "a")
        assert (caught.value.node, caught.value.op, caught.value.hint) == ("n", "slope", "zoom in")
        assert pipeline.tiles == [tile]

    with_two_workers(valkey, use)


def test_an_owner_drops_what_nobody_waits_for(valkey: str) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        holding, gate = await held(second)
        left = asyncio.ensure_future(first.tiles.get(CHAIN, named(pipeline, tile), tile, "a"))
        while not second.queue.waiting:
            assert not left.done()
            await asyncio.sleep(0.005)
        left.cancel()
        while second.queue.waiting:
            await asyncio.sleep(0.005)
        gate.set()
        await holding
        assert pipeline.tiles == []

    with_two_workers(valkey, use)


@pytest.mark.parametrize("why", ["gone", "stopping", "busy"])
def test_a_tile_whose_owner_does_not_help_is_computed_here(valkey: str, why: str) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        if why == "gone":
            await second.close()
        elif why == "stopping":
            second.stopping.set()
        else:
            assert second._owners is not None
            second._owners.note(100.0)
        answer = await first.tiles.get(CHAIN, named(pipeline, tile), tile, "a")
        assert answer.png == b"png"
        assert "hop" not in answer.stages

    with_two_workers(valkey, use)


@pytest.mark.parametrize("far", [False, True])
def test_tiles_of_remote_images_have_owners_where_others_have_none(valkey: str, far: bool) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        pipeline.far = far
        answer = await first.tiles.get(CHAIN, named(pipeline, tile), tile, "a")
        assert ("hop" in answer.stages) == far

    with_two_workers(valkey, use, "--tile-owners", "remote")


def test_a_defect_of_another_worker_keeps_its_incident(valkey: str, caplog: pytest.LogCaptureFixture) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        def fail() -> Drawn:
            raise ZeroDivisionError("internal detail")

        pipeline.draw_tile = fail
        server = tornado.httpserver.HTTPServer(application(first))
        (listening,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets([listening])
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        path = f"/tiles/{CHAIN.root}/{tile.z}/{tile.x}/{tile.y}.png"
        head = "Host: localhost\r\nAuthorization: Bearer t\r\nConnection: close"
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
        answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        assert answer["error"] == "EngineFault"
        assert [line for line in caplog.messages if "incident" in line] == [
            f"incident {answer['incident']}: a tile that another worker asked for"
        ]
        server.stop()
        writer.close()

    with_two_workers(valkey, use)


def test_an_owner_that_sees_a_newer_file_says_so(valkey: str) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        expected = named(pipeline, tile, "0" * 16)
        answer = await first.tiles.get(CHAIN, expected, tile, "a")
        assert answer.data == pipeline.data
        assert first.tiles.remembered(expected) is None

    with_two_workers(valkey, use)


def test_what_is_read_from_afar_stops_when_nobody_waits(valkey: str) -> None:
    async def use(services: Services, pipeline: Pipeline) -> bool:
        entered, stopped = threading.Event(), threading.Event()

        def read_pixels(chain: Chain, grid: Any, wanted: Wanted) -> Any:
            entered.set()
            while wanted():
                threading.Event().wait(0.005)
            stopped.set()
            raise Unwanted

        pipeline.far, pipeline.read_pixels = True, read_pixels  # type: ignore[method-assign]
        left = asyncio.ensure_future(services.tiles.get(CHAIN, name(services, pipeline), TILE, "a"))
        await asyncio.to_thread(entered.wait, 20)
        left.cancel()
        return await asyncio.to_thread(stopped.wait, 20)

    assert with_services(valkey, use)


def name(services: Services, pipeline: Pipeline, x: int = TILE.x) -> TileName:
    return TileName(CHAIN.root, pipeline.data, TILE.z, x, TILE.y, 1)


@pytest.mark.parametrize("far", [False, True])
def test_equal_tiles_are_computed_once_and_then_cached(valkey: str, far: bool) -> None:
    async def use(services: Services, pipeline: Pipeline) -> None:
        pipeline.far = far
        wanted = name(services, pipeline)
        first = await asyncio.gather(*(services.tiles.get(CHAIN, wanted, TILE, s) for s in "abc"))
        assert {answer.origin for answer in first} == {"computed"}
        assert (await services.tiles.get(CHAIN, wanted, TILE, "a")).origin == "memory"
        assert (len(pipeline.tiles), pipeline.reads) == ((0, 1) if far else (1, 0))

    # Without a cache to ask first, all three ask before the first can be done.
    with_services(valkey, use, "--tile-redis-url", "")


def test_what_a_function_printed_is_told_once_and_counted(valkey: str) -> None:
    async def use(services: Services, pipeline: Pipeline) -> None:
        me, printed = uuid.uuid4().hex, [("start", "same"), ("same",), (), ("same",)]
        for x in range(4):
            pipeline.draw_tile = lambda x=x: Drawn(b"png", pipeline.data, {}, printed[x])
            for _ in range(2):
                # The second is not computed.
                await services.tiles.get(CHAIN, name(services, pipeline, x), Tile(TILE.z, x, TILE.y), me)
        found = (await services.events.follow(me, "0-0", 5))["events"]
        told = [(event["type"], event["message"], event["tile"]) for event in found]
        assert told == [("print", text, [TILE.z, 0, TILE.y]) for text in ("start", "same")]
        assert [event["count"] for event in found] == [1, 3]
        assert {event["key"] for event in found} == {CHAIN.root}

    with_services(valkey, use)


def test_the_worker_that_computes_tells_what_was_printed(valkey: str) -> None:
    async def use(first: Services, second: Services, pipeline: Pipeline, tile: Tile) -> None:
        me = uuid.uuid4().hex
        pipeline.draw_tile = lambda: Drawn(b"png", pipeline.data, {}, ("hello",))
        answer = await first.tiles.get(CHAIN, named(pipeline, tile), tile, me)
        assert "hop" in answer.stages
        (told,) = (await second.events.follow(me, "0-0", 5))["events"]
        assert (told["message"], told["count"]) == ("hello", 1)
        assert first.tiles.remembered(named(pipeline, tile))

    with_two_workers(valkey, use)


@pytest.mark.parametrize("owners", [False, True])
def test_a_tile_without_some_items_is_shown_and_told_and_not_kept(valkey: str, owners: bool) -> None:
    gone = ItemFailure("S2A", SourceNotFound("B04.tif is not there.", hint="Look."))

    async def ask(services: Services, pipeline: Pipeline, tile: Tile) -> None:
        me, wanted = uuid.uuid4().hex, named(pipeline, tile)
        pipeline.draw_tile = lambda: Drawn(b"holes", pipeline.data, {}, failures=(gone,))
        for _ in range(2):
            answer = await services.tiles.get(CHAIN, wanted, tile, me)
            assert (answer.png, answer.origin) == (b"holes", "partial")
        assert services.tiles.remembered(wanted) is None
        (told,) = (await services.events.follow(me, "0-0", 5))["events"]
        assert (told["error"], told["item"]) == ("ItemUnreadable", "S2A")
        assert told["message"] == "S2A: B04.tif is not there."
        assert told["count"] == 2
        pipeline.draw_tile = lambda: Drawn(b"whole", pipeline.data, {})
        assert (await services.tiles.get(CHAIN, wanted, tile, me)).png == b"whole"

    if owners:
        with_two_workers(valkey, lambda first, second, pipeline, tile: ask(first, pipeline, tile))
    else:
        with_services(valkey, lambda services, pipeline: ask(services, pipeline, TILE))


def test_a_tile_of_another_data_version_is_not_kept_under_this_one(valkey: str) -> None:
    async def use(services: Services, pipeline: Pipeline) -> None:
        wanted = name(services, pipeline)
        pipeline.draw_tile = lambda: Drawn(b"newer", "f" * 16, {})
        assert (await services.tiles.get(CHAIN, wanted, TILE, "a")).data == "f" * 16
        assert services.tiles.remembered(wanted) is None

    with_services(valkey, use)


def test_a_source_that_changes_on_the_way_is_read_again_once(valkey: str) -> None:
    async def use(services: Services, pipeline: Pipeline) -> None:
        failures = [SourceChanged("now")]

        def draw() -> Drawn:
            if failures:
                raise failures.pop()
            return Drawn(b"png", pipeline.data, {})

        pipeline.draw_tile = draw
        assert (await services.tiles.get(CHAIN, name(services, pipeline), TILE, "a")).png == b"png"
        failures[:] = [SourceChanged("pinned"), SourceChanged("pinned")]
        with pytest.raises(SourceChanged):
            await services.tiles.get(CHAIN, name(services, pipeline, 5), TILE, "a")

    with_services(valkey, use)


def test_a_tile_of_the_base_map_waits_for_a_busy_engine(valkey: str) -> None:
    async def use(services: Services, pipeline: Pipeline) -> None:
        compute, refusals = services.compute, [EngineOverloaded("busy"), EngineOverloaded("busy")]

        async def busy(*job: Any) -> Any:
            if refusals:
                raise refusals.pop()
            return await compute(*job)

        services.compute = busy  # type: ignore[method-assign]
        assert await services.tiles.basemap(Tile(0, 0, 0), 1) == b"land"
        refusals.append(EngineOverloaded("stopping"))
        services.stopping.set()
        with pytest.raises(EngineOverloaded):
            await services.tiles.basemap(Tile(1, 0, 0), 1)

    with_services(valkey, use)


def test_a_request_whose_client_has_gone_is_dropped(valkey: str) -> None:
    async def use(services: Services, pipeline: Pipeline) -> None:
        await services.chains.register(CHAIN.to_json())
        token, _ = services.signer.sign(CHAIN.root, "me", 60)
        server = tornado.httpserver.HTTPServer(application(services))
        (listening,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets([listening])
        holding, gate = await held(services)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        path = f"/tiles/{CHAIN.root}/{TILE.z}/{TILE.x}/{TILE.y}.png?c={token}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while not services.queue.waiting:
            await asyncio.sleep(0.01)
        writer.close()
        while services.queue.waiting:
            await asyncio.sleep(0.01)
        gate.set()
        await holding
        assert pipeline.tiles == []
        await services.drained()
        server.stop()

    with_services(valkey, use)


def test_a_defect_is_an_incident_and_no_secret(valkey: str, caplog: pytest.LogCaptureFixture) -> None:
    async def use(services: Services, pipeline: Pipeline) -> bytes:
        await services.chains.register(CHAIN.to_json())
        token, _ = services.signer.sign(CHAIN.root, "me", 60)
        server = tornado.httpserver.HTTPServer(application(services))
        (listening,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets([listening])

        def fail() -> Drawn:
            raise ZeroDivisionError("internal detail")

        pipeline.draw_tile = fail
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        path = f"/tiles/{CHAIN.root}/{TILE.z}/{TILE.x}/{TILE.y}.png?c={token}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        events = await services.events.follow("me", "0-0", 5)
        (told,) = (event for event in events["events"] if event["type"] == "error" and event["incident"])
        assert told["incident"] in caplog.text
        assert "internal detail" in caplog.text
        assert "internal detail" not in told["message"]
        assert token not in caplog.text
        server.stop()
        writer.close()
        return answer

    answer = with_services(valkey, use)
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"image/png" in answer


def test_servers_that_do_not_answer_hold_up_nobody_else(valkey: str) -> None:
    silent = threading.Event()

    async def use(services: Services, pipeline: Pipeline) -> str:
        stuck = [
            asyncio.ensure_future(services.wait_for(lambda: silent.wait(20), remote=True)) for _ in range(20)
        ]
        try:
            assert await services.chains.version(CHAIN)
            return await asyncio.wait_for(services.wait_for(lambda: "there", remote=False), 5)
        finally:
            silent.set()
            await asyncio.gather(*stuck)

    assert with_services(valkey, use) == "there"


def test_warming_may_last_longer_than_a_computation(valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling on a slow machine is no computation that went astray; requests get their turn meanwhile."""
    compiled, never = threading.Event(), threading.Event()
    monkeypatch.setattr("geoloom_engine.services.first_steps", lambda: [lambda: compiled.wait(60)])

    async def run() -> None:
        settings = load(
            ["--redis-url", valkey, "--token", "t", "--signing-key", "k", "--tile-timeout", "0.1"], {}
        )
        services = Services(settings, Metrics(1), Pipeline())  # type: ignore[arg-type]
        try:
            for name in ("astray", "again"):
                with pytest.raises(DemandError):
                    await services.compute(name, "a", lambda: never.wait(60))
            assert await services.problem() == "The engine is warming up."
            compiled.set()
            while problem := await services.problem():
                assert "failed" not in problem, problem
                await asyncio.sleep(0.01)
        finally:
            never.set()
            await services.close()

    asyncio.run(asyncio.wait_for(run(), 60))
