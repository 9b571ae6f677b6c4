"""Where an item promises data, for files that do not say themselves which of their pixels are valid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import shapely

from geoloom.block import Mask
from geoloom.grid import Grid
from geoloom_engine.outline import centres, outline
from geoloom_engine.readers import SourceInfo

WHOLE = 0.97
"""Share of a file's area from which on its footprint is taken for all of it: straight sides are bent."""


def promised(footprint: Any, info: SourceInfo, nodata: float | None, grid: Grid) -> Mask | None:
    """The pixels of a grid, (rows, cols), that lie in an item's footprint; None where all of them count.

    Only of files that have neither nodata nor alpha nor a mask, and whose footprint is a part of them.

    Parameters
    ----------
    nodata
        What the catalogue says.
    """
    if nodata is not None or info.alpha or info.mask or any(band.nodata is not None for band in info.bands):
        return None
    if shapely.contains(footprint, outline(grid)) or footprint.area >= WHOLE * _area(info):
        return None
    shapely.prepare(footprint)
    found: Mask = shapely.contains_xy(footprint, *centres(grid))
    return found


def _area(info: SourceInfo) -> float:
    """Square degrees between a file's corners."""
    x0, a, b, y0, d, e = info.transform
    cols, rows = np.array([0, info.width, info.width, 0]), np.array([0, 0, info.height, info.height])
    to_degrees = pyproj.Transformer.from_crs(info.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(x0 + a * cols + b * rows, y0 + d * cols + e * rows)
    around = np.unwrap(np.asarray(lon), period=360.0)
    return float(shapely.Polygon(np.column_stack([around, lat])).area)
