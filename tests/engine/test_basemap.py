from __future__ import annotations

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from geoloom.errors import RequestError
from geoloom.grid import Tile
from geoloom_engine.basemap import _outlines, basemap_tile

SEA, LAND = (214, 224, 231), (244, 242, 237)


def pixels(z: int, x: int, y: int, ratio: int = 1) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(basemap_tile(z, x, y, ratio))).convert("RGB")).astype(int)


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((picture == colour).all(axis=2).mean())


def test_the_world() -> None:
    world = pixels(0, 0, 0)
    assert world.shape == (256, 256, 3)
    assert 0.2 < share(world, LAND) < 0.5
    assert 0.2 < share(world, SEA) < 0.6


def test_land_and_sea() -> None:
    sahara, pacific = Tile.at(10, 23, 9), Tile.at(-130, -20, 9)
    assert share(pixels(9, sahara.x, sahara.y), LAND) > 0.9
    assert share(pixels(9, pacific.x, pacific.y), SEA) == 1.0


@pytest.mark.parametrize(
    ("lon", "lat", "z"),
    [(12.3, 45.3, 8), (-74, -50, 8), (10, 55, 9), (179.9, 68.98, 8), (104, 1, 10), (12.33, 45.43, 12)],
)
def test_four_tiles_go_together(lon: float, lat: float, z: int) -> None:
    """Drawn apart, land and sea are where they are in one picture of twice the size (full detail)."""
    x, y = Tile.at(lon, lat, z).x, Tile.at(lon, lat, z).y
    whole = np.asarray(_outlines(z, x, y, 2)).astype(int)
    parts = [[np.asarray(_outlines(z + 1, 2 * x + i, 2 * y + j, 1)) for i in (0, 1)] for j in (0, 1)]
    pasted = np.concatenate([np.concatenate(row, axis=1) for row in parts], axis=0).astype(int)
    for one, other in ((SEA, LAND), (LAND, SEA)):
        mixed = (whole == one).all(axis=2) & (pasted == other).all(axis=2)
        assert mixed.sum() == 0
    assert 0 < share(whole, LAND) < 1


def test_twice_the_pixels_show_the_same_map() -> None:
    tile = Tile.at(12.5, 42, 6)
    one, two = pixels(6, tile.x, tile.y), pixels(6, tile.x, tile.y, 2)
    assert two.shape == (512, 512, 3)
    halved = two.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.abs(one - halved).mean() < 2.5


@pytest.mark.parametrize(("z", "x", "y"), [(4, 8, 5), (5, 16, 11), (6, 33, 22), (8, 133, 91), (7, 127, 42)])
def test_no_seams(z: int, x: int, y: int) -> None:
    """Across the edge of two tiles neighbouring pixels differ as they do inside."""
    left, right = pixels(z, x, y), pixels(z, (x + 1) % 2**z, y)
    both = np.concatenate([left, right], axis=1)
    steps = np.abs(np.diff(both, axis=1)).sum(axis=2).mean(axis=0)
    assert steps[255] < 3 * steps.mean() + 1


@pytest.mark.parametrize("z", [1, 5, 12, 22, 30])
def test_corners_of_the_map_at_every_zoom(z: int) -> None:
    last = 2**z - 1
    for x, y in ((0, 0), (last, 0), (0, last), (last, last), (last // 2, last // 2)):
        assert pixels(z, x, y).shape == (256, 256, 3)


def test_the_same_bytes_in_another_process_and_order() -> None:
    tiles = [(8, 133, 91), (3, 4, 2), (6, 33, 22)]
    here = [basemap_tile(*tile) for tile in tiles]
    code = (
        "import hashlib; from geoloom_engine.basemap import _outlines, basemap_tile as b; "
        f"print([hashlib.sha256(b(*t)).hexdigest() for t in reversed({tiles})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([hashlib.sha256(data).hexdigest() for data in reversed(here)])


@pytest.mark.parametrize(("z", "x", "y"), [(0, 1, 0), (3, 0, 8), (3, -1, 0), (31, 0, 0), (-1, 0, 0)])
def test_tiles_that_do_not_exist(z: int, x: int, y: int) -> None:
    with pytest.raises(RequestError):
        basemap_tile(z, x, y)


def test_pixel_ratios_that_do_not_exist() -> None:
    with pytest.raises(RequestError, match="ratio"):
        basemap_tile(0, 0, 0, 3)
    assert pixels(0, 0, 0, 4).shape == (1024, 1024, 3)
