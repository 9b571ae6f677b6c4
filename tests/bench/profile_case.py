"""Where the engine's time goes in one case: in this process, without HTTP.

``PYTHONPATH=tests .venv/bin/python -m bench.profile_case b --data FOLDER [--caches cold] [--lines 30]``
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import servers
from bench.cases import CASES, Case
from bench.overhead import pool
from bench.scenes import Scenes
from geoloom import blobs
from geoloom.chain import Chain
from geoloom.grid import Tile
from geoloom_engine.functions import Functions
from geoloom_engine.pipeline import Pipeline
from geoloom_engine.settings import load

CACHES = {"warm": servers.WARM, "cold": servers.COLD, "nodes": servers.NODES}


class Local:
    """What scenes ask of an engine's client, answered by a pipeline of this process."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def info(self, href: str) -> dict[str, Any]:
        """What a file holds."""
        return self._pipeline.source(href)


@contextmanager
def pipeline(folder: Path, caches: Mapping[str, str], sandboxed: bool = False) -> Iterator[Pipeline]:
    """A pipeline with the settings the benchmark's engines have; `sandboxed` ones run users' functions."""
    settings = load([], {**caches, "GEOLOOM_SOURCES": str(folder)})
    with ExitStack() as stack:
        functions = None
        if sandboxed:
            functions = Functions(stack.enter_context(pool()), settings.function_modules, text)
        made = Pipeline(settings, functions)
        stack.callback(made.close)
        yield made


def text(key: str) -> bytes:
    """The text of a function of this process."""
    content = blobs.kept(key)
    assert content is not None
    return content


def prepared(case: Case, folder: Path, made: Pipeline, count: int) -> tuple[Chain, list[Tile]]:
    """A case's chain and tiles."""
    scenes = Scenes.of(folder, Local(made))
    return case.recipe.image(scenes).chain, scenes.tiles(case.area, case.zoom, count)


def stages(made: Pipeline, chain: Chain, tiles: Sequence[Tile], ratio: int) -> dict[str, float]:
    """Median milliseconds of each stage, and under ``cpu`` of this thread's processor time in all."""
    found: dict[str, list[float]] = {}
    for tile in tiles:
        begun = time.thread_time()
        drawn = made.tile(chain, tile, ratio)
        spent = time.thread_time() - begun
        for name, seconds in (*drawn.stages.items(), ("cpu", spent)):
            found.setdefault(name, []).append(seconds * 1000)
    return {name: statistics.median(each) for name, each in found.items()}


def main() -> None:
    """Print a case's stages, then its profile by own time."""
    parser = argparse.ArgumentParser(prog="bench.profile_case", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("case", choices=[case.name for case in CASES])
    parser.add_argument("--data", type=Path, required=True, help="folder of the scenes")
    parser.add_argument("--caches", choices=list(CACHES), default="warm")
    parser.add_argument("--tiles", type=int, default=100)
    parser.add_argument("--lines", type=int, default=25, help="lines of the profile")
    asked = parser.parse_args()
    case = next(case for case in CASES if case.name == asked.case)
    sandboxed = case.recipe.kind == "classes"
    with pipeline(asked.data.absolute(), CACHES[asked.caches], sandboxed) as made:
        chain, tiles = prepared(case, asked.data.absolute(), made, asked.tiles)
        stages(made, chain, tiles, case.ratio)  # compiles, opens, fills what the settings keep
        shown = stages(made, chain, tiles, case.ratio)
        sys.stdout.write(f"{case.name} {asked.caches}, ms a tile: ")
        sys.stdout.write(", ".join(f"{name} {each:.3f}" for name, each in shown.items()) + "\n")
        profile = cProfile.Profile()
        profile.runcall(stages, made, chain, tiles, case.ratio)
        pstats.Stats(profile).sort_stats("tottime").print_stats(asked.lines)


if __name__ == "__main__":
    main()
