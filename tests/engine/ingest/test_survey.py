"""Outlines hold every valid pixel and little else; statistics are those of numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from tests.engine.ingest.conftest import PLACE, ramp, write_raster

from geoloom_engine.ingest import survey as module
from geoloom_engine.ingest.survey import survey
from geoloom_engine.readers import SourcePool

GLOBE = (-180.0, 0.5, 0.0, 90.0, 0.0, -0.5)
POLAR = (-3e6, 3e4, 0.0, 3e6, 0.0, -3e4)


@pytest.fixture
def pool() -> SourcePool:
    return SourcePool(("/",))


def shapes(rows: int, cols: int) -> dict[str, np.ndarray]:
    y, x = np.mgrid[:rows, :cols]
    return {
        "all": np.ones((rows, cols), bool),
        "diagonal": x + y < (rows + cols) // 2,
        "disc": (x - cols / 2) ** 2 + (y - rows / 2) ** 2 < (rows / 3) ** 2,
        "two parts": (x < cols // 5) | (x > cols - cols // 4),
        "hole": (abs(x - cols / 2) > cols / 6) | (abs(y - rows / 2) > rows / 6),
        "one pixel": (x == 3) & (y == rows - 2),
        "ragged": np.random.default_rng(1).random((rows, cols)) < 0.2,
    }


def corners(valid: np.ndarray, transform: tuple[float, ...], crs: str) -> np.ndarray:
    """Corners of all valid pixels, in degrees."""
    rows, cols = np.nonzero(valid)
    cols = np.concatenate([cols, cols + 1, cols, cols + 1])
    rows = np.concatenate([rows, rows, rows + 1, rows + 1])
    x0, a, b, y0, d, e = transform
    lon, lat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(
        x0 + a * cols + b * rows, y0 + d * cols + e * rows
    )
    return np.stack([lon, lat], axis=1)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", PLACE),
        ("EPSG:32633", (400000.0, 300.0, 40.0, 7900000.0, 50.0, -290.0)),
        ("EPSG:4326", (10.0, 0.01, 0.0, 50.0, 0.0, -0.01)),
        ("EPSG:4326", (179.0, 0.01, 0.0, 10.0, 0.0, -0.01)),
        ("EPSG:3857", (19.9e6, 2000.0, 0.0, 5e6, 0.0, -2000.0)),
        ("EPSG:3413", (-2.5e6, 20000.0, 0.0, -5e5, 0.0, -20000.0)),
        ("EPSG:3031", POLAR),
    ],
)
@pytest.mark.parametrize("shape", list(shapes(2, 2)))
def test_an_outline_holds_every_valid_pixel(
    tmp_path: Path, pool: SourcePool, crs: str, transform: tuple[float, ...], shape: str
) -> None:
    valid = shapes(200, 220)[shape]
    path = write_raster(tmp_path / "a.tif", valid.astype("uint8") * 9, crs=crs, transform=transform, nodata=0)
    found = survey(pool.open(str(path)))
    assert found.looked
    assert found.area.is_valid
    assert shapely.get_num_coordinates(found.area) < 130
    west, south, east, north = found.area.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    points = corners(valid, transform, crs)
    # Where a file crosses the antimeridian a point on it is at both ends.
    near = found.area.buffer(1e-7)
    inside = shapely.contains_xy(near, points) | shapely.contains_xy(near, points + [360, 0])
    assert (inside | shapely.contains_xy(near, points - [360, 0])).all()


def test_an_outline_is_not_much_larger_than_its_pixels(tmp_path: Path, pool: SourcePool) -> None:
    transform = (10.0, 0.01, 0.0, 50.0, 0.0, -0.01)
    for name in ("all", "diagonal", "disc"):
        valid = shapes(400, 400)[name]
        path = write_raster(
            tmp_path / f"{name}.tif", valid.astype("uint8"), crs="EPSG:4326", transform=transform, nodata=0
        )
        area = survey(pool.open(str(path))).area
        assert area.area <= 1.1 * valid.sum() * 1e-4, name


def test_a_file_of_the_whole_globe_is_a_box(tmp_path: Path, pool: SourcePool) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(360, 720, "uint8"), crs="EPSG:4326", transform=GLOBE)
    area = survey(pool.open(str(path))).area
    assert area.equals(shapely.box(-180, -90, 180, 90))


def test_what_overviews_leave_out_is_kept_near_what_they_have(
    tmp_path: Path, pool: SourcePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEVEL_PIXELS", 40_000)
    valid = shapes(600, 600)["diagonal"]
    transform = (10.0, 0.01, 0.0, 50.0, 0.0, -0.01)
    path = write_raster(
        tmp_path / "a.tif",
        valid.astype("uint8"),
        crs="EPSG:4326",
        transform=transform,
        nodata=0,
        overviews=(2, 4),
    )
    area = survey(pool.open(str(path))).area
    assert shapely.contains_xy(area.buffer(1e-7), corners(valid, transform, "EPSG:4326")).all()


def test_a_projection_that_does_not_reach_its_corners_has_an_outline(
    tmp_path: Path, pool: SourcePool
) -> None:
    path = write_raster(
        tmp_path / "a.tif",
        ramp(200, 400),
        crs="ESRI:54009",
        transform=(-18.1e6, 90500.0, 0.0, 9.05e6, 0.0, -90500.0),
    )
    area = survey(pool.open(str(path))).area
    assert area.area > 0.9 * 360 * 170


def test_nothing_valid_is_empty(tmp_path: Path, pool: SourcePool) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((20, 20), "uint8"), nodata=0)
    assert survey(pool.open(str(path))).area.is_empty


def test_statistics_are_those_of_the_valid_pixels(tmp_path: Path, pool: SourcePool) -> None:
    values = np.random.default_rng(2).normal(100, 20, (2, 300, 300)).astype("float32")
    values[0, :50] = -9999
    values[1, 7, 7] = np.nan
    path = write_raster(tmp_path / "a.tif", values, nodata=-9999)
    first, second = survey(pool.open(str(path))).statistics
    kept = values[0][values[0] != -9999].astype("float64")
    assert first["mean"] == pytest.approx(kept.mean(), rel=1e-6)
    assert first["stddev"] == pytest.approx(kept.std(), rel=1e-6)
    assert (first["minimum"], first["maximum"]) == pytest.approx((kept.min(), kept.max()), rel=1e-6)
    assert first["valid_percent"] == pytest.approx(100 * 250 / 300, rel=1e-6)
    assert second["valid_percent"] == pytest.approx(100 * (1 - 1 / 90000), rel=1e-6)


def test_a_file_too_large_to_read_has_the_outline_of_its_corners(tmp_path: Path, pool: SourcePool) -> None:
    path = write_raster(tmp_path / "a.tif", np.eye(100, dtype="uint8"), nodata=0)
    found = survey(pool.open(str(path)), most=100)
    assert not found.looked
    assert found.statistics == ()
    assert found.area.area > 0
