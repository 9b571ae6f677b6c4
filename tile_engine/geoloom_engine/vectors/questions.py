"""What people ask of features: what a layer holds, what a column holds, which feature is at a place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.errors import EngineOverloaded
from geoloom.grid import Bounds, Lattice
from geoloom.loops import array, compiled, number
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.pack import Pack
from geoloom_engine.vectors.places import from_degrees
from geoloom_engine.vectors.sheet import WORLD, meeting
from geoloom_engine.vectors.wkb import LINE, POINT

SOME_VALUES = 1000
"""Different values that are told if nobody says how many."""

MOST_VALUES = 100_000
"""Different values that are told at most."""

MOST_FEATURES = 50
"""Features that are told of one place."""

NEAR = 6.0
"""Pixels of the map within which points and lines are found."""

FINEST = 22
"""Zoom at whose pixels points and lines are looked for where none is told."""


def holding(asked: Asked) -> dict[str, Any]:
    """What a layer holds, as ``/features`` answers it; with a condition its count is of what meets it."""
    info = asked.vectors.info(asked.source, asked.layer)
    bounds = asked.bounds()
    found: dict[str, Any] = {
        "layers": list(info.layers),
        "layer": info.layer,
        "count": info.count,
        "geometry": info.geometry.replace(" ", "").removesuffix("(any)"),
        "crs": info.crs,
        "bounds": None if bounds is None else list(bounds),
        "columns": info.columns,
        "problems": {},
    }
    try:
        pack = asked.pack
    except EngineOverloaded:
        if asked.where is not None:
            raise
        return found
    found["problems"] = {why: count for why, count in pack.problems.items() if count}
    if found["geometry"].startswith("Unknown"):
        found["geometry"] = _geometry(pack)
    if asked.where is not None:
        found["count"] = int(np.count_nonzero(asked.shown))
    return found


def values(asked: Asked, name: str, limit: int) -> dict[str, Any]:
    """What a column holds, as ``/features/values`` answers it.

    Parameters
    ----------
    limit
        How many different values are told, the most common first; None stands for none.
    """
    column = asked.column(name)
    texts, codes = column.distinct()
    codes = codes[asked.shown]
    counts = np.bincount(codes + 1, minlength=len(texts) + 1)
    told: list[Any] = [None, *texts]
    numbers = np.empty(0)
    if column.numbers is not None:
        there = column.numbers[~np.isnan(column.numbers)]
        told = [None, *map(column.told, np.unique(there).tolist())]
        shown = column.numbers[asked.shown]
        numbers = np.empty(0) if column.boolean else shown[~np.isnan(shown)]
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    return {
        "counts": [[told[k], int(counts[k])] for k in order[: min(limit, MOST_VALUES)]],
        "distinct": len(order),
        "percentiles": np.percentile(numbers, np.arange(101)).tolist() if len(numbers) else [],
        "whole": bool(len(numbers) and (numbers == np.floor(numbers)).all()),
    }


def identified(asked: Asked, lon: float, lat: float, zoom: int | None) -> dict[str, Any]:
    """The features at a place, the uppermost first, as ``/identify`` answers it."""
    pack = asked.pack
    reach = NEAR * Lattice.web_mercator(FINEST if zoom is None else zoom).dx
    (x,), (y,) = from_degrees(np.array([lon]), np.array([lat]))
    rows = meeting(pack, Bounds(x - reach, y - reach, x + reach, y + reach))
    rows = rows[asked.shown[rows]]
    rows = rows[_hit(pack, rows, float(x), float(y), reach)]
    rows = rows[np.argsort(-pack.order[rows].astype(np.int64), kind="stable")]
    some = rows[:MOST_FEATURES]
    properties = asked.source.file.attributes(asked.layer, pack.fid[some].tolist())
    told = [{"id": int(fid), "properties": one} for fid, one in zip(pack.fid[some], properties, strict=True)]
    return {"features": told, "count": len(rows)}


def _geometry(pack: Pack) -> str:
    """What all features are, of a layer that does not say."""
    kinds = {min(int(kind), LINE + 1) for kind in np.unique(pack.levels[0].kind)}
    names = {POINT: "Point", LINE: "LineString", LINE + 1: "Polygon"}
    return names[kinds.pop()] if len(kinds) == 1 else "Unknown"


def _hit(pack: Pack, rows: Array, x: float, y: float, reach: float) -> Array:
    """Which features hold a place, or are points and lines within `reach` of it; the map repeats itself."""
    level = pack.levels[0]
    hit = np.zeros(len(rows), np.bool_)
    if not len(rows):
        return hit
    west, east = pack.box[rows, 0].min(), pack.box[rows, 2].max()
    geometry = (array("int64", 1), array("int64", 1), array("uint8", 1), array("float64", 2))
    given = (array("int64", 1), number("float64"), number("float64"), number("float64"))
    loop = compiled(_holds, "", lambda: (*geometry, *given, array("bool", 1, written=True)))
    for turn in range(math.ceil((x - reach - east) / WORLD), math.floor((x + reach - west) / WORLD) + 1):
        loop(level.first, level.start, level.kind, level.xy, rows, x - turn * WORLD, y, reach, hit)
    return hit


def _holds(
    first: Any, start: Any, kind: Any, xy: Any, rows: Any, x: float, y: float, reach: float, hit: Any
) -> None:
    for n in range(len(rows)):
        inside = False
        near = False
        for path in range(first[rows[n]], first[rows[n] + 1]):
            a, b = start[path], start[path + 1]
            for k in range(a, b):
                w = k - 1 if k > a else (b - 1 if kind[path] > LINE else a)
                xa, ya, xb, yb = xy[w, 0], xy[w, 1], xy[k, 0], xy[k, 1]
                if kind[path] > LINE:
                    if (ya > y) != (yb > y) and x < (y - ya) / (yb - ya) * (xb - xa) + xa:
                        inside = not inside
                    continue
                dx, dy = xb - xa, yb - ya
                square = dx * dx + dy * dy
                along = 0.0
                if square > 0.0:
                    along = min(max(((x - xa) * dx + (y - ya) * dy) / square, 0.0), 1.0)
                px, py = xa + along * dx - x, ya + along * dy - y
                near = near or px * px + py * py <= reach * reach
        if inside or near:
            hit[n] = True
