"""STAC items as stac-geoparquet: one row an item, properties as columns, footprints as WKB.

Follows the stac-geoparquet specification 1.0 on GeoParquet 1.1. A column whose values have no common
type is kept as JSON text, which its field's metadata says.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from geoloom.errors import SourceNotFound, SourceUnreadable

Item = dict[str, Any]
"""A STAC item as JSON has it."""

MOMENTS = frozenset(
    {
        "datetime",
        "start_datetime",
        "end_datetime",
        "created",
        "updated",
        "expires",
        "published",
        "unpublished",
    }
)
"""Properties that are moments."""

FOREIGN = {b"geoloom": b"json"}
"""Metadata of a field that holds JSON text."""

_TOP = ("type", "stac_version", "stac_extensions", "id", "bbox", "links", "assets", "collection")
_OWN = frozenset({*_TOP, "geometry", "properties"})
_ROWS_IN_GROUP = 50_000
_KINDS = (
    *("Point", "LineString", "LinearRing", "Polygon"),
    *("MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection"),
)
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def write_items(path: str | Path, items: Iterable[Item]) -> None:
    """Write items to a file, which is there whole or not at all, also after a crash.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    path = Path(path)
    table = to_table(list(items))
    passing = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with passing.open("wb") as file:
            pq.write_table(table, file, compression="zstd", row_group_size=_ROWS_IN_GROUP)
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_items(source: str | Path | pa.Buffer) -> list[Item]:
    """The items of a file, in its order; of a file that others wrote too.

    Parameters
    ----------
    source
        Its path, or its content.

    Raises
    ------
    SourceNotFound, SourceUnreadable
        It is not there, or holds no items.
    """
    return from_table(read_table(source))


def read_table(source: str | Path | pa.Buffer, wanted: Callable[[str], bool] | None = None) -> pa.Table:
    """A file's columns, or the wanted ones among them; raises as `read_items` does."""
    name = "The catalogue's answer" if isinstance(source, pa.Buffer) else str(source)
    try:
        with pq.ParquetFile(pa.BufferReader(source) if isinstance(source, pa.Buffer) else source) as file:
            named = file.schema_arrow.names
            if not {"id", "geometry"} <= set(named):
                raise SourceUnreadable(
                    f"{name} holds no STAC items: it has no columns 'id' and 'geometry'.",
                    hint="Give a stac-geoparquet file.",
                )
            return file.read(None if wanted is None else list(filter(wanted, named)))
    except FileNotFoundError:
        raise SourceNotFound(f"There is no file {name}.") from None
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else "it is damaged"
        raise SourceUnreadable(
            f"{name} cannot be read as Parquet: {reason}.", hint="Write it again, or leave it out."
        ) from None


def to_table(items: Sequence[Item]) -> pa.Table:
    """Items as columns."""
    geometries = _geometries([item.get("geometry") for item in items])
    columns: dict[str, pa.Array] = {
        "type": pa.array(["Feature"] * len(items)),
        "stac_version": pa.array([str(item.get("stac_version", "1.1.0")) for item in items]),
        "stac_extensions": pa.array(
            [[str(one) for one in _list(item.get("stac_extensions"))] for item in items],
            pa.list_(pa.string()),
        ),
        "id": pa.array([str(item["id"]) for item in items]),
        "geometry": pa.array(shapely.to_wkb(geometries).tolist(), pa.binary()),
        "bbox": _boxes([item.get("bbox") for item in items], geometries),
    }
    fields = {}
    for name in ("links", "assets", "collection"):
        columns[name], fields[name] = _column(name, [item.get(name) for item in items])
    properties = [told if isinstance(told := item.get("properties"), dict) else {} for item in items]
    for name in dict.fromkeys(name for one in properties for name in one):
        if name not in _OWN:
            columns[name], fields[name] = _column(name, [one.get(name) for one in properties])
    hidden = [{name: one[name] for name in one if name in _OWN} for one in properties]
    if any(hidden):
        columns["properties"], fields["properties"] = _json_column("properties", hidden)
    schema = pa.schema(
        [fields.get(name, pa.field(name, array.type)) for name, array in columns.items()],
        metadata={"geo": _geo(geometries), "stac-geoparquet": json.dumps({"version": "1.0.0"})},
    )
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


def from_table(table: pa.Table, tidy: bool = True) -> list[Item]:
    """Items of columns.

    Parameters
    ----------
    tidy
        Whether to leave out names without a value, which only other items have.
    """
    kept = _without_none if tidy else _as_it_is
    columns = {name: _values(table.field(name), table.column(name)) for name in table.column_names}
    geometries = shapely.to_geojson(shapely.from_wkb(columns.pop("geometry"), on_invalid="ignore")).tolist()
    hidden = columns.pop("properties", [None] * table.num_rows)
    top = {name: columns.pop(name) for name in _TOP if name in columns}
    items = []
    for row in range(table.num_rows):
        item: Item = {"type": "Feature"}
        for name, values in top.items():
            if values[row] is not None:
                item[name] = kept(values[row])
        if isinstance(item.get("bbox"), dict):
            box = item["bbox"]
            item["bbox"] = [box[side] for side in _SIDES] if all(side in box for side in _SIDES) else None
        item["geometry"] = None if geometries[row] is None else json.loads(geometries[row])
        item["properties"] = {
            name: kept(values[row]) for name, values in columns.items() if values[row] is not None
        }
        item["properties"].setdefault("datetime", None)
        item["properties"].update(hidden[row] or {})
        item.setdefault("assets", {})
        item.setdefault("links", [])
        items.append(item)
    return items


def _column(name: str, values: list[Any]) -> tuple[pa.Array, pa.Field]:
    if name in MOMENTS:
        moments = [moment(value) for value in values]
        if all((a is None) == (b is None) for a, b in zip(values, moments, strict=True)):
            array = pa.array(moments, pa.timestamp("us", "UTC"))
            return array, pa.field(name, array.type)
    try:
        array = pa.array(values)
        if not _storable(array.type):
            raise pa.ArrowInvalid("has parts without a type")
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return _json_column(name, values)
    return array, pa.field(name, array.type)


def _json_column(name: str, values: list[Any]) -> tuple[pa.Array, pa.Field]:
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.array(texts, pa.string()), pa.field(name, pa.string(), metadata=FOREIGN)


def _storable(type_: pa.DataType) -> bool:
    """Whether Parquet can hold a type: it knows no structures without fields."""
    if pa.types.is_struct(type_):
        fields = [type_.field(number).type for number in range(type_.num_fields)]
        return bool(fields) and all(map(_storable, fields))
    return not pa.types.is_list(type_) or _storable(type_.value_type)


def _values(field: pa.Field, column: pa.ChunkedArray) -> list[Any]:
    if (field.metadata or {}).get(b"geoloom") == b"json":
        return [None if text is None else json.loads(text) for text in column.to_pylist()]
    if pa.types.is_timestamp(field.type):
        micro = column.cast(pa.timestamp("us", field.type.tz), safe=False).cast(pa.int64()).to_pylist()
        return [None if value is None else _written(value) for value in micro]
    values: list[Any] = column.to_pylist()
    return values


def moment(value: Any) -> datetime | None:
    """The moment that a text of RFC 3339 names; None if it is none."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _written(micro: int) -> str:
    """Microseconds since 1970 as RFC 3339, with as many digits as it needs."""
    text = str(np.datetime64(micro, "us"))
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def _without_none(value: Any) -> Any:
    """A value without the names that other rows alone have."""
    if isinstance(value, dict):
        return {name: _without_none(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_none(one) for one in value]
    return value


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _as_it_is(value: Any) -> Any:
    return value


def _geometries(given: list[Any]) -> Any:
    """Geometries of GeoJSON; None for what is none."""
    texts = [None if one is None else json.dumps(one) for one in given]
    return shapely.from_geojson(np.array(texts, dtype=object), on_invalid="ignore")


def _boxes(given: list[Any], geometries: Any) -> pa.Array:
    bounds = shapely.bounds(geometries)
    rows = []
    for box, own in zip(given, bounds.tolist(), strict=True):
        if len(_list(box)) in (4, 6) and all(isinstance(side, int | float) for side in box):
            half = len(box) // 2
            own = [float(side) for side in (*box[:2], *box[half : half + 2])]
        rows.append(None if np.isnan(own).any() else dict(zip(_SIDES, own, strict=True)))
    return pa.array(rows, pa.struct([(side, pa.float64()) for side in _SIDES]))


def _geo(geometries: Any) -> str:
    """The metadata of GeoParquet: longitude and latitude of WGS 84 are its default."""
    there = geometries[~(shapely.is_missing(geometries) | shapely.is_empty(geometries))]
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [_KINDS[kind] for kind in sorted(set(shapely.get_type_id(there).tolist()))],
        "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
    }
    if len(there):
        column["bbox"] = shapely.total_bounds(there).tolist()
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})
