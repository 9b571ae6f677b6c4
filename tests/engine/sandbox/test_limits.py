"""What a function may take."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import DemandError
from geoloom_engine.sandbox.arena import Layout
from geoloom_engine.sandbox.limits import Limits, megabytes

LIMITS = Limits(seconds=5.0, memory=512 << 20, workers=8, input=4 << 20, output=4 << 20)


def layout(bands: int, result: int) -> Layout:
    return Layout.of(
        100, 100, (bands, 256, 256), np.dtype(np.int32), (result, 256, 256), np.dtype(np.float64)
    )


def test_a_tile_within_the_limits_passes() -> None:
    LIMITS.check(layout(3, 3))


@pytest.mark.parametrize(("bands", "result", "what"), [(16, 1, "pixels"), (1, 8, "result")])
def test_a_tile_beyond_them_is_refused_with_the_figures(bands: int, result: int, what: str) -> None:
    with pytest.raises(DemandError, match=f"The {what} of this tile would take 5 MB.*4 MB are allowed"):
        LIMITS.check(layout(bands, result))


def test_megabytes_are_whole() -> None:
    assert megabytes(512 << 20) == "512 MB"
    assert megabytes(3000 << 20) == "3,000 MB"
