"""The index of a collection: columns in a file that all engine workers map, and the search over them.

Rows stand newest first, then by id: the order of a search that asks for no other. A range of dates is
then a range of rows, and a million items are looked through in some milliseconds.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from geoloom.errors import RequestError
from geoloom.query import Query
from geoloom_engine.catalog import columns
from geoloom_engine.catalog.area import Area
from geoloom_engine.catalog.geoparquet import moment
from geoloom_engine.catalog.matching import Property, fold, unfold

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

FORMAT = b"2"
_META = b"geoloom-index"
_FEW_IDS = 1000
_WORLD = (180.0, 90.0, 180.0, 90.0)


def arranged(rows: pa.Table, about: Mapping[str, Any]) -> pa.Table:
    """The index of columns as `columns.of_items` makes them; of equal ids the one of the later part stays.

    Parameters
    ----------
    about
        Plain values that are kept beside it.
    """
    rows = rows.combine_chunks()
    ids = rows.column("id")
    part = rows.column("part").to_numpy()
    # By id, and of equal ones the last part first, and in it the last row.
    order = pc.sort_indices(
        pa.table(
            {
                "id": ids,
                "part": -part.astype(np.int64),
                "row": -rows.column("row").to_numpy().astype(np.int64),
            }
        ),
        sort_keys=[("id", "ascending"), ("part", "ascending"), ("row", "ascending")],
    ).to_numpy()
    sorted_ids = ids.take(pa.array(order)).combine_chunks()
    first = np.ones(len(order), bool)
    if len(order) > 1:
        first[1:] = pc.not_equal(sorted_ids[1:], sorted_ids[:-1]).to_numpy(zero_copy_only=False)
    by_id = order[first]
    date = rows.column("date").to_numpy()[by_id]
    newest = np.argsort(-np.where(np.isnan(date), -np.inf, date), kind="stable")
    taken = rows.take(pa.array(by_id[newest])).combine_chunks()
    rank = newest.astype(np.int32)
    id_order = np.empty(len(rank), np.int32)
    id_order[rank] = np.arange(len(rank), dtype=np.int32)
    taken = taken.append_column("id_rank", pa.array(rank)).append_column("id_order", pa.array(id_order))
    arrays, fields = [], []
    for field, column in zip(taken.schema, taken.columns, strict=True):
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if field.name.startswith("p:"):
            array = fold(array)
        arrays.append(array)
        fields.append(pa.field(field.name, array.type, metadata=field.metadata))
    meta = {_META: FORMAT, b"about": json.dumps({**about, "twice": len(by_id) < rows.num_rows}).encode()}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=meta))


def save(table: pa.Table, path: Path) -> None:
    """Write an index to a file, which is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with pa.OSFile(str(passing), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=max(1, table.num_rows))
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)


class Index:
    """An index, in memory or mapped from its file. Thread-safe; a mapped one takes no memory of its own.

    Parameters
    ----------
    table
        From `arranged`.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.about: dict[str, Any] = json.loads(table.schema.metadata[b"about"])
        self.date: Numbers = self._numbers("date")
        self._dated = int(np.searchsorted(np.isnan(self.date), True))

    @staticmethod
    def open(path: Path) -> Index:
        """An index mapped from its file.

        Raises
        ------
        OSError, ValueError
            There is none, or not of this format.
        """
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        if (table.schema.metadata or {}).get(_META) != FORMAT:
            raise ValueError(f"{path} is no index of this format")
        return Index(table)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def bytes(self) -> int:
        """Size of all columns."""
        return int(self._table.nbytes)

    def count(self, query: Query) -> int:
        """How many items a query finds."""
        found = len(self._matching(query))
        return found if query.limit is None else min(found, query.limit)

    def search(self, query: Query, most: int | None = None) -> Rows:
        """Rows that a query finds, in its order.

        Parameters
        ----------
        most
            No more than these are needed.

        Raises
        ------
        RequestError
            It asks for a property that no item has.
        """
        limit = min((one for one in (query.limit, most) if one is not None), default=None)
        keys = [self._order(name, direction) for name, direction in query.sort]
        if query.near is not None:
            near = _seconds(query.near)
            keys.insert(0, lambda rows: np.abs(self.date[rows] - near))
        return _first(self._matching(query), keys, len(self) if limit is None else limit)

    def ids(self, rows: Rows) -> list[str]:
        """The ids of rows."""
        found: list[str] = self._table.column("id").take(pa.array(rows)).to_pylist()
        return found

    def places(self, rows: Rows) -> tuple[Numbers, Numbers]:
        """Part, and row in it, of rows."""
        return self._numbers("part")[rows], self._numbers("row")[rows]

    def of_parts(self, numbers: list[int]) -> pa.Table:
        """The columns of some parts, for another index.

        Parameters
        ----------
        numbers
            The new number of each part; −1: leave it out.
        """
        part = np.array(numbers, np.int32)[self._numbers("part")]
        table = self._table.drop_columns(["id_rank", "id_order"])
        arrays, fields = [], []
        for field, column in zip(table.schema, table.columns, strict=True):
            array = pa.array(part) if field.name == "part" else unfold(column.combine_chunks())
            arrays.append(array)
            fields.append(pa.field(field.name, array.type, metadata=field.metadata))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields)).filter(pa.array(part >= 0))

    def properties(self) -> dict[str, Any]:
        """What is known of each property: ``minimum`` and ``maximum``, or its values if they are few."""
        return {
            name: found for name in self._names() if (found := self._property(name).summary()) is not None
        }

    def extent(self) -> tuple[list[float] | None, list[float | None]]:
        """The box round all footprints in degrees, and the first and last date in seconds since 1970."""
        sides = [self._numbers(side) for side in columns.SIDES]
        known = np.isfinite(sides[0])
        box = None
        if known.any():
            ends = zip(sides, (np.min, np.min, np.max, np.max), _WORLD, strict=True)
            # The sides are rounded outwards, by some metres.
            box = [float(np.clip(np.round(pick(side[known]), 4), -most, most)) for side, pick, most in ends]
        last, first = (float(self.date[at]) if self._dated else None for at in (0, self._dated - 1))
        return box, [first, last]

    def _matching(self, query: Query) -> Rows:
        start, end = 0, len(self)
        for low, high in query.dates:
            # Dates stand in descending order, dateless items last.
            dates = self.date[: self._dated][::-1]
            start = max(start, self._dated - int(np.searchsorted(dates, _seconds(high))))
            end = min(end, self._dated - int(np.searchsorted(dates, _seconds(low))))
        rows: Rows | slice = slice(start, max(start, end))
        if query.ids:
            found = self._of_ids(query.ids)
            rows = found[(found >= start) & (found < end)]
        if query.months:
            wanted = np.zeros(13, bool)
            wanted[list(query.months)] = True
            rows = _kept(rows, wanted[self._numbers("month")[rows]])
        for name, operator, value in query.where:
            rows = _kept(rows, self._property(name).holds(rows, operator, value))
        wkb = self._table.column("wkb")
        for geometry in query.areas:
            area = Area(geometry)
            boxes = [self._numbers(side) for side in columns.SIDES]
            points = [self._numbers(name) for name in columns.INNER]
            rows = area.near(rows, boxes)
            rows = area.meeting(
                rows, boxes, points, lambda some: wkb.take(pa.array(some)).to_numpy(zero_copy_only=False)
            )
        return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows

    def _of_ids(self, ids: tuple[str, ...]) -> Rows:
        column = self._table.column("id")
        if len(ids) > _FEW_IDS:
            found = pc.is_in(column, value_set=pa.array(ids, pa.large_string()))
            return np.flatnonzero(found.to_numpy(zero_copy_only=False))
        order, rows = self._numbers("id_order"), set()
        for id_ in ids:
            low, high = 0, len(order)
            sought = id_.encode()
            while low < high:
                middle = (low + high) // 2
                if column[int(order[middle])].as_py().encode() < sought:
                    low = middle + 1
                else:
                    high = middle
            if low < len(order) and column[int(order[low])].as_py() == id_:
                rows.add(int(order[low]))
        return np.array(sorted(rows), np.int64)

    def _order(self, name: str, direction: str) -> Any:
        """A function from rows to numbers that ascend in an order; what is missing comes last."""
        if name == "id":
            column = self._numbers("id_rank")
            return lambda rows: column[rows] if direction == "asc" else -column[rows]
        property_ = self._property(name)
        return lambda rows: property_.keys(rows, direction == "desc")

    def _names(self) -> list[str]:
        return [name[2:] for name in self._table.column_names if name.startswith("p:")]

    def _property(self, name: str) -> Property:
        if name == "datetime":
            return Property(columns.MOMENT, self._table.column("date").chunk(0))
        if name == "id":
            return Property(columns.TEXT, fold(self._table.column("id").combine_chunks()))
        if f"p:{name}" not in self._table.column_names:
            if not len(self):
                return Property(columns.NUMBER, pa.array(np.zeros(0)))
            known = self._names()
            near = get_close_matches(name, known, 1, 0.6)
            raise RequestError(
                f"No item of the collection has the property {name!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known[:20])}.",
            )
        field = self._table.schema.field(f"p:{name}")
        return Property(columns.kind_of(field), self._table.column(f"p:{name}").chunk(0))

    def _numbers(self, name: str) -> Numbers:
        column = self._table.column(name)
        if not column.num_chunks:
            return np.zeros(0, column.type.to_pandas_dtype())
        found: Numbers = column.chunk(0).to_numpy(zero_copy_only=True)
        return found


def _kept(rows: Rows | slice, mask: npt.NDArray[np.bool_]) -> Rows:
    kept: Rows = np.flatnonzero(mask) + rows.start if isinstance(rows, slice) else rows[mask]
    return kept


def _first(rows: Rows, keys: list[Any], count: int) -> Rows:
    """The first rows by some keys, then by number; no more is sorted than is needed."""
    if not keys or not count:
        return rows[:count]
    values = keys[0](rows)
    if len(rows) <= count:
        return rows[np.lexsort([rows, *(key(rows) for key in reversed(keys[1:])), values])]
    last = np.partition(values, count - 1)[count - 1]
    if np.isnan(last):
        same = np.isnan(values)
        before = ~same
    else:
        before, same = values < last, values == last
    first = rows[before]
    rest = _first(rows[same], keys[1:], count - len(first))
    return np.concatenate([_first(first, keys, len(first)), rest])


def _seconds(text: str) -> float:
    found = moment(text)
    assert found is not None
    return found.timestamp()


def remove_others(path: Path) -> None:
    """Remove the indexes beside one; who has them open keeps them until they let go."""
    for other in path.parent.glob("*" + path.suffix):
        if other != path:
            other.unlink(missing_ok=True)
    for other in path.parent.glob(f".*{path.suffix}.*"):
        if other.stat().st_mtime < path.stat().st_mtime - 3600:
            other.unlink(missing_ok=True)
