"""Makes a small archive of satellite scenes: one growing season over farmland at a border of UTM zones.

It looks like Sentinel-2 (blue, green, red, near infrared at 10 m, reflectance × 10,000, and the scene
classification SCL at 20 m, one file each, two overlapping tiles in zones 34 and 35, twelve dates of 2016,
clouds with shadows, slanted edges of the swath) but is made up: no satellite saw it, and the place it lies at
does not look so. Crops green and ripen, and between 13 and 23 July a field of stubble burns. The same pixels
come out on every machine::

    python tools/make_scenes.py notebooks/data/scenes
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import make_fields
import numpy as np
import numpy.typing as npt
from make_fields import Floats, fractal, parcels
from osgeo import gdal, osr
from pyproj import Transformer
from scipy import ndimage

gdal.UseExceptions()

Spectra = npt.NDArray[np.float64]

SIZE = 336
"""Pixels a side of a tile, of 10 m."""

TILES = {"34TGP": (32634, 737_600, 4_854_600), "35TKJ": (32635, 257_800, 4_854_200)}
"""EPSG code, west and north in metres."""

GROUND = (32634, 737_200, 4_855_800)
"""Where the sheet lies from which both tiles are taken."""
ROWS, COLS = 520, 840

BANDS = ("B02", "B03", "B04", "B08")
ORBIT_EDGE = "R136"
"""The orbit whose swath ends within the western tile."""

DATES = (  # day, orbit, share of the sky under clouds
    ("2016-03-25", "R093", 0.04),
    ("2016-04-14", "R093", 0.42),
    ("2016-05-04", "R093", 0.10),
    ("2016-05-24", "R093", 0.70),
    ("2016-06-13", "R093", 0.0),
    ("2016-06-26", ORBIT_EDGE, 0.28),
    ("2016-07-03", "R093", 0.07),
    ("2016-07-13", "R093", 0.0),
    ("2016-07-23", "R093", 0.02),
    ("2016-08-12", "R093", 0.24),
    ("2016-09-01", "R093", 0.52),
    ("2016-09-14", ORBIT_EDGE, 0.09),
)
FIRE = "2016-07-18"

# Reflectance × 10,000 in each of the bands.
COVERS: dict[str, tuple[int, int, int, int]] = {
    "bare": (860, 1120, 1420, 2150),
    "ploughed": (640, 830, 1020, 1600),
    "sprouting": (560, 850, 760, 2600),
    "green": (270, 560, 300, 4700),
    "heading": (360, 700, 460, 4000),
    "ripe": (760, 1260, 1610, 2850),
    "stubble": (930, 1360, 1740, 2800),
    "rape": (420, 1240, 980, 4400),
    "bloom": (420, 900, 760, 3900),
    "dry": (620, 860, 1050, 1900),
    "meadow": (380, 700, 520, 3500),
    "twigs": (430, 560, 620, 1750),
    "leaves": (210, 400, 230, 3400),
    "autumn": (290, 500, 430, 2700),
    "town": (1250, 1400, 1560, 2250),
    "road": (1080, 1190, 1290, 1700),
    "water": (560, 640, 430, 230),
    "ash": (340, 390, 440, 620),
    "cloud": (6300, 6200, 6100, 6500),
}
SEASONS: dict[str, tuple[tuple[str, str], ...]] = {
    "wheat": (
        ("03-01", "sprouting"),
        ("04-20", "green"),
        ("05-25", "heading"),
        ("06-22", "ripe"),
        ("07-05", "ripe"),
        ("07-09", "stubble"),
        ("08-20", "stubble"),
        ("09-05", "ploughed"),
    ),
    "rape": (
        ("03-01", "sprouting"),
        ("04-12", "green"),
        ("05-02", "rape"),
        ("05-20", "green"),
        ("06-15", "ripe"),
        ("06-24", "stubble"),
        ("08-05", "ploughed"),
        ("09-20", "sprouting"),
    ),
    "maize": (
        ("03-01", "ploughed"),
        ("04-25", "bare"),
        ("05-20", "sprouting"),
        ("06-25", "green"),
        ("08-05", "green"),
        ("09-20", "dry"),
    ),
    "sunflower": (
        ("03-01", "bare"),
        ("05-10", "bare"),
        ("06-10", "green"),
        ("07-05", "bloom"),
        ("08-10", "dry"),
        ("09-10", "stubble"),
    ),
    "alfalfa": (
        ("03-01", "meadow"),
        ("05-01", "green"),
        ("05-20", "sprouting"),
        ("06-20", "green"),
        ("07-05", "sprouting"),
        ("08-05", "green"),
        ("09-20", "meadow"),
    ),
    "wood": (("03-25", "twigs"), ("05-01", "leaves"), ("08-30", "leaves"), ("10-05", "autumn")),
}
CROPS = ("wheat", "rape", "maize", "sunflower", "alfalfa")
SHARES = (0.38, 0.12, 0.22, 0.17, 0.11)

NODATA, SHADOW, VEGETATION, BARE, WATER, CLOUD_MEDIUM, CLOUD_HIGH, CIRRUS = 0, 3, 4, 5, 6, 8, 9, 10
STEP = 20
"""Counts are rounded to this: what is below is noise, which would only make the files larger."""


def digest() -> str:
    """Names this version of the scripts; the archive carries it."""
    scripts = (Path(__file__), Path(make_fields.__file__))
    return hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()


def season(name: str, day: str) -> Spectra:
    """Reflectance of a crop or a wood on a day, between the stages of its year."""
    stages = SEASONS[name]
    times = [_ordinal(f"2016-{when}") for when, _ in stages]
    colours = np.array([COVERS[cover] for _, cover in stages], float)
    now = _ordinal(day)
    return np.array([np.interp(now, times, colours[:, band]) for band in range(len(BANDS))])


def _ordinal(day: str) -> int:
    return datetime.fromisoformat(day).toordinal()


@dataclass(frozen=True, slots=True)
class Land:
    """What stays the same all year: where everything is, as shares 0 to 1 of each pixel (rows, cols)."""

    field: npt.NDArray[np.int64]
    crop: npt.NDArray[np.int64]
    border: Floats
    shade: Floats
    wood: Floats
    town: Floats
    road: Floats
    water: Floats
    soil: Floats
    mottled: Floats
    fire: Floats


def land(random: np.random.Generator) -> Land:
    """Divide and cover the land."""
    # Estates are strewn over a square; the land is the upper part of it.
    down, across = np.mgrid[0:COLS, 0:COLS] * 10.0
    fields = parcels(random, across, down)
    number, border = fields.number[:ROWS], fields.border[:ROWS]
    x, y = across[:ROWS], down[:ROWS]
    crop = random.choice(len(CROPS), fields.count, p=SHARES)
    soil = fractal(random, x.shape, 8, 0.55)
    mottled = fractal(random, x.shape, 160, 0.7)
    lake = np.hypot((x - 3300) / 1.9, y - 3700) + 75 * soil
    course = 900 + 330 * np.sin(x / 1100) + 120 * np.sin(x / 370 + 1)
    river = np.abs(y - course)
    water = np.maximum(np.clip((430 - lake) / 15, 0, 1), np.clip((42 - river) / 10, 0, 1))
    wood = (river + 50 * mottled < 120) | (np.hypot(x - 6900, (y - 4000) * 1.3) + 260 * soil < 700)
    wood |= (border < 14) & (fractal(random, x.shape, 6, 0.5) > 1.4)
    town = (np.hypot(x - 5100, y - 1950) + 190 * soil < 640) | (np.hypot(x - 900, y - 2900) + 90 * soil < 300)
    road = np.zeros(x.shape)
    for slope, start in ((0.21, 880), (-3.1, 17700)):
        away = np.abs(y - slope * x - start) / np.hypot(1, slope)
        road = np.maximum(road, np.clip((13 - away) / 8, 0, 1))
    burnt, crop = _fire(number, crop)
    front = np.clip((border - 10) / 10, 0, 1) * np.clip(0.95 + 0.05 * soil, 0, 1)
    shade = 1 + 0.08 * random.standard_normal(fields.count)
    return Land(
        field=number,
        crop=crop,
        border=border,
        shade=shade,
        wood=wood * 0.94,
        town=town * 0.85,
        road=road,
        water=water,
        soil=soil,
        mottled=mottled,
        fire=burnt * front * (1 - road) * ~(wood | town),
    )


def _fire(
    number: npt.NDArray[np.int64], crop: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """The field that burns, a large one of the western tile, and the crops with wheat on it."""
    at = number[285, 175]
    sown = crop.copy()
    sown[at] = CROPS.index("wheat")
    return number == at, sown


def ground(land: Land, day: str) -> Floats:
    """Reflectance of the ground on a day, (bands, rows, cols)."""
    colours = np.stack([season(name, day) for name in CROPS])[land.crop] * land.shade[:, None]
    seen = colours[land.field].transpose(2, 0, 1) * (1 + 0.05 * land.soil)
    if day > FIRE:
        seen = _blended(seen, np.array(COVERS["ash"], float), land.fire)
    seen = _blended(seen, np.array(COVERS["bare"], float), 0.6 * (land.border < 9))
    seen = _blended(seen, season("wood", day) * 1.0, land.wood)
    seen = np.where(land.wood > 0, seen * (1 + 0.07 * land.mottled), seen)
    town = _blended(seen, np.array(COVERS["town"], float), land.town) * (1 + 0.15 * land.mottled)
    seen = np.where(land.town > 0, town, seen)
    seen = _blended(seen, np.array(COVERS["road"], float), land.road)
    return _blended(seen, np.array(COVERS["water"], float), land.water)


def _blended(seen: Floats, colour: Spectra, share: Floats | npt.NDArray[np.bool_]) -> Floats:
    mixed: Floats = seen + (colour[:, None, None] - seen) * share
    return mixed


def sky(random: np.random.Generator, share: float) -> tuple[Floats, Floats]:
    """How thick clouds are and how dark their shadows, 0 to 1, over the ground."""
    field = fractal(random, (ROWS, COLS), 5, 0.6)
    if not share:
        return np.zeros((ROWS, COLS)), np.zeros((ROWS, COLS))
    cloud = np.clip(2.2 * (field - np.quantile(field, 1 - share)) + 0.2, 0, 1)
    shadow = ndimage.gaussian_filter(np.roll(cloud, (-20, -16), axis=(0, 1)), 1.5)
    return cloud, shadow


def places(tile: str) -> tuple[Floats, Floats]:
    """Rows and columns of the ground under the centres of a tile's pixels."""
    code, west, north = TILES[tile]
    cols, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    ground_code, left, top = GROUND
    move = Transformer.from_crs(code, ground_code, always_xy=True)
    east, up = move.transform(west + 10 * cols, north - 10 * rows)
    return (top - np.asarray(up)) / 10 - 0.5, (np.asarray(east) - left) / 10 - 0.5


def classes(pixels: Floats, cloud: Floats, shadow: Floats, water: Floats) -> npt.NDArray[np.uint8]:
    """Scene classification at 20 m of pixels (bands, rows, cols) at 10 m."""
    red, infrared = pixels[2], pixels[3]
    ndvi = (infrared - red) / (infrared + red)
    found = np.where(ndvi > 0.4, VEGETATION, BARE)
    found = np.where(water > 0.5, WATER, found)
    found = np.where(shadow > 0.25, SHADOW, found)
    for least, name in ((0.04, CIRRUS), (0.25, CLOUD_MEDIUM), (0.6, CLOUD_HIGH)):
        found = np.where(cloud > least, name, found)
    return found.astype(np.uint8)


def write(
    path: Path, bands: npt.NDArray[np.generic], tile: str, tags: dict[str, str], overviews: str
) -> None:
    """A cloud-optimised GeoTIFF with nodata 0 of one band (rows, cols)."""
    rows, cols = bands.shape
    code, west, north = TILES[tile]
    pixel = 10 * SIZE / cols
    kind = gdal.GDT_Byte if bands.dtype == np.uint8 else gdal.GDT_UInt16
    made = gdal.GetDriverByName("MEM").Create("", cols, rows, 1, kind)
    made.SetProjection(osr.GetUserInputAsWKT(f"EPSG:{code}"))
    made.SetGeoTransform((west, pixel, 0, north, 0, -pixel))
    for name, value in tags.items():
        made.SetMetadataItem(name, value)
    made.GetRasterBand(1).SetNoDataValue(0)
    made.GetRasterBand(1).SetDescription(path.stem.split("_")[2])
    made.GetRasterBand(1).WriteArray(bands)
    options = ["BLOCKSIZE=128", "COMPRESS=DEFLATE", "LEVEL=6", f"OVERVIEW_RESAMPLING={overviews}"]
    if overviews == "AVERAGE":
        options.append("PREDICTOR=2")
    gdal.GetDriverByName("COG").CreateCopy(str(path), made, options=options).FlushCache()


def make(folder: Path) -> None:
    """Write every scene into a folder."""
    random = np.random.default_rng(20_160_718)
    below = land(random)
    for day, orbit, share in DATES:
        reflected = ground(below, day)
        cloud, shadow = sky(random, share)
        reflected = _blended(reflected * (1 - 0.45 * shadow), np.array(COVERS["cloud"], float), cloud)
        for tile in TILES:
            at = places(tile)
            pixels, over, dark, water = (
                np.stack([ndimage.map_coordinates(one, at, order=1, mode="nearest") for one in layers])
                for layers in (reflected, [cloud], [shadow], [below.water])
            )
            pixels += 5.0 * random.standard_normal(pixels.shape)
            counts = np.clip(np.rint(pixels / STEP) * STEP, STEP, 12_000).astype(np.uint16)
            found = classes(pixels, over[0], dark[0], water[0])[::2, ::2]
            rows, cols = np.mgrid[0:SIZE, 0:SIZE]
            outside = (cols + 0.21 * rows < 150) if (orbit, tile) == (ORBIT_EDGE, "34TGP") else cols < 0
            counts[:, outside] = 0
            found[outside[::2, ::2]] = NODATA
            covered = np.isin(found, (CLOUD_MEDIUM, CLOUD_HIGH, CIRRUS)).sum() / max(1, (found > 0).sum())
            when = datetime.fromisoformat(f"{day}T09:20:31").replace(tzinfo=UTC)
            tags = {
                "TIFFTAG_IMAGEDESCRIPTION": "Made up: farmland through a season. Not a satellite's.",
                "TIFFTAG_DATETIME": f"{when:%Y:%m:%d %H:%M:%S}",
                "CLOUD_COVERAGE_ASSESSMENT": f"{100 * covered:.2f}",
                "SENSING_ORBIT_NUMBER": orbit[1:],
            }
            stem = f"T{tile}_{when:%Y%m%dT%H%M%S}"
            for name, band in zip(BANDS, counts, strict=True):
                write(folder / f"{stem}_{name}_10m.tif", band, tile, tags, "AVERAGE")
            write(folder / f"{stem}_SCL_20m.tif", found, tile, tags, "NEAREST")


def main(folder: Path) -> None:
    """Make the archive beside its place, then put it there, so that half an archive is never seen."""
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    (partial / "MADE_BY").write_text(digest(), encoding="ascii")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
