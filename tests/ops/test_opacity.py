"""Opacity multiplies."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry


def test_multiplies_and_costs_nothing(run, profile, grey) -> None:
    half = profile("opacity", grey, value=0.5)
    assert half.look.opacity == 0.5
    assert profile("opacity", half, value=0.5).look.opacity == 0.25
    image = np.array([[1, 2]], "uint8")
    assert np.array_equal(run("opacity", image, profiles=(grey,), value=0.5)[0], image)


def test_bad_input(profile) -> None:
    with pytest.raises(ParameterError, match="needs an image with a look"):
        profile("opacity", "uint8", value=0.5)
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ParameterError):
            registry()["opacity"](value=value)
