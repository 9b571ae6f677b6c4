"""Footprints: mended, split, rounded, and never smaller than they were by more than the reach."""

from __future__ import annotations

import shapely
from shapely.geometry import Polygon

from geoloom.outlines import REACH, outlines


def test_a_bow_tie_keeps_both_wings() -> None:
    (found,) = outlines([Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])])
    assert found.is_valid
    assert found.area == 2


def test_what_is_enclosed_twice_is_kept() -> None:
    square = [(0, 0), (4, 0), (4, 4), (0, 4)]
    twice = [*square, (0, 0), (2, 0), (2, 2), (0, 2)]
    (found,) = outlines([Polygon(twice)])
    assert found.equals(shapely.box(0, 0, 4, 4))


def test_a_jump_at_the_antimeridian_is_split() -> None:
    (found,) = outlines([Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)])])
    assert found.equals(shapely.union(shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)))


def test_longitudes_beyond_the_antimeridian_are_split() -> None:
    (found,) = outlines([shapely.box(179, 0, 181, 1)])
    assert found.equals(shapely.union(shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)))


def test_the_whole_world_stays_whole() -> None:
    for world in (shapely.box(-180, -90, 180, 90), shapely.box(-179.875, -89, 179.875, 89)):
        (found,) = outlines([world])
        assert found.equals(world)


def test_a_footprint_round_the_pole_holds_it() -> None:
    ring = [(lon, 80.0) for lon in range(-180, 180, 30)]
    (found,) = outlines([Polygon(ring)])
    assert found.covers(shapely.Point(17, 89.9))
    assert not found.covers(shapely.Point(17, 79))


def test_a_sliver_keeps_an_area_that_holds_it() -> None:
    sliver = shapely.box(10.0000001, 20, 10.0000002, 20.5)
    (found,) = outlines([sliver])
    assert found.is_valid
    assert found.area > 0
    assert shapely.dwithin(found, sliver, REACH)


def test_hopeless_ones_are_none() -> None:
    shapes = [None, shapely.Point(1, 2), Polygon(), shapely.LineString([(0, 0), (1, 1)])]
    assert outlines(shapes).tolist() == [None] * 4
    assert outlines([Polygon([(0, 0), (1, float("nan")), (1, 1)])]).tolist() == [None]
