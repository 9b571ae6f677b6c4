"""Mosaics and composites of many dates of one place, beside TiTiler's mosaic backend.

The dates are made up: fields under clouds that hide 60 % of each date, so that the first valid pixel lies a
few scenes deep and a median has to look at all of them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from osgeo import gdal, osr
from PIL import Image as Picture
from pyproj import Transformer

from bench import servers
from bench.cases import TILE
from bench.contest import Contender, Effort, contest, fetched
from bench.measure import Failed, paths
from bench.report import Finding
from bench.servers import Server
from geoloom import per_item
from geoloom.grid import Tile
from geoloom.image import Image
from geoloom.selection import Asset, Item, SelectedBand, Selection

if TYPE_CHECKING:
    from bench.further import Arena

gdal.UseExceptions()

SECTION = "Mosaics and composites"
DATES = 100
SIZE = 1024
CLEAR = 0.4
CRS, WEST, NORTH, PIXEL = 32633, 600_000, 5_600_000, 10
ZOOM = 14
DAY = 86_400.0
LIMITS = (0, 6000)

ALIKE, ALIKE_STEPS = 0.9, 6
"""Share of pixels that must be the same in both pictures, and steps of 255 that count as the same: TiTiler
picks other pixels than the nearest for some, and dates differ where those are cloudy."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many dates lie over each other, and what is made of them."""

    name: str
    dates: int
    how: str
    least: float | None = None


DEPTHS = (
    Depth("a mosaic 1 deep", 1, "first"),
    Depth("a mosaic 10 deep", 10, "first"),
    Depth("a mosaic 100 deep", 100, "first"),
    Depth("a median composite of 50 dates", 50, "median"),
)


def make_dates(folder: Path, count: int = DATES, size: int = SIZE) -> list[Path]:
    """Cloud-optimised GeoTIFFs of one band, one a date; those that are there are left."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.tif" for number in range(count)]
    fields = np.random.default_rng(7).uniform(800, 4500, (size // 16 + 1,) * 2)
    ground = np.kron(fields, np.ones((16, 16)))[:size, :size]
    for number, path in enumerate(paths):
        if path.exists():
            continue
        random = np.random.default_rng([8, number])
        seen = ground * (1 + 0.2 * math.sin(number / 6)) + 12 * random.standard_normal((size, size))
        clouds = np.kron(random.standard_normal((size // 64 + 1,) * 2), np.ones((64, 64)))[:size, :size]
        counts = np.clip(seen, 1, 12_000).astype(np.uint16)
        counts[clouds > np.quantile(clouds, CLEAR)] = 0
        _write(path, counts)
    return paths


def _write(path: Path, counts: np.ndarray) -> None:
    rows, cols = counts.shape
    made = gdal.GetDriverByName("MEM").Create("", cols, rows, 1, gdal.GDT_UInt16)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(CRS)
    made.SetSpatialRef(reference)
    made.SetGeoTransform((WEST, PIXEL, 0, NORTH, 0, -PIXEL))
    made.GetRasterBand(1).SetNoDataValue(0)
    made.GetRasterBand(1).WriteArray(counts)
    options = ["BLOCKSIZE=512", "COMPRESS=DEFLATE", "PREDICTOR=2", "OVERVIEW_RESAMPLING=NEAREST"]
    partial = path.with_suffix(".part")
    gdal.GetDriverByName("COG").CreateCopy(str(partial), made, options=options).FlushCache()
    partial.replace(path)


def selection(files: Sequence[Path], size: int = SIZE) -> Selection:
    """The dates as a catalogue would have selected them."""
    move = Transformer.from_crs(CRS, 4326, always_xy=True)
    corners = [(WEST + right * size * PIXEL, NORTH - down * size * PIXEL) for right, down in _CORNERS]
    outline = shapely.Polygon([move.transform(*corner) for corner in corners])
    transform = (float(WEST), float(PIXEL), 0.0, float(NORTH), 0.0, float(-PIXEL))
    items = [
        Item(
            path.stem,
            1.46e9 + number * DAY,
            outline,
            (Asset(str(path), ((0, 0),), "", f"EPSG:{CRS}", transform, (size, size)),),
            float(PIXEL),
        )
        for number, path in enumerate(files)
    ]
    return Selection.of("dates", [SelectedBand("b1", "uint16", 0.0, resampling="nearest")], items)


_CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))


def image(files: Sequence[Path], how: str, size: int = SIZE) -> Image:
    """The engine's chain."""
    chosen = selection(files, size)
    made: Image = per_item.composite(per_item.item(chosen), chosen, how)
    shown: Image = made.scale(*LIMITS).colormap("viridis")
    return shown


def titiler(files: Sequence[Path], how: str) -> str:
    """TiTiler's path; the list of files stands in it, which is less work than a MosaicJSON."""
    looks = f"rescale={LIMITS[0]},{LIMITS[1]}&colormap_name=viridis&pixel_selection={how}"
    return f"/mosaic/{TILE}?url={','.join(map(str, files))}&{looks}"


def tiles(zoom: int = ZOOM, size: int = SIZE) -> list[Tile]:
    """All tiles that lie wholly within the dates."""
    move = Transformer.from_crs(CRS, 4326, always_xy=True)
    (lon0, lat0), (lon1, lat1) = (
        move.transform(WEST + share * size * PIXEL, NORTH - share * size * PIXEL) for share in (0.06, 0.94)
    )
    first, last = Tile.at(lon0, lat0, zoom), Tile.at(lon1, lat1, zoom)
    return [Tile(zoom, x, y) for y in range(first.y + 1, last.y) for x in range(first.x + 1, last.x)] or [
        Tile.at((lon0 + lon1) / 2, (lat0 + lat1) / 2, zoom)
    ]


def deep(arena: Arena) -> Iterator[Finding]:
    """Mosaics of 1, 10 and 100 dates and a median of 50: processor time a tile, warm and cold."""
    files = make_dates(arena.effort.data / "dates")
    with servers.engine("engine cold", servers.COLD, arena.effort.data) as cold:
        engines = {"warm": arena.warm, "cold": cold}
        for depth in DEPTHS:
            yield from compared(depth, files, arena.peer, engines, arena.effort)


def compared(
    depth: Depth,
    files: Sequence[Path],
    peer: Server | None,
    engines: Mapping[str, Server],
    effort: Effort,
    size: int = SIZE,
    zoom: int = ZOOM,
) -> Iterator[Finding]:
    """The findings of one depth.

    Raises
    ------
    Failed
        If the pictures differ, or a server does not do its work.
    """
    chosen = files[: depth.dates]
    asked = tiles(zoom, size)
    chain = image(chosen, depth.how, size).chain
    contenders = {}
    if peer is not None:
        contenders["titiler"] = Contender(peer, paths(titiler(chosen, depth.how), asked), len(asked))
    for name, server in engines.items():
        template = server.known.register(chain).tiles
        repeats = 1 if name == "cold" else effort.repeats
        contenders[name] = Contender(server, paths(template, asked), len(asked) * repeats, "computed")
    first = {name: fetched(one.server, one.paths[0]) for name, one in contenders.items()}
    if len({first[name] for name in engines}) > 1:
        raise Failed(f"{depth.name}: cold and warm tiles differ")
    if peer is not None and (share := alike(first["titiler"], first["warm"])) < ALIKE:
        raise Failed(f"{depth.name}: only {share:.1%} of the pixels are as TiTiler's")
    found = contest(contenders, effort.rounds)
    for name in engines:
        ours = found[name]
        note = f"p50 {ours.p50_ms:.1f} ms, read {ours.read_kb:.0f} kB, {ours.resident_mb:.0f} MB"
        yield Finding(f"{depth.name}, {name}", ours.cpu_ms, " ms a tile", note=note, section=SECTION)
        if peer is not None:
            theirs = found["titiler"]
            yield Finding(
                f"{depth.name}, {name}: how many times cheaper than TiTiler's",
                theirs.cpu_ms / ours.cpu_ms,
                " ×",
                least=depth.least,
                note=f"TiTiler {theirs.cpu_ms:.1f} ms, p50 {theirs.p50_ms:.1f} ms",
                section=SECTION,
            )


def alike(one: bytes, other: bytes) -> float:
    """The share of pixels that two pictures have in common."""
    first, second = (np.asarray(Picture.open(io.BytesIO(each)).convert("RGBA"), int) for each in (one, other))
    clear = (first[..., 3] == 0) & (second[..., 3] == 0)
    same = (np.abs(first - second) <= ALIKE_STEPS).all(axis=2)
    return float((clear | same).mean())
