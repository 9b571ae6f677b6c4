"""Where an item promises data: beyond that its file does not count."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import shapely

from geoloom.block import Mask
from geoloom.grid import Grid
from geoloom_engine.outline import SLACK, centres, outline
from geoloom_engine.projection import into_degrees
from geoloom_engine.readers import SourceInfo

WHOLE = 0.97
"""Share of a file's area from which on its footprint is taken for all of it: straight sides are bent."""


def promised(footprint: Any, info: SourceInfo, nodata: float | None, grid: Grid) -> Mask | None:
    """The pixels of a grid, (rows, cols), that lie in an item's footprint; None where all of them count.

    Only of files of which the footprint is a part. Where they have nodata, alpha or a mask, what lies within
    `SLACK` of it counts too: valid pixels further out would be seen in those tiles alone that meet it.

    Parameters
    ----------
    nodata
        What the catalogue says.
    """
    if footprint.area >= WHOLE * _area(info.crs, tuple(info.transform), info.width, info.height):
        return None
    if nodata is not None or info.alpha or info.mask or any(band.nodata is not None for band in info.bands):
        footprint = shapely.buffer(footprint, SLACK, quad_segs=2)
    if shapely.contains(footprint, outline(grid)):
        return None
    shapely.prepare(footprint)
    found: Mask = shapely.contains_xy(footprint, *centres(grid))
    return found


@lru_cache(1024)
def _area(crs: str, transform: tuple[float, ...], width: int, height: int) -> float:
    """Square degrees between a file's corners."""
    x0, a, b, y0, d, e = transform
    cols, rows = np.array([0, width, width, 0]), np.array([0, 0, height, height])
    lon, lat = into_degrees(crs).transform(x0 + a * cols + b * rows, y0 + d * cols + e * rows)
    around = np.unwrap(np.asarray(lon), period=360.0)
    return float(shapely.Polygon(np.column_stack([around, lat])).area)
