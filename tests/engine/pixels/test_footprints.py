"""Average and mode; and cubic where they are tested alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from geoloom.grid import Grid, Lattice
from geoloom_engine.footprints import reach, samples
from geoloom_engine.readers import Source
from geoloom_engine.warp import warp

Make = Callable[..., Source]
RNG = np.random.default_rng(3)
TRANSFORM = (0.0, 10.0, 0.0, 0.0, 0.0, -10.0)


def lattice(step: float) -> Lattice:
    return Lattice("EPSG:32633", step, step, 0.0, 0.0)


def test_average_of_whole_pixels_is_their_mean(raster: Make) -> None:
    data = RNG.normal(size=(64, 96)).astype(np.float64)
    source = raster(data, 32633, TRANSFORM)
    block = warp(source, Grid(lattice(40.0), 0, 0, 24, 16), (0,), "average")
    expected = data.reshape(16, 4, 24, 4).mean(axis=(1, 3))
    assert block.valid.all()
    assert np.allclose(block.data[0], expected)


def test_average_uses_valid_pixels_only_and_needs_half_of_them(raster: Make) -> None:
    data = np.full((4, 12), 7.0, np.float32)
    data[:, 0:3] = np.nan
    data[0, 4] = np.nan
    data[0, 8:12] = 9.0
    block = warp(raster(data, 32633, TRANSFORM), Grid(lattice(40.0), 0, 0, 3, 1), (0,), "average")
    assert block.valid[0, 0].tolist() == [False, True, True]
    assert block.data[0, 0].tolist() == [0.0, 7.0, 7.5]


def test_average_rounds_integers_and_keeps_their_range(raster: Make) -> None:
    data = np.array([[1, 2], [1, 2]], np.uint8)
    block = warp(raster(data, 32633, TRANSFORM), Grid(lattice(20.0), 0, 0, 1, 1), (0,), "average")
    assert block.data.dtype == np.uint8
    assert block.data[0, 0, 0] == 2
    full = np.full((40, 40), 2**64 - 1, np.uint64)
    block = warp(raster(full, 32633, TRANSFORM), Grid(lattice(40.0), 0, 0, 2, 2), (0,), "average")
    assert (block.data > 2**63).all()


def test_mode_is_the_most_frequent_value(raster: Make) -> None:
    data = RNG.integers(0, 3, (64, 96)).astype(np.int16) - 1
    source = raster(data, 32633, TRANSFORM)
    block = warp(source, Grid(lattice(40.0), 0, 0, 24, 16), (0,), "mode")
    cells = data.reshape(16, 4, 24, 4).swapaxes(1, 2).reshape(16, 24, 16)
    counts = np.stack([(cells == value).sum(-1) for value in (-1, 0, 1)], -1)
    assert np.array_equal(block.data[0], counts.argmax(-1) - 1)


def test_mode_knows_only_values_of_the_source(raster: Make) -> None:
    data = np.where(RNG.random((90, 90)) < 0.5, 10, 200).astype(np.uint8)
    block = warp(raster(data, 32633, TRANSFORM), Grid(lattice(33.0), 2, 2, 20, 20), (0,), "mode")
    assert set(np.unique(block.data)) == {10, 200}


@pytest.mark.parametrize("resampling", ["cubic", "average", "mode"])
def test_one_sheet_over_tall_sources_and_exact_cells(raster: Make, resampling: str) -> None:
    data = RNG.integers(0, 50, (300, 400)).astype(np.uint8)
    source = raster(data, 3413, (-4e6, 2e4, 0.0, 3e6, 0.0, -2e4), nodata=0, overviews=(2, 4))
    outer = Grid(Lattice.web_mercator(2), -50, 0, 600, 500)
    big = warp(source, outer, (0,), resampling)
    assert 0.2 < big.valid.mean() < 0.95
    for left, top, cols, rows in ((0, 0, 100, 100), (37, 211, 150, 99), (301, 13, 299, 1), (599, 499, 1, 1)):
        part = Grid(outer.lattice, outer.col + left, outer.row + top, cols, rows)
        small, cut = warp(source, part, (0,), resampling), big.crop(part.window_in(outer))
        assert np.array_equal(small.data, cut.data)
        assert np.array_equal(small.valid, cut.valid)


def test_more_samples_under_larger_pixels() -> None:
    assert [samples(scale) for scale in (0.1, 1.0, 2.4, 500.0)] == [2, 2, 5, 32]
    assert reach(2.0) == 7
