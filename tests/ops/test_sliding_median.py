"""The sliding median equals numpy's of every window."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.ops.sliding_median import sliding_median


def plainly(data: np.ndarray, valid: np.ndarray, widths: np.ndarray) -> np.ndarray:
    across = widths.shape[1]
    out = np.zeros((widths.shape[0], data.shape[1] - across + 1))
    for row, col in np.ndindex(out.shape):
        found: list[float] = []
        for line, width in enumerate(widths[row]):
            part = slice(col + across // 2 - width, col + across // 2 + width + 1)
            found += data[row + line, part][valid[row + line, part]].tolist() if width >= 0 else []
        out[row, col] = np.median(found) if found else 0
    return out


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint16", "int32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("share", [1.0, 0.6, 0.02])
@pytest.mark.parametrize("high", [2, 5000])
def test_as_numpy(dtype: str, share: float, high: int) -> None:
    rng = np.random.default_rng(high)
    margin = 4
    widths = rng.integers(-1, margin + 1, (12, 2 * margin + 1)).astype(np.int32)
    data = rng.normal(0, high, (12 + 2 * margin, 23 + 2 * margin)).astype(dtype)
    valid = rng.random(data.shape) < share
    assert np.array_equal(sliding_median(data, valid, widths), plainly(data, valid, widths))


def test_zero_has_one_sign() -> None:
    data = np.array([[-0.0, -0.0, 0.0]] * 3)
    found = sliding_median(data, np.ones(data.shape, np.bool_), np.ones((1, 3), np.int32))
    assert not np.signbit(found).any()
