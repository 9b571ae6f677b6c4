from __future__ import annotations

import numpy as np
import pytest

from geoloom.geodesy import course, travel

pyproj = pytest.importorskip("pyproj")


def test_as_proj_does_it() -> None:
    rng = np.random.default_rng(1)
    n = 5000
    lon, lat = rng.uniform(-180, 180, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    azimuth, metres = rng.uniform(-180, 180, n), rng.uniform(1, 5e6, n)
    east, north = travel(lon, lat, azimuth, metres)
    geod = pyproj.Geod(ellps="WGS84")
    _, _, off = geod.inv(*geod.fwd(lon, lat, azimuth, metres)[:2], east, north)
    assert np.max(off) < 0.01
    assert np.all((east >= -180) & (east <= 180))
    heading, length = course(lon, lat, east, north)
    wanted, _, far = geod.inv(lon, lat, east, north)
    assert np.max(np.abs(length - far)) < 0.01
    assert np.max(np.abs((heading - wanted + 180) % 360 - 180)) < 1e-5


def test_special_places() -> None:
    _, lat = travel(10, 90, 0, [111_693.865, 0])
    assert lat == pytest.approx([89, 90], abs=1e-6)
    assert course(0, 0, 1, 0)[1] == pytest.approx(111_319.491, abs=0.01)
    assert course(0, 0, 1, 0)[0] == pytest.approx(90)
    assert course(179.5, 0, -179.5, 0)[1] == pytest.approx(111_319.491, abs=0.01)
    assert course(20, 45, 20, 45)[1] == 0
    assert travel(179.5, 0, 90, 111_319.491)[0] == pytest.approx(-179.5, abs=1e-6)
