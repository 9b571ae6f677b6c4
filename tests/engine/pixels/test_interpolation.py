"""What is prepared for interpolating: nodes, the error's bound, and where positions reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloom_engine.interpolation import INTERPOLATED, MISSING, RING, extent, prepare
from geoloom_engine.runs import CELL

FLAT = np.zeros((2, 0, CELL, CELL))


def prepared(around: np.ndarray, period: float | None = None) -> tuple[int, np.ndarray, np.ndarray]:
    rows, cols = around.shape[1] - 2 * RING - 1, around.shape[2] - 2 * RING - 1
    nodes, slots = np.full((2, 3, rows + 1, cols + 1), np.nan), np.full((rows, cols), 99, np.int32)
    count = prepare(np.ascontiguousarray(around, float), (100, 80), period, 0.002, nodes, slots)
    return count, nodes, slots


def surface(f: Any, rows: int = 3, cols: int = 4) -> np.ndarray:
    i, j = np.mgrid[-RING : rows + RING + 1, -RING : cols + RING + 1].astype(float)
    return np.stack(f(i, j))


def test_second_differences_of_a_parabola() -> None:
    count, nodes, slots = prepared(surface(lambda i, j: (10 + 3 * j + j * j, 20 + i + 0.5 * i * i)))
    assert count == 0
    assert (slots == INTERPOLATED).all()
    i, j = np.mgrid[:4, :5]
    assert np.allclose(nodes[0, 0], 10 + 3 * j + j * j)
    assert np.allclose(nodes[1, 0], 20 + i + 0.5 * i * i)
    assert np.allclose(nodes[0, 1, :, :-1], 2.0)
    assert np.allclose(nodes[1, 2, :-1], 1.0)
    assert np.allclose(nodes[0, 2], 0.0)
    assert np.allclose(nodes[1, 1], 0.0)


def test_a_cell_that_bends_too_much_gets_exact_positions() -> None:
    """The formula leaves out 0.00802 of the third differences: here 0.006 and 0.0006 pixels."""
    count, _, slots = prepared(surface(lambda i, j: (40 + 0.125 * j**3, 40 + i)))
    assert count == slots.size
    assert slots.tolist() == np.arange(slots.size).reshape(slots.shape).tolist()
    count, _, _ = prepared(surface(lambda i, j: (40 + 0.0125 * j**3, 40 + i)))
    assert count == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_where_a_node_has_no_position_nothing_is_interpolated(value: float) -> None:
    around = surface(lambda i, j: (40 + j, 40 + i), rows=8, cols=8)
    around[:, RING + 4, RING + 4] = value
    count, _, slots = prepared(around)
    assert (slots[3:5, 3:5] >= 0).all()
    assert (slots[[0, 7]] == INTERPOLATED).all()
    assert count == (slots >= 0).sum()
    assert sorted(slots[slots >= 0]) == list(range(count))


def test_cells_beside_the_source_are_missing_unless_a_turn_brings_them_in() -> None:
    around = surface(lambda i, j: (90 + 5 * j, 40 + i), rows=1, cols=6)
    assert prepared(around)[2].tolist() == [[INTERPOLATED] * 3 + [MISSING] * 3]
    assert (prepared(around, 110.0)[2] == INTERPOLATED).all()
    assert prepared(around, 140.0)[2].tolist() == [[INTERPOLATED] * 3 + [MISSING] * 3]


def test_extent_covers_every_position() -> None:
    nodes = np.zeros((2, 3, 2, 2))
    nodes[0, 0] = [[0.25, 8.25], [0.25, 8.25]]
    nodes[1, 0] = [[0.125, 0.125], [4.125, 4.125]]
    plane = nodes, FLAT, np.full((1, 1), INTERPOLATED, np.int32)
    low_x, high_x, low_y, high_y = extent(*plane, (3, 5, 4, 6), (8, 4))
    assert (low_x, high_x) == pytest.approx((2.75, 5.25), abs=1e-5)
    assert (low_y, high_y) == pytest.approx((0.875, 1.625), abs=1e-5)
    low_x, high_x, _, _ = extent(*plane, (0, 0, 16, 16), (8, 0))
    assert low_x > high_x


SCRIPT = """
import numpy as np
from numba.core import caching
from geoloom_engine.interpolation import extent
for locator in caching.CacheImpl._locator_classes:
    locator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError("read-only file system"))
nodes = np.zeros((2, 3, 2, 2))
cells = nodes, np.zeros((2, 0, 16, 16)), np.full((1, 1), -1, np.int32)
print(extent(*cells, (0, 0, 16, 16), (8, 4))[0] <= 0)
"""


def test_works_where_compiled_code_cannot_be_kept(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "none")},
    )
    assert found.stdout.strip() == "True", found.stderr
    assert not (tmp_path / "none").exists()
