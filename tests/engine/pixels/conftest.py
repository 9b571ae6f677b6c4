"""Rasters made on the spot, and an exact computation to hold the fast one against."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from osgeo import gdal, osr

from geoloom.grid import Grid
from geoloom_engine.readers import Source, SourcePool, Window

gdal.UseExceptions()

TYPES = {
    "uint8": gdal.GDT_Byte,
    "int8": gdal.GDT_Int8,
    "uint16": gdal.GDT_UInt16,
    "int16": gdal.GDT_Int16,
    "uint32": gdal.GDT_UInt32,
    "int32": gdal.GDT_Int32,
    "uint64": gdal.GDT_UInt64,
    "int64": gdal.GDT_Int64,
    "float32": gdal.GDT_Float32,
    "float64": gdal.GDT_Float64,
    "complex64": gdal.GDT_CFloat32,
}


def write_raster(
    path: Path,
    data: np.ndarray,
    crs: int | str | None = 32633,
    transform: tuple[float, ...] | None = (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0),
    nodata: float | None = None,
    options: tuple[str, ...] = ("TILED=YES", "BLOCKXSIZE=256", "BLOCKYSIZE=256"),
    overviews: tuple[int, ...] = (),
    edit: Callable[[Any], None] | None = None,
) -> Path:
    """A GeoTIFF of `data` (bands, rows, cols); `edit` changes it before its pixels are written."""
    data = data if data.ndim == 3 else data[np.newaxis]
    bands, rows, cols = data.shape
    made = gdal.GetDriverByName("GTiff").Create(
        str(path), cols, rows, bands, TYPES[data.dtype.name], list(options)
    )
    if crs is not None:
        reference = osr.SpatialReference()
        reference.SetFromUserInput(f"EPSG:{crs}" if isinstance(crs, int) else crs)
        made.SetSpatialRef(reference)
    if transform is not None:
        made.SetGeoTransform(transform)
    if edit is not None:
        edit(made)
    for index in range(bands):
        if nodata is not None:
            made.GetRasterBand(index + 1).SetNoDataValue(nodata)
        made.GetRasterBand(index + 1).WriteArray(data[index])
    made.FlushCache()
    if overviews:
        made.BuildOverviews("NEAREST", list(overviews))
    made = None
    return path


@dataclass(frozen=True)
class Exact:
    """Where each pixel of a grid lies in a level, by direct projection of its centre."""

    x: np.ndarray
    y: np.ndarray
    inside: np.ndarray

    def nearest(self, level: np.ndarray) -> np.ndarray:
        """Values of a level (rows, cols); 0 outside."""
        rows, cols = level.shape
        x = np.clip(np.floor(np.where(self.inside, self.x, 0)).astype(int), 0, cols - 1)
        y = np.clip(np.floor(np.where(self.inside, self.y, 0)).astype(int), 0, rows - 1)
        return np.where(self.inside, level[y, x], 0)

    def bilinear(self, level: np.ndarray) -> np.ndarray:
        """Weighted mean of four neighbours, repeated at the edge; 0 outside."""
        rows, cols = level.shape
        x, y = np.where(self.inside, self.x, 1) - 0.5, np.where(self.inside, self.y, 1) - 0.5
        x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
        wx, wy = x - x0, y - y0
        xa, xb = np.clip(x0, 0, cols - 1), np.clip(x0 + 1, 0, cols - 1)
        ya, yb = np.clip(y0, 0, rows - 1), np.clip(y0 + 1, 0, rows - 1)
        values = level.astype(np.float64)
        upper = values[ya, xa] * (1 - wx) + values[ya, xb] * wx
        lower = values[yb, xa] * (1 - wx) + values[yb, xb] * wx
        return np.where(self.inside, upper * (1 - wy) + lower * wy, 0)


@functools.cache
def transformer(source: str, target: str) -> pyproj.Transformer:
    """PROJ's way from one system to another: finding it takes longer than a tile."""
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def project(source: Source, grid: Grid, level: int = 0) -> Exact:
    """Direct inverse projection of every pixel centre, independent of the engine's positions."""
    info, lattice = source.info, grid.lattice
    cols = grid.col + np.arange(grid.cols)
    if lattice.period:
        cols = cols % lattice.period
    x, y = np.meshgrid(
        lattice.x0 + (cols + 0.5) * lattice.dx,
        lattice.y0 - (grid.row + np.arange(grid.rows) + 0.5) * lattice.dy,
    )
    on_map = np.abs(y) <= {"mercator": 20037508.342789244, "degree": 90.0}.get(lattice.unit, np.inf)
    sx, sy = transformer(lattice.crs, info.crs).transform(x, y)
    x0, a, b, y0, d, e = info.transform
    found = Exact(np.full(x.shape, -1.0), np.full(x.shape, -1.0), np.zeros(x.shape, bool))
    width, height = info.levels[level]
    for turn in (-360.0, 0.0, 360.0) if pyproj.CRS(info.crs).is_geographic else (0.0,):
        det = a * e - b * d
        u = (e * (sx + turn - x0) - b * (sy - y0)) / det * (width / info.width)
        v = (-d * (sx + turn - x0) + a * (sy - y0)) / det * (height / info.height)
        inside = np.isfinite(u) & np.isfinite(v) & (u >= 0) & (u < width) & (v >= 0) & (v < height) & on_map
        found.x[inside], found.y[inside] = u[inside], v[inside]
        found.inside[inside] = True
    return found


def read_level(source: Source, level: int = 0, band: int = 0) -> np.ndarray:
    """All pixels of a level, (rows, cols)."""
    width, height = source.info.levels[level]
    return source.read(level, (band,), Window(0, 0, width, height))[0][0]


@pytest.fixture(scope="session")
def make_raster() -> Callable[..., Path]:
    """See `write_raster`."""
    return write_raster


@pytest.fixture(scope="session")
def exact() -> Callable[..., Exact]:
    """See `project`."""
    return project


@pytest.fixture(scope="session")
def whole() -> Callable[..., np.ndarray]:
    """See `read_level`."""
    return read_level


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[SourcePool]:
    """A pool that may read the test's own folder and looks at files anew each time."""
    made = SourcePool((str(tmp_path),), recheck=0.0)
    yield made
    made.close()


@pytest.fixture
def raster(tmp_path: Path, pool: SourcePool) -> Callable[..., Source]:
    """Makes a raster (see `write_raster`) and opens it."""
    numbers = itertools.count()

    def make(data: np.ndarray, *arguments: Any, **keywords: Any) -> Source:
        path = write_raster(tmp_path / f"raster{next(numbers)}.tif", data, *arguments, **keywords)
        return pool.open(str(path))

    return make
