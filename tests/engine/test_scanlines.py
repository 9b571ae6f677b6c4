"""Filters are undone by the rules of the specification, written plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom_engine.scanlines import NONE, SUB, averaged, filtered, repeats


def undone(lines: np.ndarray, bands: int) -> np.ndarray:
    """Bytes (bands, rows, cols) from filtered lines."""
    rows, width = lines.shape[0], lines.shape[1] - 1
    out = np.zeros((rows + 1, width + bands), np.uint8)
    for row, line in enumerate(lines, 1):
        for place, byte in enumerate(line[1:].tolist(), bands):
            left, above = int(out[row, place - bands]), int(out[row - 1, place])
            guess = {0: 0, 1: left, 2: above, 3: (left + above) // 2}[int(line[0])]
            out[row, place] = (byte + guess) % 256
    return out[1:, bands:].reshape(rows, -1, bands).transpose(2, 0, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32))
def test_every_filter_can_be_undone(bands: int, rows: int, cols: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, (bands, rows, cols)).astype(np.uint8)
    data.setflags(write=False)
    for lines in (filtered(data, NONE), filtered(data, SUB), averaged(data)):
        assert lines.shape == (rows, 1 + bands * cols)
        assert np.array_equal(undone(lines, bands), data)


def test_repeats_are_seen() -> None:
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (3, 256, 256)).astype(np.uint8)
    assert not repeats(noise)
    large = noise[:, np.arange(256)[:, np.newaxis] // 4, np.arange(256) // 4]
    assert repeats(np.ascontiguousarray(large))
    assert repeats(np.full((1, 100, 100), 7, np.uint8))
    assert repeats(
        np.ascontiguousarray(np.broadcast_to(np.arange(200, dtype=np.uint8)[:, np.newaxis], (1, 200, 100)))
    )


@pytest.mark.parametrize(("share", "expected"), [(0.4, False), (0.6, True)])
def test_half_of_a_picture_empty_is_much(share: float, expected: bool) -> None:
    data = np.random.default_rng(4).integers(0, 256, (1, 256, 256)).astype(np.uint8)
    data[:, :, : int(share * 256)] = 9
    assert repeats(data) is expected
