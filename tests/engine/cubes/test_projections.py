"""Grids of climate models and weather satellites lie where PROJ says: their values are their latitudes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import xarray

from geoloom.grid import Tile
from geoloom_engine.readers import SourcePool
from geoloom_engine.warp import warp

HEIGHT = 35_786_023.0
ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
GEOSTATIONARY = {
    "grid_mapping_name": "geostationary",
    "perspective_point_height": HEIGHT,
    "semi_major_axis": 6378137.0,
    "semi_minor_axis": 6356752.31414,
    "latitude_of_projection_origin": 0.0,
    "longitude_of_projection_origin": -75.0,
    "sweep_angle_axis": "x",
}


def latitudes(x: np.ndarray, y: np.ndarray, mapping: dict[str, Any], factor: float = 1.0) -> np.ndarray:
    """Of the pixels of a grid, (rows, cols)."""
    crs = pyproj.CRS.from_cf(mapping)
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    _, lat = to_degrees.transform(*np.meshgrid(x * factor, y * factor))
    return np.where(np.isfinite(lat), lat, np.nan).astype(np.float32)


def furthest(source: Any, tile: Tile) -> float:
    """The greatest difference between a tile's values and the latitudes of its pixels, in degrees."""
    grid = tile.grid()
    block = warp(source, grid, (0,), "bilinear")
    assert block.valid.all()
    y = grid.lattice.y0 - (grid.row + np.arange(grid.rows) + 0.5) * grid.lattice.dy
    expected = np.degrees(np.arctan(np.sinh(y / 6378137)))[:, np.newaxis]
    return float(np.abs(block.data[0] - expected).max())


def test_a_rotated_pole(tmp_path: Path, pool: SourcePool, save: Any) -> None:
    x, y = np.arange(-28.21, 18, 0.44), np.arange(-23.21, 21.7, 0.44)
    made = xarray.Dataset(
        {
            "t": (("rlat", "rlon"), latitudes(x, y, ROTATED), {"grid_mapping": "pole"}),
            "pole": ((), 0, ROTATED),
        },
        coords={
            "rlon": ("rlon", x, {"standard_name": "grid_longitude", "units": "degrees"}),
            "rlat": ("rlat", y, {"standard_name": "grid_latitude", "units": "degrees"}),
        },
    )
    source = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=t")
    assert furthest(source, Tile(5, 16, 10)) < 0.01
    assert source.info.ground_resolution == pytest.approx(49_000, rel=0.01)


def test_a_geostationary_satellite_s_angles_packed_in_16_bits(
    tmp_path: Path, pool: SourcePool, save: Any
) -> None:
    x = (np.arange(500) - 249.5) * 0.0006
    angle = {"units": "rad"}
    made = xarray.Dataset(
        {
            "c": (("y", "x"), latitudes(x, -x, GEOSTATIONARY, HEIGHT), {"grid_mapping": "g"}),
            "g": ((), 0, GEOSTATIONARY),
        },
        coords={
            "x": ("x", x, {**angle, "standard_name": "projection_x_coordinate"}),
            "y": ("y", -x, {**angle, "standard_name": "projection_y_coordinate"}),
        },
    )
    packed = {"dtype": "int16", "_FillValue": None}
    encoding = {
        "x": {**packed, "scale_factor": 0.0006, "add_offset": -0.1497},
        "y": {**packed, "scale_factor": -0.0006, "add_offset": 0.1497},
    }
    source = pool.open(f"{save(tmp_path / 'a.nc', made, encoding=encoding)}#variable=c")
    assert furthest(source, Tile(3, 2, 3)) < 0.01
