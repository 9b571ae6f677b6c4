"""Description: what a chain gives and where, from what its sources hold."""

from __future__ import annotations

from dataclasses import replace

from geoloom.grid import MAX_ZOOM, Bounds
from geoloom.op import Profile
from geoloom_engine.description import Description
from geoloom_engine.readers import BandInfo, SourceInfo
from geoloom_engine.warp import Limits

INFO = SourceInfo(
    href="/scene.tif",
    driver="GTiff",
    fingerprint="one",
    width=1024,
    height=1024,
    transform=(0.0, 38.0, 0.0, 0.0, 0.0, -38.0),
    crs="EPSG:3857",
    bands=(BandInfo("B02", "uint16"),),
    overviews=((512, 512), (256, 256)),
    bounds=Bounds(12.3, 49.7, 12.7, 50.0),
    resolution=(38.0, 38.0),
    ground_resolution=24.7,
    resampling="bilinear",
    block=(256, 256),
    dtype="uint16",
)
PROFILE = Profile(("B02",), "uint16", range=(0.0, 9.0))


def test_zooms_reach_from_what_the_limits_allow_to_the_finest_pixels():
    assert Description.of(PROFILE, {"/scene.tif": INFO}, Limits()).zooms == (0, 13)
    fine = replace(INFO, ground_resolution=0.3, overviews=(), width=200_000, height=200_000)
    low, high = Description.of(PROFILE, {"/a": INFO, "/b": fine}, Limits()).zooms
    assert high == 19
    assert low > 8


def test_bounds_and_resolution_are_those_of_all_sources():
    east = replace(INFO, bounds=Bounds(13.0, 49.0, 14.0, 49.9), ground_resolution=10.0)
    described = Description.of(PROFILE, {"/a": INFO, "/b": east}, Limits())
    assert described.bounds == Bounds(12.3, 49.0, 14.0, 50.0)
    assert described.resolution == 10.0
    assert described.to_json()["bounds"] == [12.3, 49.0, 14.0, 50.0]


def test_without_sources_there_are_no_bounds():
    answer = Description.of(PROFILE, {}, Limits()).to_json()
    assert answer["bounds"] is None
    assert answer["resolution_m"] is None
    assert answer["zooms"] == [0, MAX_ZOOM]
    assert answer["range"] == [0.0, 9.0]
