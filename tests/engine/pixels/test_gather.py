"""The compiled loops: compiled once a type, with or without a folder to keep them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloom_engine import gather

CELLS = (
    np.zeros((2, 3, 2, 2)),
    np.zeros((2, 0, gather.CELL, gather.CELL)),
    np.full((1, 1), -1, np.int32),
)


def plane() -> tuple[Any, ...]:
    """One cell whose pixel (r, c) lies at x = c / 2 + 0.25, y = r / 4 + 0.125."""
    nodes = CELLS[0].copy()
    nodes[0, 0] = [[0.25, 8.25], [0.25, 8.25]]
    nodes[1, 0] = [[0.125, 0.125], [4.125, 4.125]]
    return nodes, CELLS[1], CELLS[2]


@pytest.mark.parametrize("order", ["C", "F"])
def test_any_layout_and_readonly_arrays_are_taken(order: Any) -> None:
    data = np.asarray(np.arange(32, dtype=np.uint16).reshape(1, 4, 8), order=order)
    data.setflags(write=False)
    valid = np.broadcast_to(np.True_, (1, 4, 8))
    out, out_valid = np.zeros((1, 16, 16), np.uint16), np.zeros((1, 16, 16), bool)
    gather.nearest(data, valid, *plane(), 0, 0, (0, 0), (8, 4), False, out=out, out_valid=out_valid)
    expected = data[:, np.arange(16)[:, None] // 4, np.arange(16) // 2]
    assert out_valid.all()
    assert np.array_equal(out, expected)
    compiled = len(gather._compiled)
    gather.nearest(
        data[:, ::1, ::1].copy(),
        valid.copy(),
        *plane(),
        0,
        0,
        (0, 0),
        (8, 4),
        False,
        out=out,
        out_valid=out_valid,
    )
    assert len(gather._compiled) == compiled


def test_extent_covers_every_position() -> None:
    low_x, high_x, low_y, high_y = gather.extent(*plane(), (3, 5, 4, 6), (8, 4))
    assert (low_x, high_x) == pytest.approx((2.75, 5.25), abs=1e-5)
    assert (low_y, high_y) == pytest.approx((0.875, 1.625), abs=1e-5)
    low_x, high_x, _, _ = gather.extent(*plane(), (0, 0, 16, 16), (8, 0))
    assert low_x > high_x


def test_nothing_is_read_outside_the_window_given() -> None:
    data = np.full((1, 2, 2), 9, np.uint8)
    valid = np.ones((1, 2, 2), bool)
    out, out_valid = np.zeros((1, 16, 16), np.uint8), np.zeros((1, 16, 16), bool)
    gather.nearest(data, valid, *plane(), 0, 0, (3, 1), (8, 4), True, out=out, out_valid=out_valid)
    assert out_valid.sum() == 4 * 8
    assert (out == 9).sum() == 4 * 8


SCRIPT = """
import numpy as np
from numba.core import caching
from geoloom_engine import gather
for locator in caching.CacheImpl._locator_classes:
    locator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError("read-only file system"))
nodes = np.zeros((2, 3, 2, 2))
cells = nodes, np.zeros((2, 0, 16, 16)), np.full((1, 1), -1, np.int32)
print(gather.extent(*cells, (0, 0, 16, 16), (8, 4))[0] <= 0)
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
