"""A user's function gives the same in the notebook as in the engine, bit for bit."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import skimage.filters

from geoloom import function, image, opening
from geoloom.errors import FunctionFailed
from geoloom.given import Result, widened
from geoloom.grid import Tile
from geoloom.image import Image
from geoloom.watch import Watch

if TYPE_CHECKING:
    from conftest import RunningEngine, StartEngine

BANDS = ("B04", "B06", "B08", "B11")
SIDE = 640
PLACES = {
    "inside": Tile.at(15.1, 45.07, 12),
    "corner": Tile.at(15.0, 45.153, 12),
    "overview": Tile.at(15.1, 45.07, 9),
}
KINDS = {"uint8": (0, 255, 0), "int16": (-2000, 12000, -9999), "float32": (-1.5, 3.5, np.nan)}
"""Smallest and largest value, and what stands for nothing."""


def stubble(img, v4, v6, v8, v11min, v11max):  # type: ignore[no-untyped-def]
    b4, b6, b8, b11 = img[0], img[1], img[2], img[3]
    res = numpy.ones_like(b4)
    res[b4 >= v4] = 0
    res[b6 >= v6] = 0
    res[b8 >= v8] = 0
    res[numpy.logical_or(b11 <= v11min, b11 >= v11max)] = 0
    return res


def older(v4=1000, v6=1200, v8=1200, v11_1=500, v11_2=1600):  # type: ignore[no-untyped-def]
    global img
    img = numpy.ones_like(band0)  # type: ignore[name-defined]  # noqa: F821
    img[band0 > v4] = 0  # type: ignore[name-defined]  # noqa: F821
    img[band1 > v6] = 0  # type: ignore[name-defined]  # noqa: F821
    img[band2 > v8] = 0  # type: ignore[name-defined]  # noqa: F821
    img[numpy.logical_or(band3 < v11_1, band3 > v11_2)] = 0  # type: ignore[name-defined]  # noqa: F821


def in_place(img):  # type: ignore[no-untyped-def]
    img -= img[1]
    img[img < 0] *= 3


def smooth(img, sigma):  # type: ignore[no-untyped-def]
    return scipy.ndimage.gaussian_filter(img.astype("float64"), (0, sigma, sigma))


def edges(img):  # type: ignore[no-untyped-def]
    return skimage.filters.sobel(img[0].astype(float)) + scipy.ndimage.median_filter(img[3], 5)


def spectrum(img):  # type: ignore[no-untyped-def]
    kept = scipy.fft.rfft2(img[2].astype("float32"))
    kept[20:-20] = 0
    return scipy.fft.irfft2(kept, img.shape[1:])


def told_everything(img, valid, grid, bands):  # type: ignore[no-untyped-def]
    area = grid.pixel_width * grid.pixel_height
    rows = np.where(valid.all(axis=0), img[bands.index("B08")] * area, -area)
    return np.stack([rows, np.broadcast_to(grid.bounds.west + grid.pixel_width, rows.shape)])


def masked(img):  # type: ignore[no-untyped-def]
    return np.ma.masked_less(img[1], img[0]) - np.ma.masked_greater(img[3], img[2])


def halves(img):  # type: ignore[no-untyped-def]
    with np.errstate(all="raise", under="ignore"):
        return np.divide(img[0], img[1], where=img[1] != 0, out=np.full(img[0].shape, np.nan))


def classes(img):  # type: ignore[no-untyped-def]
    return (img[0] > img[1]).astype("uint8") + 2 * (img[2] > img[3])


def question(img):  # type: ignore[no-untyped-def]
    return img[:3] > img[3]


def random(img):  # type: ignore[no-untyped-def]
    return img[0] + np.random.normal(size=img.shape[1:])


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {
    "stubble": (stubble, (1000, 1200, 1200, 500, 1600), 0),
    "older": (older, (100, 120), 0),
    "in place": (in_place, (), 0),
    "smooth": (smooth, (1.5,), 6),
    "edges": (edges, (), 3),
    "spectrum": (spectrum, (), 0),
    "told everything": (told_everything, (), 2),
    "masked": (masked, (), 0),
    "halves": (halves, (), 0),
    "classes": (classes, (), 1),
    "question": (question, (), 0),
    "random": (random, (), 0),
}


@pytest.fixture(scope="module")
def engine(start_engine: StartEngine, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> RunningEngine:
    engine = start_engine(valkey, tmp_path_factory.mktemp("results"))
    for dtype in KINDS:
        write_scene(engine.folder / f"{dtype}.tif", dtype)
    return engine


@pytest.fixture(autouse=True)
def connected(engine: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The engine is the one that images ask."""
    client = engine.client("results")
    for module in (function, image, opening):
        monkeypatch.setattr(module, "connected", lambda: client)
    return client


def write_scene(path: Path, dtype: str) -> None:
    """Four bands (640 × 640, 30 m, UTM 33 at 15°E 45.15°N) with holes, and overviews."""
    from osgeo import gdal, osr

    gdal.UseExceptions()
    low, high, nothing = KINDS[dtype]
    random = np.random.default_rng(11)
    data = random.uniform(low, high, (4, SIDE, SIDE)).astype(dtype)
    data[:, random.random((SIDE, SIDE)) < 0.02] = nothing
    data[:, 100:140, 300:350] = nothing
    number = gdal.GetDataTypeByName({"uint8": "Byte"}.get(dtype, dtype.capitalize()))
    dataset = gdal.GetDriverByName("GTiff").Create(
        str(path), SIDE, SIDE, 4, number, ["TILED=YES", "ALPHA=NO"]
    )
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(32633)
    dataset.SetProjection(srs.ExportToWkt())
    dataset.SetGeoTransform((500000, 30, 0, 5000000, 0, -30))
    for index, name in enumerate(BANDS):
        band = dataset.GetRasterBand(index + 1)
        band.SetDescription(name)
        band.SetNoDataValue(float(nothing))
        band.WriteArray(data[index])
    dataset.BuildOverviews("AVERAGE", [2, 4, 8])
    dataset.FlushCache()


def scene(engine: RunningEngine, dtype: str) -> Image:
    return opening.open(engine.folder / f"{dtype}.tif").bands(*BANDS)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_engines_result_is_the_notebooks(engine: RunningEngine, case: str, dtype: str) -> None:
    f, args, margin = CASES[case]
    executed = scene(engine, dtype).execute(f, *args, margin=margin)
    local = function.Local(executed)
    for name, tile in PLACES.items():
        given = local.given(tile)
        assert given.data.dtype == widened(dtype)
        assert given.valid.any(), name
        if name == "corner":
            assert not given.valid.all()
        here = local.run(given, tile)
        assert isinstance(here, Result)
        mine, engines = here.block(), local.engines(tile)
        assert engines.names == executed.band_names
        assert engines.data.dtype == widened(executed.dtype)
        valid = np.broadcast_to(mine.valid, mine.data.shape)
        np.testing.assert_array_equal(np.broadcast_to(engines.valid, mine.data.shape), valid, err_msg=name)
        np.testing.assert_array_equal(
            engines.data, mine.data.astype(executed.dtype).astype(engines.data.dtype), err_msg=name
        )


@pytest.mark.parametrize(("case", "dtype"), [("stubble", "int16"), ("edges", "int16"), ("masked", "uint8")])
def test_all_is_well_with_what_is_written_well(engine: RunningEngine, case: str, dtype: str) -> None:
    f, args, margin = CASES[case]
    report = function.test_execute(f, *args, image=scene(engine, dtype), margin=margin, tile=PLACES["corner"])
    assert report.passed, str(report)
    assert {check.name for check in report.checks if check.ok} >= {"seams", "text", "engine"}


def test_without_a_place_it_is_the_images_middle(engine: RunningEngine) -> None:
    report = function.test_execute(classes, image=scene(engine, "int16"))
    bounds = report.tile.bounds()
    west, south, east, north = scene(engine, "int16").bounds or ()
    assert bounds.west <= (west + east) / 2 <= bounds.east
    assert bounds.south <= (south + north) / 2 <= bounds.north
    assert report.tile.z >= 11


def fails_at_the_edge(img, valid):  # type: ignore[no-untyped-def]
    if not valid[:, :, 0].any():
        return img[9]
    return img[0]


class TestFailure:
    def test_it_is_told_once_with_a_call_that_shows_it(
        self, engine: RunningEngine, connected: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing = scene(engine, "int16").execute(fails_at_the_edge).scale(0, 3000)
        z, x, y = place = (PLACES["corner"].z, PLACES["corner"].x, PLACES["corner"].y)
        tiles = connected.register(failing.chain).tiles
        for row in (y, y, y + 1):
            assert engine.ask("GET", tiles.format(z=z, x=x, y=row), token=False).status == 422
        said: list[tuple[str, str]] = []

        class Layer:
            name, key, messages = "burnt", failing.key, ()
            visible, waiting, asked_at, renew_at = True, False, None, float("inf")

            def say(self, message: str, about: Any) -> bool:
                said.append((self.name, message))
                return True

        class Shown:
            comm, image_layers = object(), (Layer(),)

            def say(self, *_: Any, **__: Any) -> None:
                pass

            def unsay(self, source: str) -> None:
                pass

        watch = Watch(connected, lambda: "")
        shown = Shown()
        watch._maps.add(shown)
        engine.wait_until(lambda: watch.turn(1.0) or said, what="the event")
        (_, message), *more = said
        lines = message.splitlines()
        assert "IndexError: index 9 is out of bounds for axis 0 with size 4" in lines[0]
        assert lines[2].endswith(f"on the pixels of tile {z}/{x}/{y}:")
        assert lines[1] == "    3: return img[9]"
        assert lines[3] == f'    gl.load("{failing.key}").replay({z}, {x}, {y})'
        assert all(text.splitlines()[:2] == lines[:2] for _, text in more)
        with pytest.raises(IndexError) as caught:
            opening.load(failing.key).replay(*place)
        assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "return img[9]"

    def test_a_tile_that_is_asked_for_in_python_raises_it(self, engine: RunningEngine) -> None:
        failing = scene(engine, "int16").execute(fails_at_the_edge).scale(0, 3000)
        with pytest.raises(FunctionFailed, match="IndexError"):
            failing.tile(PLACES["corner"].z, PLACES["corner"].x, PLACES["corner"].y)
