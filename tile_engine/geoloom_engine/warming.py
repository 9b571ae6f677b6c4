"""Compiles what is compiled before the first person waits for it.

Compiled code is kept on disk where possible, so that all but the very first start only load it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from geoloom.block import Array, Mask
from geoloom.grid import Bounds, Tile
from geoloom_engine.readers import BandInfo, SourceInfo, Window
from geoloom_engine.warp import warp

SIZE = 64
DTYPES = ("uint8", "uint16", "int16", "float32")
"""Pixel types of most imagery and elevation; the others are compiled when first met."""


class Specimen:
    """A source of ramps in memory, in UTM, some of it invalid."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self.info = SourceInfo(
            href="memory",
            driver="memory",
            fingerprint=dtype,
            width=SIZE,
            height=SIZE,
            transform=(500000.0, 30.0, 0.0, 5000000.0, 0.0, -30.0),
            crs="EPSG:32633",
            bands=(BandInfo("b1", dtype),),
            overviews=(),
            bounds=Bounds(15.0, 45.13, 15.03, 45.16),
            resolution=(30.0, 30.0),
            ground_resolution=30.0,
            resampling="bilinear",
            block=(SIZE, SIZE),
            dtype=dtype,
        )

    def read(self, level: int, bands: tuple[int, ...], window: Window) -> tuple[Array, Mask]:
        """Pixels as `readers.Source.read` gives them."""
        data = np.ones((len(bands), window.height, window.width), self._dtype)
        valid = np.ones((1, window.height, window.width), np.bool_)
        valid[:, :2, :2] = False
        return data, valid


def steps() -> Iterator[Callable[[], object]]:
    """What to run, most wanted first."""
    grid = Tile.at(15.01, 45.145, 13).grid()
    for dtype in DTYPES:
        source = Specimen(dtype)
        for resampling in ("bilinear", "nearest"):
            yield partial(warp, source, grid, (0,), resampling)
