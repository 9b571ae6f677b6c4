"""What is demanded of a source, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from geoloom.errors import DemandError
from geoloom.grid import Grid, Lattice, Tile
from geoloom_engine.demand import Limits, demand
from geoloom_engine.readers import Source

Make = Callable[..., Source]
TILE = Tile.at(15.05, 45.12, 13).grid()


def test_bytes_of_the_bands_asked_for(raster: Make) -> None:
    source = raster(np.ones((3, 900, 900), np.float32))
    one, three = demand(source.info, TILE, (1,)), demand(source.info, TILE)
    assert one.bytes == one.pixels * 5
    assert three.bytes == 3 * one.bytes
    assert one.window is not None
    assert one.window.pixels == one.pixels


@pytest.mark.parametrize(("resampling", "more"), [("bilinear", 1), ("cubic", 2)])
def test_neighbours_are_demanded_too(raster: Make, resampling: str, more: int) -> None:
    source = raster(np.ones((1500, 1500), np.uint8), 32633, (495000.0, 10.0, 0, 5005000.0, 0, -10.0))
    plain, wide = demand(source.info, TILE).window, demand(source.info, TILE, None, resampling).window
    assert plain is not None
    assert wide is not None
    assert (wide.x, wide.y) == (plain.x - more, plain.y - more)
    assert (wide.width, wide.height) == (plain.width + 2 * more, plain.height + 2 * more)


def test_windows_stay_inside_the_source(raster: Make) -> None:
    source = raster(np.ones((100, 90), np.uint8))
    for resampling in ("nearest", "bilinear", "cubic", "average"):
        window = demand(source.info, Tile.at(15.0, 45.15, 10).grid(), None, resampling).window
        assert window is not None
        assert (window.x, window.y, window.width, window.height) == (0, 0, 90, 100)


def test_the_refusal_outside_the_map_names_a_pixel_size(raster: Make) -> None:
    source = raster(np.ones((1000, 1000), np.uint8))
    coarse = Grid(Lattice("EPSG:32633", 100.0, 100.0, 500000.0, 5000000.0), 0, 0, 100, 100)
    with pytest.raises(DemandError, match=r"raster0\.tif: this view would read 1\.0 million") as caught:
        demand(source.info, coarse, limits=Limits(10_000))
    assert caught.value.hint is not None
    assert "at most 10 metres" in caught.value.hint
    fine = Grid(Lattice("EPSG:32633", 10.0, 10.0, 500000.0, 5000000.0), 0, 0, 100, 100)
    assert demand(source.info, fine, limits=Limits(10_000)).pixels == 10_000


def test_plans_are_made_once(raster: Make) -> None:
    source = raster(np.ones((900, 900), np.uint8))
    first, again = (demand(source.info, TILE, bands) for bands in ((0,), None))
    assert first.reads is again.reads
