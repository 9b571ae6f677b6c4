"""Aspect, against gdaldem."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_as_gdaldem(run, gdaldem, relief, dtype) -> None:
    heights = relief.astype(dtype)
    heights[5:12, 5:12] = heights[5, 5]
    expected = gdaldem("aspect", heights)[1:-1, 1:-1]
    found = run("aspect", heights, margin=1)[0]
    assert np.array_equal(found.mask, expected == -9999)
    assert found.mask.any()
    apart = np.abs(found.compressed() - expected[~found.mask])
    assert np.minimum(apart, 360 - apart).max() < 0.05
    assert found.min() >= 0
    assert found.max() < 360


def test_directions(run) -> None:
    """Ground that falls to the north has aspect 0, to the east 90."""
    rows, cols = np.mgrid[0:5, 0:5].astype("float32")
    for surface, azimuth in ((rows, 0), (-cols, 90), (-rows, 180), (cols, 270), (rows - cols, 45)):
        assert np.allclose(run("aspect", surface, margin=1), azimuth)


def test_profile(profile) -> None:
    found = profile("aspect", "float32")
    assert (found.unit, found.range) == ("degree", (0, 360))
