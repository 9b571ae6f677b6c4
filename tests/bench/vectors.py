"""A made-up million of polygons on the map: how long packing and each kind of tile take, and the memory.

``python -m bench.vectors`` (with ``tests`` on the path) writes a GeoPackage into a passing folder and paints
its tiles in this process, as an engine's compute thread does.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import shapely
from osgeo import gdal, ogr, osr

from geoloom.grid import Tile
from geoloom.ops.burn import Burn
from geoloom.ops.draw import Draw
from geoloom.ops.heat import Heat
from geoloom.symbols import By, Category, Style
from geoloom_engine.painters.vectors import PAINTER
from geoloom_engine.painting import Given
from geoloom_engine.readers import SourcePool
from geoloom_engine.readers.vectors import vectors_of
from geoloom_engine.vectors import specimen

gdal.UseExceptions()

POLYGONS = 1_000_000
VERTICES = 13
ROUNDS = 5
ZOOMS = (0, 2, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16)
SEED = 1
WEST, SOUTH, SPAN = -5.0, 42.0, 12.0
"""Where they lie, in degrees; at zoom 5 one tile holds nearly all."""

LIMIT_MS = 40.0
KINDS = ("wheat", "maize", "forest", "pasture", "vine")

_BATCH = 50_000
_PLACE = (1.0, 48.0)


def make_parcels(path: Path, count: int = POLYGONS, seed: int = SEED) -> Path:
    """A GeoPackage of polygons of 14 vertices side by side, with a text and a number each."""
    random = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(count)))
    cell = SPAN / side
    dataset = gdal.GetDriverByName("GPKG").CreateVector(str(path))
    system = osr.SpatialReference()
    system.ImportFromEPSG(4326)
    layer = dataset.CreateLayer("parcels", system, ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("kind", ogr.OFTString))
    layer.CreateField(ogr.FieldDefn("size", ogr.OFTReal))
    for begin in range(0, count, _BATCH):
        number = np.arange(begin, min(count, begin + _BATCH))
        angles = np.sort(random.random((len(number), VERTICES)) * 2 * np.pi, axis=1)
        radii = cell * 0.5 * (0.6 + 0.4 * random.random((len(number), VERTICES)))
        x = (WEST + (number % side + 0.5) * cell)[:, None] + radii * np.cos(angles)
        y = (SOUTH + (number // side + 0.5) * cell)[:, None] + radii * np.sin(angles)
        shapes = shapely.polygons(shapely.linearrings(np.stack([x, y], -1)))
        table = pyarrow.table(
            {
                "kind": pyarrow.array(random.choice(KINDS, len(number))),
                "size": pyarrow.array(random.random(len(number)) * 100),
                "geom": pyarrow.array(shapely.to_wkb(shapes), pyarrow.binary()),
            }
        )
        layer.StartTransaction()
        for batch in table.to_batches():
            layer.WritePyArrow(batch)
        layer.CommitTransaction()
    dataset.Close()
    return path


def painted(href: str) -> dict[str, Any]:
    """What is painted of it, by name."""
    colours = ("#e6c229ff", "#f17105ff", "#1a7a2eff", "#8fbc5aff", "#7b3f8cff")
    classes = tuple(Category(name, one, (name,)) for name, one in zip(KINDS, colours, strict=True))
    return {
        "outlined": Draw(href=href, style=Style().to_json()),
        "categories": Draw(href=href, style=Style(line=None, by=By("kind", classes)).to_json()),
        "burn": Burn(href=href, attribute="size", dtype="float32"),
        "heat": Heat(href=href),
    }


def measure(count: int, rounds: int) -> dict[str, Any]:
    """All figures, in milliseconds of processor time and megabytes."""
    for step in specimen.steps():
        step()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        path = make_parcels(Path(folder) / "parcels.gpkg", count)
        pool = SourcePool((folder,))
        given = Given(pool, lambda key: b"", _nothing, lambda: None)
        store, before = vectors_of(pool), _own_memory()
        begun = time.process_time(), time.perf_counter()
        pack = store.pack(store.of_file(str(path)), None, lambda: None, 600.0)
        packed = time.process_time() - begun[0], time.perf_counter() - begun[1]
        tiles: dict[str, dict[str, Any]] = {}
        for name, op in painted(str(path)).items():
            cold = time.process_time()
            PAINTER.paint(op, Tile.at(*_PLACE, 9).grid(), given)
            tiles[name] = {"first": 1000 * (time.process_time() - cold), "zooms": {}}
            for zoom in ZOOMS:
                grid, times = Tile.at(*_PLACE, zoom).grid(), []
                for _ in range(rounds):
                    begin = time.process_time()
                    PAINTER.paint(op, grid, given)
                    times.append(time.process_time() - begin)
                tiles[name]["zooms"][zoom] = 1000 * min(times)
        figures = {
            "polygons": len(pack),
            "file": path.stat().st_size / 1e6,
            "pack": pack.nbytes / 1e6,
            "packing": packed,
            "memory": _own_memory() - before,
            "tiles": tiles,
        }
        pool.close()
    return figures


def report(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    cpu, wall = figures["packing"]
    lines = [
        f"{figures['polygons']:,} polygons of {VERTICES + 1} vertices, {figures['file']:.0f} MB: packed in "
        f"{cpu:.1f} s of processor time ({wall:.1f} s) into {figures['pack']:.0f} MB that workers map.",
        f"Of their own memory it takes {figures['memory']:.0f} MB, columns and codes of classes included.",
        "",
        f"{'ms a tile, warm':16}{'first':>8}" + "".join(f"{f'z{zoom}':>6}" for zoom in ZOOMS),
    ]
    for name, one in figures["tiles"].items():
        row = "".join(f"{one['zooms'][zoom]:6.1f}" for zoom in ZOOMS)
        lines.append(f"{name:16}{one['first']:8.0f}{row}")
    return "\n".join(lines)


def _nothing(key: str) -> Any:
    raise LookupError(key)


def _own_memory() -> float:
    """Megabytes that this process alone takes: mapped files are shared, and given back when need be."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1]) / 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 if a warm tile takes longer than `LIMIT_MS`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polygons", type=int, default=POLYGONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    figures = measure(given.polygons, given.rounds)
    sys.stdout.write(report(figures) + "\n")
    slowest = max(max(one["zooms"].values()) for one in figures["tiles"].values())
    return int(slowest > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
