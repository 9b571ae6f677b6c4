"""netCDF files and Zarr stores made on the spot by xarray, which is also asked what should come out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from geoloom_engine.readers import Source, SourcePool, Window

DATES = np.array(["2020-01-16T12", "2020-02-15", "2020-03-16T12"], "M8[ns]")
STEPS = ["2020-01-16T12:00:00Z", "2020-02-15T00:00:00Z", "2020-03-16T12:00:00Z"]


def ocean(
    rows: int = 180, cols: int = 360, depths: int = 2, east: bool = False, north_up: bool = False
) -> xarray.Dataset:
    """Temperatures of three months at some depths; gaps on one quarter of the globe.

    Parameters
    ----------
    east
        Longitudes from 0 to 360.
    north_up
        Rows from north to south.
    """
    random = np.random.default_rng(5)
    values = random.normal(15, 5, (3, depths, rows, cols)).astype(np.float32)
    values[:, :, : rows // 2, : cols // 2] = np.nan
    lat = -90 + (np.arange(rows) + 0.5) * 180 / rows
    lon = (0 if east else -180) + (np.arange(cols) + 0.5) * 360 / cols
    made = xarray.Dataset(
        {"sst": (("time", "depth", "lat", "lon"), values, {"units": "degC", "long_name": "Temperature"})},
        coords={
            "time": DATES,
            "depth": ("depth", np.linspace(0.5, 50, depths).astype(np.float32), {"units": "m"}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )
    return made.isel(lat=slice(None, None, -1)) if north_up else made


def write(path: Path, made: xarray.Dataset, **encoding: Any) -> Path:
    """A dataset as what its ending says: ``.nc`` (netCDF-4), ``.nc3`` (classic) or ``.zarr``."""
    if path.suffix == ".zarr":
        made.to_zarr(path, mode="w", **encoding)
    elif path.suffix == ".nc3":
        made.to_netcdf(path, engine="scipy", **encoding)
    else:
        made.to_netcdf(path, engine="h5netcdf", **encoding)
    return path


def whole_slice(source: Source, level: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """All pixels of the first band of a level, (rows, cols), and which are valid."""
    width, height = source.info.levels[level]
    data, valid = source.read(level, (0,), Window(0, 0, width, height))
    return data[0], valid[0]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[SourcePool]:
    """A pool that may read the test's own folder and looks at files anew each time."""
    made = SourcePool((str(tmp_path),), recheck=0.0)
    yield made
    made.close()


@pytest.fixture(scope="session")
def make_ocean() -> Any:
    """See `ocean`."""
    return ocean


@pytest.fixture(scope="session")
def save() -> Any:
    """See `write`."""
    return write


@pytest.fixture(scope="session")
def whole() -> Any:
    """See `whole_slice`."""
    return whole_slice
