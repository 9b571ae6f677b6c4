"""Hillshade, against gdaldem."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry
from geoloom.profile import Look


@pytest.mark.parametrize(("azimuth", "altitude"), [(315, 45), (0, 30), (90, 60), (200, 5), (-45, 90)])
@pytest.mark.parametrize("z_factor", [1, 3])
def test_as_gdaldem(run, gdaldem, relief, azimuth, altitude, z_factor) -> None:
    expected = gdaldem("hillshade", relief, azimuth=azimuth % 360, altitude=altitude, zFactor=z_factor)
    found = run("hillshade", relief, margin=1, azimuth=azimuth, altitude=altitude, z_factor=z_factor)[0]
    assert found.dtype == np.uint8
    apart = np.abs(found.astype(int) - expected[1:-1, 1:-1].astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.002


def test_flat_ground(run) -> None:
    assert (run("hillshade", np.zeros((5, 5), "float32"), margin=1) == 181).all()


def test_shown_as_it_is(profile) -> None:
    found = profile("hillshade", "float32")
    assert found.look == Look("grey", ((0.0, 255.0),), name="hillshade")


def test_bad_light() -> None:
    for altitude in (-1, 91):
        with pytest.raises(ParameterError, match="altitude"):
            registry()["hillshade"](altitude=altitude)
