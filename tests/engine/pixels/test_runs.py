"""Positions along rows of cells, and pixels by index."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from geoloom_engine.runs import CELL, inside, lines, peek, position

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
    line = np.empty((2, 5, 4))
    lines(NODES, 1, s, 1, 3, line)
    for n in range(3):
        for t in range(CELL + 1):
            expected = [in_words(axis, 1, 1 + n, s, t) for axis in range(2)]
            assert position(line, np.empty((2, 0, CELL, CELL)), -1, n, s, t) == pytest.approx(expected)


def test_a_cells_positions_do_not_depend_on_the_cells_beside_it() -> None:
    many, one = np.empty((2, 5, 5)), np.empty((2, 5, 2))
    lines(NODES, 2, 7, 0, 4, many)
    for n in range(4):
        lines(NODES, 2, 7, n, 1, one)
        assert np.array_equal(one[:, :, 0], many[:, :, n])


def test_bounds_hold_every_position_of_the_row() -> None:
    line = np.empty((2, 5, 4))
    for s in range(CELL):
        lines(NODES, 0, s, 0, 3, line)
        for n in range(3):
            row = np.array([position(line, np.empty((2, 0, CELL, CELL)), -1, n, s, t) for t in range(CELL)])
            assert (line[:, 3, n] <= row.min(axis=0)).all()
            assert (row.max(axis=0) <= line[:, 4, n]).all()


def test_inside_leaves_room_for_neighbours() -> None:
    line = np.zeros((2, 5, 2))
    line[:, 3, 0], line[:, 4, 0] = 3.0, 7.0
    assert inside(line, 0, (3, 3, 8, 8), 0.0)
    assert not inside(line, 0, (3, 3, 7, 8), 0.0)
    assert not inside(line, 0, (3, 3, 8, 8), 0.5)
    assert inside(line, 0, (2, 2, 8, 8), 0.5)
    line[0, 3, 0] = np.nan
    assert not inside(line, 0, (0, 0, 9, 9), 0.0)


@numba.njit
def second(values: np.ndarray) -> float:
    return 1.0 * peek(values.ctypes.data, 1, values)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32", "bool"])
def test_a_number_is_read_as_its_type(dtype: str) -> None:
    values = np.array([1, 0, 3]).astype(dtype)
    assert second(values) == 0
    assert second(values[1:].copy()) == float(values[2])
