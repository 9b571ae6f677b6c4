"""Features of a FlatGeobuf file to arrays, in compiled loops.

Each feature is a flatbuffer: tables point to their fields by offsets, of which each is checked.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from geoloom.block import Array
from geoloom.loops import array, compiled, number
from geoloom_engine.vectors.wkb import LINE, POINT, RING, Paths, finite, u32, u64

_DEEPEST = 16
_ENDS, _XY, _TYPE, _PARTS = 0, 1, 6, 7


def begins(content: Array) -> tuple[Array, int] | None:
    """Where each feature begins that lies whole in a piece of a file, and where the first that does not.

    None if a size cannot be one.
    """
    loop = compiled(_begins, "", lambda: (array("uint8", 1), array("int64", 1, written=True)))
    # A feature has eight bytes at least.
    found = np.empty(len(content) // 8 + 1, np.int64)
    count = loop(content, found)
    return None if count < 0 else (found[:count], int(found[count]))


def _begins(content: Any, found: Any) -> int:
    at: Any = np.int64(0)
    n = 0
    while len(content) - at >= 8:
        size = u32(content, at)
        if size < 4:
            return -1
        if size > len(content) - at - 4:
            break
        found[n] = at
        at += 4 + size
        n += 1
    found[n] = at
    return n


def parse_flat(content: Array, ends: Array, geometry: int) -> Paths:
    """The geometries of features.

    Parameters
    ----------
    ends
        (features + 1,): where each begins.
    geometry
        Type of all of them, 0 if each tells its own.
    """
    features = len(ends) - 1
    first, state = np.zeros(features + 1, np.int64), np.zeros(features, np.uint8)
    counts = np.zeros(2, np.int64)
    outs = (
        array("int64", 1, written=True),
        array("uint8", 1, written=True),
        array("uint64", 1, written=True),
    )
    types = (array("uint8", 1), array("int64", 1), number("int64"), numba.types.boolean)
    written = (array("uint8", 1, written=True), array("int64", 1, written=True))
    loop = compiled(_walk, "", lambda: (*types, array("int64", 1, written=True), *outs, *written))
    nothing = (np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint64))
    loop(content, ends, geometry, False, first, *nothing, state, counts)
    paths, vertices = int(counts[0]), int(counts[1])
    start, kind, xy = np.zeros(paths + 1, np.int64), np.empty(paths, np.uint8), np.empty((vertices, 2))
    loop(content, ends, geometry, True, first, start, kind, xy.reshape(-1).view(np.uint64), state, counts)
    return Paths(first, start, kind, xy, state)


@numba.njit(nogil=True)
def _place(content: Any, table: int, slot: int, low: int, high: int) -> Any:
    """Where a table's field is; 0 if it is not there, −1 if an offset leads out of the feature."""
    if table < low or table > high - 4:
        return np.int64(-1)
    back = u32(content, table)
    if back >= 1 << 31:
        back -= 1 << 32
    fields = table - back
    if fields < low or fields > high - 4:
        return np.int64(-1)
    size = np.int64(content[fields]) | (np.int64(content[fields + 1]) << 8)
    entry = fields + 4 + 2 * slot
    if 6 + 2 * slot > size:
        return np.int64(0)
    if entry > high - 2:
        return np.int64(-1)
    offset = np.int64(content[entry]) | (np.int64(content[entry + 1]) << 8)
    if offset == 0:
        return np.int64(0)
    return table + offset if table + offset < high else np.int64(-1)


@numba.njit(nogil=True)
def _vector(content: Any, table: int, slot: int, width: int, low: int, high: int) -> Any:
    """Where a table's vector begins, −1 if it leads out of the feature, and how many items it has."""
    at = _place(content, table, slot, low, high)
    if at == 0:
        return np.int64(0), np.int64(0)
    if at < 0 or at > high - 4:
        return np.int64(-1), np.int64(0)
    begin = at + u32(content, at)
    if begin > high - 4:
        return np.int64(-1), np.int64(0)
    count = u32(content, begin)
    if count > (high - begin - 4) // width:
        return np.int64(-1), np.int64(0)
    return begin + 4, count


def _walk(
    content: Any,
    ends: Any,
    geometry: int,
    writing: bool,
    first: Any,
    start: Any,
    kinds: Any,
    xy: Any,
    state: Any,
    counts: Any,
) -> None:
    """Count the paths and vertices of all features, or write them."""
    begins, left, types = (
        np.zeros(_DEEPEST + 1, np.int64),
        np.zeros(_DEEPEST + 1, np.int64),
        np.zeros(_DEEPEST + 1, np.int64),
    )
    paths, vertices = 0, 0
    for feature in range(len(ends) - 1):
        low, high = ends[feature] + 4, ends[feature + 1]
        before, before_vertices = paths, vertices
        problem = state[feature]
        depth = -1
        root = low + u32(content, low)
        at = _place(content, root, 0, low, high)
        table: Any = np.int64(0)
        steps = np.int64(0)
        if at < 0 or at > high - 4:
            problem = 2
        elif at > 0:
            table = at + u32(content, at)
        kind: Any = geometry
        while problem == 0 and (table > 0 or depth >= 0):
            # Offsets that meet or lead in circles would make more of a feature than its bytes can hold.
            steps += 1
            if 4 * steps > high - low or 16 * (vertices - before_vertices) > high - low:
                problem = 2
                break
            if table == 0:
                if left[depth] == 0:
                    depth -= 1
                    continue
                table = begins[depth] + u32(content, begins[depth])
                begins[depth] += 4
                left[depth] -= 1
                kind = types[depth]
            own = _place(content, table, _TYPE, low, high)
            if own < 0:
                problem = 2
                break
            if kind == 0 and own > 0:
                kind = np.int64(content[own])
            if kind == 6 or kind == 7 or kind == 15 or kind == 16:
                begin, count = _vector(content, table, _PARTS, 4, low, high)
                if begin < 0 or depth == _DEEPEST:
                    problem = 2
                    break
                depth += 1
                begins[depth], left[depth] = begin, count
                types[depth] = 3 if kind == 6 else 0
                table = np.int64(0)
                continue
            if kind < 1 or kind > 17 or (7 < kind < 17):
                problem = 4
                break
            data, numbers = _vector(content, table, _XY, 8, low, high)
            cuts, parts = _vector(content, table, _ENDS, 4, low, high)
            if data < 0 or cuts < 0:
                problem = 2
                break
            points = numbers // 2
            done: Any = np.int64(0)
            pieces = points if kind == 1 or kind == 4 else max(parts, 1)
            for piece in range(pieces):
                until = done + 1
                if kind != 1 and kind != 4:
                    until = u32(content, cuts + 4 * piece) if parts > 0 else points
                if until < done or until > points:
                    problem = 2
                    break
                n = until - done
                place = data + 16 * done
                single = kind == 1 or kind == 4
                skipped = n < 2 and not single
                if single and not (finite(u64(content, place)) and finite(u64(content, place + 8))):
                    skipped = True
                if not skipped:
                    if writing:
                        for k in range(2 * n):
                            xy[2 * vertices + k] = u64(content, place + 8 * k)
                        made = POINT if single else LINE if kind == 2 or kind == 5 else RING
                        # 8 marks holes, as in `wkb`.
                        kinds[paths] = made + 8 if made == RING and piece > 0 else made
                        start[paths + 1] = vertices + n
                    paths += 1
                    vertices += n
                done = until
            table = np.int64(0)
        if problem:
            state[feature] = problem
            paths, vertices = before, before_vertices
        first[feature + 1] = paths
    counts[0], counts[1] = paths, vertices


def locate(content: Array, ends: Array, widths: Array, column: int) -> tuple[Array, Array]:
    """Where each feature's value of a column begins, −1 if it has none, and its bytes.

    Parameters
    ----------
    widths
        int64, of each column the bytes of a value; 0 for those with their length before them.
    """
    at, length = np.full(len(ends) - 1, -1, np.int64), np.zeros(len(ends) - 1, np.int64)
    types = (array("uint8", 1), array("int64", 1), array("int64", 1), number("int64"))
    outs = (array("int64", 1, written=True), array("int64", 1, written=True))
    compiled(_locate, "", lambda: (*types, *outs))(
        content, np.ascontiguousarray(ends), np.ascontiguousarray(widths), column, at, length
    )
    return at, length


def _locate(content: Any, ends: Any, widths: Any, column: int, at: Any, length: Any) -> None:
    for feature in range(len(ends) - 1):
        low, high = ends[feature] + 4, ends[feature + 1]
        root = low + u32(content, low)
        place, count = _vector(content, root, 1, 1, low, high)
        if place <= 0:
            continue
        end = place + count
        while end - place >= 2:
            index = np.int64(content[place]) | (np.int64(content[place + 1]) << 8)
            place += 2
            if index >= len(widths):
                break
            width = widths[index]
            if width == 0:
                if end - place < 4:
                    break
                width = u32(content, place)
                place += 4
            if width > end - place:
                break
            if index == column:
                at[feature], length[feature] = place, width
                break
            place += width


def cut(content: Array, at: Array, length: Array) -> tuple[Array, Array]:
    """The bytes at some places one after the other, and where each begins (and the last ends)."""
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(length, out=offsets[1:])
    out = np.empty(int(offsets[-1]), np.uint8)
    types = (array("uint8", 1), array("int64", 1), array("int64", 1), array("uint8", 1, written=True))
    compiled(_cut, "", lambda: types)(content, at, length, out)
    return out, offsets


def _cut(content: Any, at: Any, length: Any, out: Any) -> None:
    n = 0
    for k in range(len(at)):
        for b in range(length[k]):
            out[n] = content[at[k] + b]
            n += 1
