"""Points as a heat map."""

from __future__ import annotations

import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry


def test_one_band_of_density(profile) -> None:
    found = profile("heat", href="/data/trees.gpkg", weight="height")
    assert (found.names, found.dtype, found.look) == (("density",), "float32", None)


@pytest.mark.parametrize("radius", [0, -1, 101])
def test_a_radius_in_pixels(radius: float) -> None:
    with pytest.raises(ParameterError, match=r"heat\(radius=…\)"):
        registry()["heat"](href="/data/trees.gpkg", radius=radius)


def test_features_come_from_one_place() -> None:
    with pytest.raises(ParameterError, match="either href or blob"):
        registry()["heat"]()
