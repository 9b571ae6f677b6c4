"""One case on every server in turn: pixels are compared first, then all are timed, round by round."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cases import Case
from bench.measure import Failed, Sample, measure, paths
from bench.pixels import compare
from bench.report import Row
from bench.scenes import Scenes
from bench.servers import Server

TRIES = 3
"""How often a case is measured if its warm tiles read something: on a busy machine, an engine that is long
ready may still be loading compiled code."""

COMPARED = 6
"""Tiles of each case whose pixels are looked at."""

ONLY_REQUESTS = 10.0
"""Kilobytes that a server reads per tile when all it reads is the request: a block has a hundred and more."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Parameters
    ----------
    data
        Folder of the scenes.
    rounds
        Turns of each server.
    tiles
        Different tiles of a case; TiTiler serves each once in a turn.
    repeats
        How often a warm engine serves each of them in a turn: it is too quick for the clock otherwise.
    """

    data: Path
    rounds: int
    tiles: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Contender:
    """A server, the paths it is asked for, how often, and where its tiles must come from."""

    server: Server
    paths: list[str]
    requests: int
    origin: str = ""

    def warm_up(self) -> None:
        """Ask for everything once, so that it has compiled, opened and read what it will keep."""
        measure(self.server, [self.paths], len(self.paths))

    def turn(self, number: int, connections: int = 8) -> Sample:
        """One turn of a contest."""
        return measure(
            self.server,
            [self.paths],
            self.requests,
            connections=connections,
            start=37 * number,
            origin=self.origin,
        )


def contest(contenders: Mapping[str, Contender], rounds: int, connections: int = 8) -> dict[str, Sample]:
    """Medians of each, after as many turns as rounds."""
    for one in contenders.values():
        one.warm_up()
    for one in contenders.values():
        one.server.rest()
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, one in contenders.items():
            samples[name].append(one.turn(number, connections))
    return {name: Sample.median(found) for name, found in samples.items()}


def run(case: Case, peer: Server | None, engines: Mapping[str, Server], effort: Effort) -> Row:
    """A case's row.

    Parameters
    ----------
    peer
        TiTiler; without it the engine is compared with the exact computation alone.
    engines
        ``warm`` and ``cold``, of which those are measured that the case has targets for; case e has all
        caches on in what is called ``warm``.

    Raises
    ------
    Failed
        If the pictures differ, or a server does not do its work.
    """
    data, count = effort.data, effort.tiles
    scenes = Scenes.of(data, next(iter(engines.values())).known)
    tiles = scenes.tiles(case.area, case.zoom, count)
    contenders = {}
    if peer is not None:
        contenders["png"] = Contender(peer, paths(case.titiler(data), tiles), count)
        if case.raw:
            contenders["pngraw"] = Contender(peer, paths(case.titiler(data, "pngraw"), tiles), count)
        if case.stacked:
            contenders["stacked"] = Contender(peer, paths(case.titiler(data, stacked=True), tiles), count)
    chain = case.recipe.image(scenes).chain
    for name, server in engines.items():
        if (case.warm if name == "warm" else case.cold) is None:
            continue
        template = case.engine(server.known.register(chain).tiles)
        again = case.area == "same"
        repeats = 1 if name == "cold" else effort.repeats * (10 if again else 1)
        origin = "memory" if again else "computed"
        contenders[name] = Contender(server, paths(template, tiles), count * repeats, origin)
    shown = {
        name: [fetched(one.server, path) for path in one.paths[:COMPARED]]
        for name, one in contenders.items()
        if name in ("png", "warm", "cold")
    }
    if shown.get("cold", shown["warm"]) != shown["warm"]:
        raise Failed(f"case {case.name}: cold and warm tiles differ")
    agreement = compare(case, data, tiles[:COMPARED], shown["warm"], shown.get("png", shown["warm"]))
    agreement.check(case.name)
    for _ in range(TRIES):
        samples = contest(contenders, effort.rounds)
        if samples["warm"].read_kb <= ONLY_REQUESTS:
            break
    else:
        raise Failed(f"case {case.name}: warm tiles read {samples['warm'].read_kb:.0f} kB each")
    return Row(case, samples, agreement)


def fetched(server: Server, path: str) -> bytes:
    """A tile; raises Failed if there is none."""
    status, _, body = server.fetch(path)
    if status != 200:
        raise Failed(f"{server.name} answered {status} to {path}: {body[:300]!r}")
    return body


def show(row: Row) -> None:
    """Print a case as soon as it is measured."""
    for kind, one in row.samples.items():
        ratio = row.ratio(kind)
        times = f"{ratio:6.1f} ×" if ratio else " " * 8
        sys.stdout.write(
            f"{row.case.name:7s} {kind:8s}{one.cpu_ms:8.2f} ms {times}  p50 {one.p50_ms:6.1f} ms "
            f"{one.rate:7.1f} /s  {one.kilobytes:6.1f} kB {one.resident_mb:6.0f} MB\n"
        )
    sys.stdout.write(f"        {row.agreement}\n")
    sys.stdout.flush()
