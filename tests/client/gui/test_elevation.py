"""The elevation GUI with a real engine: its numbers are GDAL's, its code gives its layer."""

from __future__ import annotations

import html
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from osgeo import gdal, osr

import geoloom as gl
from geoloom import local
from geoloom.errors import EngineUnreachable, NotFound, ParameterError
from geoloom.form import Gui
from geoloom.gui.elevation import MODES, Elevation, sample

gdal.UseExceptions()

ROOT = Path(__file__).resolve().parents[3]
DEM = ROOT / "notebooks" / "data" / "srtm90.tif"
HALF = 20037508.342789244
"""Half the width of the Web Mercator map in metres."""


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    """An embedded engine, used as one that is given: no thread of a map starts it again after the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOLOOM_LINGER", "1")
        patch.setenv("GEOLOOM_QUEUE_TIMEOUT", "60s")
        found = local.ensure()
        patch.setenv("GEOLOOM_ENGINE_URL", found.url)
        patch.setenv("GEOLOOM_TOKEN", found.token)
        yield
        local.release()


@pytest.fixture
def start(eventually: Any) -> Iterator[Callable[..., Elevation]]:
    """Make GUIs on maps of their own; all are closed at the end."""
    made: list[Elevation] = []

    def make(*args: Any, **options: Any) -> Elevation:
        made.append(gl.gui.elevation(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.leave()
        one.map.close()
        # A thread that still asks would look for another engine when this one has gone.
        eventually(lambda one=one: not one._drawing.busy and not one.pointer._reading.busy)


@pytest.fixture
def relief(start: Callable[..., Elevation]) -> Elevation:
    return start(source=str(DEM))


def write(path: Path, heights: Any, unit: str = "", table: bool = False) -> str:
    """A raster (bands, rows, cols) of 30 m pixels in UTM 33."""
    dtype = gdal.GDT_Byte if table else gdal.GDT_Float32
    bands, rows, cols = heights.shape
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), cols, rows, bands, dtype)
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)
    dataset.SetProjection(crs.ExportToWkt())
    dataset.SetGeoTransform((500000, 30, 0, 5000000, 0, -30))
    dataset.GetRasterBand(1).SetUnitType(unit)
    if table:
        colours = gdal.ColorTable()
        colours.SetColorEntry(1, (200, 30, 30, 255))
        dataset.GetRasterBand(1).SetColorTable(colours)
    dataset.WriteArray(heights)
    dataset.FlushCache()
    return str(path)


def around(lon: float, lat: float, zoom: int, level: int | str) -> tuple[Any, float]:
    """GDAL's heights of the 5 × 5 map pixels around a place, from an overview; the map's scale there."""
    size = 2 * HALF / (256 * 2**zoom)
    x = lon / 180 * HALF
    y = math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)) / math.pi * HALF
    west = (math.floor((x + HALF) / size) - 2) * size - HALF
    north = HALF - (math.floor((HALF - y) / size) - 2) * size
    warped = gdal.Warp(
        "",
        str(DEM),
        format="MEM",
        dstSRS="EPSG:3857",
        outputBounds=(west, north - 5 * size, west + 5 * size, north),
        width=5,
        height=5,
        resampleAlg="bilinear",
        errorThreshold=0,
        overviewLevel=level,
    )
    middle = math.degrees(math.atan(math.sinh((north - 2.5 * size) / HALF * math.pi)))
    return warped, math.cos(math.radians(middle))


def number(text: str) -> float:
    return float(re.match(r"−?[0-9.]+", text)[0].replace("−", "-"))


@pytest.mark.parametrize(
    ("lon", "lat", "zoom", "level"),
    [(-118.5, 37.2, 12, "NONE"), (-119.61, 37.73, 13, "NONE"), (-119.03, 37.9, 8, 1), (-118.3, 36.8, 9, 0)],
)
def test_the_markers_numbers_are_gdals(
    relief: Elevation, eventually: Any, lon: float, lat: float, zoom: int, level: int | str
) -> None:
    relief.map.zoom = zoom
    relief.pointer.move(lat, lon)
    eventually(lambda: f"zoom {zoom}," in relief.pointer.told.value and not relief.pointer._reading.busy)
    shown = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html.unescape(relief.pointer.told.value)))
    warped, scale = around(lon, lat, zoom, level)
    slope, aspect = (
        float(gdal.DEMProcessing("", warped, kind, format="MEM", **how).ReadAsArray()[2, 2])
        for kind, how in (("slope", {"scale": scale}), ("aspect", {}))
    )
    assert number(shown["Elevation"]) == pytest.approx(warped.ReadAsArray()[2, 2], abs=0.051)
    assert number(shown["Slope"]) == pytest.approx(slope, abs=0.051 + 0.005 * slope)
    assert abs((number(shown["Aspect"]) - aspect + 180) % 360 - 180) <= 1.0


@pytest.mark.parametrize("mode", MODES)
def test_the_code_gives_the_layer(relief: Elevation, eventually: Any, mode: str) -> None:
    relief.mode.value = mode
    relief.reversed.value = True
    relief.azimuth.value = 290.0
    relief.exaggeration.value = 2.5
    relief.steepest.value = 40.0
    relief.heights.value = (500.0, 3000.0)
    eventually(lambda: not relief._drawing.busy)
    assert relief.message == ""
    names: dict[str, Any] = {}
    exec(relief.code, names)
    try:
        assert names["image"].key == relief.layer.key
        assert names["m"].layer("Elevation").key == relief.layer.key
    finally:
        names["m"].close()
    steps = " ".join(relief.layer.image.steps())
    expected = {
        "relief": ("azimuth=290.0", "z_factor=2.5", "elevation_r", "500.0", "blend"),
        "ramp": ("elevation_r", "500.0", "3000.0"),
        "hillshade": ("azimuth=290.0", "z_factor=2.5"),
        "slope": ("ylorrd_r", "40.0", "z_factor=1.0"),
        "aspect": ("360.0", "colors"),
    }
    assert [word for word in expected[mode] if word not in steps] == []


def test_the_heights_are_those_of_the_model(relief: Elevation) -> None:
    heights = gdal.Open(str(DEM)).ReadAsArray()
    low, high = relief.heights.value
    assert (low, high) == pytest.approx(np.percentile(heights, (2, 98)), rel=0.05, abs=30)
    assert relief.heights.slider.min <= heights.min() + 60
    assert relief.heights.slider.max >= heights.max() - 200


def test_the_map_shows_the_model_and_the_marker_stands_on_it(relief: Elevation) -> None:
    west, south, east, north = relief.layer.bbox
    lon, lat = relief.pointer.place
    assert west < lon < east
    assert south < lat < north
    assert relief.map.zoom == 8


def test_only_what_the_mode_has_is_shown_and_ramps_are_remembered(relief: Elevation, eventually: Any) -> None:
    def hidden() -> set[str]:
        names = ("ramp", "heights", "steepest", "azimuth", "strength", "band")
        return {name for name in names if getattr(relief, name).layout.display == "none"}

    assert hidden() == {"steepest", "band"}
    relief.ramp.value = "viridis"
    relief.mode.value = "slope"
    assert hidden() == {"heights", "azimuth", "strength", "band"}
    assert relief.ramp.value == "ylorrd"
    relief.mode.value = "hillshade"
    assert hidden() == {"ramp", "heights", "steepest", "strength", "band"}
    relief.mode.value = "relief"
    assert relief.ramp.value == "viridis"
    eventually(lambda: not relief._drawing.busy)


def test_a_wrong_file_is_told_in_a_sentence_and_mended(relief: Elevation, eventually: Any) -> None:
    before = relief.layer.key
    relief.source.value = str(DEM.with_name("srtm9.tif"))
    eventually(lambda: "srtm9.tif is not there" in relief.message)
    assert 'role="alert"' in relief._told.value
    assert relief.layer.key == before
    relief.source.value = ""
    eventually(lambda: "No elevation model is chosen." in relief.message)
    relief.pointer.move(37.2, -118.5)
    relief.map.zoom = 11
    relief.source.value = str(DEM)
    eventually(lambda: relief.message == "" and not relief._drawing.busy)
    assert relief.layer.key == before
    assert (relief.pointer.place, relief.map.zoom) == ((-118.5, 37.2), 11)


def test_another_model_elsewhere_is_gone_to(relief: Elevation, eventually: Any, tmp_path: Path) -> None:
    relief.source.value = write(tmp_path / "hill.tif", np.fromfunction(lambda _, y, x: x + y, (1, 60, 60)))
    eventually(lambda: not relief._drawing.busy)
    lon, lat = relief.pointer.place
    assert (lon, lat) == pytest.approx((15.0, 45.15), abs=0.1)
    assert relief.map.center == pytest.approx([lat, lon])
    assert relief.map.zoom > 10
    assert relief.heights.slider.max <= 120


def test_a_map_that_looks_at_a_part_of_it_stays_there(start: Callable[..., Elevation]) -> None:
    m = gl.Map(center=(37.0, -118.6), zoom=11)
    gui = start(m, str(DEM))
    assert gui.map is m
    assert (list(m.center), m.zoom) == ([37.0, -118.6], 11)
    assert gui.pointer.place == (pytest.approx(-118.6), 37.0)


def test_a_marker_beside_the_model_says_so(relief: Elevation, eventually: Any) -> None:
    relief.pointer.move(10.0, 10.0)
    eventually(lambda: "where there are no heights" in relief.pointer.told.value)
    relief.pointer.move(37.2, -118.5)
    eventually(lambda: "<dt>Slope</dt>" in relief.pointer.told.value)


def test_large_pixels_are_told_in_kilometres(relief: Elevation) -> None:
    assert dict(relief.read(-118.5, 37.2, 6))["Read at"] == "zoom 6, pixels of 1.95 km"


def test_without_an_engine_it_says_so_and_goes_on_when_there_is_one(
    start: Callable[..., Elevation], eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise EngineUnreachable("No engine answers at http://127.0.0.1:1.")

    with monkeypatch.context() as patch:
        patch.setattr("geoloom.engine_client.connect", away)
        gui = start(source=str(DEM))
        assert "No engine answers" in gui.message
    gui.mode.value = "slope"
    eventually(lambda: gui.layer is not None and gui.message == "")


def test_of_several_bands_one_is_chosen(start: Callable[..., Elevation], eventually: Any) -> None:
    gui = start(source=str(DEM.with_name("landsat.tif")), mode="ramp")
    assert gui.band.layout.display is None
    gui.band.value = "B3"
    eventually(lambda: '["B3"]' in gui.code)
    assert gui.message == ""


def test_colours_are_no_heights(start: Callable[..., Elevation], tmp_path: Path) -> None:
    gui = start(source=write(tmp_path / "map.tif", np.ones((1, 20, 20)), table=True))
    assert "holds colours or classes, not heights" in gui.message
    assert gui.layer is None
    assert gui.code == ""


def test_heights_in_feet_have_their_slope(start: Callable[..., Elevation], tmp_path: Path) -> None:
    rise = np.broadcast_to(np.arange(60) * 30.0, (1, 60, 60))
    metres = start(source=write(tmp_path / "metres.tif", rise, "m"), mode="slope")
    feet = start(source=write(tmp_path / "feet.tif", rise / 0.3048, "ft"), mode="slope")
    lon, lat = metres.pointer.place
    tilted = [dict(gui.read(lon, lat, 13)) for gui in (metres, feet)]
    # 45° to the east; the heights are ground metres, so that the map's own scale changes nothing.
    assert [number(one["Slope"]) for one in tilted] == pytest.approx([45.0, 45.0], abs=0.11)
    assert {one["Aspect"] for one in tilted} <= {"270° (W)", "269° (W)", "271° (W)"}
    assert tilted[1]["Elevation"].endswith(" ft")
    assert "z_factor=0.3048" in feet.code


def test_flat_ground_has_no_aspect(start: Callable[..., Elevation], tmp_path: Path) -> None:
    gui = start(source=write(tmp_path / "flat.tif", np.full((1, 60, 60), 12.5)))
    assert gui.message == ""
    told = dict(gui.read(*gui.pointer.place, 13))
    assert told["Elevation"] == "12.5 m"
    assert told["Slope"] == "0.0°"
    assert told["Aspect"] == "flat"


class TestCollections:
    """Sources that are collections, of a catalogue on paper."""

    @pytest.fixture(autouse=True)
    def known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def collection(id: str) -> Any:
            if id != "local/dem":
                raise NotFound(f"There is no collection {id!r}.")
            return SimpleNamespace(mosaic=lambda: gl.open(str(DEM)))

        names = [SimpleNamespace(name=name) for name in ("local/dem", "earth/cop-dem-glo-30")]
        monkeypatch.setattr(sys.modules[Elevation.__module__], "entries", lambda: names)
        monkeypatch.setitem(vars(gl), "collection", collection)

    def test_it_is_shown_by_its_mosaic(self, start: Callable[..., Elevation]) -> None:
        gui = start(source="collection: local/dem", mode="hillshade")
        assert gui.message == ""
        names: dict[str, Any] = {}
        exec(gui.code.partition("\nm = ")[0], names)
        assert 'dem = gl.collection("local/dem").mosaic()' in gui.code
        assert names["image"].key == gui.layer.key

    def test_an_unknown_one_is_told(self, start: Callable[..., Elevation]) -> None:
        assert start(source="collection:nowhere").message == "There is no collection 'nowhere'."

    def test_those_there_are_are_told_and_suggested(self, start: Callable[..., Elevation]) -> None:
        gui = start(source="collection:")
        assert gui.message == "Which collection? There are: local/dem, earth/cop-dem-glo-30."
        assert gui.source.options[-2:] == ("collection:local/dem", "collection:earth/cop-dem-glo-30")


def test_an_unknown_mode_names_those_there_are() -> None:
    with pytest.raises(ParameterError, match="relief, ramp, hillshade, slope, aspect"):
        gl.gui.elevation(mode="steep")


def test_the_sample_is_found_from_here_and_from_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sample() == ""
    monkeypatch.chdir(ROOT / "notebooks")
    assert sample() == "data/srtm90.tif"
    monkeypatch.chdir(ROOT / "tests")
    assert sample() == str(DEM)
    # What a hub gives its users.
    (tmp_path / "geoloom-samples").mkdir()
    (tmp_path / "geoloom-samples" / "data").symlink_to(ROOT / "notebooks" / "data", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert sample() == "geoloom-samples/data/srtm90.tif"


def test_an_app_shows_the_samples_name_and_not_where_it_lies(
    start: Callable[..., Elevation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "hub" / "apps")
    gui = start()
    assert gui.source.value == "srtm90.tif"
    assert gui.message == ""
    assert list(gui.layer.image.sources) == [str(DEM)]
    names: dict[str, Any] = {}
    exec(gui.code.partition("\nm = ")[0], names)
    assert names["image"].key == gui.layer.key


def test_the_examples_of_the_page_run(monkeypatch: pytest.MonkeyPatch, eventually: Any) -> None:
    monkeypatch.chdir(ROOT / "notebooks")
    page = (ROOT / "docs" / "apps.md").read_text()
    names: dict[str, Any] = {}
    made: list[Gui] = []
    drawn = Gui.draw
    monkeypatch.setattr(Gui, "draw", lambda self: (made.append(self), drawn(self))[1])
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert {type(one).__name__ for one in made} == {"Elevation", "Threshold"}
    for one in made:
        assert one.message == ""
        assert one.layer is not None
        eventually(lambda one=one: re.search("<dd>[0-9]", one.pointer.told.value))
        one.leave()
        one.map.close()
