"""Made-up files, and a real ingest of them."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from osgeo import gdal, osr

from geoloom_engine.catalog.geoparquet import read_items
from geoloom_engine.ingest.__main__ import main

gdal.UseExceptions()

TYPES = {
    "uint8": gdal.GDT_Byte,
    "uint16": gdal.GDT_UInt16,
    "int16": gdal.GDT_Int16,
    "float32": gdal.GDT_Float32,
}
PLACE = (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0)


def write_raster(
    path: Path,
    data: np.ndarray,
    *,
    crs: str | None = "EPSG:32633",
    transform: tuple[float, ...] | None = PLACE,
    nodata: float | None = None,
    tags: dict[str, str] | None = None,
    options: tuple[str, ...] = ("TILED=YES", "BLOCKXSIZE=256", "BLOCKYSIZE=256"),
    edit: Callable[[Any], None] | None = None,
    overviews: tuple[int, ...] = (),
) -> Path:
    """A GeoTIFF of `data`, (bands, rows, cols) or (rows, cols)."""
    data = data if data.ndim == 3 else data[np.newaxis]
    path.parent.mkdir(parents=True, exist_ok=True)
    made = gdal.GetDriverByName("GTiff").Create(
        str(path), data.shape[2], data.shape[1], data.shape[0], TYPES[data.dtype.name], list(options)
    )
    if crs is not None:
        reference = osr.SpatialReference()
        reference.SetFromUserInput(crs)
        made.SetSpatialRef(reference)
    if transform is not None:
        made.SetGeoTransform(transform)
    if tags:
        made.SetMetadata(tags)
    if edit is not None:
        edit(made)
    for number, values in enumerate(data, 1):
        if nodata is not None:
            made.GetRasterBand(number).SetNoDataValue(nodata)
        made.GetRasterBand(number).WriteArray(values)
    if overviews:
        made.BuildOverviews("NEAREST", list(overviews))
    made.Close()
    return path


def ramp(rows: int = 40, cols: int = 50, dtype: str = "uint16") -> np.ndarray:
    """Values from 1 on."""
    return (np.arange(rows * cols).reshape(rows, cols) % 200 + 1).astype(dtype)


@dataclass
class Said:
    """What an ingest said."""

    stdout: str
    stderr: str


@dataclass
class Collection:
    """A catalogue folder with one collection."""

    catalog: Path
    id: str = "scenes"

    @property
    def folder(self) -> Path:
        return self.catalog / self.id

    def command(self, *arguments: str | Path) -> list[str]:
        started = [sys.executable, "-P", "-m", "geoloom_engine.ingest", "--collection", self.id]
        return [*started, "--catalog", str(self.catalog), "--jobs", "2", *map(str, arguments)]

    def ingest(self, *arguments: str | Path, status: int = 0) -> Said:
        """Ingest from this process; files are looked into by others all the same."""
        out, problems = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(problems):
            done = main(self.command(*arguments)[4:])
        assert done == status, problems.getvalue() + out.getvalue()
        return Said(out.getvalue(), problems.getvalue())

    def run(self, *arguments: str | Path, status: int = 0) -> Said:
        """Ingest by a process of its own."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr
        assert done.returncode == status, done.stderr + done.stdout
        return Said(done.stdout, done.stderr)

    def parts(self) -> list[Path]:
        return sorted(path for path in (self.folder / "items").glob("*.parquet"))

    def items(self) -> dict[str, Any]:
        found = [item for path in self.parts() for item in read_items(path)]
        ids = [item["id"] for item in found]
        assert len(ids) == len(set(ids)), "an item is there twice"
        return {item["id"]: item for item in found}


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection(tmp_path / "catalog")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """The process that others are forked from lives as long as this one; here it ends with the tests."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
