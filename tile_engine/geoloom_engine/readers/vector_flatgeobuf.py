"""FlatGeobuf, read by its public specification (flatgeobuf.org, version 3); GDAL's wheel has no driver.

The file is read piece by piece, and walked by compiled loops that believe no offset. Its index is not
needed: features are packed with one of our own. It is not mapped into memory, since whoever cuts it short
would end the process.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal

from geoloom.block import Array
from geoloom.errors import RequestError, SourceUnreadable
from geoloom_engine.readers.vector import choose, no_column
from geoloom_engine.readers.vector_files import LayerInfo
from geoloom_engine.vectors.flat import begins, cut, locate, parse_flat
from geoloom_engine.vectors.wkb import Paths

MAGIC = b"fgb\x03fgb"

_BATCH = 65_536
_CHUNK = 32 << 20
_LONGEST_HEADER = 64 << 20
_NAME, _ENVELOPE, _TYPE, _COLUMNS, _COUNT, _NODE, _CRS = 0, 1, 2, 7, 8, 9, 10
_GEOMETRIES = (
    *("Unknown", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"),
    "GeometryCollection",
)
_KINDS: tuple[tuple[str, str, int], ...] = (
    ("int32", "i1", 1),
    ("int32", "u1", 1),
    ("bool", "u1", 1),
    ("int32", "<i2", 2),
    ("int32", "<u2", 2),
    ("int32", "<i4", 4),
    ("int64", "<u4", 4),
    ("int64", "<i8", 8),
    ("int64", "<u8", 8),
    ("float64", "<f4", 4),
    ("float64", "<f8", 8),
    ("text", "", 0),
    ("text", "", 0),
    ("datetime", "", 0),
    ("text", "", 0),
)
"""Of each type of column: how it is told, numpy's name of it and its bytes; 0 with a length before."""

_WIDTHS = np.array([one[2] for one in _KINDS], np.int64)


@dataclass(frozen=True, slots=True)
class _Head:
    layer: str
    geometry: int
    columns: tuple[tuple[str, int], ...]
    count: int
    crs: str
    extent: tuple[float, float, float, float] | None
    start: int


def is_flatgeobuf(path: Path) -> bool:
    """Whether a file begins as one; False too if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class FlatGeobuf:
    """A FlatGeobuf file; reads as `readers.vector.OgrFile` does.

    Parameters
    ----------
    name
        For messages.
    path
        Of the file, checked before.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path

    def describe(self, layer: str | None) -> LayerInfo:
        """What its only layer holds."""
        head = self._of(layer)
        geometry = _GEOMETRIES[head.geometry] if head.geometry < len(_GEOMETRIES) else "Unknown"
        columns = {name: _KINDS[kind][0] for name, kind in head.columns}
        count = head.count or len(self._ends) - 1
        return LayerInfo((head.layer,), head.layer, count, geometry, head.crs, head.extent, columns)

    def batches(self, layer: str | None) -> Iterator[tuple[Array, Paths]]:
        """Numbers of features, and their geometry."""
        head, ends = self._of(layer), self._ends
        for begin in range(0, len(ends) - 1, _BATCH):
            part = ends[begin : begin + _BATCH + 1]
            numbers = np.arange(begin, begin + len(part) - 1)
            yield numbers, parse_flat(self._piece(part), part - part[0], head.geometry)

    def column(self, layer: str | None, name: str) -> tuple[Array, Any]:
        """Numbers of the features, and one attribute of each as a pyarrow array; raises RequestError."""
        head = self._of(layer)
        names = [one for one, _ in head.columns]
        if name not in names:
            raise no_column(self.name, name, head.layer, names)
        return np.arange(len(self._ends) - 1), self._column(names.index(name))

    def matching(self, layer: str | None, where: str) -> Array:
        """Numbers of the features that a condition holds for; raises RequestError."""
        import pyarrow

        head = self._of(layer)
        # Only columns that it may name are looked at.
        needed = [k for k, (name, _) in enumerate(head.columns) if name.casefold() in where.casefold()]
        needed = needed or list(range(len(head.columns)))[:1]
        table = pyarrow.table([self._column(k) for k in needed], names=[head.columns[k][0] for k in needed])
        dataset = gdal.GetDriverByName("MEM").CreateVector("")
        made: Any = dataset.CreateLayer(head.layer or "features")
        for field in table.schema:
            made.CreateFieldFromPyArrowSchema(field)
        if not needed:
            raise RequestError(
                f"{self.name} has no columns, so where={where[:80]!r} tells nothing.", hint="Leave it out."
            )
        for batch in table.to_batches():
            made.WritePyArrow(batch)
        choose(made, where, self.name)
        found = [
            batch.field(0).to_numpy(zero_copy_only=False)
            for batch in made.GetArrowStreamAsPyArrow(["INCLUDE_FID=YES"])
        ]
        made = None  # must not outlive its dataset
        return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)

    def attributes(self, layer: str | None, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """All attributes of some features, as JSON takes them."""
        head = self._of(layer)
        rows: list[dict[str, Any]] = []
        for number in numbers:
            ends = self._ends[number : number + 2]
            content = self._piece(ends)
            row = {}
            for k, (name, kind) in enumerate(head.columns):
                (value,) = self._values(k, content, ends - ends[0]).to_pylist()
                if isinstance(value, bytes):
                    value = f"{len(value)} bytes" if kind == 14 else value.decode("utf-8", "replace")
                finite = not isinstance(value, float) or math.isfinite(value)
                row[name] = value if finite else None
            rows.append(row)
        return rows

    def _column(self, index: int) -> Any:
        """A column of all features, as a chunked array."""
        import pyarrow

        parts = (self._ends[k : k + _BATCH + 1] for k in range(0, len(self._ends) - 1, _BATCH))
        chunks = [self._values(index, self._piece(part), part - part[0]) for part in parts]
        if len({chunk.type for chunk in chunks}) > 1:  # texts of some are not UTF-8
            chunks = [chunk.cast(pyarrow.large_binary()) for chunk in chunks]
        return pyarrow.chunked_array(chunks, None if chunks else pyarrow.float64())

    def _values(self, index: int, content: Array, ends: Array) -> Any:
        """A column of some features: numbers, booleans, texts or (of what is not UTF-8) bytes."""
        import pyarrow

        kinds = np.array([kind for _, kind in self._head.columns], np.int64)
        at, length = locate(content, ends, _WIDTHS[kinds], index)
        kind = int(kinds[index])
        told_bytes, offsets = cut(content, at, length)
        told, dtype, width = _KINDS[kind]
        gaps = at < 0
        if not width:
            found = pyarrow.Array.from_buffers(
                pyarrow.large_binary(),
                len(at),
                [
                    pyarrow.py_buffer(np.packbits(~gaps, bitorder="little")),
                    pyarrow.py_buffer(offsets),
                    pyarrow.py_buffer(told_bytes),
                ],
            )
            return found if kind == 14 else _as_text(found)
        values = np.zeros(len(at), dtype)
        values[~gaps] = told_bytes.view(dtype)
        return pyarrow.array(values != 0 if told == "bool" else values, mask=gaps)

    def _of(self, layer: str | None) -> _Head:
        head = self._head
        if layer is not None and layer != head.layer:
            raise RequestError(
                f"{self.name} has no layer {layer[:60]!r}.", hint=f"Its layers are: {head.layer}."
            )
        return head

    def _read(self, begin: int, size: int) -> Array:
        """Bytes of the file; fewer at its end."""
        try:
            with self._path.open("rb") as file:
                file.seek(begin)
                return np.frombuffer(file.read(size), np.uint8)
        except OSError:
            raise self._damaged() from None

    def _piece(self, ends: Array) -> Array:
        """The bytes of features that follow each other."""
        size = int(ends[-1] - ends[0]) if len(ends) else 0
        content = self._read(int(ends[0]), size) if size else np.empty(0, np.uint8)
        if len(content) < size:
            raise self._damaged()
        return content

    @cached_property
    def _head(self) -> _Head:
        try:
            (size,) = struct.unpack("<I", self._read(8, 4).tobytes())
            return _header(self._read(12, min(size, _LONGEST_HEADER)).tobytes(), size, self._path.stem)
        except (struct.error, ValueError, IndexError, OverflowError):
            raise self._damaged() from None

    @cached_property
    def _ends(self) -> Array:
        """Where each feature begins, and the end of the last."""
        at, found = self._head.start, []
        size = self._path.stat().st_size
        while at < size:
            content = self._read(at, _CHUNK)
            if len(content) < 8:
                raise self._damaged()
            told = begins(content)
            if told is None:
                raise self._damaged()
            starts, after = told
            if not after:  # one that is longer than the piece
                starts, after = np.zeros(1, np.int64), 4 + int(content[:4].view("<u4")[0])
            found.append(starts + at)
            at += after
        ends = np.concatenate([*found, [at]]).astype(np.int64)
        if at > size or (self._head.count and self._head.count != len(ends) - 1):
            raise self._damaged()
        return ends

    def _damaged(self) -> SourceUnreadable:
        return SourceUnreadable(
            f"{self.name} is a damaged or truncated FlatGeobuf file.", hint="Write or copy it anew."
        )


def _as_text(values: Any) -> Any:
    """Bytes as text where they are UTF-8; else as they are."""
    import pyarrow

    try:
        return values.cast(pyarrow.large_string())
    except pyarrow.ArrowInvalid:
        return values


def _header(raw: bytes, size: int, stem: str) -> _Head:
    """The header; raises struct.error, ValueError or IndexError if it is damaged."""
    if len(raw) < size or size < 8:
        raise ValueError
    root = _Table(raw, struct.unpack_from("<I", raw, 0)[0])
    columns = tuple((one.text(0), one.number(1, "<B", 0)) for one in root.tables(_COLUMNS))
    if any(kind >= len(_KINDS) for _, kind in columns):
        raise ValueError
    count, node = root.number(_COUNT, "<Q", 0), root.number(_NODE, "<H", 16)
    start = 12 + size
    if node > 1 and count:
        level, nodes = count, count
        while level > 1 or nodes == count:
            level = -(-level // node)
            nodes += level
        start += nodes * 40
    box = root.doubles(_ENVELOPE)
    crs = ""
    for system in root.one(_CRS):
        organisation, code = system.text(0) or "EPSG", system.number(1, "<i", 0)
        crs = f"{organisation}:{code}" if code > 0 else system.text(4)
    extent = (box[0], box[1], box[2], box[3]) if len(box) >= 4 and np.isfinite(box[:4]).all() else None
    return _Head(root.text(_NAME) or stem, root.number(_TYPE, "<B", 0), columns, count, crs, extent, start)


class _Table:
    """A table of a flatbuffer, read field by field."""

    def __init__(self, raw: bytes, at: int) -> None:
        self._raw = raw
        self._at = at
        self._fields = at - struct.unpack_from("<i", raw, at)[0]
        if self._fields < 0:
            raise ValueError
        (self._size,) = struct.unpack_from("<H", raw, self._fields)

    def number(self, slot: int, form: str, default: int) -> int:
        """A number."""
        at = self._place(slot)
        return default if at is None else int(struct.unpack_from(form, self._raw, at)[0])

    def text(self, slot: int) -> str:
        """A text; empty if it is not there."""
        begin, length = self._vector(slot)
        if begin + length > len(self._raw):
            raise ValueError
        return self._raw[begin : begin + length].decode("utf-8", "replace")

    def doubles(self, slot: int) -> tuple[float, ...]:
        """Numbers."""
        begin, length = self._vector(slot)
        if begin + 8 * length > len(self._raw):
            raise ValueError
        return struct.unpack_from(f"<{length}d", self._raw, begin)

    def tables(self, slot: int) -> list[_Table]:
        """A list of tables."""
        begin, length = self._vector(slot)
        if begin + 4 * length > len(self._raw):
            raise ValueError
        places = range(begin, begin + 4 * length, 4)
        return [_Table(self._raw, at + struct.unpack_from("<I", self._raw, at)[0]) for at in places]

    def one(self, slot: int) -> list[_Table]:
        """A table, or none."""
        at = self._place(slot)
        return [] if at is None else [_Table(self._raw, at + struct.unpack_from("<I", self._raw, at)[0])]

    def _place(self, slot: int) -> int | None:
        if 4 + 2 * slot + 2 > self._size:
            return None
        (offset,) = struct.unpack_from("<H", self._raw, self._fields + 4 + 2 * slot)
        return self._at + offset if offset else None

    def _vector(self, slot: int) -> tuple[int, int]:
        at = self._place(slot)
        if at is None:
            return 0, 0
        begin = at + struct.unpack_from("<I", self._raw, at)[0]
        return begin + 4, struct.unpack_from("<I", self._raw, begin)[0]
