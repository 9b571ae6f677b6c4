"""Source pixels on a grid, the fast way.

`demand` says which windows to read; positions come from `positions`; compiled loops in `gather`
pick the pixels. A pixel's value depends on the source, the lattice and the pixel's index alone,
never on the grid.
"""

from __future__ import annotations

import numpy as np

from geoloom.block import Array, Block, Mask
from geoloom.grid import Grid
from geoloom_engine import cubic, footprints, gather
from geoloom_engine.demand import Limits, Read, ReadPlan, demand
from geoloom_engine.readers.source import Source

__all__ = ["Limits", "Read", "ReadPlan", "demand", "warp"]


def warp(
    source: Source,
    grid: Grid,
    bands: tuple[int, ...],
    resampling: str,
    limits: Limits | None = None,
    plan: ReadPlan | None = None,
) -> Block:
    """A source's pixels on a grid.

    Parameters
    ----------
    source
        Where to read.
    grid
        May reach over ±180° and beyond the map's edge.
    bands
        Positions in ``source.info.bands``.
    resampling
        ``nearest``: the source pixel that holds the pixel's centre. ``bilinear``: the weighted mean
        of the valid ones of the four source pixels round it; integers are rounded half away from
        zero; valid if the nearest source pixel is. ``cubic``: Catmull-Rom over sixteen, bilinear
        where one of them is invalid. ``average``, ``mode``: mean or most frequent value of the
        source under the pixel; valid if at least half of it is.
    limits
        What may be read; without a `plan`.
    plan
        What `demand` said of the same; found out now if not given.

    Returns
    -------
    Block
        (bands, rows, cols) in the source's dtype, the common one if the bands' differ.

    Raises
    ------
    DemandError
        If the limits do not allow it; nothing was read.
    SourceUnreadable, SourceChanged
        From the source.
    """
    info = source.info
    plan = plan or demand(info, grid, bands, resampling, limits)
    dtype = np.result_type(*(np.dtype(info.bands[band].dtype) for band in bands))
    data = np.zeros((len(bands), grid.rows, grid.cols), dtype)
    valid = np.zeros((1 if info.shared_valid else len(bands), grid.rows, grid.cols), np.bool_)
    for read in plan.reads:
        pixels, good = source.read(read.level, bands, read.window)
        masked = good.strides[1:] != (0, 0) or not good[:, 0, 0].all()
        pixels = pixels.astype(dtype, copy=False)
        if pixels.strides[2] != pixels.itemsize or (masked and not _aligned(pixels, good)):
            pixels = np.ascontiguousarray(pixels)
            good = np.ascontiguousarray(good) if masked else good
        window, cells = read.window, read.cells
        right = min(window.x + window.width, info.levels[read.level][0])
        bottom = min(window.y + window.height, info.levels[read.level][1])
        where = (
            pixels,
            good,
            masked,
            (window.x, window.y, right, bottom),
            cells.nodes,
            cells.exact,
            cells.slots,
            *read.place,
        )
        part = (read.row, read.col, read.rows, read.cols)
        if resampling == "nearest":
            gather.nearest(*where, part=part, out=data, out_valid=valid)
        elif resampling == "bilinear":
            gather.bilinear(*where, part=part, out=data, out_valid=valid)
        elif resampling == "cubic":
            cubic.cubic(*where, part=part, out=data, out_valid=valid)
        else:
            most = resampling == "mode"
            footprints.footprint(*where, scale=read.scale, most=most, part=part, out=data, out_valid=valid)
    return Block(data, valid)


def _aligned(pixels: Array, good: Mask) -> bool:
    """Whether validity lies in memory as the pixels do, so that one index serves both."""
    return good.strides[2] == 1 and good.strides[1] * pixels.itemsize == pixels.strides[1]
