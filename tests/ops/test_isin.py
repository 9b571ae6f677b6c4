"""Isin: membership by value."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "int32", "int64", "float32", "float64"]
)
def test_as_numpy(run, dtype) -> None:
    image = np.array([[0, 1, 3, 8, 9, 100]], dtype)
    wanted = (8, 3, 1.5, -1, 100.0, 70000)
    assert np.array_equal(run("isin", image, values=wanted)[0], np.isin(image, wanted))


def test_forms_are_one(run) -> None:
    isin = registry()["isin"]
    assert isin(values=(3, 8)) == isin(values=([8, 3, 3],)) == isin(values=({3, 8},))
    assert isin(values=(range(3, 5),)) == isin(values=(3, 4))


def test_float32_finds_its_nearest(run) -> None:
    assert run("isin", np.full((1, 1), 0.1, "float32"), values=(0.1,)).all()


def test_bad_values() -> None:
    isin = registry()["isin"]
    with pytest.raises(ParameterError, match="at least 1"):
        isin(values=())
    with pytest.raises(ParameterError, match="a number"):
        isin(values=("water",))
    with pytest.raises(ParameterError, match="finite"):
        isin(values=(float("nan"),))
