"""Coarse pixels from fine ones, strip by strip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom_engine.readers.reduction import Reduction, sizes
from geoloom_engine.readers.source import Window


def by_hand(
    data: np.ndarray, valid: np.ndarray, coarse: tuple[int, int], classes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Each coarse pixel on its own."""
    rows, cols = data.shape
    out, good = np.zeros((coarse[1], coarse[0])), np.zeros((coarse[1], coarse[0]), bool)
    for r in range(coarse[1]):
        for c in range(coarse[0]):
            y0, y1 = (int(np.floor(i * rows / coarse[1] + 0.5)) for i in (r, r + 1))
            x0, x1 = (int(np.floor(i * cols / coarse[0] + 0.5)) for i in (c, c + 1))
            part, ok = data[y0:y1, x0:x1], valid[y0:y1, x0:x1]
            if classes:
                out[r, c] = data[(y0 + y1) // 2, (x0 + x1) // 2]
                good[r, c] = valid[(y0 + y1) // 2, (x0 + x1) // 2]
            else:
                good[r, c] = ok.sum() * 2 >= ok.size
                out[r, c] = part[ok].mean() if good[r, c] else 0
    return np.where(good, out, 0), good


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    factor=st.sampled_from([2, 4, 8]),
    classes=st.booleans(),
    seed=st.integers(0, 99),
    tall=st.integers(1, 60),
)
def test_any_sizes_and_strips(
    size: tuple[int, int], factor: int, classes: bool, seed: int, tall: int
) -> None:
    random = np.random.default_rng(seed)
    cols, rows = size
    valid = random.random((rows, cols)) < 0.6
    data = np.where(valid, random.normal(0, 9, (rows, cols)), 0)
    coarse = (-(-cols // factor), -(-rows // factor))
    x, y = random.integers(0, coarse[0]), random.integers(0, coarse[1])
    part = Window(int(x), int(y), int(random.integers(1, coarse[0] - x + 1)), int(coarse[1] - y))
    made = Reduction(size, coarse, part, classes)
    below = made.below
    for top in range(below.y, below.y + below.height, tall):
        bottom = min(top + tall, below.y + below.height)
        rect = (slice(top, bottom), slice(below.x, below.x + below.width))
        strip = Window(below.x, top, below.width, bottom - top)
        made.add(strip, data[rect], None if valid[rect].all() else valid[rect])
    found = made.result(np.dtype(np.float64))
    expected, good = by_hand(data, valid, coarse, classes)
    inner = (slice(part.y, part.y + part.height), slice(part.x, part.x + part.width))
    got = np.ones_like(good[inner]) if found.valid is None else found.valid
    assert np.array_equal(got, good[inner])
    assert np.allclose(found.data, expected[inner])


def test_means_of_whole_numbers_are_rounded_half_away_from_zero() -> None:
    made = Reduction((4, 2), (2, 1), Window(0, 0, 2, 1), classes=False)
    made.add(Window(0, 0, 4, 2), np.array([[1, 2, -1, -2], [1, 2, -1, -2]], np.int16), None)
    assert made.result(np.dtype(np.int16)).data.tolist() == [[2, -2]]


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        ((256, 256), ()),
        ((360, 180), ((180, 90),)),
        ((1440, 721), ((720, 361), (360, 181), (180, 91))),
        ((5000, 1), ()),
    ],
)
def test_levels_go_down_to_a_tile(size: tuple[int, int], levels: tuple[tuple[int, int], ...]) -> None:
    assert sizes(*size) == levels
