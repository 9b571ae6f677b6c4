"""A small smoke of the benchmark: tiny scenes, a real engine and Valkey, and no TiTiler but a stand-in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import servers
from bench.cases import CASES, NDVI, Case
from bench.contest import Effort, fetched, run
from bench.further import counter
from bench.measure import Failed, Sample, measure, paths
from bench.overhead import new_worker, overheads
from bench.pixels import Agreement, compare
from bench.profile_case import pipeline, prepared, stages
from bench.report import Finding, Report, Row, about
from bench.scenes import Scene, Scenes
from bench.servers import Server

SIZE = 700
BANDS = ("B02", "B03", "B04", "B08")
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of 7 km that overlap by one, in the layout of the benchmark's own."""
    from osgeo import gdal, osr

    gdal.UseExceptions()
    folder = tmp_path_factory.mktemp("scenes")
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32633)
    rows, cols = np.mgrid[0:SIZE, 0:SIZE]
    for scene in range(2):
        (folder / f"S{scene + 1}").mkdir()
        east = cols + scene * (SIZE - 100)
        for number, band in enumerate(BANDS):
            waves = 2000 + 900 * np.sin(east / (40 + number)) + 600 * np.cos(rows / (60 - 5 * number))
            waves[rows < 40] = 0
            raster = gdal.GetDriverByName("GTiff").Create(
                str(folder / f"S{scene + 1}" / f"{band}.tif"),
                SIZE,
                SIZE,
                1,
                gdal.GDT_UInt16,
                ["TILED=YES", "COMPRESS=DEFLATE"],
            )
            raster.SetProjection(reference.ExportToWkt())
            raster.SetGeoTransform((500000 + scene * (SIZE - 100) * 10, 10, 0, 5600000, 0, -10))
            raster.GetRasterBand(1).SetNoDataValue(0)
            raster.GetRasterBand(1).WriteArray(waves.astype(np.uint16))
            raster.BuildOverviews("AVERAGE", [2, 4, 8])
            raster.FlushCache()
    return folder


@pytest.fixture(scope="module")
def warm(data: Path) -> Iterator[Server]:
    """The engine as it is benchmarked warm."""
    with servers.engine("engine warm", servers.WARM, data) as started:
        yield started


@pytest.fixture
def effort(data: Path) -> Effort:
    return Effort(data, rounds=1, tiles=4, repeats=2)


@pytest.mark.parametrize("name", ["a_bil", "b", "c", "d_seam", "u", "a_512", "b_z10", "b_z16"])
def test_engine_alone_is_exact_and_is_measured(name: str, warm: Server, effort: Effort) -> None:
    row = run(BY_NAME[name], None, {"warm": warm}, effort)
    assert row.agreement is not None
    assert row.agreement.engine_exact > 0.999
    assert list(row.samples) == ["warm"]
    assert row.samples["warm"].kilobytes > 0.2
    assert row.samples["warm"].rate > 1
    assert row.samples["warm"].resident_mb > 50


def test_servers_take_turns(warm: Server, effort: Effort, monkeypatch: pytest.MonkeyPatch) -> None:
    case = BY_NAME["b"]
    template = warm.known.register(NDVI.image(Scenes.of(effort.data, warm.known)).chain).tiles
    asked = []

    def path_of_peer(self: Case, folder: Path, kind: str = "png", stacked: bool = False) -> str:
        asked.append((kind, stacked))
        return template

    monkeypatch.setattr(Case, "titiler", path_of_peer)
    row = run(case, warm, {"warm": warm}, effort)
    assert asked == [("png", False), ("pngraw", False), ("png", True)]
    assert set(row.samples) == {"png", "pngraw", "stacked", "warm"}
    assert row.agreement is not None
    assert row.agreement.alike > 0.99


def test_a_wrong_picture_is_noticed(warm: Server, data: Path) -> None:
    case = BY_NAME["b"]
    scenes = Scenes.of(data, warm.known)
    tiles = list(dict.fromkeys(scenes.tiles("scene", 13, 20)))[:2]
    template = warm.known.register(case.recipe.image(scenes).chain).tiles
    right, other = (fetched(warm, path) for path in paths(template, tiles))
    compare(case, data, tiles[:1], [right], [right]).check("b")
    for engine, titiler in ((other, right), (right, other)):
        with pytest.raises(Failed, match="differ"):
            compare(case, data, tiles[:1], [engine], [titiler]).check("b")


def test_errors_and_wrong_origins_are_noticed(warm: Server, data: Path) -> None:
    scenes = Scenes.of(data, warm.known)
    template = warm.known.register(NDVI.image(scenes).chain).tiles
    lane = paths(template, scenes.tiles("scene", 13, 2))
    with pytest.raises(Failed, match="errors"):
        measure(warm, [["/nothing"]], 2)
    with pytest.raises(Failed, match="should be memory"):
        measure(warm, [lane], 2, origin="memory")
    assert counter(warm, "geoloom_tiles_total", 'origin="computed"') >= 2
    with pytest.raises(Failed, match="no geoloom_nothing"):
        counter(warm, "geoloom_nothing", 'origin="computed"')


def test_sandbox_gives_the_same_and_is_measured() -> None:
    found = overheads(1)
    assert [one.function for one in found] == ["light", "classify"]
    assert all(one.added == one.inside - one.here and one.here > 0 for one in found)
    assert new_worker(3, spare=False) > 0
    assert math.isfinite(new_worker(3, spare=True))


@pytest.mark.parametrize("name", ["b", "u"])
def test_profile_knows_the_stages(name: str, data: Path) -> None:
    with pipeline(data, servers.WARM, sandboxed=name == "u") as made:
        chain, tiles = prepared(BY_NAME[name], data, made, 2)
        found = stages(made, chain, tiles, 1)
    assert {"read", "compute", "encode", "cpu"} <= set(found)


@pytest.fixture
def scenes() -> Scenes:
    """Scenes of the full size, without pixels."""
    crs = "EPSG:32633"
    first = Scene(Path("S1"), crs, 399960, 5600040, 109800, 109800)
    second = Scene(Path("S2"), crs, 499960, 5600040, 109800, 109800)
    client: Any = None
    return Scenes(first, second, client)


def test_half_of_each_view_was_never_seen(scenes: Scenes) -> None:
    assert scenes.walks(13) >= 3
    for turn in range(3):
        seen: set[Any] = set()
        before: set[Any] = set()
        views = [set(view) for view in scenes.walk(13, turn)]
        assert len(views) == 20
        for view in views[1:]:
            before = before or views[0]
            seen |= before
            assert len(view & before) == len(view - seen) == len(view) // 2
            before = view


def test_walks_do_not_cross(scenes: Scenes) -> None:
    walks = [{tile for view in scenes.walk(13, turn) for tile in view} for turn in range(scenes.walks(13))]
    assert sum(map(len, walks)) == len(set().union(*walks))


def test_tiles_are_the_same_in_each_run(scenes: Scenes) -> None:
    assert scenes.tiles("union", 13, 9) == scenes.tiles("union", 13, 9)
    assert len(set(scenes.tiles("same", 13, 9))) == 1
    assert len(set(scenes.tiles("scene", 13, 50))) > 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_titiler_is_asked_for_the_same(case: Case) -> None:
    path = case.titiler(Path("/data"))
    low, high = case.recipe.limits
    assert (f"rescale={low:g},{high:g}" in path) is (case.recipe.kind != "classes")
    assert ("algorithm=classify&colormap=" in path) is (case.recipe.kind == "classes")
    assert ("colormap_name=" + case.recipe.ramp in path) is bool(case.recipe.ramp)
    assert path.count("reproject=bilinear") == (case.recipe.how == "bilinear")
    assert ("tilesize=512" in path) is (case.ratio == 2)
    assert "{z}/{x}/{y}.png?" in path
    assert "{z}/{x}/{y}.pngraw?" in case.titiler(Path("/data"), "pngraw")


def sample(cpu_ms: float) -> Sample:
    return Sample(
        cpu_ms, store_ms=0.1, p50_ms=1, p95_ms=2, rate=100, kilobytes=36, read_kb=1, resident_mb=300
    )


def test_report_says_what_fell_short() -> None:
    samples = {"png": sample(54), "pngraw": sample(40), "warm": sample(0.9), "cold": sample(18)}
    agreement = Agreement(1.0, 0.99, 1.0, 0.98, -0.4)
    findings = [Finding("p95 over p50", 3.5, " ×", most=3), Finding("panning", 18, " ×", least=15)]
    report = Report(about("make bench", None), [Row(BY_NAME["b"], samples, agreement)], findings)
    assert report.misses() == ["b cold", "p95 over p50"]
    page = report.markdown()
    assert (
        "| b | NDVI of two files | 54.00 | 0.90 | 60.0 | ≥ 45 | ok | 18.00 | 3.0 | ≥ 5.5 | **miss** |" in page
    )
    assert "| panning | 18 × | ≥ 15 × | ok |" in page
    assert "| command | `make bench` |" in page
    figures = json.loads(report.to_json())
    assert figures["cases"][0]["ratios"] == pytest.approx({"warm": 60.0, "cold": 3.0})
    assert figures["further"][0]["verdict"] == "miss"


def test_median_is_of_each_figure() -> None:
    found = Sample.median([sample(1), sample(5), sample(2)])
    assert (found.cpu_ms, found.rate) == (2, 100)
