"""Search over a made-up million of items: how long each kind of question takes, and how much memory.

``python -m tests.bench.search`` makes an index in a passing folder, opens it in another process as an
engine's worker does, and asks it there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from geoloom.query import Query
from geoloom_engine.catalog import columns
from geoloom_engine.catalog.index import Index, arranged, save

ITEMS = 1_000_000
ROUNDS = 40
SEED = 5

LIMIT_MS = 50.0
LIMIT_MB = 500.0

_DAY = 86400
_FIRST = 1_420_070_400


def made_up(count: int, seed: int = SEED) -> pa.Table:
    """The index of made-up scenes of Sentinel-2's size over the land-rich latitudes, of eight years."""
    random = np.random.default_rng(seed)
    west = random.uniform(-180, 178, count)
    south = random.uniform(-56, 75, count)
    skew = random.uniform(0.05, 0.25, count)
    x = np.stack([west, west + 1.2, west + 1.2 + skew, west + skew, west - skew / 2, west], axis=1)
    y = np.stack([south, south - skew, south + 0.9, south + 1.0, south + 0.5, south], axis=1)
    shapes = shapely.polygons(np.stack([x, y], axis=2))
    date = _FIRST + random.integers(0, 8 * 365 * _DAY, count).astype(np.float64)
    names = np.char.add("S2A_T", np.char.zfill(np.arange(count).astype(str), 12))
    clouds = np.round(random.uniform(0, 100, count), 2)
    clouds[random.random(count) < 0.2] = 0
    rows: dict[str, pa.Array] = {
        "id": pa.array(names, pa.large_string()),
        "wkb": pa.array(shapely.to_wkb(shapes).tolist(), pa.large_binary()),
    }
    for side, values in zip(columns.SIDES, shapely.bounds(shapes).T, strict=True):
        way = np.float32(-np.inf if side in ("west", "south") else np.inf)
        rows[side] = pa.array(np.nextafter(values.astype(np.float32), way))
    for name, values in zip(
        columns.INNER, shapely.get_coordinates(shapely.point_on_surface(shapes)).T, strict=True
    ):
        rows[name] = pa.array(values)
    rows["date"] = pa.array(date)
    months = date.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    rows["month"] = pa.array(months.astype(np.int8))
    rows["part"] = pa.array((np.arange(count) // 2000).astype(np.int32))
    rows["row"] = pa.array((np.arange(count) % 2000).astype(np.int32))
    fields = [pa.field(name, array.type) for name, array in rows.items()]
    number, text = ({b"kind": kind.encode()} for kind in (columns.NUMBER, columns.TEXT))
    platforms = np.array(["sentinel-2a", "sentinel-2b"])[random.integers(0, 2, count)]
    tiles = np.char.add("MGRS-", np.char.zfill(random.integers(0, 50_000, count).astype(str), 5))
    for name, array, meta in (
        ("eo:cloud_cover", pa.array(clouds), number),
        ("view:sun_elevation", pa.array(np.round(random.uniform(10, 80, count), 3)), number),
        ("s2:nodata_pixel_percentage", pa.array(np.round(random.uniform(0, 90, count), 3)), number),
        ("platform", pa.array(platforms, pa.large_string()), text),
        ("grid:code", pa.array(tiles, pa.large_string()), text),
    ):
        rows[f"p:{name}"] = array
        fields.append(pa.field(f"p:{name}", array.type, metadata=meta))
    table = pa.Table.from_arrays(list(rows.values()), schema=pa.schema(fields))
    return arranged(table, {"parts": [], "bad": [], "problems": []})


def questions(random: np.random.Generator) -> dict[str, Callable[[], Query]]:
    """The kinds of questions; each call asks another one of its kind."""

    def box(size: float) -> dict[str, Any]:
        west, south = random.uniform(-170, 170 - size), random.uniform(-50, 70 - size)
        return area(shapely.box(west, south, west + size, south + size))

    def area(shape: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(shapely.to_geojson(shape))
        return found

    def country(size: float) -> dict[str, Any]:
        """An outline of 400 corners."""
        angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
        radius = size * (1 + 0.3 * np.sin(7 * angles) + 0.05 * random.standard_normal(400))
        lon, lat = random.uniform(-140, 140), random.uniform(-20, 45)
        outline = np.stack([lon + radius * np.cos(angles), lat + radius * np.sin(angles)], axis=1)
        return area(shapely.make_valid(shapely.Polygon(outline)))

    def dates(days: int) -> tuple[tuple[str, str]]:
        start = _FIRST + int(random.integers(0, 7 * 365)) * _DAY
        stamps = [str(np.datetime64(one, "s")) + "Z" for one in (start, start + days * _DAY)]
        return ((stamps[0], stamps[1]),)

    clear = ("eo:cloud_cover", "<", 20)
    sentinel = ("platform", "==", "sentinel-2b")
    ids = [f"S2A_T{number:012d}" for number in random.integers(0, ITEMS, 100)]
    summer = (6, 7, 8)
    return {
        "all, newest 100": lambda: Query("s2", limit=100),
        "box 2°": lambda: Query("s2", areas=(box(2),)),
        "box 60°": lambda: Query("s2", areas=(box(60),)),
        "country": lambda: Query("s2", areas=(country(5),)),
        "continent": lambda: Query("s2", areas=(country(28),)),
        "month of one year": lambda: Query("s2", dates=dates(30)),
        "summers": lambda: Query("s2", months=summer),
        "clouds": lambda: Query("s2", where=(clear,)),
        "platform and clouds": lambda: Query("s2", where=(sentinel, clear)),
        "grid tile": lambda: Query("s2", where=(("grid:code", "==", f"MGRS-{random.integers(50_000):05d}"),)),
        "ids": lambda: Query("s2", ids=tuple(ids)),
        "country, summer, clear, cloud order": lambda: Query(
            "s2",
            areas=(country(5),),
            dates=dates(365),
            months=summer,
            where=(clear,),
            sort=(("eo:cloud_cover", "asc"),),
            limit=50,
        ),
        "continent, summers, clear": lambda: Query(
            "s2", areas=(country(28),), months=summer, where=(clear,), limit=1000
        ),
        "all, in the order of clouds, first 100": lambda: Query(
            "s2", sort=(("eo:cloud_cover", "asc"), ("datetime", "desc")), limit=100
        ),
        "box 60°, nearest to a day, first 100": lambda: Query(
            "s2", areas=(box(60),), near="2018-07-13T00:00:00Z", limit=100
        ),
    }


def asked(path: Path, rounds: int) -> dict[str, Any]:
    """Processor milliseconds of each kind of question, and by how many megabytes this process grew."""
    before = _resident()
    index = Index.open(path)
    random = np.random.default_rng(SEED)
    kinds = {}
    for name, make in questions(random).items():
        queries = [make() for _ in range(rounds)]
        index.count(queries[0])
        times, found = [], []
        for query in queries:
            # A search is one thread's work: its processor time does not depend on what else the machine does.
            begun = time.process_time()
            found.append(len(index.search(query)))
            times.append((time.process_time() - begun) * 1000)
        kinds[name] = {
            "p50": float(np.percentile(times, 50)),
            "p95": float(np.percentile(times, 95)),
            "found": float(np.median(found)),
        }
    return {"kinds": kinds, "items": len(index), "memory": _resident() - before}


def search(count: int = ITEMS, rounds: int = ROUNDS) -> dict[str, Any]:
    """The figures, from a process of its own; with the size of the index in megabytes."""
    with tempfile.TemporaryDirectory(prefix="geoloom-bench-") as folder:
        path = Path(folder) / "index.arrow"
        begun = time.perf_counter()
        save(made_up(count), path)
        made = time.perf_counter() - begun
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures = pool.apply(asked, (path, rounds))
        return {**figures, "size": path.stat().st_size / 1e6, "made": made}


def report(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [
        f"Search over {figures['items']:,} items; the index has {figures['size']:.0f} MB, made in "
        f"{figures['made']:.0f} s; searching takes {figures['memory']:.0f} MB, the mapped index included.",
        "",
        f"{'processor time':42}{'p50 ms':>9}{'p95 ms':>9}{'found':>10}",
    ]
    for name, one in figures["kinds"].items():
        lines.append(f"{name:42}{one['p50']:9.1f}{one['p95']:9.1f}{one['found']:10,.0f}")
    return "\n".join(lines)


def _resident() -> float:
    """Megabytes of this process in memory, of what it maps too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    figures = search(given.items, given.rounds)
    sys.stdout.write(report(figures) + "\n")
    slow = [name for name, one in figures["kinds"].items() if one["p50"] > LIMIT_MS]
    return int(bool(slow) or figures["memory"] > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
