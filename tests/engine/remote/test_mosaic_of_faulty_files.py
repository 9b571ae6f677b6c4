"""A mosaic at a server where everything goes wrong with some file: the others show, and each is named."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import shapely

from geoloom import blobs
from geoloom.errors import SourceError
from geoloom.grid import Grid, Tile
from geoloom.per_item import composite, item
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.evaluate import evaluate, run
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.selections import Blobs
from geoloom_engine.warp import Limits

GRID: Grid = Tile.at(15.05, 45.1, 11).grid()
SECONDS = 1.5


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory, new_raster: Any) -> bytes:
    """A file of 512 × 512 pixels around the tile."""
    path = new_raster(tmp_path_factory.mktemp("faulty") / "a.tif")
    return bytes(path.read_bytes())


def selection_of(hrefs: dict[str, str]) -> Selection:
    box = shapely.box(14.9, 44.9, 15.3, 45.3)
    items = [Item(name, None, box, (Asset(href, ((0, 0),)),), 30.0) for name, href in sorted(hrefs.items())]
    return Selection.of("faulty", [SelectedBand("B1", "uint8", resampling="nearest")], items)


def planner_of(pool: SourcePool, threads: ThreadPoolExecutor) -> Planner:
    known = Blobs(lambda key: blobs.known(key) or b"")
    return Planner(pool, Limits(), blobs=known, executor=threads)


def test_the_others_show_and_each_is_named(server: Any, content: bytes) -> None:
    faults: dict[str, Callable[[Any], None]] = {
        "401": server.status(401),
        "403": server.status(403),
        "404": server.status(404),
        "410": server.status(410),
        "429": server.status(429),
        "503": server.status(503),
        "break-off": server.break_off(1000),
        "drip": server.drip(),
        "redirect": server.status(302, Location="http://elsewhere.example/secret.tif"),
        "reset": server.reset(),
        "silence": server.silence(),
        "stall": server.stall(1000),
    }
    hrefs = {name: server.put(f"/{name}.tif", content, fault, lasting=True) for name, fault in faults.items()}
    hrefs["truncated"] = server.put("/truncated.tif", content[: len(content) // 3])
    hrefs["page"] = server.put("/page.tif", b"<html>please log in</html>" * 50)
    hrefs["other-place"] = "http://127.0.0.1:9/a.tif"
    hrefs["good-1"] = server.put("/good-1.tif", content)
    hrefs["good-2"] = server.put("/good-2.tif", content)
    selection = selection_of(hrefs)
    pool = SourcePool((server.base,), read_timeout=SECONDS, read_retries=1)
    with ThreadPoolExecutor(8) as threads:
        planner = planner_of(pool, threads)
        plan = planner.plan(composite(item(selection), selection, "count").chain, GRID)
        supply = planner.supply()
        begun = time.monotonic()
        block = evaluate(plan, {}, supply=supply)
    assert time.monotonic() - begun < 10 * SECONDS + 20
    assert set(np.unique(block.data[block.valid])) == {2}
    failed = {one.item: one.error for one in supply.reader.failures}
    assert set(failed) == set(hrefs) - {"good-1", "good-2"}
    for name, error in failed.items():
        assert isinstance(error, SourceError), name
        assert hrefs[name].rsplit("/", 1)[-1] in error.message
        assert error.hint
        assert "127.0.0.1:" not in str(error)
        assert "elsewhere" not in str(error)
    pool.close()


def test_a_dead_server_costs_one_wait(server: Any, content: bytes) -> None:
    """Not one for each of its files, nor for each tile."""
    hrefs = {
        f"{number:02}": server.put(f"/{number}.tif", content, server.silence(), lasting=True)
        for number in range(60)
    }
    selection = selection_of(hrefs)
    pool = SourcePool((server.base,), read_timeout=SECONDS, read_retries=0)
    with ThreadPoolExecutor(8) as threads:
        planner = planner_of(pool, threads)
        chain = composite(item(selection), selection, "max").chain
        for _ in range(2):
            with pytest.raises(SourceError, match="no answer"):
                run(planner, chain, GRID)
    assert len(server.asked) < 20
    pool.close()


def test_requests_of_a_mosaic(server: Any, content: bytes) -> None:
    hrefs = {f"{number:02}": server.put(f"/{number}.tif", content) for number in range(20)}
    selection = selection_of(hrefs)
    pool = SourcePool((server.base,), read_timeout=60)
    with ThreadPoolExecutor(8) as threads:
        planner = planner_of(pool, threads)
        chain = composite(item(selection), selection, "max").chain
        block, _ = run(planner, chain, GRID)
        assert block.valid.any()
        cold = len(server.asked)
        assert cold <= 4 * len(hrefs)
        assert server.connections <= 16
        run(planner, chain, GRID)
        assert len(server.asked) == cold
    pool.close()
