"""What is run before anybody asks for it, so that all loops are compiled or loaded.

As a program it only compiles: ``python -m geoloom_engine.rehearsal first`` (or ``later``) runs the
steps and keeps the code, and ends when its standard input does, or it is done.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from geoloom.block import Array, Block, Mask
from geoloom.errors import GeoloomError
from geoloom.grid import Bounds, Grid, Lattice, Tile
from geoloom.op import Op, Profile, registry
from geoloom.paint import over
from geoloom_engine.lookup import translate
from geoloom_engine.mosaic import Median
from geoloom_engine.readers import BandInfo, SourceInfo, Window
from geoloom_engine.render import png
from geoloom_engine.vectors import specimen
from geoloom_engine.warp import warp

SIZE = 64
DTYPES = ("uint8", "uint16", "int16", "float32")
"""Pixel types of most imagery and elevation, compiled before a worker is ready."""
RARER = ("uint32", "int32", "int8", "float64")
"""Pixel types that are compiled once it is ready; the others when first met."""


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


def first_steps() -> Iterator[Callable[[], object]]:
    """What to run, most wanted first."""
    grid = Tile.at(15.01, 45.145, 13).grid()
    for dtype in DTYPES:
        source = Specimen(dtype)
        for resampling in ("bilinear", "nearest"):
            yield partial(warp, source, grid, (0,), resampling)
    noise = np.random.default_rng(1).integers(0, 256, (1, 256, 256), np.uint8)
    yield partial(png, Block(noise, np.ones((1, 256, 256), np.bool_)), None)
    picture = np.zeros((4, 16, 16), np.uint8)
    yield partial(over, picture, picture)
    for op in registry().values():
        if hasattr(op, "kernel"):
            yield from (partial(try_out, op, dtype) for dtype in DTYPES)


def later_steps() -> Iterator[Callable[[], object]]:
    """What to run once the worker is ready, most wanted first: what takes a second or so to compile."""
    near, far = Tile.at(15.01, 45.145, 13).grid(), Tile.at(15.01, 45.145, 10).grid()
    for width in (1, 2):
        values = np.zeros((16, 16), f"u{width}")
        for made in ("uint8", "uint16", "uint32"):
            yield partial(translate, values, np.zeros(256**width, made), np.zeros((16, 16), made))
    yield partial(try_out, registry()["divide"], "int32")
    yield from specimen.steps()
    for dtype in (*DTYPES, *RARER):
        source = Specimen(dtype)
        if dtype in RARER:
            yield partial(warp, source, near, (0,), "nearest")
            yield partial(warp, source, near, (0,), "bilinear")
        yield partial(median_of, dtype)
        # The loop of mode is that of average.
        yield partial(warp, source, far, (0,), "average")
        yield partial(warp, source, near, (0,), "cubic")


def median_of(dtype: str) -> Block:
    """The median of two items of ones."""
    median = Median(1, (16, 16), "float64" if dtype == "float64" else "float32", 2)
    for _ in range(2):
        median.add(Block(np.ones((1, 16, 16), dtype), np.ones((1, 16, 16), np.bool_)))
    return median.result()


def try_out(op: type[Op], dtype: str = "float32") -> Block | None:
    """Run an op's kernel once on one band of ramps; None if it needs other bands, numbers or a look."""
    grid = Grid(Lattice.web_mercator(13), 0, 1 << 19, 16, 16)
    try:
        example = op.example()
        margin = example.margin_on(grid)
        data = np.linspace(0, 1, (16 + 2 * margin) ** 2).astype(dtype)
        band = Block(data.reshape(1, 16 + 2 * margin, -1), np.ones((1, *grid.expand(margin).shape), np.bool_))
        profiles = tuple(Profile(("b1",), dtype) for _ in op.inputs)
        bands = tuple(range(example.described(*profiles).bands))
        return example.compute(tuple(map(band.pick, example.reads(bands, profiles))), grid, profiles)
    except GeoloomError:
        return None


def main(part: str) -> None:
    """Run the first steps or the later ones, for the sake of the code that is kept."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if part == "later":
        os.nice(10)  # tiles are being answered
    for step in first_steps() if part == "first" else later_steps():
        # The worker meets the same problem, and tells.
        with contextlib.suppress(Exception):
            step()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
