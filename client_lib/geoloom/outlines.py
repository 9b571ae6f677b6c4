"""Footprints on Earth as selections keep them: mended, split at ±180°, in whole millionths of a degree.

Rounding moves a corner by 0.1 m at most. `REACH` is more than that: who asks which footprints meet an
area asks within this distance, and misses none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoloom.errors import CorruptChain
from geoloom.packing import pack_numbers, unpack_numbers

if TYPE_CHECKING:
    import shapely

Outlines = npt.NDArray[np.object_]

UNITS = 1_000_000
"""Steps of the coordinates in a degree."""

REACH = 1.5 / UNITS
"""Degrees by which an outline may be smaller than the footprint it stands for, at most."""

MAX_POINTS = 10_000_000

_JUMP = 300.0
"""Degrees of longitude: a longer side of a footprint is a short one over ±180°."""

_TALLEST_SCENE = 60.0
"""Degrees of latitude: what is taller and has such sides goes round the Earth."""


def outlines(geometries: Any) -> Outlines:
    """Footprints made good, (n,): valid polygons within ±180°, rounded, in normal form; None if hopeless.

    Parameters
    ----------
    geometries
        shapely geometries in degrees. Self-crossing ones keep all that their lines enclose. Longitudes
        may jump at ±180° or go on beyond it.
    """
    import shapely

    given: Outlines = np.asarray(geometries, dtype=object)
    kind = shapely.get_type_id(given)
    usable = np.isin(kind, (3, 6, 7)) & ~shapely.is_empty(given)
    found: Outlines = np.full(len(given), None, dtype=object)
    found[usable] = shapely.force_2d(given[usable])
    for row in np.flatnonzero(usable & _unusual(found)):
        found[row] = _mended(found[row])
    usable &= shapely.is_geometry(found)
    rounded = np.full(len(found), None, dtype=object)
    rounded[usable] = shapely.transform(found[usable], lambda points: np.rint(points * UNITS) / UNITS + 0.0)
    rounded[usable] = shapely.normalize(rounded[usable])
    for row in np.flatnonzero(usable & ~(shapely.is_valid(rounded) & (shapely.area(rounded) > 0))):
        rounded[row] = _snapped(found[row])
    return rounded


def _unusual(found: Outlines) -> npt.NDArray[np.bool_]:
    """Which need more than rounding: invalid, beyond ±180° or ±90°, or as wide as a jump over ±180°."""
    import shapely

    west, south, east, north = shapely.bounds(found).T
    with np.errstate(invalid="ignore"):
        plain: npt.NDArray[np.bool_] = (
            (west >= -180) & (east <= 180) & (south >= -90) & (north <= 90) & (east - west <= 180)
        )
    plain &= shapely.is_valid(found) & np.isin(shapely.get_type_id(found), (3, 6))
    return ~plain


def _mended(geometry: shapely.Geometry) -> shapely.Geometry | None:
    import shapely

    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return None
    # A jump over ±180° is no self-crossing: it is undone ring by ring, before anything is mended.
    parts = [_continuous(part) for part in shapely.get_parts(_polygons(geometry))]
    whole = shapely.union_all([shapely.make_valid(part, method="structure") for part in parts])
    world = [shapely.box(-180 + turn, -90, 180 + turn, 90) for turn in (-720, -360, 0, 360, 720)]
    pieces = [
        shapely.transform(shapely.intersection(whole, sheet), lambda points, by=turn: points - (by, 0.0))
        for sheet, turn in zip(world, (-720, -360, 0, 360, 720), strict=True)
    ]
    mended = _polygons(shapely.union_all(pieces))
    return None if shapely.is_empty(mended) or shapely.area(mended) == 0 else mended


def _continuous(polygon: shapely.Geometry) -> shapely.Geometry:
    """A polygon whose longitudes go on beyond ±180° instead of jumping; over a pole if it goes round one."""
    import shapely

    _, south, _, north = polygon.bounds
    tall = north - south >= _TALLEST_SCENE
    shell = _unrolled(shapely.get_coordinates(polygon.exterior), tall)
    holes = [_unrolled(shapely.get_coordinates(ring), tall) for ring in polygon.interiors]
    middle = shell[:, 0].mean()
    # Holes lie on the same turn as their shell.
    holes = [hole - (np.rint((hole[:, 0].mean() - middle) / 360) * 360, 0.0) for hole in holes]
    return shapely.polygons(shell, [hole for hole in holes if len(hole) >= 4] or None)


def _unrolled(points: npt.NDArray[np.float64], tall: bool) -> npt.NDArray[np.float64]:
    steps = np.diff(points[:, 0])
    jumps = (np.abs(steps) > _JUMP) & (np.abs(steps) < 360)
    if not jumps.any() or tall:
        return points
    turns = np.concatenate([[0.0], np.cumsum(np.where(jumps, -np.sign(steps) * 360, 0.0))])
    unrolled: npt.NDArray[np.float64] = points + np.stack([turns, np.zeros_like(turns)], axis=1)
    if turns[-1] == 0:
        return unrolled
    pole = 90.0 if points[:, 1].mean() > 0 else -90.0
    first, last = unrolled[0, 0], unrolled[-1, 0]
    over = np.array([[last, pole], [first, pole]])
    return np.concatenate([unrolled, over, unrolled[:1]])


def _snapped(geometry: shapely.Geometry) -> shapely.Geometry:
    """A footprint whose rounding crosses itself or has no area: snapped, else the box round it."""
    import shapely

    snapped = _polygons(shapely.set_precision(geometry, 1 / UNITS))
    snapped = shapely.transform(snapped, lambda points: np.rint(points * UNITS) / UNITS + 0.0)
    if not shapely.is_valid(snapped) or shapely.area(snapped) == 0:
        west, south, east, north = geometry.bounds
        low = np.floor(np.array([west, south]) * UNITS)
        high = np.maximum(np.ceil(np.array([east, north]) * UNITS), low + 1)
        low = np.minimum(low, high - 1).clip((-180 * UNITS, -90 * UNITS), (180 * UNITS - 1, 90 * UNITS - 1))
        high = high.clip(low + 1, (180 * UNITS, 90 * UNITS))
        snapped = shapely.box(*(low / UNITS + 0.0), *(high / UNITS + 0.0))
    return shapely.normalize(snapped)


def _polygons(geometry: shapely.Geometry) -> shapely.Geometry:
    """The polygons among a geometry's parts, as one of them or several."""
    import shapely

    parts = shapely.get_parts(shapely.get_parts(geometry))
    parts = parts[shapely.get_type_id(parts) == 3]
    return parts[0] if len(parts) == 1 else shapely.multipolygons(parts)


def pack_outlines(footprints: Outlines) -> list[str]:
    """Polygons of each outline, rings of each polygon, points of each ring without the last, x and y."""
    import shapely

    parts, owners = shapely.get_parts(footprints, return_index=True)
    rings, polygons = shapely.get_rings(parts, return_index=True)
    points = shapely.get_num_coordinates(rings)
    steps = np.rint(shapely.get_coordinates(rings) * UNITS).astype(np.int64)
    last = np.zeros(len(steps), bool)
    last[np.cumsum(points) - 1] = True
    return [
        pack_numbers(np.bincount(owners, minlength=len(footprints))),
        pack_numbers(np.bincount(polygons, minlength=len(parts))),
        pack_numbers(points - 1),
        *(pack_numbers(steps[~last, axis]) for axis in (0, 1)),
    ]


def unpack_outlines(packed: Any, count: int) -> Outlines:
    """The footprints of `pack_outlines`.

    Raises
    ------
    CorruptChain
        Other than `outlines` would give or `pack_outlines` write them, or not as many.
    """
    import shapely

    if not isinstance(packed, list) or len(packed) != 5:
        raise CorruptChain("The footprints are malformed.")
    totals = count
    counts = []
    for column, least in zip(packed[:3], (1, 1, 3), strict=True):
        numbers = unpack_numbers(column, totals)
        if numbers.min(initial=least) < least or numbers.max(initial=0) > MAX_POINTS:
            raise CorruptChain("A footprint has too few or too many points.")
        totals = int(numbers.sum())
        if totals > MAX_POINTS:
            raise CorruptChain("The footprints have too many points.")
        counts.append(numbers)
    points = np.stack([unpack_numbers(column, totals) for column in packed[3:]], axis=1)
    if totals and (np.abs(points) > (180 * UNITS, 90 * UNITS)).any():
        raise CorruptChain("A footprint lies beyond the Earth.")
    # Rings are closed again: each first point stands once more after the last.
    starts = np.cumsum(counts[2]) - counts[2]
    closed = np.insert(points, np.cumsum(counts[2]), points[starts], axis=0) / UNITS + 0.0
    offsets = [np.concatenate([[0], np.cumsum(numbers)]) for numbers in (counts[2] + 1, counts[1], counts[0])]
    found: Outlines = shapely.from_ragged_array(shapely.GeometryType.MULTIPOLYGON, closed, tuple(offsets))
    single = counts[0] == 1
    found[single] = shapely.get_geometry(found[single], 0)
    good = shapely.is_valid(found) & shapely.equals_exact(shapely.normalize(found), found)
    if not (good & (shapely.area(found) > 0)).all():
        raise CorruptChain("A footprint is not canonical.")
    if len(set(shapely.to_wkb(found))) != count:
        raise CorruptChain("A footprint stands twice.")
    return found
