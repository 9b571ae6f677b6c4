"""A small smoke of the polygons' benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.vectors import ZOOMS, make_parcels, measure, painted, report


def test_each_kind_of_tile_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    figures = measure(2000, 1)
    assert figures["polygons"] == 2000
    assert set(figures["tiles"]) == set(painted(""))
    assert all(set(one["zooms"]) == set(ZOOMS) for one in figures["tiles"].values())
    assert "2,000 polygons" in report(figures)


def test_parcels_are_the_same_each_time(tmp_path: Path) -> None:
    first, again = (make_parcels(tmp_path / name, 300) for name in ("a.gpkg", "b.gpkg"))
    assert first.stat().st_size == again.stat().st_size
