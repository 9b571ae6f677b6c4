"""A tile is the same bytes whichever way it took: cold, warm, cached, among others, or forwarded."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from geoloom.grid import Tile
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.open import Open

if TYPE_CHECKING:
    from conftest import Answer, RunningEngine, StartEngine

CHAINS = {
    "nearest": lambda one, two: one.resample("nearest").scale(0, 255).colormap("viridis"),
    "bilinear": lambda one, two: one.scale(0, 255).colormap("viridis"),
    "cubic": lambda one, two: one.resample("cubic").scale(0, 255),
    "formula": lambda one, two: ((one - two) / (one + two)).scale(-1, 1).colormap("rdylgn"),
    "neighbours": lambda one, two: one.focal_mean(3).slope().scale(0, 90).colormap("magma"),
    "mosaic": lambda one, two: one.mask(one > 90).combine_first(two).scale(0, 255),
}
PLACES = [
    Tile.at(15.03, 45.1, 10),
    Tile.at(15.03, 45.1, 12),
    Tile.at(15.09, 45.07, 13),
    Tile.at(15.0, 45.15, 12),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("same")


@pytest.fixture(scope="module")
def cold(start_engine: StartEngine, valkey: str, folder: Path) -> RunningEngine:
    """Nothing is kept: each tile is decoded from the file."""
    caches = {"block_cache": "0", "node_cache": "0", "tile_cache": "0", "tile_redis_url": ""}
    engine = start_engine(valkey, folder, gdal_cache="1MB", **caches)
    engine.raster(0.0, folder / "one.tif")
    engine.raster(2.0, folder / "two.tif")
    return engine


@pytest.fixture(scope="module")
def warm(start_engine: StartEngine, valkey: str, folder: Path) -> RunningEngine:
    """As it comes, with two workers that ask each other."""
    return start_engine(valkey, folder, workers=2, tile_owners="on")


def image(engine: RunningEngine, name: str) -> Image:
    href = str(engine.folder / name)
    return Image(Open(href=href).chain(), Profile.of_source(engine.client().info(href)), {})


def origin(answer: Answer) -> str:
    found = re.search(r"cache;desc=(\w+)", answer.headers["server-timing"])
    assert found is not None
    return "hop" if "hop;" in answer.headers["server-timing"] else found[1]


def test_every_way_gives_the_same_bytes(cold: RunningEngine, warm: RunningEngine) -> None:
    seen = set()
    for name, build in CHAINS.items():
        chain = build(image(cold, "one.tif"), image(cold, "two.tif")).chain
        paths = {}
        for engine in (cold, warm):
            template = engine.ask("POST", "/chains", chain.to_json()).json["tiles"]
            paths[engine.url] = [
                template.format(z=place.z, x=place.x, y=f"{place.y}{ratio}")
                for place in PLACES
                for ratio in ("", "@2x")
            ]
        alone = [cold.ask("GET", path) for path in paths[cold.url]]
        assert {origin(answer) for answer in alone} == {"computed"}
        assert all(answer.status == 200 for answer in alone)
        # Eight at once, each asked for by four, and again: some from memory, Redis, another worker.
        with ThreadPoolExecutor(8) as threads:
            many = list(threads.map(lambda path: warm.ask("GET", path), paths[warm.url] * 8))
        for number, answer in enumerate(many):
            seen.add(origin(answer))
            assert answer.body == alone[number % len(alone)].body, (name, number, origin(answer))
    assert seen >= {"computed", "memory", "hop"}
