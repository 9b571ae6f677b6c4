"""Statistics of an image in each feature: a pixel counts by the share of it that the feature covers.

The pixel that holds a point counts as one; lines cover nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from geoloom.block import Array, Block
from geoloom.chain import Chain
from geoloom.errors import DemandError, RequestError
from geoloom.grid import Grid, Lattice
from geoloom.loops import array, compiled
from geoloom_engine.description import Description
from geoloom_engine.evaluate import run
from geoloom_engine.functions import FunctionCall
from geoloom_engine.plan import Planner
from geoloom_engine.values import native_lattice
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.fill import sum_up
from geoloom_engine.vectors.pack import Pack
from geoloom_engine.vectors.sheet import Sheet, sheets
from geoloom_engine.vectors.wkb import POINT

SIDE = 512
"""Pixels along a side of the blocks that the image is computed in."""

MOST_BLOCKS = 400
"""Blocks that one question computes."""

MOST_ZONES = 50_000
"""Features that one question may be about."""

NUMBERS = ("count", "mean", "min", "max", "std", "sum")

_DEGREE = 111_320.0
"""Metres of a degree of latitude, about."""


def zonal(
    planner: Planner,
    chain: Chain,
    asked: Asked,
    resolution: float | None,
    call: FunctionCall | None,
    wanted: Callable[[], bool],
) -> dict[str, Any]:
    """Statistics of each band in each feature, as ``/zonal`` answers it, in the file's order.

    Parameters
    ----------
    resolution
        Ground metres of a pixel; None for the pixels of the finest source.

    Raises
    ------
    DemandError
        If that is more than `MOST_BLOCKS` blocks of pixels, or `MOST_ZONES` features.
    """
    pack = asked.pack
    rows = np.flatnonzero(asked.shown)
    rows = rows[np.argsort(pack.order[rows], kind="stable")]
    if len(rows) > MOST_ZONES:
        raise DemandError(
            f"These are {len(rows):,} zones; at most {MOST_ZONES:,} are computed at once.",
            hint="Choose some of them with where=….",
        )
    described = planner.describe(chain)
    lattice = _lattice(described, asked, resolution)
    blocks = _blocks(pack, rows, lattice)
    if len(blocks) > MOST_BLOCKS:
        coarser = math.ceil(math.sqrt(len(blocks) / MOST_BLOCKS) * 10) / 10
        raise DemandError(
            f"The zones lie on {len(blocks) * SIDE * SIDE / 1e6:,.0f} million pixels of the image; "
            f"at most {MOST_BLOCKS * SIDE * SIDE / 1e6:,.0f} million are computed at once.",
            hint=f"Give a resolution {coarser:g} times as coarse, or choose fewer zones with where=….",
        )
    names = described.profile.names
    # Per zone and band: weight, mean, sum of squares from it, least, most.
    found = np.zeros((len(rows), len(names), 5))
    found[:, :, 3], found[:, :, 4] = np.inf, -np.inf
    slots = np.full(len(pack), -1, np.int64)
    slots[rows] = np.arange(len(rows))
    for grid in blocks:
        asked.wanted()
        parts = [sheet for sheet in sheets(pack, grid, exact=True) if len(sheet.box)]
        if any(_meets(sheet, grid, slots) for sheet in parts):
            block, _ = run(planner, chain, grid, call, wanted)
            for sheet in parts:
                add(sheet, block.fill(grid.rows, grid.cols), slots, found)
    info = asked.vectors.info(asked.source, asked.layer)
    columns = {name: asked.column(name) for name in info.columns}
    return {
        "zones": [
            {
                "id": int(pack.fid[row]),
                "properties": {name: column.value(int(row)) for name, column in columns.items()},
                "bands": {name: _summary(found[slot, k]) for k, name in enumerate(names)},
            }
            for slot, row in enumerate(rows)
        ]
    }


def _lattice(described: Description, asked: Asked, resolution: float | None) -> Lattice:
    """The pixels that are counted: the finest source's own, or coarser or finer ones beside them."""
    lattice = Lattice.web_mercator(described.zooms[1])
    if described.sources:
        lattice = native_lattice(min(described.sources.values(), key=lambda info: info.ground_resolution))
    if resolution is None:
        return lattice
    bounds = asked.bounds()
    lat = 0.0 if bounds is None else (bounds.south + bounds.north) / 2
    shrink = max(math.cos(math.radians(lat)), 0.01)
    size = resolution / lattice.scale, resolution / lattice.scale
    if lattice.unit == "degree":
        size = resolution / _DEGREE / shrink, resolution / _DEGREE
    elif lattice.unit == "mercator":
        size = resolution / shrink, resolution / shrink
    return Lattice(lattice.crs, *size, lattice.x0, lattice.y0, lattice.unit, lattice.scale)


def _blocks(pack: Pack, rows: Array, lattice: Lattice) -> list[Grid]:
    """The blocks of a lattice, at multiples of `SIDE`, that the boxes of features meet."""
    from geoloom_engine.vectors.places import on_sheet

    if not len(rows):
        return []
    box = pack.box[rows]
    along = np.linspace(0.0, 1.0, 5)
    u, v = (one.ravel() for one in np.meshgrid(along, along))
    x = box[:, :1] + u * (box[:, 2:3] - box[:, :1])
    y = box[:, 1:2] + v * (box[:, 3:] - box[:, 1:2])
    xy = on_sheet(lattice.crs, np.stack([x.ravel(), y.ravel()], 1)).reshape(len(rows), -1, 2)
    cols, lines = (xy[..., 0] - lattice.x0) / lattice.dx, (lattice.y0 - xy[..., 1]) / lattice.dy
    placed = np.isfinite(cols).all(axis=1) & np.isfinite(lines).all(axis=1)
    if not placed.all():
        raise RequestError(
            "Some zones lie where the image's coordinate system has no place for them.",
            hint="Choose the zones near the image with where=….",
        )
    sag = 0.0 if lattice.crs == "EPSG:3857" else 0.05
    edges = []
    for one in (cols, lines):
        low, high = one.min(axis=1), one.max(axis=1)
        around = sag * (high - low)
        edges.append((np.floor((low - around) / SIDE), np.floor((high + around) / SIDE)))
    (left, right), (top, bottom) = edges
    # Counted before they are listed: zones round the Earth would be millions.
    many = float(((right - left + 1) * (bottom - top + 1)).max())
    if many > 100 * MOST_BLOCKS:
        raise DemandError(
            f"A zone lies on {many * SIDE * SIDE / 1e6:,.0f} million pixels of the image; "
            f"at most {MOST_BLOCKS * SIDE * SIDE / 1e6:,.0f} million are computed at once.",
            hint="Give a coarser resolution.",
        )
    found: set[tuple[int, int]] = set()
    for a, b, c, d in np.unique(np.stack([left, right, top, bottom], 1).astype(np.int64), axis=0).tolist():
        found.update((row, col) for row in range(c, d + 1) for col in range(a, b + 1))
        if len(found) > 200 * MOST_BLOCKS:
            break
    return [Grid(lattice, col * SIDE, row * SIDE, SIDE, SIDE) for row, col in sorted(found)]


def _meets(sheet: Sheet, grid: Grid, slots: Array) -> bool:
    """Whether the box of any zone meets a block."""
    x0, y0, sx, sy, col, row = sheet.place
    left, right = (sheet.box[:, 0] - x0) * sx - col, (sheet.box[:, 2] - x0) * sx - col
    top, bottom = (y0 - sheet.box[:, 3]) * sy - row, (y0 - sheet.box[:, 1]) * sy - row
    near = (right >= 0) & (left < grid.cols) & (bottom >= 0) & (top < grid.rows)
    return bool((near & (sheet.of(slots) >= 0)).any())


def add(sheet: Sheet, block: Block, slots: Array, found: Array) -> None:
    """Take a block's pixels into the zones' numbers."""
    level = sheet.level
    data = np.ascontiguousarray(block.data, np.float64)
    valid = np.ascontiguousarray(np.broadcast_to(block.valid, data.shape))
    geometry = (array("int64", 1), array("int64", 1), array("uint8", 1), array("float64", 2))
    given = (array("float64", 2), array("float64", 1), array("int64", 1))
    pixels = (array("float64", 3), array("bool", 3), array("float64", 3, written=True))
    compiled(_gathered, "", lambda: (*geometry, *given, *pixels))(
        level.first,
        level.start,
        level.kind,
        level.xy,
        sheet.box,
        sheet.place,
        sheet.of(slots),
        data,
        valid,
        found,
    )


def _gathered(
    first: Any,
    start: Any,
    kind: Any,
    xy: Any,
    boxes: Any,
    place: Any,
    slots: Any,
    data: Any,
    valid: Any,
    found: Any,
) -> None:
    bands, rows, cols = data.shape
    scratch = np.zeros(rows * (cols + 2))
    for feature in range(len(boxes)):
        if slots[feature] < 0:
            continue
        q0 = max(math.floor((boxes[feature, 0] - place[0]) * place[2] - place[4]), 0)
        q1 = min(math.floor((boxes[feature, 2] - place[0]) * place[2] - place[4]) + 1, cols)
        r0 = max(math.floor((place[1] - boxes[feature, 3]) * place[3] - place[5]), 0)
        r1 = min(math.floor((place[1] - boxes[feature, 1]) * place[3] - place[5]) + 1, rows)
        if q0 >= q1 or r0 >= r1:
            continue
        h, w = r1 - r0, q1 - q0
        sums = scratch[: h * (w + 2)].reshape((h, w + 2))
        sums[:] = 0.0
        sum_up(first, start, kind, xy, place, feature, r0, q0, sums)
        for path in range(first[feature], first[feature + 1]):
            if kind[path] == POINT:
                r = math.floor((place[1] - xy[start[path], 1]) * place[3] - place[5]) - r0
                q = math.floor((xy[start[path], 0] - place[0]) * place[2] - place[4]) - q0
                if 0 <= r < h and 0 <= q < w:
                    sums[r, q] += 1.0
                    sums[r, q + 1] -= 1.0
        zone = slots[feature]
        for r in range(h):
            total = 0.0
            for q in range(w):
                total += sums[r, q]
                share = min(abs(total), 1.0)
                if share <= 1e-9:
                    continue
                for band in range(bands):
                    if not valid[band, r0 + r, q0 + q]:
                        continue
                    # The mean and the squares around it are kept as they grow (West 1979).
                    value = data[band, r0 + r, q0 + q]
                    numbers = found[zone, band]
                    numbers[0] += share
                    away = value - numbers[1]
                    numbers[1] += away * share / numbers[0]
                    numbers[2] += share * away * (value - numbers[1])
                    numbers[3] = min(numbers[3], value)
                    numbers[4] = max(numbers[4], value)


def _summary(numbers: Array) -> dict[str, float | None]:
    weight, mean, squares, least, most = numbers.tolist()
    if weight <= 0:
        return {"count": 0, **dict.fromkeys(NUMBERS[1:])}
    std = math.sqrt(max(squares, 0.0) / weight)
    told = (weight, mean, least, most, std, mean * weight)
    return {name: value if math.isfinite(value) else None for name, value in zip(NUMBERS, told, strict=True)}


__all__ = ["add", "zonal"]
