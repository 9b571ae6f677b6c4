"""The coarse lattice of positions: exact at its nodes, bounded in between, honest at the poles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoloom.grid import Lattice
from geoloom_engine.positions import (
    TOLERANCE,
    Geometry,
    coarse,
    exact_positions,
    lattice_position,
    scale_at,
    turn,
)
from geoloom_engine.runs import CELL

UTM = Geometry("EPSG:32633", (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0), 10980, 10980)
WORLD = Geometry("EPSG:4326", (-180.0, 0.1, 0.0, 90.0, 0.0, -0.1), 3600, 1800)
POLE = Geometry("EPSG:3031", (-3e6, 1000.0, 0.0, 3e6, 0.0, -1000.0), 6000, 6000)


def test_there_and_back() -> None:
    lattice = Lattice.web_mercator(12)
    for geometry in (UTM, WORLD, POLE):
        col, row = lattice_position(lattice, geometry, 1000.25, 900.75)
        x, y = exact_positions(lattice, geometry, np.array([col]), np.array([row]))
        assert (x[0], y[0]) == pytest.approx((1000.25, 900.75), abs=1e-5)


def test_geographic_and_cylindrical_systems_go_round() -> None:
    degrees = turn("EPSG:4326")
    assert degrees is not None
    assert degrees.period == pytest.approx(360)
    grads = turn("EPSG:4807")
    assert grads is not None
    assert grads.period == pytest.approx(400)
    mercator = turn("EPSG:3857")
    assert mercator is not None
    assert (mercator.period, mercator.zero) == pytest.approx((2 * 20037508.342789244, 0.0))
    shifted = turn("EPSG:3832")  # Mercator round 150° E
    assert shifted is not None
    assert (shifted.period, shifted.zero) == pytest.approx((2 * 20037508.34, 150.0))
    assert turn("EPSG:32633") is None
    assert turn("EPSG:3031") is None


def test_longitudes_run_on_beyond_the_antimeridian() -> None:
    lattice = Lattice.web_mercator(4)
    cols = np.arange(4000.5, 4300.5)
    x, _ = exact_positions(lattice, WORLD, cols, np.full(300, 2048.5))
    assert np.allclose(np.diff(x), 360 / 4096 * 10)


def test_where_nothing_is_there_is_nothing() -> None:
    lattice = Lattice("EPSG:4326", 1.0, 1.0, -180.0, 90.0, "degree")
    x, _ = exact_positions(lattice, UTM, np.array([10.5]), np.array([-50.5]))
    assert not np.isfinite(x).any()
    assert math.isnan(scale_at(lattice, UTM, 10.5, -50.5))


def test_scale_is_pixels_a_pixel() -> None:
    lattice = Lattice.web_mercator(13)
    col, row = lattice_position(lattice, UTM, 5490, 5490)
    ground = lattice.dx * math.cos(math.radians(44.66))
    assert scale_at(lattice, UTM, col, row) == pytest.approx(ground / 10, rel=0.005)


@pytest.mark.parametrize("geometry", [UTM, WORLD, POLE], ids=["UTM", "world", "pole"])
@pytest.mark.parametrize("zoom", [1, 4, 8, 13])
def test_interpolated_cells_keep_the_tolerance(geometry: Geometry, zoom: int) -> None:
    lattice = Lattice.web_mercator(zoom)
    col, row = lattice_position(lattice, geometry, geometry.width * 0.55, geometry.height * 0.6)
    first = (int(row) // CELL - 3, int(col) // CELL - 3)
    found = coarse(lattice, geometry, (geometry.width, geometry.height), (*first, 6, 6), None)
    s, t = np.meshgrid(np.arange(CELL) / CELL, np.arange(CELL) / CELL, indexing="ij")
    for i in range(6):
        for j in range(6):
            slot = found.slots[i, j]
            if slot == -2:
                continue
            rows = (first[0] + i + s) * CELL + 0.5
            cols = (first[1] + j + t) * CELL + 0.5
            truth = exact_positions(lattice, geometry, cols, rows)
            for axis in range(2):
                if slot >= 0:
                    assert np.array_equal(found.exact[axis, slot], truth[axis], equal_nan=True)
                    continue
                n = found.nodes[axis]
                left = n[0, i, j] * (1 - s) + n[0, i + 1, j] * s - s * (1 - s) / 2 * n[2, i, j]
                right = n[0, i, j + 1] * (1 - s) + n[0, i + 1, j + 1] * s - s * (1 - s) / 2 * n[2, i, j + 1]
                bend = n[1, i, j] * (1 - s) + n[1, i + 1, j] * s
                value = left * (1 - t) + right * t - t * (1 - t) / 2 * bend
                assert np.abs(value - truth[axis]).max() <= TOLERANCE * 1.2


def test_a_tile_of_usual_size_needs_no_exact_cell() -> None:
    lattice = Lattice.web_mercator(10)
    col, row = lattice_position(lattice, UTM, 5490, 5490)
    found = coarse(lattice, UTM, (1373, 1373), (int(row) // CELL - 8, int(col) // CELL - 8, 16, 16), None)
    assert (found.slots == -1).all()


def test_cells_do_not_know_what_else_is_asked() -> None:
    lattice = Lattice.web_mercator(2)
    big = coarse(lattice, POLE, (6000, 6000), (40, 0, 20, 64), None)
    small = coarse(lattice, POLE, (6000, 6000), (47, 13, 3, 5), None)
    assert np.array_equal(small.nodes[:, 0], big.nodes[:, 0, 7:11, 13:19])
    assert np.array_equal(small.slots < 0, big.slots[7:10, 13:18] < 0)
    assert (big.slots >= 0).any()
    for i, j in np.argwhere(small.slots >= 0):
        ours, theirs = small.slots[i, j], big.slots[7 + i, 13 + j]
        assert np.array_equal(small.exact[:, ours], big.exact[:, theirs], equal_nan=True)


def test_what_is_kept_cannot_be_changed() -> None:
    found = coarse(Lattice.web_mercator(9), UTM, (10980, 10980), (0, 0, 1, 1), None)
    with pytest.raises(ValueError, match="read-only"):
        found.nodes[0] = 0
