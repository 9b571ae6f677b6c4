"""Numbers in formulas."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.grid import Tile
from geoloom.op import registry


@pytest.mark.parametrize(
    ("value", "dtype"), [(3, "int32"), (-(2**31) - 1, "int64"), (0.1, "float64"), (np.uint8(7), "int32")]
)
def test_block_and_profile(value, dtype) -> None:
    op = registry()["constant"](value=value)
    block = op.compute((), Tile(0, 0, 0).grid())
    assert block.data.dtype == op.profile().dtype == dtype
    assert block.data.shape == block.valid.shape == (1, 1, 1)
    assert block.data.item() == op.profile().constant == value


def test_bad_numbers() -> None:
    for value in (float("nan"), "3", True, None, 2**64):
        with pytest.raises(ParameterError):
            registry()["constant"](value=value)
    with pytest.raises(ParameterError, match="64 bits"):
        registry()["constant"](value=2**63).profile()
