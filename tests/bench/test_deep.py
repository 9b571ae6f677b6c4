"""A small smoke of the mosaics' benchmark: few small dates, a real engine, and no TiTiler."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal
from PIL import Image

import bench.deep
from bench import servers
from bench.contest import Effort
from bench.deep import DEPTHS, Depth, alike, compared, make_dates, tiles, titiler
from bench.measure import Failed
from bench.report import Report
from bench.servers import Server

SIZE = 300
EFFORT = Effort(Path(), rounds=1, tiles=1, repeats=20)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_dates(tmp_path_factory.mktemp("deep") / "dates", 6, SIZE)


@pytest.fixture(scope="module")
def warm(files: list[Path]) -> Iterator[Server]:
    with servers.engine("engine warm", servers.WARM, files[0].parent) as started:
        yield started


def test_dates_are_the_same_on_every_machine_and_mostly_hidden(files: list[Path], tmp_path: Path) -> None:
    again = make_dates(tmp_path, 1, SIZE)
    first, same = (gdal.Open(str(path)).ReadAsArray() for path in (files[0], again[0]))
    np.testing.assert_array_equal(first, same)
    assert (first > 0).mean() == pytest.approx(0.4, abs=0.1)
    assert gdal.Open(str(files[1])).ReadAsArray().tolist() != first.tolist()


def test_each_depth_is_measured(files: list[Path], warm: Server) -> None:
    for how in ("first", "median"):
        depth = Depth(f"{how} of 6", 6, how)
        [found] = compared(depth, files, None, {"warm": warm}, EFFORT, SIZE, 13)
        assert found.value > 0
        assert "p50" in found.note
    page = Report({}, findings=[found]).markdown()
    assert "## Mosaics and composites\n\nMilliseconds of processor time" in page
    assert "| median of 6, warm |" in page


def test_a_stand_in_that_shows_something_else_is_noticed(
    files: list[Path], warm: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = warm.known.register(bench.deep.image(files[:1], "first", SIZE).chain).tiles
    monkeypatch.setattr(bench.deep, "titiler", lambda *_: template)
    with pytest.raises(Failed, match="as TiTiler's"):
        list(compared(Depth("6 deep", 6, "first"), files, warm, {"warm": warm}, EFFORT, SIZE, 13))


def test_titiler_is_asked_for_the_same(files: list[Path]) -> None:
    path = titiler(files[:2], "median")
    assert f"url={files[0]},{files[1]}&" in path
    assert "pixel_selection=median" in path
    assert {depth.how for depth in DEPTHS} == {"first", "median"}
    assert len(tiles()) >= 9


def test_pictures_are_compared() -> None:
    def png(value: int, alpha: int = 255) -> bytes:
        out = io.BytesIO()
        Image.new("RGBA", (4, 4), (value, 0, 0, alpha)).save(out, "PNG")
        return out.getvalue()

    assert alike(png(10), png(13)) == 1
    assert alike(png(10), png(90)) == 0
    assert alike(png(10, 0), png(90, 0)) == 1
