"""Slope, and the gradient that all terrain ops share: against gdaldem and planes."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError, ParameterError
from geoloom.grid import Grid, Lattice
from geoloom.op import registry


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16", "int32"])
@pytest.mark.parametrize("z_factor", [1.0, 2.5])
def test_as_gdaldem(run, gdaldem, relief, dtype, z_factor) -> None:
    heights = relief.astype(dtype)
    expected = gdaldem("slope", heights, scale=1 / z_factor)
    found = run("slope", heights, margin=1, z_factor=z_factor)[0]
    assert found.dtype == np.float32
    assert np.allclose(found, expected[1:-1, 1:-1], rtol=1e-3, atol=1e-4)


def test_gaps_as_gdaldem(run, gdaldem, relief) -> None:
    hole = np.zeros(relief.shape, bool)
    hole[10, 12] = hole[20:23, 30] = hole[0, 0] = True
    expected = gdaldem("slope", np.where(hole, -9999, relief))[1:-1, 1:-1]
    found = run("slope", np.ma.array(relief, mask=hole), margin=1)[0]
    assert np.array_equal(found.mask, expected == -9999)
    assert np.allclose(found.compressed(), expected[~found.mask], rtol=1e-3, atol=1e-4)


def test_metres_are_ground_metres(run) -> None:
    """A plane that rises 1 in 10 on the ground rises 1 in 10 at every latitude."""
    for lattice, corner in (
        (Lattice.web_mercator(10), (90_000, 120_000)),
        (Lattice("EPSG:4326", 0.001, 0.001, -180.0, 90.0, "degree"), (30_000, 190_000)),
        (Lattice("EPSG:2263", 30.0, 30.0, 0.0, 0.0, "metre", 0.3048), (0, 0)),
    ):
        grid = Grid(lattice, corner[1] - 1, corner[0] - 1, 12, 12)
        width, height = grid.ground_resolution()
        across = np.arange(12) * width * 0.1
        down = np.cumsum(np.broadcast_to(height, (12, 12)), axis=0) * 0.1
        for plane in (across, down):
            found = run("slope", plane, margin=1, corner=corner, lattice=lattice)
            assert np.allclose(found, np.degrees(np.arctan(0.1)), rtol=1e-3)


def test_small_steps_on_high_ground_are_kept(run) -> None:
    """Float32 heights near 8,000 m, 1 mm apart each: nothing is lost by adding them up first."""
    heights = (8000 + np.arange(12) * 0.0009765625)[np.newaxis].repeat(12, axis=0).astype("float32")
    found = run("slope", heights, margin=1, lattice=Lattice("EPSG:32633", 1.0, 1.0, 0.0, 0.0))
    assert np.allclose(found, np.degrees(np.arctan(0.0009765625)), rtol=1e-4)


def test_one_band_in_metres(profile, three) -> None:
    found = profile("slope", "int16")
    assert (found.names, found.dtype, found.unit, found.range) == (("slope",), "float32", "degree", (0, 90))
    with pytest.raises(BandError, match="red, green, blue"):
        profile("slope", three)
    with pytest.raises(ParameterError, match="greater than 0"):
        registry()["slope"](z_factor=0)


def test_sampling_is_smooth() -> None:
    slope = registry()["slope"]()
    assert [slope.sampling(asked) for asked in (None, "nearest", "cubic")] == [
        "bilinear",
        "bilinear",
        "cubic",
    ]
