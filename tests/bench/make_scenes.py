"""Makes two scenes like Sentinel-2's: the same bytes of pixels on every machine.

Runs in the benchmark's own environment (numpy, opencv, rasterio): ``python make_scenes.py FOLDER --size
5490``.

Two neighbours of EPSG:32633 that overlap by a tenth or so of their width, as those of the MGRS do: 10 m
bands B02, B03, B04, B08, each a cloud-optimised GeoTIFF (blocks of 512, DEFLATE, predictor 2, averaged
overviews, nodata 0), and all four in one file. The surface is made of fields with a vegetation cover
each, over fractal soils, with the noise of a sensor, so that the files are as hard to compress as real
ones; each scene ends at a slanted swath.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.shutil import copy as copy_raster
from rasterio.transform import from_origin

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint16]

FULL = 10980
CRS = "EPSG:32633"
WEST, NORTH, PIXEL = 399960, 5600040, 10
STRIP = 512
GIGABYTES = {10980: 8.0, 5490: 2.5, 2745: 1.0}
"""Memory that scenes of a size take while they are made."""

# Reflectance × 10,000 of full vegetation and of bare soil, strength of the soil's texture, the noise.
BANDS = {
    "B02": (420, 520, 90, 16),
    "B03": (650, 500, 110, 18),
    "B04": (480, 1350, 160, 20),
    "B08": (3700, 2000, 330, 38),
}


def main() -> None:
    """Make the scenes and, last, the file that says they are complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--size", type=int, default=0, help="pixels a side; 0 takes the largest that fits memory"
    )
    asked = parser.parse_args()
    size = asked.size or largest()
    begun = time.monotonic()
    landscape = Landscape(size)
    for number in (1, 2):
        folder = asked.folder / f"S{number}"
        folder.mkdir(parents=True, exist_ok=True)
        stack = np.empty((len(BANDS), size, size), np.uint16)
        for place, band in enumerate(BANDS):
            stack[place] = landscape.band(band, number)
            write(folder / f"{band}.tif", stack[place : place + 1], number, (band,))
        write(folder / "stack4.tif", stack, number, tuple(BANDS))
        elapsed = time.monotonic() - begun
        sys.stderr.write(f"bench: scene {number} of {size} × {size} pixels is made after {elapsed:.0f} s\n")
    (asked.folder / "scenes.json").write_text(json.dumps({"size": size, "bands": list(BANDS)}) + "\n")


def largest() -> int:
    """The largest size that the machine's free memory can make."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return next((size for size, needed in GIGABYTES.items() if needed < 0.8 * free), min(GIGABYTES))


def overlap(size: int) -> int:
    """Pixels that both scenes show: 980 of 10,980."""
    return 980 * size // FULL


class Landscape:
    """The ground under both scenes: vegetation cover 0 to 1 and soil brightness about 0, (rows, cols)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.shape = (size, 2 * size - overlap(size))
        fields = np.random.default_rng(101)
        of_cover, of_soil = (fields.standard_normal(1 << 16, dtype=np.float32) for _ in range(2))
        self.cover = fractal(self.shape, np.random.default_rng(102), base=6, persistence=0.55)
        self.soil = fractal(self.shape, np.random.default_rng(103), base=12, persistence=0.60)
        for rows, names in parcels(self.shape):
            cover = 1.1 * self.cover[rows] + of_cover[names]
            self.cover[rows] = 1 / (1 + np.exp(-cover))
            self.soil[rows] = 0.55 * self.soil[rows] + 0.6 * of_soil[names]

    def band(self, name: str, number: int) -> Counts:
        """What a scene's sensor counts in a band, 0 outside its swath."""
        green, bare, texture, noise = BANDS[name]
        first = (number - 1) * (self.size - overlap(self.size))
        there = slice(first, first + self.size)
        counts = np.empty((self.size, self.size), np.uint16)
        cols = np.arange(self.size, dtype=np.float32)
        for top in range(0, self.size, STRIP):
            rows = slice(top, min(top + STRIP, self.size))
            # Both scenes see the same ground, and each its own noise.
            sensor = np.random.default_rng([104, number, list(BANDS).index(name), top])
            cover = self.cover[rows, there]
            light = bare + (green - bare) * cover + texture * self.soil[rows, there]
            light += noise * sensor.standard_normal(cover.shape, dtype=np.float32)
            if number == 2:  # another day's atmosphere
                light = light * 1.02 + 15
            down = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
            swath = (
                cols + down / 4 >= 0.12 * self.size if number == 1 else cols - down / 5 <= 0.93 * self.size
            )
            counts[rows] = np.clip(light, 1, 12000) * swath
        return counts


def fractal(shape: tuple[int, int], random: np.random.Generator, base: int, persistence: float) -> Floats:
    """Noise of doubling frequencies and falling strength, of variance 1."""
    rows, cols = shape
    total = np.zeros(shape, np.float32)
    strength, power, cells = 1.0, 0.0, base
    for _ in range(9):
        grid = random.standard_normal((min(rows, cells), min(cols, cells * cols // rows)), dtype=np.float32)
        total += strength * cv2.resize(grid, (cols, rows), interpolation=cv2.INTER_CUBIC)
        power += strength**2
        strength *= persistence
        cells *= 2
        if cells > 2 * rows:
            break
    total /= np.float32(np.sqrt(power))
    return total


def parcels(shape: tuple[int, int], cell: int = 38) -> Iterator[tuple[slice, npt.NDArray[np.int32]]]:
    """The field each pixel belongs to, 0 to 65,535, strip by strip: a turned grid with wavy edges."""
    rows, cols = shape
    east = np.arange(cols, dtype=np.float32)[None]
    for top in range(0, rows, STRIP):
        strip = slice(top, min(top + STRIP, rows))
        south = np.arange(strip.start, strip.stop, dtype=np.float32)[:, None]
        along = 0.93 * east + 0.36 * south + 9 * np.sin(south / 71)
        across = 0.93 * south - 0.36 * east + 7 * np.sin(east / 53)
        lane, field = (across // cell).astype(np.int32), (along // (1.9 * cell)).astype(np.int32)
        yield strip, (lane * np.int32(1000003) + field) & 0xFFFF


def write(path: Path, pixels: Counts, number: int, names: tuple[str, ...]) -> None:
    """A cloud-optimised GeoTIFF of (bands, rows, cols)."""
    plain = path.with_suffix(".plain.tif")
    bands, rows, cols = pixels.shape
    west = WEST + (number - 1) * (cols - overlap(cols)) * PIXEL
    options = {
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "interleave": "pixel" if bands > 1 else "band",
    }
    with rasterio.open(
        plain,
        "w",
        driver="GTiff",
        width=cols,
        height=rows,
        count=bands,
        dtype="uint16",
        crs=CRS,
        transform=from_origin(west, NORTH, PIXEL, PIXEL),
        nodata=0,
        **options,
    ) as raster:
        raster.write(pixels)
        raster.descriptions = names
    copy_raster(
        plain,
        path,
        driver="COG",
        COMPRESS="DEFLATE",
        LEVEL="6",
        PREDICTOR="2",
        BLOCKSIZE="512",
        OVERVIEW_RESAMPLING="AVERAGE",
        NUM_THREADS="ALL_CPUS",
    )
    plain.unlink()


if __name__ == "__main__":
    main()
