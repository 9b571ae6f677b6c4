"""What is searched by, in columns: of one file of items, and of all those of a collection.

One row an item: ``id``, footprint (``wkb``), its box and a point in it, ``date`` (seconds since 1970 UTC),
``month``, where the item is (``part``, ``row``), and each property under ``p:NAME`` as one of four kinds:
numbers, moments (seconds), texts, and JSON texts for all else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geoloom.outlines import outlines
from geoloom_engine.catalog.geoparquet import FOREIGN, moment

NUMBER, MOMENT, TEXT, JSON = "number", "moment", "text", "json"

SIDES = ("west", "south", "east", "north")
INNER = ("x", "y")
"""A point in the footprint."""

_NO_PROPERTIES = frozenset(
    {"type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets", "collection"}
    | {"properties"}
)
_KIND = b"kind"
_BELOW, _ABOVE = np.float32(-np.inf), np.float32(np.inf)


def wanted(name: str) -> bool:
    """Whether a column of a file of items is of use here."""
    return name in ("id", "geometry", "bbox") or name not in _NO_PROPERTIES


def of_items(table: pa.Table, part: int) -> pa.Table:
    """The columns of a file of items.

    Parameters
    ----------
    table
        stac-geoparquet, at least its `wanted` columns.
    part
        Its number.
    """
    count = table.num_rows
    shapes = footprints(table)
    date = _date(table)
    columns: dict[str, pa.Array] = {
        "id": _one(table.column("id")).cast(pa.large_string()),
        "wkb": pa.array(shapely.to_wkb(shapes).tolist(), pa.large_binary()),
        **dict(zip(SIDES, _boxes(shapes), strict=True)),
        **dict(zip(INNER, _inner(shapes), strict=True)),
        "date": pa.array(date),
        "month": pa.array(_months(date)),
        "part": pa.array(np.full(count, part, np.int32)),
        "row": pa.array(np.arange(count, dtype=np.int32)),
    }
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    for field, array in _properties(table):
        fields.append(field)
        columns[field.name] = array
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def footprints(table: pa.Table) -> npt.NDArray[np.object_]:
    """Footprints made good; of what has none that can be, the item's box; None without either."""
    given = shapely.from_wkb(
        _one(table.column("geometry")).to_numpy(zero_copy_only=False), on_invalid="ignore"
    )
    shapes = outlines(given)
    missing = np.flatnonzero(shapely.is_missing(shapes))
    if len(missing) and "bbox" in table.column_names:
        boxes = _one(table.column("bbox")).take(pa.array(missing)).to_pylist()
        shapes[missing] = outlines([box_of(None if box is None else list(box.values())) for box in boxes])
    return shapes


def box_of(bbox: Sequence[float | None] | None) -> Any:
    """A STAC box as geometry, split at ±180° if its west is beyond its east; None if it is none."""
    if not isinstance(bbox, list | tuple) or len(bbox) not in (4, 6):
        return None
    half = len(bbox) // 2
    try:
        west, south, east, north = (float(side) for side in (*bbox[:2], *bbox[half : half + 2]))
    except (TypeError, ValueError):
        return None
    if not all(map(np.isfinite, (west, south, east, north))) or south >= north:
        return None
    return shapely.box(west, south, east + 360 if west > east else east, north)


def kind_of(field: pa.Field) -> str:
    """Which of the four kinds a property's column is."""
    return str((field.metadata or {})[_KIND].decode())


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Columns one after the other; kinds that differ become JSON text, what is missing is null."""
    names = list(dict.fromkeys(name for table in tables for name in table.column_names))
    arrays, fields = [], []
    for name in names:
        there = [table.field(name) for table in tables if name in table.column_names]
        field = there[0]
        if name.startswith("p:") and len({kind_of(one) for one in there}) > 1:
            field = _field(name, JSON)
        arrays.append(pa.chunked_array(_chunks(tables, field), field.type))
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _chunks(tables: Sequence[pa.Table], field: pa.Field) -> Iterator[pa.Array]:
    for table in tables:
        if field.name not in table.column_names:
            yield pa.nulls(table.num_rows, field.type)
            continue
        column = table.column(field.name)
        if field.name.startswith("p:") and kind_of(field) == JSON:
            kind = kind_of(table.field(field.name))
            if kind != JSON:
                texts = [None if value is None else json.dumps(value) for value in column.to_pylist()]
                column = pa.chunked_array([pa.array(texts, pa.large_string())])
        yield _one(column)


def _field(name: str, kind: str) -> pa.Field:
    type_ = pa.float64() if kind in (NUMBER, MOMENT) else pa.large_string()
    return pa.field(name, type_, metadata={_KIND: kind.encode()})


def _properties(table: pa.Table) -> Iterator[tuple[pa.Field, pa.Array]]:
    for name in table.column_names:
        if name in _NO_PROPERTIES or name == "datetime":
            continue
        column, type_ = _one(table.column(name)), table.field(name).type
        kind, array = NUMBER, column
        if (table.field(name).metadata or {}).get(b"geoloom") == FOREIGN[b"geoloom"]:
            kind = JSON
        elif pa.types.is_timestamp(type_):
            kind, array = MOMENT, _seconds(column)
        elif pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_dictionary(type_):
            kind = TEXT
        elif pa.types.is_boolean(type_) or _is_plain_list(type_):
            kind = JSON
            texts = [None if value is None else json.dumps(value) for value in column.to_pylist()]
            array = pa.array(texts, pa.string())
        elif not (pa.types.is_integer(type_) or pa.types.is_floating(type_)):
            continue
        field = _field(f"p:{name}", kind)
        yield field, array.cast(field.type, safe=False)


def _is_plain_list(type_: pa.DataType) -> bool:
    """Whether of values that somebody may look for: texts and numbers."""
    if not (pa.types.is_list(type_) or pa.types.is_large_list(type_)):
        return False
    inner = type_.value_type
    return any(test(inner) for test in (pa.types.is_string, pa.types.is_integer, pa.types.is_floating))


def _date(table: pa.Table) -> npt.NDArray[np.float64]:
    """Each item's time, or where a range is all it has, the range's start; NaN for none."""
    date = np.full(table.num_rows, np.nan)
    for name in ("start_datetime", "datetime"):
        if name in table.column_names:
            column = _one(table.column(name))
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column = _read_moments(column)
            if pa.types.is_timestamp(column.type):
                found = _seconds(column).to_numpy(zero_copy_only=False)
                date = np.where(np.isnan(found), date, found)
    return date


def _read_moments(column: pa.Array) -> pa.Array:
    """Texts as moments, what is none as null."""
    return pa.array([moment(text) for text in column.to_pylist()], pa.timestamp("us", "UTC"))


def _seconds(column: pa.Array) -> pa.Array:
    micro = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()).cast(pa.float64())
    return pc.divide(micro, 1e6)


def _months(date: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    """1 to 12; 0 for dateless items."""
    known = np.isfinite(date)
    months = np.where(known, date, 0.0).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return np.where(known, months % 12 + 1, 0).astype(np.int8)


def _boxes(shapes: npt.NDArray[np.object_]) -> Iterator[pa.Array]:
    """West, south, east, north, rounded outwards; NaN for what has no footprint."""
    for values, way in zip(shapely.bounds(shapes).T, (_BELOW, _BELOW, _ABOVE, _ABOVE), strict=True):
        yield pa.array(np.nextafter(values.astype(np.float32), way), from_pandas=False)


def _inner(shapes: npt.NDArray[np.object_]) -> Iterator[pa.Array]:
    """Longitude and latitude of a point in each footprint; NaN for what has none."""
    points = shapely.point_on_surface(shapes)
    for values in (shapely.get_x(points), shapely.get_y(points)):
        yield pa.array(values, from_pandas=False)


def _one(column: Any) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
