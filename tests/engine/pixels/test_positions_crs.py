"""The error of positions over coordinate systems of all kinds, against PROJ for every pixel."""

from __future__ import annotations

import functools
import math

import numpy as np
import pyproj
import pytest

from geoloom.grid import EARTH_RADIUS, MERCATOR_EXTENT, Lattice
from geoloom_engine.positions import Coarse, Geometry, coarse, turn
from geoloom_engine.runs import CELL, lines

WORST = 0.05
"""Source pixels."""

MODIS = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
METEOSAT = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84 +units=m +no_defs"

# CRS, pixel size in its units, places (longitude, latitude)
SYSTEMS: dict[str, tuple[str, float, tuple[tuple[float, float], ...]]] = {
    "UTM 1N": ("EPSG:32601", 10, ((-177, 5), (-179.9, 60))),
    "UTM 33N": ("EPSG:32633", 10, ((15, 45), (11.9, 83))),
    "UTM 60N": ("EPSG:32660", 10, ((177, 20), (179.95, 70))),
    "UTM 33S": ("EPSG:32733", 30, ((15, -45),)),
    "UTM, NAD27": ("EPSG:26715", 30, ((-93, 45),)),
    "polar stereographic, north": ("EPSG:3413", 100, ((-45, 75), (170, 82))),
    "polar stereographic, south": ("EPSG:3031", 500, ((0, -70), (123, -83))),
    "universal polar stereographic": ("EPSG:32661", 100, ((10, 84),)),
    "LAEA Europe": ("EPSG:3035", 20, ((10, 52), (-9, 38), (30, 70))),
    "Albers, USA": ("EPSG:5070", 30, ((-96, 40), (-122, 47))),
    "Albers, Australia": ("EPSG:3577", 25, ((134, -25),)),
    "Lambert conic, France": ("EPSG:2154", 5, ((3, 46.5),)),
    "Lambert conic, Canada": ("EPSG:3979", 250, ((-95, 60), (-60, 80))),
    "Lambert conic, Belgium": ("EPSG:31370", 10, ((4.5, 50.5),)),
    "British grid": ("EPSG:27700", 10, ((-2, 54),)),
    "Dutch grid": ("EPSG:28992", 0.5, ((5.5, 52),)),
    "Swiss grid": ("EPSG:2056", 2, ((8, 47),)),
    "Polish grid": ("EPSG:2180", 10, ((19, 52),)),
    "Swedish grid": ("EPSG:3006", 10, ((16, 62),)),
    "New Zealand": ("EPSG:2193", 10, ((173, -41),)),
    "Krovak": ("EPSG:5514", 10, ((15.5, 50),)),
    "EASE-Grid 2.0": ("EPSG:6933", 1000, ((20, 10), (-120, 70))),
    "sinusoidal": ("ESRI:54008", 500, ((20, 20), (-150, 55))),
    "sinusoidal, MODIS": (MODIS, 463.3127165, ((10, 50), (100, -30))),
    "Mollweide": ("ESRI:54009", 1000, ((20, 20), (-100, 65))),
    "Robinson": ("ESRI:54030", 1000, ((20, 20), (120, -50))),
    "geostationary": (METEOSAT, 3000, ((0, 0), (40, 50))),
    "Web Mercator": ("EPSG:3857", 30, ((10, 50),)),
    "Mercator, Pacific": ("EPSG:3832", 100, ((179.9, -10),)),
    "degrees": ("EPSG:4326", 0.0003, ((10, 50), (-70, 80), (179.99, -20))),
    "degrees, NAD27": ("EPSG:4267", 0.0003, ((-93, 45),)),
}
CASES = [(name, lon, lat) for name, (_, _, places) in SYSTEMS.items() for lon, lat in places]
SIZE = 4096


@functools.cache
def transformer(source: str, target: str) -> pyproj.Transformer:
    """PROJ's way from one system to another: finding it takes longer than a tile."""
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def scene(crs: str, pixel: float, lon: float, lat: float, turned: float) -> Geometry:
    """A source round a place; its pixels stand on a corner by `turned` degrees."""
    x, y = transformer("OGC:CRS84", crs).transform(lon, lat)
    c, s = pixel * math.cos(math.radians(turned)), pixel * math.sin(math.radians(turned))
    half = SIZE / 2
    return Geometry(crs, (x - (c + s) * half, c, s, y - (s - c) * half, s, -c), SIZE, SIZE)


def interpolated(found: Coarse) -> np.ndarray:
    """Positions (2, rows, cols) of all pixels of some cells, by the loops' own formula."""
    rows, cols = found.slots.shape
    line, t = np.empty((2, 3, cols + 1)), np.arange(CELL)
    at = np.empty((2, rows * CELL, cols * CELL))
    for r in range(rows * CELL):
        lines(found.nodes, r // CELL, r % CELL, 0, cols, line)
        a, d, q = line[:, :, :-1].swapaxes(0, 1)[..., np.newaxis]
        with np.errstate(invalid="ignore"):
            at[:, r] = (a + (d + q * t) * t).reshape(2, -1)
    for i, j in np.argwhere(found.slots >= 0):
        at[:, i * CELL : (i + 1) * CELL, j * CELL : (j + 1) * CELL] = found.exact[:, found.slots[i, j]]
    return at


@functools.lru_cache(maxsize=3)
def projected(lattice: Lattice, crs: str, cells: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Centres of all pixels of some cells (row, col, rows, cols), by PROJ; alike for scenes turned anyhow."""
    first_row, first_col, rows, cols = cells
    col = first_col * CELL + np.arange(cols * CELL) + 0.5
    row = first_row * CELL + np.arange(rows * CELL) + 0.5
    x, y = np.meshgrid(lattice.x0 + col * lattice.dx, lattice.y0 - row * lattice.dy)
    x, y = transformer("EPSG:3857", crs).transform(x, y)
    return x, y


def by_proj(lattice: Lattice, geometry: Geometry, found: Coarse, factor: float) -> np.ndarray:
    """The same by PROJ for each pixel, and rasterio's way to invert a transform."""
    x, y = projected(lattice, geometry.crs, (found.row, found.col, *found.slots.shape))
    x0, a, b, y0, d, e = geometry.transform
    around = turn(geometry.crs)
    if around is not None:
        middle = x0 + (a + b) * SIZE / 2
        x = x - np.round((x - middle) / around.period) * around.period
    return (
        np.linalg.solve([[a, b], [d, e]], np.stack([x - x0, y - y0]).reshape(2, -1)).reshape(2, *x.shape)
        * factor
    )


@pytest.mark.parametrize(("name", "lon", "lat"), CASES)
@pytest.mark.parametrize("larger", [1, 60])
def test_positions_are_right_to_a_twentieth_of_a_pixel(
    name: str, lon: float, lat: float, larger: int
) -> None:
    """At pixels of a usual size, and at some so large (up to 3 km) that projections bend between nodes."""
    crs, pixel, _ = SYSTEMS[name]
    metres = pixel * (111_320 if pyproj.CRS(crs).is_geographic else 1)
    grown = max(1.0, min(larger, 3000 / metres))
    pixel, metres = pixel * grown, metres * grown
    # Web Mercator's pixels at this latitude are as large as the source's.
    even = max(math.log2(2 * MERCATOR_EXTENT / 256 * math.cos(math.radians(lat)) / metres), 3)
    tested = 0
    for turned in (0.0, 33.0):
        geometry = scene(crs, pixel, lon, lat, turned)
        for zoom, factor in ((round(even) + 3, 1.0), (round(even), 1.0), (round(even) - 3, 0.125)):
            error = errors(geometry, lon, lat, zoom, factor)
            tested += error.size
            assert error.max(initial=0.0) <= WORST
    assert larger > 1 or tested > 2 * 3 * 20_000


def errors(geometry: Geometry, lon: float, lat: float, zoom: int, factor: float) -> np.ndarray:
    """How far off the pixels in the source are, round a place; none of them may be taken for missing."""
    lattice = Lattice.web_mercator(zoom)
    col = (math.radians(lon) * EARTH_RADIUS - lattice.x0) / lattice.dx
    row = (lattice.y0 - EARTH_RADIUS * math.asinh(math.tan(math.radians(lat)))) / lattice.dy
    size = round(SIZE * factor)
    around = turn(geometry.crs)
    step = math.hypot(geometry.transform[1], geometry.transform[4])
    period = None if around is None else around.period / step * factor
    last = (256 << zoom) // CELL - 16
    first = min(max(int(row) // CELL - 8, 0), last), min(max(int(col) // CELL - 8, 0), last)
    found = coarse(lattice, geometry, (size, size), (*first, 16, 16), period)
    ours, truth = interpolated(found), by_proj(lattice, geometry, found, factor)
    if period is not None and geometry.transform[2] == 0.0:
        ours[0] += np.round((truth[0] - ours[0]) / period) * period
    missing = np.repeat(np.repeat(found.slots == -2, CELL, 0), CELL, 1)
    inside = ((truth >= 0) & (truth < size)).all(axis=0)
    assert not (inside & missing).any()
    error: np.ndarray = np.hypot(*(ours - truth))[inside]
    return error
