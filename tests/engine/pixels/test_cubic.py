"""Cubic resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geoloom.grid import Grid, Lattice
from geoloom_engine.readers import Source
from geoloom_engine.warp import warp

Make = Callable[..., Source]
RNG = np.random.default_rng(3)
TRANSFORM = (0.0, 10.0, 0.0, 0.0, 0.0, -10.0)


def lattice(step: float) -> Lattice:
    return Lattice("EPSG:32633", step, step, 0.0, 0.0)


def test_cubic_keeps_planes_and_the_sources_own_pixels(raster: Make) -> None:
    y, x = np.mgrid[:50, :60].astype(np.float64)
    plane = raster(3 * x - 2 * y, 32633, TRANSFORM)
    grid = Grid(lattice(4.0), 10, 10, 100, 80)
    block = warp(plane, grid, (0,), "cubic")
    px, py = (grid.col + np.arange(100) + 0.5) * 0.4 - 0.5, (grid.row + np.arange(80) + 0.5) * 0.4 - 0.5
    assert np.allclose(block.data[0], 3 * px - 2 * py[:, None])
    noise = RNG.integers(0, 60000, (50, 60)).astype(np.uint16)
    own = warp(raster(noise, 32633, TRANSFORM), Grid(lattice(10.0), 0, 0, 60, 50), (0,), "cubic")
    assert np.array_equal(own.data[0], noise)


def test_cubic_stays_in_the_types_range(raster: Make) -> None:
    data = np.where(np.arange(60) % 20 < 10, 0, 255).astype(np.uint8)
    source = raster(np.tile(data, (50, 1)), 32633, TRANSFORM)
    block = warp(source, Grid(lattice(3.0), 0, 0, 200, 100), (0,), "cubic")
    jumps = np.abs(np.diff(block.data[0].astype(int), axis=1))
    assert jumps.max() < 150


def test_cubic_is_bilinear_where_a_neighbour_is_invalid(raster: Make) -> None:
    data = RNG.normal(size=(50, 60))
    data[20:30, 20:30] = np.nan
    source = raster(data, 32633, TRANSFORM)
    grid = Grid(lattice(3.0), 0, 0, 200, 160)
    cubic, bilinear = (warp(source, grid, (0,), name) for name in ("cubic", "bilinear"))
    assert np.array_equal(cubic.valid, bilinear.valid)
    near = np.zeros(grid.shape, bool)
    near[64:103, 64:103] = True
    assert np.array_equal(cubic.data[0][near], bilinear.data[0][near])
    assert (cubic.data != bilinear.data).mean() > 0.5
