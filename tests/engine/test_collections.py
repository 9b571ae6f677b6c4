"""Collections through a real engine: composites, what they say when they cannot, and series."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from osgeo import gdal, osr
from PIL import Image as Picture

from geoloom.errors import DemandError, NotFound, SourceError
from geoloom.grid import Tile
from geoloom.ops.composite import Composite
from geoloom.ops.item import Item as Item_
from geoloom.per_item import composite, coverage, item, quality
from geoloom.selection import Asset, Item, SelectedBand, Selection

if TYPE_CHECKING:
    from conftest import RunningEngine

gdal.UseExceptions()
JULY = 1_467_331_200.0
PLACE = (12.1, 45.1)
TILE = Tile.at(*PLACE, 9)


def write(path: Path, value: int, west: float = 12.0) -> str:
    """A quarter of a degree of one value."""
    made = gdal.GetDriverByName("GTiff").Create(str(path), 50, 50, 1, gdal.GDT_Byte)
    made.SetGeoTransform((west, 0.005, 0, 45.25, 0, -0.005))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(4326)
    made.SetSpatialRef(crs)
    made.GetRasterBand(1).SetNoDataValue(0)
    made.GetRasterBand(1).WriteArray(np.full((50, 50), value, np.uint8))
    made.Close()
    return str(path)


def selected(folder: Path, values: list[int], spread: float = 0.0) -> Selection:
    folder.mkdir(exist_ok=True)
    items = []
    for i, value in enumerate(values):
        west = 12.0 + i * spread
        href = write(folder / f"{i}.tif", value, west)
        area = shapely.box(west, 45, west + 0.25, 45.25)
        items.append(Item(f"S{i}", JULY + i * 86400, area, (Asset(href, ((0, 0),)),), 500.0))
    return Selection.of("quarters", [SelectedBand("B1", "uint8", resampling="nearest")], items)


def grey(png: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(png)).convert("RGBA"))


@pytest.fixture
def folder(engine: RunningEngine, tmp_path: Path) -> Path:
    path = engine.folder / tmp_path.name
    path.mkdir()
    return path


def shown(engine: RunningEngine, image: Any, tile: Tile = TILE) -> np.ndarray:
    return grey(engine.client().tile(image.scale(0, 255).chain, tile.z, tile.x, tile.y))


@pytest.mark.parametrize(
    ("how", "value"), [("first", 30), ("last", 50), ("max", 90), ("median", 50), ("mean", 57)]
)
def test_composites_are_drawn(engine: RunningEngine, folder: Path, how: str, value: int) -> None:
    selection = selected(folder, [30, 90, 50])
    picture = shown(engine, composite(item(selection), selection, how))
    seen = np.unique(picture[picture[..., 3] == 255][:, 0])
    assert seen.tolist() == [value]


def test_the_best_item_is_drawn(engine: RunningEngine, folder: Path) -> None:
    selection = selected(folder, [30, 90, 50])
    each = item(selection)
    picture = shown(engine, quality(each, 0 - abs(each["B1"] - 45), selection))
    assert set(picture[picture[..., 3] == 255][:, 0]) == {50}


def test_a_selection_that_was_never_sent_is_said_to_be_missing(engine: RunningEngine, folder: Path) -> None:
    selection = selected(folder, [1])
    chain = composite(item(selection), selection, "max").chain
    answer = engine.ask("POST", "/chains", chain.to_json())
    assert answer.status == 404
    assert selection.key in answer.json["message"]


def test_items_that_fail_are_told_and_the_others_shown(engine: RunningEngine, folder: Path) -> None:
    selection = selected(folder, [30, 90, 50])
    (folder / "1.tif").unlink()
    client = engine.client()
    image = composite(item(selection), selection, "max").scale(0, 255)
    picture = grey(client.tile(image.chain, TILE.z, TILE.x, TILE.y))
    assert set(picture[picture[..., 3] == 255][:, 0]) == {50}
    (event,) = (one for one in client.events(timeout=20)["events"] if one["type"] == "error")
    assert (event["error"], event["item"]) == ("ItemUnreadable", "S1")
    assert "1.tif is not there" in event["message"]
    write(folder / "1.tif", 90)
    engine.wait_until(
        lambda: set(grey(client.tile(image.chain, TILE.z, TILE.x, TILE.y))[..., 0].ravel()) >= {90}
    )


def test_where_all_fail_the_tile_says_why(engine: RunningEngine, folder: Path) -> None:
    selection = selected(folder, [30, 90])
    for path in folder.glob("*.tif"):
        path.unlink()
    with pytest.raises(SourceError, match=r"S0: 0.tif is not there.*None of the other 1"):
        shown(engine, composite(item(selection), selection, "max"))


def test_too_many_scenes_are_refused_before_they_are_read(
    start_engine: Any, valkey: str, tmp_path: Path
) -> None:
    engine = start_engine(valkey, tmp_path, max_reads="3")
    selection = selected(tmp_path, [10, 20, 30, 40, 50], spread=0.5)
    image = composite(item(selection), selection, "median")
    client = engine.client()
    with pytest.raises(
        DemandError, match=r"needs 5 scenes, more than the 3 files.*Zoom in to level"
    ) as caught:
        shown(engine, image, Tile.at(*PLACE, 5))
    zoom = int(str(caught.value).split("level ")[1].split(",")[0])
    far = Tile.at(*PLACE, 5)
    path = client.register(image.scale(0, 255).chain).tiles.format(z=far.z, x=far.x, y=far.y)
    refused = engine.ask("GET", path, token=False)
    assert refused.status == 422
    # The map shows where the scenes are: five areas side by side, and the words below.
    scenes = grey(refused.body)
    assert (scenes[:, :20, 3] == 0).any()
    assert scenes[..., 3].any()
    assert shown(engine, image, Tile.at(*PLACE, zoom))[..., 3].any()
    client.register(image.chain)
    with pytest.raises(DemandError, match="5 scenes"):
        client.explain(image.chain.root, 5)
    told = client.explain(image.chain.root, tile=(zoom, Tile.at(*PLACE, zoom).x, Tile.at(*PLACE, zoom).y))
    step = next(one for one in told["steps"] if one["op"] == "composite")
    assert (step["of_items"], step["collection"]) == (5, "quarters")
    assert 0 < step["items"] <= 3


def test_coverage_needs_no_file(engine: RunningEngine, folder: Path) -> None:
    selection = selected(folder, [30, 90, 50])
    for path in folder.glob("*.tif"):
        path.unlink()
    picture = shown(engine, coverage(selection) * 10)
    assert set(picture[picture[..., 3] == 255][:, 0]) == {30}


def test_points_statistics_and_series(engine: RunningEngine, folder: Path) -> None:
    selection = selected(folder, [30, 90, 50])
    client = engine.client()
    image = composite(item(selection), selection, "mean")
    client.register(image.chain)
    assert client.point(image.chain.root, *PLACE)["values"]["B1"] == pytest.approx(170 / 3)
    found = client.statistics(image.chain.root)["bands"]["B1"]
    assert found["min"] == found["max"] == pytest.approx(170 / 3)
    told = client.ask("/series", key=image.chain.root, lon=PLACE[0], lat=PLACE[1])
    assert [(one["id"], one["values"]["B1"]) for one in told["items"]] == [("S0", 30), ("S1", 90), ("S2", 50)]
    described = client.describe(image.chain)
    assert [round(edge, 2) for edge in described["bounds"]] == [12.0, 45.0, 12.25, 45.25]


def test_saved_and_loaded_by_another(engine: RunningEngine, folder: Path) -> None:
    selection = selected(folder, [30, 90, 50])
    client = engine.client()
    image = composite(item(selection), selection, "max")
    client.register(image.chain)
    client.save(image.chain.root)
    other = engine.client()
    assert other.chain(image.chain.root) == image.chain
    assert Selection.from_bytes(other.blob(selection.key)) == selection
    with pytest.raises(NotFound):
        other.blob("0" * 32)


class Crowd(ThreadingHTTPServer):
    """Serves a folder, and answers the first request for a file only when several are asked for at once."""

    daemon_threads = True

    def __init__(self, folder: Path, together: int) -> None:
        self.folder, self.gate = folder, threading.Barrier(together)
        self.met: set[str] = set()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), CrowdHandler)


class CrowdHandler(BaseHTTPRequestHandler):
    """Ranges of files."""

    protocol_version = "HTTP/1.1"
    server: Crowd

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        with self.server.lock:
            new = self.path not in self.server.met
            self.server.met.add(self.path)
        if new:
            # Nobody else comes where files are read one after the other.
            self.server.gate.wait(30)
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        content = (self.server.folder / self.path.lstrip("/")).read_bytes()
        first, last, status = 0, len(content) - 1, 200
        if asked := self.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last, status = int(start), min(int(end or last), last), 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("ETag", '"one"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if body:
            self.wfile.write(content[first : last + 1])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize("how", ["first", "median"])
def test_items_of_other_machines_are_read_side_by_side(
    start_engine: Any, valkey: str, tmp_path: Path, how: str
) -> None:
    local = selected(tmp_path, [0, 0, 40, 50])
    with Crowd(tmp_path, 4) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        items = [
            replace(one, assets=(replace(one.assets[0], href=f"{url}/{i}.tif"),))
            for i, one in enumerate(map(local.item, range(4)))
        ]
        selection = Selection.of("remote", local.bands, items)
        engine = start_engine(valkey, tmp_path, sources=url)
        picture = shown(engine, composite(item(selection), selection, how))
        server.shutdown()
        thread.join()
    assert set(picture[picture[..., 3] == 255][:, 0]) == {40 if how == "first" else 45}
    assert not server.gate.broken


def test_what_is_no_selection_is_refused_when_a_chain_names_it(engine: RunningEngine) -> None:
    client = engine.client()
    key = client.put_blob(b"def f(img): return img")
    chain = Item_(selection=key).chain()
    answer = engine.ask("POST", "/chains", Composite(selection=key).chain(each=chain).to_json())
    assert answer.status == 422
    assert answer.json["error"] == "CorruptChain"
