"""Makes a scene of farmland after the harvest, some of whose fields have been burnt.

It looks like Sentinel-2 (red, red edge, near and short-wave infrared, reflectance × 10,000, 20 m, clouds,
a slanted edge of the swath) but is made up: no satellite saw it, and the place it lies at does not look
so. The same pixels come out on every machine::

    python tools/make_fields.py notebooks/data/fields.tif
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from osgeo import gdal, osr
from scipy import ndimage

gdal.UseExceptions()

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SIZE = 512
"""Pixels a side, of 20 m. The ground is made at 10 m, so that pixels on borders are mixed."""

WEST, NORTH = 666_800, 4_897_020
CRS = "EPSG:32634"
BANDS = ("B04", "B06", "B08", "B11")

# Reflectance × 10,000 in each of the bands.
COVERS: dict[str, tuple[int, int, int, int]] = {
    "stubble": (1750, 2300, 2750, 3500),
    "ploughed": (1150, 1550, 1800, 2650),
    "maize": (430, 2300, 3700, 1850),
    "sunflower": (900, 1900, 2550, 2450),
    "alfalfa": (350, 3000, 4500, 2050),
    "wood": (290, 1750, 2950, 1350),
    "village": (1500, 1900, 2250, 2350),
    "track": (1650, 2050, 2350, 2950),
    "road": (1250, 1450, 1550, 1950),
    "water": (520, 380, 300, 140),
    "ash": (620, 800, 930, 1320),
    "cloud": (6200, 6400, 6500, 4700),
}
CROPS = ("stubble", "ploughed", "maize", "sunflower", "alfalfa")
SHARES = (0.42, 0.16, 0.18, 0.15, 0.09)
BURNT = 0.3
"""Share of the stubble fields that have been burnt."""

NOISE = 6.0
"""Of the sensor, in the unit of the bands."""


def digest() -> str:
    """Names this version of the script; the file it makes carries it."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def fractal(random: np.random.Generator, shape: tuple[int, int], cells: int, persistence: float) -> Floats:
    """Noise of doubling frequencies and falling strength, of mean 0 and deviation 1."""
    total = np.zeros(shape)
    strength = 1.0
    while cells < min(shape):
        grid = random.standard_normal((cells + 3, cells + 3))
        rows, cols = (np.linspace(1, cells + 1, length) for length in shape)
        places = np.broadcast_arrays(rows[:, None], cols[None, :])
        total += strength * ndimage.map_coordinates(grid, places, order=3)
        strength *= persistence
        cells *= 2
    centred: Floats = (total - total.mean()) / total.std()
    return centred


@dataclass(frozen=True, slots=True)
class Parcels:
    """Fields: a number for each pixel's own, and how far in metres it is to the nearest border."""

    number: npt.NDArray[np.int64]
    border: Floats
    count: int


def parcels(random: np.random.Generator, x: Floats, y: Floats) -> Parcels:
    """Divide the land: estates around seeds, each with rows of fields in a direction of its own."""
    seeds = random.uniform(x.min(), x.max(), (8, 2))
    away = np.stack([np.hypot(x - east, y - north) for east, north in seeds])
    estate = away.argmin(axis=0)
    nearest = np.sort(away, axis=0)
    border = (nearest[1] - nearest[0]) / 2
    number = np.zeros(x.shape, np.int64)
    count = 0
    for one in range(len(seeds)):
        here = estate == one
        angle = random.uniform(-0.6, 0.6)
        u = x[here] * np.cos(angle) + y[here] * np.sin(angle)
        v = y[here] * np.cos(angle) - x[here] * np.sin(angle)
        height = random.uniform(420, 760)
        row = np.floor(v / height).astype(int)
        inner = height / 2 - np.abs(v - (row + 0.5) * height)
        column = np.zeros_like(row)
        for each in np.unique(row):
            inside = row == each
            edges = (
                np.cumsum(random.choice([180, 260, 380, 520, 800], 120)) + u.min() - random.uniform(0, 800)
            )
            column[inside] = np.searchsorted(edges, u[inside])
            beside = np.abs(u[inside][:, None] - edges[None, :]).min(axis=1)
            inner[inside] = np.minimum(inner[inside], beside)
        border[here] = np.minimum(border[here], inner)
        _, names = np.unique(row * 1000 + column, return_inverse=True)
        number[here] = names + count
        count += int(names.max()) + 1
    return Parcels(number, border, count)


def blended(ground: Floats, cover: str, share: Floats | Mask) -> Floats:
    """The ground (bands, rows, cols) with a share 0 to 1 of it under something else."""
    colour = np.array(COVERS[cover], float)[:, None, None]
    mixed: Floats = ground + (colour - ground) * share
    return mixed


def landscape(random: np.random.Generator) -> Floats:
    """Reflectance of the ground at 10 m, (bands, rows, cols)."""
    side = 2 * SIZE
    y, x = np.mgrid[0:side, 0:side] * 10.0
    shape = (side, side)
    fields = parcels(random, x, y)
    crop = random.choice(len(CROPS), fields.count, p=SHARES)
    colours = np.array([COVERS[name] for name in CROPS], float)[crop]
    colours *= 1 + 0.09 * random.standard_normal((fields.count, 1))
    colours *= 1 + 0.03 * random.standard_normal((fields.count, len(BANDS)))
    ground = colours[fields.number].transpose(2, 0, 1)
    soil = fractal(random, shape, 8, 0.55)
    ground *= 1 + 0.055 * soil
    ground = blended(ground, "ash", burnt(random, fields, crop, x, y, soil))
    ground = blended(ground, "track", 0.7 * (fields.border < 9))
    ground = blended(ground, "wood", (fields.border < 14) & (fractal(random, shape, 6, 0.5) > 1.35))

    mottled = fractal(random, shape, 160, 0.7)
    for east, north, reach in ((3100, 6700, 720), (7400, 2500, 560)):
        inside = np.hypot(x - east, y - north) + 210 * soil < reach
        ground = np.where(inside, blended(ground, "village", 0.85) * (1 + 0.17 * mottled), ground)
    for slope, start in ((0.47, 5100), (-1.9, 13000)):
        ground = blended(ground, "road", np.abs(y - slope * x - start) / np.hypot(1, slope) < 9)
    for middle, reach in (((2100, 1900), 900), ((9000, 8500), 1000)):
        inside = np.hypot(x - middle[0], (y - middle[1]) * 1.3) + 330 * soil < reach
        ground = np.where(inside, blended(ground, "wood", 0.94) * (1 + 0.08 * mottled), ground)

    course = 8800 + 600 * np.sin(x / 1400) + 200 * np.sin(x / 430 + 1)
    across = np.abs(y - course)
    ground = np.where(across + 60 * mottled < 190, blended(ground, "wood", 0.9) * (1 + 0.1 * mottled), ground)
    ground = blended(ground, "water", np.clip((75 - across) / 10, 0, 1))
    pond = np.hypot((x - 5300) / 1.7, y - 1350) + 60 * soil
    return blended(ground, "water", np.clip((270 - pond) / 15, 0, 1))


def burnt(
    random: np.random.Generator,
    fields: Parcels,
    crop: npt.NDArray[np.int64],
    x: Floats,
    y: Floats,
    patches: Floats,
) -> Floats:
    """Share of the ground under ash: whole fields, and some the fire has crossed in part."""
    share = np.zeros(x.shape)
    stubble = np.flatnonzero(crop == CROPS.index("stubble"))
    for one in random.permutation(stubble)[: round(BURNT * len(stubble))]:
        here = fields.number == one
        if not 4 * 400 < here.sum():
            continue
        angle = random.uniform(0, 2 * np.pi)
        along = x[here] * np.cos(angle) + y[here] * np.sin(angle) + 40 * patches[here]
        far = np.quantile(along, random.choice([1.0, 1.0, random.uniform(0.35, 0.8)]))
        front = np.clip((far - along) / 25 + 0.5, 0, 1)
        # A ploughed strip along the border keeps the fire in; tongues of straw were too thin to burn.
        strip = np.clip((fields.border[here] - 10) / 10, 0, 1)
        share[here] = front * strip * np.clip(0.95 + 0.045 * patches[here], 0, 1)
    return share


def seen(random: np.random.Generator, ground: Floats) -> npt.NDArray[np.uint16]:
    """What the sensor counts at 20 m, (bands, rows, cols): with clouds and noise, and 0 outside the swath."""
    blurred = ndimage.gaussian_filter(ground, (0, 0.8, 0.8))
    pixels = blurred.reshape(len(BANDS), SIZE, 2, SIZE, 2).mean(axis=(2, 4))
    rows, cols = np.mgrid[0:SIZE, 0:SIZE]
    thick = fractal(random, (SIZE, SIZE), 14, 0.6) - 0.6 - np.hypot(cols - 460, rows - 455) / 80
    cloud = np.clip(1.6 * thick + 1.1, 0, 1)
    shadow = ndimage.gaussian_filter(np.roll(cloud, (-22, -17), axis=(0, 1)), 1.2)
    pixels = blended(pixels * (1 - 0.45 * shadow), "cloud", cloud)
    pixels += NOISE * random.standard_normal(pixels.shape)
    counts = np.clip(np.rint(pixels), 1, 12000).astype(np.uint16)
    counts[:, cols + 0.22 * rows < 62] = 0
    return counts


def write(path: Path, counts: npt.NDArray[np.uint16]) -> None:
    """A cloud-optimised GeoTIFF with nodata 0."""
    bands, rows, cols = counts.shape
    made = gdal.GetDriverByName("MEM").Create("", cols, rows, bands, gdal.GDT_UInt16)
    made.SetProjection(osr.GetUserInputAsWKT(CRS))
    made.SetGeoTransform((WEST, 20, 0, NORTH, 0, -20))
    made.SetMetadataItem(
        "TIFFTAG_IMAGEDESCRIPTION", "Made up: farmland with burnt fields. Not a satellite's."
    )
    made.SetMetadataItem("MADE_BY", digest())
    for number, name in enumerate(BANDS, 1):
        band = made.GetRasterBand(number)
        band.SetDescription(name)
        band.SetNoDataValue(0)
        band.WriteArray(counts[number - 1])
    options = ["BLOCKSIZE=256", "COMPRESS=DEFLATE", "LEVEL=9", "PREDICTOR=2", "OVERVIEW_RESAMPLING=AVERAGE"]
    partial = path.with_name(f"{path.name}.part")
    gdal.GetDriverByName("COG").CreateCopy(str(partial), made, options=options).FlushCache()
    partial.replace(path)


def main(path: Path) -> None:
    """Make the scene."""
    random = np.random.default_rng(20_160_713)
    write(path, seen(random, landscape(random)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
