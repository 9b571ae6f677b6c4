"""Which overview serves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from geoloom.grid import Lattice, Tile
from geoloom_engine.levels import FINER, by_level, footprint_scale
from geoloom_engine.positions import Geometry
from geoloom_engine.readers import Source

Make = Callable[..., Source]


@pytest.mark.parametrize("zoom", range(6, 17))
def test_pixels_are_at_most_a_quarter_coarser_than_the_targets(raster: Make, zoom: int) -> None:
    source = raster(np.ones((800, 800), np.uint8), overviews=(2, 4, 8))
    lattice = Lattice.web_mercator(zoom)
    ((_, level, scale),) = by_level(source.info, Geometry.of(source.info), lattice, (0, 0, 256, 256))
    full = footprint_scale(Geometry.of(source.info), lattice)
    coarser = [800 / width for width, _ in source.info.levels]
    assert coarser[level] <= FINER * full or level == 0
    assert level == 3 or coarser[level + 1] > FINER * full
    assert scale == pytest.approx(full / coarser[level])


def test_the_level_of_a_low_source_is_the_same_everywhere(raster: Make) -> None:
    source = raster(np.ones((800, 800), np.uint8), overviews=(2, 4))
    for row in (0, 10_000):
        area = (row, 5, 700, 900)
        found = list(by_level(source.info, Geometry.of(source.info), Lattice.web_mercator(10), area))
        assert [(part, level) for part, level, _ in found] == [(area, 2)]


def test_a_tall_source_is_cut_at_absolute_blocks(raster: Make) -> None:
    source = raster(np.ones((900, 1800), np.uint8), 4326, (-180, 0.2, 0, 90, 0, -0.2), overviews=(2, 4))
    lattice = Lattice.web_mercator(3)
    geometry = Geometry.of(source.info)
    parts = list(by_level(source.info, geometry, lattice, (250, 100, 20, 300)))
    assert [part for part, _, _ in parts] == [
        (250, 100, 6, 156),
        (250, 256, 6, 144),
        (256, 100, 14, 156),
        (256, 256, 14, 144),
    ]
    whole = {part[:2]: level for part, level, _ in by_level(source.info, geometry, lattice, (0, 0, 512, 512))}
    assert [level for _, level, _ in parts] == [whole[0, 0], whole[0, 256], whole[256, 0], whole[256, 256]]


def test_a_block_is_measured_where_the_source_is(raster: Make) -> None:
    """The arctic fills the top of the only block of zoom 0; at the equator it would look coarser."""
    source = raster(
        np.ones((800, 800), np.uint8), 3413, (-2e6, 5e3, 0, 2e6, 0, -5e3), overviews=(2, 4, 8, 16)
    )
    ((_, level, _),) = by_level(
        source.info, Geometry.of(source.info), Lattice.web_mercator(0), (0, 0, 256, 256)
    )
    tile = Tile.at(-45, 75, 0).grid()
    assert tile.rows == 256
    assert level < 4
