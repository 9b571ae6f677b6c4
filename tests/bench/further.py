"""What a table of milliseconds does not show: waiting, workers, many clients, editing, panning, starting."""

from __future__ import annotations

import math
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.archives import ARCHIVES
from bench.cases import CASES, NDVI, Case
from bench.contest import ONLY_REQUESTS, Contender, Effort, contest
from bench.deep import deep
from bench.measure import Failed, Sample, measure, paths
from bench.overhead import new_worker, overheads
from bench.report import Finding
from bench.scenes import Scenes
from bench.servers import Server
from geoloom.colour import ramps
from geoloom.engine_client import EngineClient

CLIENTS = 32
FULL_SCENE = 109_800.0
"""Width of a scene in metres at which the map is panned at zoom 13; smaller ones are panned closer."""

NOTED = 2.0
"""Seconds after which `/metrics` knows for sure what the caches did."""

RAMPS_A_TURN = 3
BY_NAME = {case.name: case for case in CASES}


@dataclass(frozen=True, slots=True)
class Arena:
    """The servers that further measures share."""

    peer: Server
    warm: Server
    effort: Effort

    @property
    def scenes(self) -> Scenes:
        """The scenes, as the warm engine knows them."""
        return Scenes.of(self.effort.data, self.warm.known)

    def titiler(self, case: Case, count: int) -> Contender:
        """TiTiler with a case's first tiles."""
        tiles = self.scenes.tiles(case.area, case.zoom, count)
        return Contender(self.peer, paths(case.titiler(self.effort.data), tiles), count)

    def engine(self, case: Case, count: int, server: Server) -> Contender:
        """An engine with the same tiles."""
        tiles = self.scenes.tiles(case.area, case.zoom, count)
        template = server.known.register(case.recipe.image(self.scenes).chain).tiles
        return Contender(server, paths(template, tiles), count * self.effort.repeats, "computed")


def latency(arena: Arena) -> Iterator[Finding]:
    """How long one client with one connection waits."""
    count = arena.effort.tiles // 2
    for case in (BY_NAME["a"], BY_NAME["b"]):
        contenders = {
            "titiler": arena.titiler(case, count),
            "engine": arena.engine(case, count, arena.warm),
        }
        found = contest(contenders, arena.effort.rounds, connections=1)
        theirs, ours = found["titiler"].p50_ms, found["engine"].p50_ms
        yield Finding(
            f"{case.name} warm, one connection: how many times shorter than TiTiler's is p50",
            theirs / ours,
            " ×",
            least=20,
            note=f"TiTiler {theirs:.1f} ms, engine {ours:.2f} ms",
        )


WARM_UPS = 6
"""Passes over the tiles: each worker has a memory of its own, and about half of a pass comes to it."""


def two_workers(arena: Arena) -> Iterator[Finding]:
    """What a second worker adds, and how evenly many clients are served."""
    case, count = BY_NAME["b"], arena.effort.tiles
    with servers.engine("engine of two workers", servers.WARM, arena.effort.data, workers=2) as two:
        contenders = {"one": arena.engine(case, count, arena.warm), "two": arena.engine(case, count, two)}
        for _ in range(WARM_UPS):
            contenders["two"].warm_up()
        found = contest(contenders, arena.effort.rounds, connections=CLIENTS)
        one, both = found["one"], found["two"]
        yield Finding(
            "b warm: tiles a second of two workers, over those of one",
            both.rate / one.rate,
            " ×",
            least=1.6,
            note=f"{both.rate:.0f} and {one.rate:.0f} tiles/s over {CLIENTS} connections; "
            f"{both.cpu_ms:.2f} and {one.cpu_ms:.2f} ms of processor time",
        )
        for server, name in ((two, "two workers"), (arena.warm, "one worker")):
            sample = many_clients(arena, server)
            yield Finding(
                f"b warm, {CLIENTS} different clients, {name}: p95 over p50",
                sample.p95_ms / sample.p50_ms,
                " ×",
                most=3,
                note=f"p50 {sample.p50_ms:.1f} ms, p95 {sample.p95_ms:.1f} ms",
            )


def many_clients(arena: Arena, server: Server) -> Sample:
    """An engine with clients of sessions and capabilities of their own, each looking elsewhere."""
    chain = NDVI.image(arena.scenes).chain
    tiles = arena.scenes.tiles("scene", 13, arena.effort.tiles)
    lanes = []
    for number in range(CLIENTS):
        client = EngineClient(server.url, server.known.endpoint.token)
        order = random.Random(number).sample(tiles, len(tiles))
        lanes.append(paths(client.register(chain).tiles, order))
        client.close()
    requests = arena.effort.tiles * arena.effort.repeats
    return Sample.median(
        [
            measure(server, lanes, requests, connections=CLIENTS, start=37 * number, origin="computed")
            for number in range(arena.effort.rounds)
        ]
    )


def last_step(arena: Arena) -> Iterator[Finding]:
    """What a new ramp costs where the bands' nodes are known."""
    case = BY_NAME["b"]
    tiles = arena.scenes.tiles(case.area, case.zoom, arena.effort.tiles // 2)
    peer = arena.titiler(case, len(tiles))
    peer.warm_up()
    new_ramps = iter(name for name in ramps() if name != NDVI.ramp)
    theirs, ours, blocks = [], [], 0.0
    with servers.engine("engine with nodes", servers.NODES, arena.effort.data) as engine:

        def tiles_in(ramp: str) -> list[str]:
            chain = NDVI.image(arena.scenes, ramp).chain
            return paths(engine.known.register(chain).tiles, tiles)

        measure(engine, [tiles_in(NDVI.ramp)], len(tiles))
        if not blocks_asked(engine):
            raise Failed("/metrics counts no blocks, and would prove nothing")
        for number in range(arena.effort.rounds):
            theirs.append(peer.turn(number))
            lane = [path for _ in range(RAMPS_A_TURN) for path in tiles_in(next(new_ramps))]
            before = blocks_asked(engine)
            ours.append(measure(engine, [lane], len(lane), origin="computed"))
            blocks += blocks_asked(engine) - before
    titiler, changed = Sample.median(theirs), Sample.median(ours)
    yield Finding(
        "a new ramp over NDVI: how many times cheaper than TiTiler's NDVI",
        titiler.cpu_ms / changed.cpu_ms,
        " ×",
        least=30,
        note=f"TiTiler {titiler.cpu_ms:.1f} ms, engine {changed.cpu_ms:.2f} ms",
    )
    yield Finding(
        "a new ramp over NDVI: blocks asked for, in memory or files",
        blocks,
        most=0,
        note=f"by `/metrics`, in {arena.effort.rounds * len(lane)} tiles",
    )
    yield Finding(
        "a new ramp over NDVI: bytes read",
        changed.read_kb,
        " kB a tile",
        most=ONLY_REQUESTS,
        note="by the system's count",
    )


def panning(arena: Arena) -> Iterator[Finding]:
    """A map of NDVI that is moved by half a view again and again, all caches as they come."""
    case, scenes = BY_NAME["b"], arena.scenes
    zoom = case.zoom + max(0, round(math.log2(FULL_SCENE / scenes.first.width)))
    theirs, ours = [], []
    with servers.engine("engine", servers.AS_IT_COMES, arena.effort.data) as engine:
        template = engine.known.register(case.recipe.image(scenes).chain).tiles
        for number in range(min(arena.effort.rounds, scenes.walks(zoom))):
            tiles = [tile for view in scenes.walk(zoom, number) for tile in view]
            theirs.append(measure(arena.peer, [paths(case.titiler(arena.effort.data), tiles)], len(tiles)))
            ours.append(measure(engine, [paths(template, tiles)], len(tiles)))
    titiler, panned = Sample.median(theirs), Sample.median(ours)
    yield Finding(
        "panning over NDVI: how many times cheaper than TiTiler's",
        titiler.cpu_ms / panned.cpu_ms,
        " ×",
        least=15,
        note=f"TiTiler {titiler.cpu_ms:.1f} ms, engine {panned.cpu_ms:.2f} ms a tile, of these Valkey "
        f"{panned.store_ms:.2f}; {len(tiles)} tiles a round at zoom {zoom}",
    )
    note = f"TiTiler: {titiler.resident_mb:.0f} MB"
    yield Finding("memory of the engine after panning", panned.resident_mb, " MB", note=note)


def starting(arena: Arena) -> Iterator[Finding]:
    """From the start of an engine whose code is compiled to its first tile, and what a notebook imports."""
    ready, first, memory = [], [], []
    tile = arena.scenes.tiles("scene", 13, 1)
    for _ in range(3):
        with servers.engine("engine", servers.AS_IT_COMES, arena.effort.data) as engine:
            ready.append(engine.ready_seconds)
            memory.append(engine.resident())
            [path] = paths(engine.known.register(NDVI.image(arena.scenes).chain).tiles, tile)
            begun = time.perf_counter()
            status, _, _ = engine.fetch(path)
            first.append(time.perf_counter() - begun)
            if status != 200:
                raise Failed(f"the first tile was answered with {status}")
    note = "one worker, code compiled before"
    yield Finding("an engine's start until it is ready", statistics.median(ready), " s", note=note)
    yield Finding("its first tile (NDVI)", statistics.median(first), " s", most=1)
    yield Finding("its memory before that", statistics.median(memory), " MB", note="with the supervisor")
    note = f"with all that building a chain needs: {seconds('import geoloom; geoloom.Image'):.2f} s"
    yield Finding("`import geoloom`", seconds("import geoloom"), " s", most=0.5, note=note)


def sandbox(arena: Arena) -> Iterator[Finding]:
    """What it costs to lock a user's function in."""
    targets = {"light": 0.15}
    for one in overheads(batches=10 * arena.effort.rounds):
        yield Finding(
            f"a user's function ({one.function}) in the sandbox, warm: what that adds to a tile",
            one.added,
            " ms",
            most=targets.get(one.function),
            note=f"{one.inside:.2f} ms, {one.here:.2f} in the same process",
        )
    what = "a user's first tile: what a new, locked process adds to it"
    yield Finding(f"{what}, kept ready", new_worker(20, spare=True), " ms", most=3)
    yield Finding(f"{what}, made for it", new_worker(20, spare=False), " ms")


MEASURES: dict[str, Callable[[Arena], Iterator[Finding]]] = {
    one.__name__: one for one in (latency, two_workers, last_step, panning, sandbox, starting, deep)
}


NAMES = (*MEASURES, *ARCHIVES)


def run(names: Sequence[str], titiler: Path, effort: Effort) -> Iterator[Finding]:
    """The findings of some measures, those that need servers on servers of their own."""
    served = [name for name in names if name in MEASURES]
    if served:
        with ExitStack() as stack:
            peer = stack.enter_context(servers.titiler(titiler))
            warm = stack.enter_context(servers.engine("engine warm", servers.WARM, effort.data))
            for name in served:
                yield from MEASURES[name](Arena(peer, warm, effort))
    for name in names:
        if name in ARCHIVES:
            yield from ARCHIVES[name](effort)


def seconds(code: str) -> float:
    """How long code takes in a new interpreter: the median of five."""
    timed = f"import time; begun = time.perf_counter(); {code}; print(time.perf_counter() - begun)"
    return statistics.median(float(subprocess.check_output([sys.executable, "-c", timed])) for _ in range(5))


def blocks_asked(engine: Server) -> float:
    """How many decoded blocks the engine has asked its memory or the files for so far."""
    time.sleep(NOTED)
    return sum(counter(engine, f"geoloom_cache_{way}_total", 'cache="blocks"') for way in ("hits", "misses"))


def counter(engine: Server, name: str, label: str) -> float:
    """A counter of the engine's `/metrics`."""
    text = engine.fetch("/metrics")[2].decode()
    found = re.search(rf"^{name}\{{{label}\}} (\S+)$", text, re.MULTILINE)
    if found is None:
        raise Failed(f"/metrics has no {name} of {label}")
    return float(found[1])
