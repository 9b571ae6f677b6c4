"""Makes twelve months of sea-surface temperature, in a low and a high resolution, as netCDF.

They look like a monthly product of satellites (packed in 16 bits, gaps over land and ice) but are made up:
warm in the tropics, following the sun, with western boundary currents, upwelling coasts, a cold tongue on
the equator and eddies, all drawn by rules of thumb. The coasts are those of Natural Earth that come with the
engine. The same values come out on every machine::

    python tools/make_ocean.py notebooks/data/ocean
"""

from __future__ import annotations

import hashlib
import io
import lzma
import sys
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import numpy.typing as npt
from osgeo import gdal, ogr

gdal.UseExceptions()

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

YEAR = 2020
ROWS, COLS = 900, 1800
"""Of the high resolution: pixels of 0.2 degrees."""

COARSER = 5
"""How many of them make a pixel of the low resolution, along a side."""

SCALE, OFFSET, FILL = 0.01, 0.0, -32768
FREEZING = -1.8
"""Of sea water, in °C; where it would be colder there is ice, and nothing is seen of the sea."""

# Lon, lat, reach in degrees east and north, °C: currents and upwelling, as far as one remembers them.
PLUMES = (
    (-72.0, 36.0, 9.0, 4.0, 4.0),
    (-55.0, 41.0, 16.0, 3.5, 4.5),
    (-25.0, 52.0, 22.0, 8.0, 4.0),
    (3.0, 66.0, 18.0, 8.0, 5.0),
    (142.0, 35.0, 8.0, 3.5, 3.5),
    (160.0, 37.0, 18.0, 3.5, 3.0),
    (155.0, -32.0, 5.0, 6.0, 2.5),
    (30.0, -34.0, 7.0, 4.0, 3.0),
    (-48.0, -34.0, 6.0, 6.0, 2.5),
    (-55.0, 48.0, 7.0, 5.0, -5.0),
    (-124.0, 37.0, 5.0, 8.0, -4.5),
    (-78.0, -14.0, 6.0, 12.0, -6.0),
    (-17.0, 22.0, 5.0, 9.0, -4.5),
    (11.0, -22.0, 5.0, 9.0, -6.0),
    (54.0, 12.0, 4.0, 5.0, -2.5),
    (-105.0, 0.0, 28.0, 2.6, -4.0),
    (-8.0, 0.0, 12.0, 2.2, -2.0),
    (135.0, 3.0, 30.0, 12.0, 1.5),
)


def digest() -> str:
    """Names this version of the script; the files it makes carry it."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def land(rows: int, cols: int) -> Mask:
    """Pixels whose centres lie on land."""
    outlines = Path(__file__).parents[1] / "tile_engine/geoloom_engine/data/outlines-50m.npz.xz"
    content = dict(np.load(io.BytesIO(lzma.decompress(outlines.read_bytes()))))
    firsts = np.cumsum(content["ring_sizes"])[:-1]
    rings = [
        np.cumsum(ring, axis=0) * content["scale"] + content["translate"]
        for ring in np.split(content["ring_steps"].astype(np.int64).T, firsts)
    ]
    drawn = gdal.GetDriverByName("MEM").Create("", cols, rows, 1, gdal.GDT_Byte)
    drawn.SetGeoTransform((-180, 360 / cols, 0, 90, 0, -180 / rows))
    shapes = ogr.GetDriverByName("MEM").CreateDataSource("")
    layer = shapes.CreateLayer("land", None, ogr.wkbPolygon)
    first = 0
    for count in content["polygon_sizes"]:
        polygon = ogr.Geometry(ogr.wkbPolygon)
        for ring in rings[first : first + count]:
            line = ogr.Geometry(ogr.wkbLinearRing)
            for lon, lat in ring:
                line.AddPoint_2D(float(lon), float(lat))
            polygon.AddGeometry(line)
        first += count
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(polygon)
        layer.CreateFeature(feature)
    gdal.RasterizeLayer(drawn, [1], layer, burn_values=[1])
    found: Mask = drawn.ReadAsArray().astype(bool)
    return found


def noise(random: np.random.Generator, shortest: float, longest: float, slope: float) -> Floats:
    """Waves of random phase between two lengths in degrees, of mean 0 and deviation 1, round the globe."""
    ky = np.fft.fftfreq(ROWS, 180 / ROWS)[:, np.newaxis]
    kx = np.fft.rfftfreq(COLS, 360 / COLS)[np.newaxis]
    k = np.hypot(kx, ky)
    inside = (k >= 1 / longest) & (k <= 1 / shortest)
    strength = np.where(inside, np.maximum(k, 1e-9) ** -slope, 0.0)
    waves: Floats = np.fft.irfft2(np.fft.rfft2(random.standard_normal((ROWS, COLS))) * strength, (ROWS, COLS))
    return waves / waves.std()


def year() -> Floats:
    """Temperatures in °C of twelve months, (12, rows, cols) from north to south; NaN on land and ice."""
    random = np.random.default_rng(20_200_116)
    lat = 90 - (np.arange(ROWS) + 0.5)[:, np.newaxis] * 180 / ROWS
    lon = -180 + (np.arange(COLS) + 0.5)[np.newaxis] * 360 / COLS
    wide = noise(random, 20, 120, 2.5)
    eddies = [noise(random, 0.9, 9, 1.4) for _ in range(2)]
    plumes, restless = np.zeros((ROWS, COLS)), np.full((ROWS, COLS), 0.35)
    for east, north, across, along, warmth in PLUMES:
        away = np.hypot(((lon - east + 180) % 360 - 180) / across, (lat - north) / along)
        plumes += warmth * np.exp(-(away**2))
        restless += 0.3 * abs(warmth) * np.exp(-((away / 1.3) ** 2))
    # The Antarctic Circumpolar Current.
    restless += 0.5 * np.exp(-(((lat + 50) / 6) ** 2))
    dry = land(ROWS, COLS)
    months = np.empty((12, ROWS, COLS))
    for month in range(12):
        # The sea follows the sun by two months; the northern one more, as land is near.
        season = -np.cos(2 * np.pi * (month + 0.5 - 1.5) / 12)
        middle = lat - 4.0 * season
        swing = season * np.sin(np.radians(2 * np.clip(lat, -45, 45))) * np.where(lat > 0, 2.9, 2.0)
        swing *= np.clip((78 - np.abs(lat)) / 20, 0, 1)
        base = -2.5 + 30.8 * np.exp(-(np.abs(middle / 48) ** 2.8)) + swing
        turn = 2 * np.pi * month / 5
        moving = np.cos(turn) * eddies[0] + np.sin(turn) * eddies[1]
        moving = np.roll(moving, -2 * month, axis=1)
        calm = base + plumes + 0.7 * wide
        # Eddies do not break the edge of the ice.
        found = np.clip(calm + restless * moving * np.clip((calm + 2) / 6, 0, 1), FREEZING, 34.0)
        found[dry | (calm < FREEZING)] = np.nan
        months[month] = found
    return months


def coarser(months: Floats) -> Floats:
    """Means of squares of pixels; where less than half is sea there is none."""
    shape = (12, ROWS // COARSER, COARSER, COLS // COARSER, COARSER)
    parts = months.reshape(shape)
    count = np.isfinite(parts).sum(axis=(2, 4))
    total = np.nansum(parts, axis=(2, 4))
    return np.where(count * 2 >= COARSER**2, total / np.maximum(count, 1), np.nan)


def write(path: Path, months: Floats, lat: Floats, lon: Floats, title: str) -> None:
    """A netCDF file by the CF conventions."""
    counts = np.where(np.isfinite(months), np.round((months - OFFSET) / SCALE), FILL).astype(np.int16)
    dates = np.array([f"{YEAR}-{month:02}-16" for month in range(1, 13)], "M8[D]")
    partial = path.with_name(f"{path.name}.part")
    with h5netcdf.File(partial, "w") as file:
        file.attrs["Conventions"] = "CF-1.11"
        file.attrs["title"] = title
        file.attrs["comment"] = "Made up: no satellite saw it."
        file.attrs["made_by"] = digest()
        file.dimensions = {"time": 12, "lat": lat.size, "lon": lon.size}
        coordinates: dict[str, tuple[Any, dict[str, str]]] = {
            "time": (
                (dates - np.datetime64("1970-01-01")).astype(np.int32),
                {"units": "days since 1970-01-01", "calendar": "standard", "standard_name": "time"},
            ),
            "lat": (lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": (lon, {"units": "degrees_east", "standard_name": "longitude"}),
        }
        for name, (values, attributes) in coordinates.items():
            file.create_variable(name, (name,), data=values).attrs.update(attributes)
        chunks = (1, min(lat.size, 225), min(lon.size, 450))
        sst = file.create_variable(
            "sst",
            ("time", "lat", "lon"),
            data=counts,
            chunks=chunks,
            fillvalue=np.int16(FILL),
            compression="gzip",
            compression_opts=6,
            shuffle=True,
        )
        sst.attrs["units"] = "degree_Celsius"
        sst.attrs["standard_name"] = "sea_surface_temperature"
        sst.attrs["long_name"] = "Sea surface temperature, monthly mean"
        sst.attrs["scale_factor"] = np.float32(SCALE)
        sst.attrs["add_offset"] = np.float32(OFFSET)
    partial.replace(path)


def main(folder: Path) -> None:
    """Make both files."""
    folder.mkdir(parents=True, exist_ok=True)
    months = year()
    lat = 90 - (np.arange(ROWS) + 0.5) * 180 / ROWS
    lon = -180 + (np.arange(COLS) + 0.5) * 360 / COLS
    write(folder / "sst_high.nc", months, lat, lon, "Sea surface temperature, 0.2 degrees")
    # As many products are: from south to north, and longitudes from 0 to 360.
    low = np.roll(coarser(months)[:, ::-1], COLS // COARSER // 2, axis=2)
    step = 360 * COARSER / COLS
    lat = -90 + (np.arange(low.shape[1]) + 0.5) * step
    lon = (np.arange(low.shape[2]) + 0.5) * step
    write(folder / "sst_low.nc", low, lat, lon, "Sea surface temperature, 1 degree")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
