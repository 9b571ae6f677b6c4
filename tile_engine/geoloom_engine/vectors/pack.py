"""A layer's geometry as packed arrays, in a file that all workers map into memory.

Features lie in the order of a Hilbert curve, so that a tile needs few pages of the file. For low zooms
there are copies with fewer vertices. Attributes are not in it.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.grid import MERCATOR_EXTENT, TILE_SIZE, Bounds
from geoloom_engine.vectors.measures import UNPLACED, coarser, gather, group_boxes, measure, spatial_order
from geoloom_engine.vectors.places import Projection, to_degrees
from geoloom_engine.vectors.wkb import POINT, Paths

MAGIC = b"GLVECT01"

LEVELS = range(14, -1, -1)
"""Zooms for which there may be a copy with fewer vertices; a coarser zoom takes the next finer copy."""

WORTHWHILE = 0.6
"""A copy is kept if it has at most this share of the next finer one's vertices."""

_ALIGNED = 64


@dataclass(frozen=True, slots=True)
class Level:
    """Vertices for pixels of at least some size.

    Parameters
    ----------
    pixel
        Metres of Web Mercator; 0 for the vertices as they are in the file.
    first, start, kind, xy
        As in `wkb.Paths`.
    """

    pixel: float
    first: Array
    start: Array
    kind: Array
    xy: Array


@dataclass(frozen=True, slots=True)
class Pack:
    """A layer's geometry; arrays by feature, in the order of the Hilbert curve.

    Parameters
    ----------
    fid
        The feature's number in its file.
    order
        Its place in the file: later ones lie on top.
    box
        (n, 4): west, south, east, north in Web Mercator metres; beyond ±180° where it crosses.
    area
        Square metres of Web Mercator.
    groups
        (g, 4): boxes round each `measures.GROUP` features.
    levels
        Finest first.
    read
        Features of the file, those without a place on the map included.
    problems
        How many features are not there, by reason.
    points
        Whether there are any among the geometries.
    mapped
        The file in memory.
    """

    fid: Array
    order: Array
    box: Array
    area: Array
    groups: Array
    levels: tuple[Level, ...]
    read: int
    problems: dict[str, int]
    points: bool
    mapped: mmap.mmap

    def __len__(self) -> int:
        return len(self.fid)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = [self.fid, self.order, self.box, self.area, self.groups]
        arrays += [one for level in self.levels for one in (level.first, level.start, level.kind, level.xy)]
        return sum(one.nbytes for one in arrays)

    def let_go(self) -> None:
        """Take the file out of this process; what is read again comes from the system's cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)

    def level(self, pixel: float) -> Level:
        """The coarsest vertices that are fine enough for a size of pixel in metres."""
        return max(
            (one for one in self.levels if one.pixel <= pixel * 1.000001), key=lambda level: level.pixel
        )

    def bounds(self) -> Bounds | None:
        """In degrees; None if nothing has a place."""
        if not len(self.groups):
            return None
        west, south = self.groups[:, :2].min(axis=0)
        east, north = self.groups[:, 2:].max(axis=0)
        lon, lat = to_degrees(np.array([west, east]), np.array([south, north]))
        lat = np.clip(lat, -90.0, 90.0)
        if lon[1] - lon[0] >= 360.0:
            return Bounds(-180.0, float(lat[0]), 180.0, float(lat[1]))
        if lon[0] < -180.0 or lon[1] > 180.0:
            lon = (lon + 180.0) % 360.0 - 180.0
        return Bounds(float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1]))


Batch = tuple[Array, Paths]
"""Numbers of some features, int64, and their geometry in the file's coordinates."""


def build(batches: Iterable[Batch], project: Projection, path: Path, tell: Callable[[int], None]) -> Pack:
    """Pack features into a file, which appears under its name once it is whole.

    Parameters
    ----------
    batches
        In the file's order.
    project
        Puts vertices onto the map.
    path
        The file to make.
    tell
        Told how many features were read; may raise.
    """
    fids: list[Array] = []
    boxes: list[Array] = []
    areas: list[Array] = []
    counts: list[Array] = []
    lengths: list[Array] = []
    kinds: list[Array] = []
    problems = {"empty": 0, "damaged": 0, "unplaced": 0}
    read, vertices = 0, 0
    with tempfile.TemporaryFile(dir=path.parent) as raw:
        for fid, read_paths in batches:
            paths = project(read_paths)
            box, area = measure(paths)
            states = paths.state
            problems["unplaced"] += int(np.count_nonzero(states & UNPLACED))
            problems["damaged"] += int(np.count_nonzero(states & ~np.uint8(UNPLACED)))
            problems["empty"] += int(np.count_nonzero((np.diff(paths.first) == 0) & (states == 0)))
            fids.append(fid)
            boxes.append(box)
            areas.append(area)
            counts.append(np.diff(paths.first).astype(np.int32))
            lengths.append(np.diff(paths.start).astype(np.int32))
            kinds.append(paths.kind)
            raw.write(paths.xy.data if len(paths.xy) else b"")
            read += len(fid)
            vertices += len(paths.xy)
            tell(read)
        raw.flush()
        xy = np.memmap(raw, np.float64, "r", shape=(vertices, 2)) if vertices else np.empty((0, 2))
        all_boxes = np.concatenate(boxes) if boxes else np.empty((0, 4))
        order = spatial_order(all_boxes)
        first, start = _ends(counts), _ends(lengths)
        box = all_boxes[order]
        flat = {
            "fid": np.concatenate(fids)[order] if fids else np.empty(0, np.int64),
            "order": order.astype(np.int32),
            "box": box,
            "area": np.concatenate(areas)[order].astype(np.float32) if areas else np.empty(0, np.float32),
            "groups": group_boxes(box),
        }
        kept = int((first[order + 1] - first[order]).sum())
        kind = np.concatenate(kinds) if kinds else np.empty(0, np.uint8)
        ends = start[first[order + 1]] - start[first[order]]
        told = {"read": read, "problems": problems, "points": bool((kind == POINT).any())}
        with _Writer(path, told) as writer:
            for name, values in flat.items():
                writer.add(name, values.dtype, values.shape)[...] = values
            base = writer.level("0", 0.0, len(order), kept, int(ends.sum()))
            gather(first, start, kind, np.asarray(xy), order, base)
            size = len(base[3])
            for zoom in LEVELS:
                tell(read)
                if not size:
                    break
                pixel = 2 * MERCATOR_EXTENT / (TILE_SIZE << zoom)
                paths_, vertices_, write = coarser(base, box, pixel)
                if vertices_ <= WORTHWHILE * size:
                    base = writer.level(str(zoom), pixel, len(order), paths_, vertices_)
                    write(base)
                    size = vertices_
    return load(path)


def load(path: Path) -> Pack:
    """Map a packed file into memory.

    Raises
    ------
    OSError
        If it is not there.
    ValueError
        If it is not such a file, or not whole.
    """
    with path.open("rb") as file:
        head = file.read(16)
        if head[:8] != MAGIC:
            raise ValueError("not a file of packed features")
        told = json.loads(file.read(int.from_bytes(head[8:], "little")))
        if os.fstat(file.fileno()).st_size != told["size"]:
            raise ValueError("a file of packed features that is not whole")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        os.utime(file.fileno())  # the least recently used go first

    def of(name: str) -> Array:
        dtype, shape, offset = told["arrays"][name]
        return np.frombuffer(mapped, dtype, int(np.prod(shape)), offset).reshape(shape)

    levels = tuple(
        Level(pixel, *(of(f"{name}.{part}") for part in ("first", "start", "kind", "xy")))
        for name, pixel in told["levels"]
    )
    fid, order, box, area, groups = (of(name) for name in ("fid", "order", "box", "area", "groups"))
    return Pack(fid, order, box, area, groups, levels, told["read"], told["problems"], told["points"], mapped)


class _Writer:
    """Arrays one after the other into a file that gets its name last."""

    def __init__(self, path: Path, told: dict[str, Any]) -> None:
        self._path = path
        self._told = {**told, "arrays": {}, "levels": []}
        number, name = tempfile.mkstemp(prefix="making-", dir=path.parent)
        self._temporary = Path(name)
        self._file = os.fdopen(number, "r+b")
        self._at = 4096

    def __enter__(self) -> _Writer:
        return self

    def add(self, name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
        """Room for an array, mapped into memory."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._told["arrays"][name] = [np.dtype(dtype).str, shape, self._at]
        offset, self._at = self._at, -(-(self._at + nbytes) // _ALIGNED) * _ALIGNED
        self._file.truncate(self._at)
        if not nbytes:
            return np.empty(shape, dtype)
        return np.asarray(np.memmap(self._file, dtype, "r+", offset, shape))

    def level(self, name: str, pixel: float, features: int, paths: int, vertices: int) -> Any:
        """Room for the arrays of a level."""
        self._told["levels"].append([name, pixel])
        return (
            self.add(f"{name}.first", np.int64, (features + 1,)),
            self.add(f"{name}.start", np.int64, (paths + 1,)),
            self.add(f"{name}.kind", np.uint8, (paths,)),
            self.add(f"{name}.xy", np.float64, (vertices, 2)),
        )

    def __exit__(self, kind: object, *_: object) -> None:
        with self._file:
            if kind is None:
                self._told["size"] = self._at
                head = json.dumps(self._told).encode()
                assert len(head) <= 4096 - 16
                self._file.seek(0)
                self._file.write(MAGIC + len(head).to_bytes(8, "little") + head)
        if kind is None:
            self._temporary.replace(self._path)
        else:
            with suppress(OSError):
                self._temporary.unlink()


def _ends(counts: list[Array]) -> Array:
    ends = np.zeros(1 + sum(map(len, counts)), np.int64)
    if counts:
        np.cumsum(np.concatenate(counts), out=ends[1:])
    return ends
