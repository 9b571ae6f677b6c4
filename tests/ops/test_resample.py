"""Resample only changes how sources are read."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry


def test_nothing_but_the_sampling_changes(run, profile, grey) -> None:
    image = np.arange(6, dtype="uint8").reshape(1, 2, 3)
    assert np.array_equal(run("resample", image, how="cubic"), image)
    assert profile("resample", grey, how="nearest") == grey
    assert registry()["resample"](how="average").sampling("nearest") == "average"


def test_unknown_method() -> None:
    with pytest.raises(ParameterError, match="'nearest', 'bilinear', 'cubic', 'average', 'mode'"):
        registry()["resample"](how="lanczos")
