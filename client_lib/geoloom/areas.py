"""Areas on Earth as people give them, and as a `Query` holds them: GeoJSON in degrees, split at ±180°."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geoloom.errors import ParameterError
from geoloom.geodesy import course, travel
from geoloom.geojson import features_of
from geoloom.outlines import outlines
from geoloom.query import MAX_POSITIONS

if TYPE_CHECKING:
    import shapely

__all__ = ["around", "buffered", "geometry_of", "rectangle", "swapped", "to_json"]

MAX_BUFFER_KM = 2000.0

PLACES = 6
"""Decimals of degrees: 0.1 m."""

_STEP = 0.25
"""Longest piece of a line in degrees whose surroundings are computed on a plane."""


def geometry_of(given: Any) -> shapely.Geometry:
    """The union of whatever has geometries, in degrees and within ±180°.

    Parameters
    ----------
    given
        GeoJSON as a dict or text, a shapely geometry, a GeoDataFrame (which is brought to degrees), a map's
        ``drawn``, anything with a ``__geo_interface__``, or a list of these.

    Raises
    ------
    ParameterError
        It has none, or they are not in degrees.
    """
    import shapely

    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            raise ParameterError(
                f"{given[:60]!r} is no geometry.",
                hint="Files are opened by gl.vector, places found by filter_geoname.",
            ) from None
    try:
        features = features_of(given)
    except (KeyError, TypeError, AttributeError):
        features = None
    if features is None:
        raise ParameterError(
            f"This {type(given).__name__} is no geometry.",
            hint="Its box can be given: filter_rect(….bounds)."
            if len(getattr(given, "bounds", None) or ()) == 4
            else "Give GeoJSON, a shapely geometry or a GeoDataFrame; a box is given to filter_rect.",
        )
    crs = given.get("crs") if isinstance(given, Mapping) else None
    if crs and not any(one in str(crs) for one in ("CRS84", "4326")):
        raise ParameterError("This GeoJSON is not in degrees.", hint="Bring it to EPSG:4326 first.")
    try:
        parts = [shapely.geometry.shape(one["geometry"]) for one in features if one.get("geometry")]
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        shapely.errors.ShapelyError,
    ) as error:
        raise ParameterError(f"This GeoJSON is no geometry: {error}.") from None
    parts = [one for one in parts if not shapely.is_empty(one)]
    if not parts:
        raise ParameterError(
            "There is no geometry in it.",
            hint="Nothing is drawn yet: m.draw() shows the tools." if isinstance(given, Mapping) else None,
        )
    return _on_earth(parts)


def rectangle(west: Any, south: Any = None, east: Any = None, north: Any = None) -> shapely.Geometry:
    """A box in degrees; over ±180° where west > east.

    Raises
    ------
    ParameterError
        It is none; says what was probably meant.
    """
    import shapely

    if south is None and isinstance(west, Sequence | np.ndarray) and len(west) == 4:
        west, south, east, north = west
    if None in (south, east, north):
        raise ParameterError("filter_rect needs four numbers: west, south, east, north.")
    west, south, east, north = (_number(one) for one in (west, south, east, north))
    call = f"filter_rect({west:g}, {south:g}, {east:g}, {north:g})"
    if not (-90 <= south <= 90 and -90 <= north <= 90):
        swap = f"Its order is west, south, east, north: {south:g}, {west:g}, {north:g}, {east:g}?"
        raise ParameterError(
            f"{call}: latitudes lie between -90 and 90.",
            hint=swap if max(abs(west), abs(east)) <= 90 else None,
        )
    if south >= north:
        raise ParameterError(
            f"{call}: south is not below north.",
            hint=f"Is it filter_rect({west:g}, {north:g}, {east:g}, {south:g})?"
            if south > north
            else "For a point use filter_location(lon, lat, buffer_km=…).",
        )
    west, east = (_longitude(one, call) if abs(one) > 180 else one for one in (west, east))
    if west == east:
        raise ParameterError(
            f"{call}: west is east.", hint="For a point use filter_location(lon, lat, buffer_km=…)."
        )
    if west < east:
        return shapely.box(west, south, east, north)
    if west - east < 180:
        warnings.warn(
            f"{call} has west > east, so it crosses ±180° and spans {360 + east - west:g}° of longitude. "
            f"Was filter_rect({east:g}, {south:g}, {west:g}, {north:g}) meant?",
            stacklevel=3,
        )
    parts = [
        shapely.box(*one)
        for one in ((west, south, 180, north), (-180, south, east, north))
        if one[0] < one[2]
    ]
    return shapely.multipolygons(parts) if len(parts) > 1 else parts[0]


def around(lon: Any, lat: Any, buffer_km: float = 0.0) -> shapely.Geometry:
    """A point in degrees, or the circle of ground kilometres around it.

    Raises
    ------
    ParameterError
        It is no place on Earth, or the circle is too large.
    """
    import shapely

    lon, lat = _number(lon), _number(lat)
    if not -90 <= lat <= 90:
        raise ParameterError(
            f"Latitude {lat:g} is not between -90 and 90.",
            hint=f"The order is longitude, latitude: is it ({lat:g}, {lon:g})?" if abs(lon) <= 90 else None,
        )
    return buffered(shapely.points(_longitude(lon, f"({lon:g}, {lat:g})"), lat), buffer_km)


def buffered(geometry: shapely.Geometry, buffer_km: float) -> shapely.Geometry:
    """What lies within a distance of a geometry, along the ground; right at ±180° and near the poles.

    Parameters
    ----------
    buffer_km
        In kilometres; curves are drawn with 64 corners a circle, which keeps within 0.2 % of it.

    Raises
    ------
    ParameterError
        The distance is negative or more than 2,000 km.
    """
    import shapely

    metres = _number(buffer_km) * 1000
    if not 0 <= metres <= MAX_BUFFER_KM * 1000:
        raise ParameterError(f"A buffer of {buffer_km:g} km is not between 0 and {MAX_BUFFER_KM:,.0f} km.")
    if metres == 0:
        return geometry
    # Lines are simplified by what does not show in a buffer of that width.
    simple = shapely.simplify(geometry, metres / 200 / 111_320) if geometry.length else geometry
    west, _, east, _ = simple.bounds
    cut = (west, east) == (-180, 180)
    ends = np.concatenate([_pieces(part, cut) for part in shapely.get_parts(shapely.get_parts(simple))])
    return _on_earth([geometry, *_surroundings(ends, metres)])


def swapped(area: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A GeoJSON geometry with longitude and latitude exchanged; None where that is not on Earth."""
    import shapely

    geometry = shapely.geometry.shape(area)
    west, _, east, _ = geometry.bounds
    if max(abs(west), abs(east)) > 90:
        return None
    return to_json(shapely.transform(geometry, lambda points: points[:, ::-1]))


def to_json(geometry: shapely.Geometry) -> dict[str, Any]:
    """A geometry as a `Query` takes it, rounded to 0.1 m; simplified if it has too many corners."""
    import shapely

    tolerance = 0.0005
    while shapely.get_num_coordinates(geometry) > MAX_POSITIONS // 2:
        geometry = shapely.simplify(geometry, tolerance)
        tolerance *= 2
    rounded = shapely.transform(geometry, lambda points: np.round(points, PLACES) + 0.0)
    told: dict[str, Any] = shapely.geometry.mapping(shapely.force_2d(rounded))
    return told


def _on_earth(parts: list[shapely.Geometry]) -> shapely.Geometry:
    """The union of geometries, what crosses ±180° split there."""
    import shapely

    flat = shapely.get_parts(shapely.get_parts(shapely.force_2d(np.array(parts, dtype=object))))
    flat = np.concatenate([shapely.get_parts(one) for one in flat]) if len(flat) else flat
    places = shapely.get_coordinates(flat)
    if not np.isfinite(places).all():
        raise ParameterError("The geometry has coordinates that are not numbers.")
    if (np.abs(places[:, 1]) > 90.001).any() or (np.abs(places[:, 0]) > 540).any():
        far = places[np.abs(places[:, 1]).argmax()]
        fits = np.abs(places[:, 0]).max() <= 90 and np.abs(places[:, 1]).max() <= 180
        raise ParameterError(
            f"The geometry is not in degrees: it has the coordinates {far[0]:,.9g}, {far[1]:,.9g}.",
            hint="GeoJSON is longitude, latitude: are they exchanged?"
            if fits
            else "Bring it to EPSG:4326 first, as geopandas' to_crs(4326) does.",
        )
    kinds = shapely.get_type_id(flat)
    found: list[shapely.Geometry] = []
    if (kinds == 3).any():
        found += [one for one in outlines(flat[kinds == 3]) if one is not None]
    for one in flat[kinds != 3]:
        found += _split(one)
    whole = shapely.union_all(found)
    if (
        shapely.get_type_id(whole) == 7
    ):  # a collection: polygons first, what lies outside them is kept as small ones
        whole = shapely.union_all(shapely.buffer(shapely.get_parts(whole), 10.0**-PLACES, quad_segs=1))
    if shapely.is_empty(whole):
        raise ParameterError("The geometry has no area, line or point on Earth.")
    return whole


def _split(geometry: shapely.Geometry) -> list[shapely.Geometry]:
    """A point or line brought within ±180°; a line that jumps there goes on."""
    import shapely

    points = shapely.get_coordinates(geometry)
    if len(points) == 1:
        return [
            shapely.points(
                (points[0, 0] + 180) % 360 - 180 if abs(points[0, 0]) > 180 else points[0, 0], points[0, 1]
            )
        ]
    points[:, 0] = np.degrees(np.unwrap(np.radians(points[:, 0])))
    line = shapely.linestrings(points)
    sheets = [(turn, shapely.box(-180 + turn, -90, 180 + turn, 90)) for turn in (-720, -360, 0, 360, 720)]
    pieces = [
        shapely.transform(shapely.intersection(line, sheet), lambda corners, by=turn: corners - (by, 0.0))
        for turn, sheet in sheets
    ]
    return [one for one in pieces if not shapely.is_empty(one)]


def _pieces(part: shapely.Geometry, cut: bool) -> Any:
    """Straight pieces of the lines of a point, line or polygon: (n, 4), lon and lat of both ends.

    Parameters
    ----------
    cut
        Whether edges along ±180° are cuts, not borders.
    """
    import shapely

    rings = [part] if shapely.get_type_id(part) != 3 else [part.exterior, *part.interiors]
    found = []
    for ring in rings:
        points = shapely.get_coordinates(shapely.segmentize(ring, _STEP))
        points = points if len(points) > 1 else np.repeat(points, 2, axis=0)
        pieces = np.concatenate([points[:-1], points[1:]], axis=1)
        along = (
            (np.abs(pieces[:, 0]) == 180) & (pieces[:, 0] == pieces[:, 2]) & (pieces[:, 1] != pieces[:, 3])
        )
        found.append(pieces[~(along & cut)])
    return np.concatenate(found)


def _surroundings(ends: Any, metres: float) -> list[shapely.Geometry]:
    """What lies within a distance of each straight piece, on the plane of directions and distances there."""
    import shapely

    lon, lat, other_lon, other_lat = ends.T
    azimuth, length = course(lon, lat, other_lon, other_lat)
    middle_lon, middle_lat = travel(lon, lat, azimuth, length / 2)
    along = np.zeros((len(ends), 2, 2))
    for end, (x, y) in enumerate(((lon, lat), (other_lon, other_lat))):
        direction, far = course(middle_lon, middle_lat, x, y)
        along[:, end] = np.stack(
            [far * np.sin(np.radians(direction)), far * np.cos(np.radians(direction))], 1
        )
    lines = np.where(length > 0.01, shapely.linestrings(along), shapely.points(along[:, 0]))
    shapes = shapely.buffer(lines, metres, quad_segs=16 if len(ends) < 2000 else 8)
    corners, which = shapely.get_coordinates(shapes, return_index=True)
    directions = np.degrees(np.arctan2(corners[:, 0], corners[:, 1]))
    places = travel(middle_lon[which], middle_lat[which], directions, np.hypot(corners[:, 0], corners[:, 1]))
    return list(shapely.polygons(shapely.linearrings(np.stack(places, 1), indices=which)))


def _longitude(lon: float, where: str) -> float:
    if not -540 <= lon <= 540:
        raise ParameterError(f"{where}: longitude {lon:g} is not in degrees.")
    return lon if -180 <= lon <= 180 else (lon + 180) % 360 - 180


def _number(given: Any) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(given, str | bool) or not math.isfinite(value):
        raise ParameterError(
            f"{given!r} is no number.", hint="Places are given in degrees, buffers in kilometres."
        )
    return value
