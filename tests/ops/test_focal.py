"""Focal statistics, against brute force; the same bits however the window is tiled."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoloom.errors import DemandError, ParameterError
from geoloom.grid import Grid, Lattice, Tile
from geoloom.op import registry

STATISTICS = {
    "focal_mean": np.mean,
    "focal_min": np.min,
    "focal_max": np.max,
    "focal_median": np.median,
    "focal_std": np.std,
}
MERCATOR = Lattice.web_mercator(12)

each = pytest.mark.parametrize("name", STATISTICS)


def brute(image, function, radius, shape, margin, pixel=None):
    """The statistic by a loop over pixels; `pixel` gives width and height of a row's pixels."""
    rows, cols = (n - 2 * margin for n in image.shape)
    out = np.ma.masked_all((rows, cols))
    for row in range(rows):
        width, height = (1, 1) if pixel is None else pixel(row)
        for col in range(cols):
            found = []
            for i in range(-margin, margin + 1):
                for j in range(-margin, margin + 1):
                    x, y = abs(j * width), abs(i * height)
                    inside = math.hypot(x, y) <= radius if shape == "circle" else max(x, y) <= radius
                    if inside and image[row + margin + i, col + margin + j] is not np.ma.masked:
                        found.append(float(image[row + margin + i, col + margin + j]))
            if image[row + margin, col + margin] is not np.ma.masked:
                out[row, col] = function(found)
    return out


def image_of(dtype, rows, cols, gaps=0.2):
    rng = np.random.default_rng(rows * cols)
    data = rng.integers(0, 200, (rows, cols)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        data += rng.random((rows, cols)).astype(dtype)
    return np.ma.array(data, mask=rng.random((rows, cols)) < gaps)


@each
@pytest.mark.parametrize("shape", ["square", "circle"])
@pytest.mark.parametrize(("radius", "margin"), [(0.9, 0), (1, 1), (2.5, 2), (4, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_as_brute_force(run, name, shape, radius, margin, dtype) -> None:
    image = image_of(dtype, 8 + 2 * margin, 9 + 2 * margin)
    expected = brute(image, STATISTICS[name], radius, shape, margin)
    found = run(name, image, margin=margin, radius=radius, shape=shape)[0]
    assert np.array_equal(found.mask, np.ma.getmaskarray(expected))
    assert np.allclose(found.compressed(), expected.compressed(), rtol=1e-6, atol=1e-5)


@each
def test_without_gaps_and_of_several_bands(run, name) -> None:
    image = np.ma.stack([image_of("int16", 10, 11, gaps=0), image_of("int16", 11, 10, gaps=0).T])
    found = run(name, image, margin=2, radius=2)
    for band in range(2):
        expected = brute(image[band], STATISTICS[name], 2, "square", 2)
        assert np.allclose(found[band], expected, rtol=1e-6)


@each
@pytest.mark.parametrize("shape", ["square", "circle"])
def test_ground_metres(run, name, shape) -> None:
    corner = (1 << 18, 1000)
    grid = Grid(MERCATOR, corner[1], corner[0], 7, 6)
    radius = 95.0
    margin = registry()[name](radius=radius, unit="m", shape=shape).margin_on(grid)
    assert margin == math.floor(radius / grid.ground_resolution()[0].min())
    image = image_of("float32", 6 + 2 * margin, 7 + 2 * margin)
    width, height = grid.ground_resolution()
    expected = brute(
        image, STATISTICS[name], radius, shape, margin, lambda row: (width[row, 0], height[row, 0])
    )
    found = run(
        name, image, margin=margin, radius=radius, unit="m", shape=shape, corner=corner, lattice=MERCATOR
    )[0]
    assert np.allclose(found.compressed(), expected.compressed(), rtol=1e-5, atol=1e-5)


def test_windows_widen_towards_the_poles() -> None:
    op = registry()["focal_mean"](radius=30_000, unit="m")
    margins = [op.margin_on(Tile(8, 128, y).grid()) for y in (128, 90, 60, 40)]
    assert margins == sorted(margins)
    assert margins[0] < margins[-1]
    widths = op.widths(Tile(8, 128, 90).grid())
    assert widths[0].max() > widths[-1].max()
    assert (widths.max(axis=1) >= 0).all()


def test_thirty_metres_are_three_pixels_of_ten() -> None:
    lattice = Lattice("EPSG:32633", 0.1, 0.1, 0.0, 0.0)
    assert registry()["focal_mean"](radius=0.3, unit="m").margin_on(Grid(lattice, 0, 0, 4, 4)) == 3


def test_rows_beyond_the_map_need_no_margin() -> None:
    lattice = Lattice.web_mercator(2)
    beyond = Grid(lattice, 0, -600, 8, 300)
    assert registry()["focal_mean"](radius=1e6, unit="m").margin_on(beyond) == 0


@each
@pytest.mark.parametrize(("unit", "radius"), [("pixel", 5), ("m", 400)])
@pytest.mark.parametrize("shape", ["square", "circle"])
def test_any_split_gives_the_same_bits(name, unit, radius, shape) -> None:
    from geoloom.block import Block

    op = registry()[name](radius=radius, unit=unit, shape=shape)
    whole = Grid(MERCATOR, 5000, 300_000, 40, 36)
    around = whole.expand(op.margin_on(whole) + 2)
    rng = np.random.default_rng(5)
    valid = rng.random((1, *around.shape)) > 0.1
    block = Block.of(((rng.random((1, *around.shape)) - 0.4) * 1e5).astype("float32"), valid)

    def at(grid):
        return op.compute((block.crop(grid.expand(op.margin_on(grid)).window_in(around)),), grid)

    expected = at(whole)
    for rows in (1, 7, 20):
        for cols in (1, 13, 23):
            part = Grid(MERCATOR, 5000 + cols, 300_000 + rows, 40 - cols, 36 - rows)
            found, window = at(part), part.window_in(whole)
            assert found.data.tobytes() == expected.crop(window).data.tobytes()
            assert np.array_equal(found.valid, expected.crop(window).valid)


def test_extremes_keep_64_bits(run) -> None:
    image = np.array([[2**63 - 1, 2**63 - 2, 5]] * 3, "int64")
    assert run("focal_max", image, margin=1, radius=1).item() == 2**63 - 1
    assert run("focal_min", -image, margin=1, radius=1).item() == -(2**63 - 1)


def test_std_of_equal_values_is_0(run) -> None:
    image = np.full((7, 7), 1234.567, "float32")
    assert (run("focal_std", image, margin=3, radius=3) == 0).all()


def test_dtypes(profile) -> None:
    assert profile("focal_mean", "uint8", radius=1).dtype == "float32"
    assert profile("focal_mean", "float64", radius=1).dtype == "float64"
    assert profile("focal_max", "uint8", radius=1).dtype == "uint8"
    assert profile("focal_min", "bool", radius=1).dtype == "bool"


def test_too_far() -> None:
    far = registry()["focal_mean"](radius=1e5, unit="m")
    with pytest.raises(DemandError, match=r"reaches over \d+ pixels.*at most 512.*Zoom out"):
        far.margin_on(Tile(12, 2000, 1500).grid())
    assert far.margin_on(Tile(5, 16, 12).grid()) <= 512
    with pytest.raises(ParameterError, match="At most 512"):
        registry()["focal_mean"](radius=513)
    with pytest.raises(ParameterError, match="At most 25"):
        registry()["focal_median"](radius=26)
    for params in (
        {"radius": 0},
        {"radius": -1},
        {"radius": 1, "unit": "km"},
        {"radius": 1, "shape": "star"},
    ):
        with pytest.raises(ParameterError):
            registry()["focal_mean"](**params)
