"""``make bench``: the engine beside TiTiler, every case in turn, pixels compared before anything is timed.

Run as ``PYTHONPATH=tests .venv/bin/python -m bench`` with the options below.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

from bench import servers
from bench.cases import CASES, Case
from bench.measure import Failed, Sample, measure, paths
from bench.pixels import compare
from bench.report import Report, Row, about
from bench.scenes import Scenes
from bench.servers import Server

ROOT = Path(__file__).resolve().parents[2]
COMPARED = 4
"""Tiles of each case whose pixels are looked at."""


def main() -> int:
    """Run what is asked for; 1 if the pictures differ or a server fails."""
    asked = options()
    make_scenes(asked.data, asked.titiler, asked.size)
    command = os.environ.get("BENCH_COMMAND") or shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    report = Report(about(command, asked.titiler, rounds=asked.rounds, tiles=asked.tiles))
    try:
        with contextlib.ExitStack() as stack:
            peer = stack.enter_context(servers.titiler(asked.titiler))
            engines = {
                name: stack.enter_context(servers.engine(f"engine {name}", settings, asked.data))
                for name, settings in (("warm", servers.WARM), ("cold", servers.COLD))
            }
            with servers.engine("engine", servers.AS_IT_COMES, asked.data) as cached:
                for case in CASES:
                    if case.name in asked.cases:
                        used = {"warm": cached} if case.area == "same" else engines
                        report.rows.append(run(case, peer, used, asked))
                        show(report.rows[-1])
    except Failed as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    if asked.out is not None:
        asked.out.write_text(report.markdown())
        asked.out.with_suffix(".json").write_text(report.to_json())
    print("misses:", ", ".join(report.misses()) or "none")
    return 0


def options() -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    venv = ROOT / ".venv-bench"
    names = ",".join(case.name for case in CASES)
    parser.add_argument("--titiler", type=Path, default=venv, help="TiTiler's virtual environment")
    parser.add_argument("--data", type=Path, default=venv / "data", help="where the scenes are, or are made")
    parser.add_argument(
        "--size", type=int, default=0, help="pixels a side of scenes to be made; 0: what memory holds"
    )
    parser.add_argument("--cases", default=names, help=f"some of {names}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server; medians are quoted")
    parser.add_argument("--tiles", type=int, default=200, help="different tiles of a case")
    parser.add_argument(
        "--repeats", type=int, default=4, help="how often the engine serves each of them in a turn"
    )
    parser.add_argument("--out", type=Path, help="page to write, with a JSON file beside it")
    asked = parser.parse_args()
    asked.data, asked.titiler = asked.data.absolute(), asked.titiler.absolute()
    asked.cases = asked.cases.split(",")
    if unknown := set(asked.cases) - {case.name for case in CASES}:
        parser.error(f"there is no case {', '.join(unknown)}; there are {names}")
    return asked


def make_scenes(folder: Path, titiler: Path, size: int) -> None:
    """Make the scenes unless they are there."""
    if not (folder / "S2" / "stack4.tif").exists():
        script = Path(__file__).with_name("make_scenes.py")
        subprocess.run([titiler / "bin" / "python", script, folder, "--size", str(size)], check=True)


def run(case: Case, peer: Server, engines: dict[str, Server], asked: argparse.Namespace) -> Row:
    """Compare a case's pixels, then time it: all servers in turn, several rounds."""
    reference = next(iter(engines.values()))
    assert reference.client is not None
    scenes = Scenes.of(asked.data, reference.client)
    tiles = scenes.tiles(case.area, case.zoom, asked.tiles)
    contenders: dict[str, tuple[Server, list[str], int]] = {
        "png": (peer, paths(case.titiler(asked.data), tiles), asked.tiles)
    }
    if case.raw:
        contenders["pngraw"] = (peer, paths(case.titiler(asked.data, "pngraw"), tiles), asked.tiles)
    if case.stacked:
        contenders["stacked"] = (peer, paths(case.titiler(asked.data, stacked=True), tiles), asked.tiles)
    chain = case.recipe.image(scenes).chain
    for name, server in engines.items():
        if name == "cold" and case.cold is None:
            continue
        assert server.client is not None
        template = case.engine(server.client.register(chain).tiles)
        repeats = 10 * asked.repeats if case.area == "same" else 1 if name == "cold" else asked.repeats
        contenders[name] = (server, paths(template, tiles), asked.tiles * repeats)
    pictures = {
        name: [fetched(contenders[name][0], path) for path in contenders[name][1][:COMPARED]]
        for name in contenders
        if name in ("png", *engines)
    }
    for name in pictures.keys() - {"png"}:
        agreement = compare(case, asked.data, tiles[:COMPARED], pictures[name], pictures["png"])
        agreement.check(case.name)
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for server, lane, _ in contenders.values():
        measure(server, [lane], len(lane))  # so that all have compiled, opened and read what they will keep
    for turn in range(asked.rounds):
        for name, (server, lane, requests) in contenders.items():
            origin = "" if server is peer else "memory" if case.area == "same" else "computed"
            samples[name].append(measure(server, [lane], requests, start=37 * turn, origin=origin))
    return Row(case, {name: Sample.median(found) for name, found in samples.items()}, agreement)


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
        print(
            f"{row.case.name:8s} {kind:8s} {one.cpu_ms:8.2f} ms × {ratio or 0:5.1f} p50 {one.p50_ms:6.1f} ms "
            f"{one.rate:7.1f} /s  {one.kilobytes:6.1f} kB  {one.resident_mb:6.0f} MB",
            flush=True,
        )
    print(f"         {row.agreement}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
