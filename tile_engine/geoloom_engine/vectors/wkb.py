"""Well-known binary to arrays, in one compiled loop.

The format is that of OGC 06-103r4, with Z and M as ISO 19125 and as EWKB write them; both are left out.
Curves must have been made straight before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from geoloom.block import Array
from geoloom.loops import array, compiled

POINT, LINE, RING, TURNED_RING = 0, 1, 2, 3
"""Kinds of a path. The inside of a turned ring counts the other way round: see `Paths.kind`."""

_DEEPEST = 16
"""Collections within collections."""

_DAMAGED = 1 << 1
_STRANGE = 1 << 2


@dataclass(frozen=True, slots=True)
class Paths:
    """Geometries of some features.

    Parameters
    ----------
    first
        (features + 1,): of each feature, its first path.
    start
        (paths + 1,): of each path, its first vertex.
    kind
        (paths,): `POINT`, `LINE`, `RING`, or `TURNED_RING` for a ring that runs the other way than its
        part in the polygon asks for. With that sign the areas of shells are positive, of holes negative.
    xy
        (vertices, 2).
    state
        (features,): 0, or bits that say the text was damaged or of a kind that is not drawn.
    """

    first: Array
    start: Array
    kind: Array
    xy: Array
    state: Array


def parse(content: Array, offsets: Array) -> Paths:
    """The geometries of texts that lie one after the other.

    Parameters
    ----------
    content
        uint8, all texts.
    offsets
        int64, (features + 1,): where each begins; an empty one is a feature without geometry.
    """
    features = len(offsets) - 1
    first = np.zeros(features + 1, np.int64)
    state = np.zeros(features, np.uint8)
    counts = np.zeros(2, np.int64)
    loop = compiled(_walk, "", _types)
    nothing = (np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint64))
    loop(content, offsets, False, first, *nothing, state, counts)
    paths, vertices = int(counts[0]), int(counts[1])
    start, kind = np.zeros(paths + 1, np.int64), np.empty(paths, np.uint8)
    xy = np.empty((vertices, 2))
    counts[:] = 0
    loop(content, offsets, True, first, start, kind, xy.reshape(-1).view(np.uint64), state, counts)
    return Paths(first, start, kind, xy, state)


def _types() -> tuple[Any, ...]:
    outs = (
        array("int64", 1, written=True),
        array("uint8", 1, written=True),
        array("uint64", 1, written=True),
    )
    return (
        array("uint8", 1),
        array("int64", 1),
        numba.types.boolean,
        array("int64", 1, written=True),
        *outs,
        array("uint8", 1, written=True),
        array("int64", 1, written=True),
    )


@numba.njit(nogil=True)
def u32(content: Any, at: int) -> Any:
    """Four bytes, the lowest first."""
    return (
        np.int64(content[at])
        | (np.int64(content[at + 1]) << 8)
        | (np.int64(content[at + 2]) << 16)
        | (np.int64(content[at + 3]) << 24)
    )


@numba.njit(nogil=True)
def u64(content: Any, at: int) -> Any:
    """Eight bytes, the lowest first."""
    found = np.uint64(0)
    for k in range(8):
        found |= np.uint64(content[at + k]) << np.uint64(8 * k)
    return found


@numba.njit(nogil=True)
def finite(bits: Any) -> Any:
    """Whether these are the bits of a number."""
    return (bits & np.uint64(0x7FF0000000000000)) != np.uint64(0x7FF0000000000000)


def _walk(
    content: Any,
    offsets: Any,
    writing: bool,
    first: Any,
    start: Any,
    kinds: Any,
    xy: Any,
    state: Any,
    counts: Any,
) -> None:
    """Count the paths and vertices of all features, or write them."""
    left = np.zeros(_DEEPEST + 1, np.int64)
    paths, vertices = 0, 0
    for feature in range(len(offsets) - 1):
        at, end = offsets[feature], offsets[feature + 1]
        before, before_vertices = paths, vertices
        depth = 0
        left[0] = 1 if end > at and state[feature] == 0 else 0
        problem = 0
        while depth >= 0 and problem == 0:
            if left[depth] == 0:
                depth -= 1
                continue
            left[depth] -= 1
            if end - at < 5 or content[at] != 1:
                problem = _DAMAGED
                break
            code = u32(content, at + 1)
            at += 5
            ordinates = 2 + ((code >> 31) & 1) + ((code >> 30) & 1)
            if code & 0x20000000:
                at += 4
            code &= 0x1FFFFFFF
            thousands = code // 1000
            code %= 1000
            if thousands > 3:
                problem = _STRANGE
                break
            if thousands == 3:
                ordinates = 4
            elif thousands > 0:
                ordinates = 3
            size = 8 * ordinates
            if code == 1:
                if end - at < size:
                    problem = _DAMAGED
                    break
                if finite(u64(content, at)) and finite(u64(content, at + 8)):
                    if writing:
                        xy[2 * vertices], xy[2 * vertices + 1] = u64(content, at), u64(content, at + 8)
                        kinds[paths] = POINT
                        start[paths + 1] = vertices + 1
                    paths += 1
                    vertices += 1
                at += size
            elif code == 2 or code == 3 or code == 17:
                rings = 1
                if code != 2:
                    if end - at < 4:
                        problem = _DAMAGED
                        break
                    rings = u32(content, at)
                    at += 4
                for ring in range(rings):
                    if end - at < 4:
                        problem = _DAMAGED
                        break
                    n = u32(content, at)
                    at += 4
                    if n > (end - at) // size:
                        problem = _DAMAGED
                        break
                    if n < 2:
                        at += n * size
                        continue
                    if writing:
                        for k in range(n):
                            to = 2 * (vertices + k)
                            xy[to], xy[to + 1] = (
                                u64(content, at + k * size),
                                u64(content, at + k * size + 8),
                            )
                        # Whether a ring is turned is found when its area is known: 8 marks the holes.
                        kinds[paths] = LINE if code == 2 else RING if ring == 0 else RING + 8
                        start[paths + 1] = vertices + n
                    paths += 1
                    vertices += n
                    at += n * size
            elif 4 <= code <= 7 or code == 15 or code == 16:
                if end - at < 4 or depth == _DEEPEST:
                    problem = _DAMAGED
                    break
                depth += 1
                left[depth] = u32(content, at)
                at += 4
            else:
                problem = _STRANGE
        if problem:
            state[feature] = problem
            paths, vertices = before, before_vertices
        first[feature + 1] = paths
    counts[0], counts[1] = paths, vertices
