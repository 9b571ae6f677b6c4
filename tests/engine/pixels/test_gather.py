"""The compiled loops: whatever the arrays' layout, and never outside the window given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geoloom import loops
from geoloom_engine import gather, runs

CELLS = (
    np.zeros((2, 3, 2, 2)),
    np.zeros((2, 0, runs.CELL, runs.CELL)),
    np.full((1, 1), -1, np.int32),
)


def plane() -> tuple[Any, ...]:
    """One cell whose pixel (r, c) lies at x = c / 2 + 0.25, y = r / 4 + 0.125."""
    nodes = CELLS[0].copy()
    nodes[0, 0] = [[0.25, 8.25], [0.25, 8.25]]
    nodes[1, 0] = [[0.125, 0.125], [4.125, 4.125]]
    return nodes, CELLS[1], CELLS[2]


def picked(
    method: Any, data: np.ndarray, valid: np.ndarray, masked: bool, window: tuple[int, int, int, int]
) -> Any:
    """(out, out_valid) of a grid of one cell, written into the middle of a larger one."""
    out, out_valid = np.full((len(data), 18, 20), 77, data.dtype), np.zeros((len(valid), 18, 20), bool)
    where = (data, valid, masked, window, *plane(), 0, 0)
    method(*where, part=(1, 3, 16, 16), out=out, out_valid=out_valid)
    frame = np.ones((18, 20), bool)
    frame[1:17, 3:19] = False
    assert (out[:, frame] == 77).all()
    assert not out_valid[:, frame].any()
    return out[:, 1:17, 3:19], out_valid[:, 1:17, 3:19]


ROWS, COLS = np.arange(16)[:, None] // 4, np.arange(16) // 2


@pytest.mark.parametrize("layout", ["contiguous", "cut", "readonly"])
@pytest.mark.parametrize("bands", [1, 3])
def test_any_layout_is_taken_without_compiling_again(layout: str, bands: int) -> None:
    data = np.arange(bands * 32, dtype=np.uint16).reshape(bands, 4, 8)
    if layout == "cut":
        large = np.zeros((bands, 9, 11), np.uint16)
        large[:, 2:6, 1:9] = data
        data = large[:, 2:6, 1:9]
    data.setflags(write=layout == "contiguous")
    valid = np.broadcast_to(np.True_, (1, 4, 8))
    picked(gather.nearest, data, valid, False, (0, 0, 8, 4))
    compiled = len(loops._machine_code)
    out, out_valid = picked(gather.nearest, data, valid, False, (0, 0, 8, 4))
    assert out_valid.all()
    assert np.array_equal(out, data[:, ROWS, COLS])
    assert len(loops._machine_code) == compiled


@pytest.mark.parametrize("method", [gather.nearest, gather.bilinear])
@pytest.mark.parametrize("masked", [True, False])
def test_nothing_is_read_outside_the_window_given(method: Any, masked: bool) -> None:
    large = np.zeros((1, 20, 20), np.uint8)
    large[:, 9:11, 9:11] = 9
    valid = np.ones((1, 20, 20), bool)
    part = np.s_[:, 9:11, 9:11]
    out, out_valid = picked(method, large[part], valid[part], masked, (3, 1, 5, 3))
    assert out_valid.sum() == 4 * 8
    assert (out == 9).sum() == 4 * 8
    assert (out == 77).sum() == 16 * 16 - 4 * 8


@pytest.mark.parametrize("layers", [1, 2])
def test_invalid_pixels_become_zero(layers: int) -> None:
    data = np.full((2, 4, 8), 5, np.int16)
    valid = np.random.default_rng(2).random((layers, 4, 8)) < 0.7
    out, out_valid = picked(gather.nearest, data, valid, True, (0, 0, 8, 4))
    assert np.array_equal(out_valid, valid[:, ROWS, COLS])
    assert np.array_equal(out, np.where(np.broadcast_to(out_valid, out.shape), 5, 0))


def test_bilinear_of_valid_and_invalid_cells_alike() -> None:
    """A mask with holes takes another way than one without; where both see the same, they agree."""
    data = np.random.default_rng(6).integers(0, 999, (1, 4, 8)).astype(np.float32)
    valid = np.ones((1, 4, 8), bool)
    window = (0, 0, 8, 4)
    whole, _ = picked(gather.bilinear, data, valid, False, window)
    same, _ = picked(gather.bilinear, data, valid, True, window)
    assert np.array_equal(whole, same)
    valid[0, 0, 0] = False
    holed, holed_valid = picked(gather.bilinear, data, valid, True, window)
    away = (ROWS > 1) | (COLS > 1)
    assert np.array_equal(holed[0][away], whole[0][away])
    assert not holed_valid[0, :4, :2].any()
