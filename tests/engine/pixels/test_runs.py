"""Positions along rows of cells, and pixels by index."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from geoloom_engine.runs import CELL, lines, peek, position, shown, surely_inside

EXACT = np.empty((2, 0, CELL, CELL))
NODES = np.random.default_rng(4).normal(size=(2, 3, 4, 5))


def in_words(axis: int, i: int, j: int, s: int, t: int) -> float:
    """Bessel's formula as it stands in books: along both sides, then along the row."""
    n, f, g = NODES[axis], s / CELL, t / CELL
    left, right = (
        n[0, i, k] * (1 - f) + n[0, i + 1, k] * f - f * (1 - f) / 2 * n[2, i, k] for k in (j, j + 1)
    )
    bend = n[1, i, j] * (1 - f) + n[1, i + 1, j] * f
    return float(left * (1 - g) + right * g - g * (1 - g) / 2 * bend)


@pytest.mark.parametrize("s", [0, 5, 15, 16])
def test_positions_follow_bessels_formula(s: int) -> None:
    line = np.empty((2, 3, 4))
    lines(NODES, 1, s, 1, 3, line)
    for n in range(3):
        for t in range(CELL + 1):
            expected = [in_words(axis, 1, 1 + n, s, t) for axis in range(2)]
            assert position(line, EXACT, -1, n, s, t) == pytest.approx(expected)


def test_a_cells_positions_do_not_depend_on_the_cells_beside_it() -> None:
    many, one = np.empty((2, 3, 5)), np.empty((2, 3, 2))
    lines(NODES, 2, 7, 0, 4, many)
    for n in range(4):
        lines(NODES, 2, 7, n, 1, one)
        assert np.array_equal(one[:, :, 0], many[:, :, n])


@pytest.mark.parametrize("pad", [0.0, 1.5])
def test_cells_surely_inside_are_and_those_far_inside_are_found(pad: float) -> None:
    """Against all positions of gently bent cells a few pixels wide, in windows that cut through them."""
    gentle = NODES * np.array([1.0, 0.2, 0.2])[:, np.newaxis, np.newaxis]
    gentle[:, 0] += 20 + 6 * np.stack(np.meshgrid(np.arange(5.0), np.arange(4.0)))
    slots = np.full((3, 4), -1, np.int32)
    slots[1, 2] = 0
    sure, line, seen = np.empty(4, bool), np.empty((2, 3, 5)), set()
    for left, top in ((10, 10), (24, 22), (30, 30)):
        window = (left, top, left + 18, top + 15)
        for i in range(3):
            surely_inside(gentle, slots, i, 0, 4, window, pad, sure)
            rows = []
            for s in range(CELL):
                lines(gentle, i, s, 0, 4, line)
                rows.append([[position(line, EXACT, -1, n, s, t) for t in range(CELL)] for n in range(4)])
            at = np.array(rows).swapaxes(0, 1).reshape(4, CELL * CELL, 2)
            room = np.minimum(at - [left, top], np.array([left + 18, top + 15]) - at).min(axis=(1, 2)) - pad
            assert (room[sure] > 0).all()
            assert sure[(room > 0.5) & (slots[i] == -1)].all()
            assert not sure[slots[i] != -1].any()
            seen |= set(sure)
    assert seen == {True, False}


@numba.njit
def second(values: np.ndarray) -> float:
    return 1.0 * peek(values.ctypes.data, 1, values)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32", "bool"])
def test_a_number_is_read_as_its_type(dtype: str) -> None:
    values = np.array([1, 0, 3]).astype(dtype)
    assert second(values) == 0
    assert second(values[1:].copy()) == float(values[2])


def test_what_is_shown_of_a_stretch_is_what_lies_in_the_grid() -> None:
    for col, cols in ((0, 64), (5, 20), (17, 1), (31, 33)):
        for begin in range(6):
            for end in range(begin + 1, 6):
                pixels = [one for one in range(begin * CELL, end * CELL) if col <= one < col + cols]
                if pixels:
                    first = pixels[0]
                    assert shown(begin, end, col, cols) == (first - begin * CELL, len(pixels), first - col)
