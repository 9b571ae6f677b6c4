"""Search and vectors become sections of the benchmark's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bench.archives
import bench.search
from bench.archives import ARCHIVES, search, size, vectors
from bench.contest import Effort
from bench.further import MEASURES, NAMES, run
from bench.report import Report

QUICK = Effort(Path(), rounds=1, tiles=30, repeats=1)


def test_full_runs_take_a_million() -> None:
    assert size(QUICK) == 100_000
    assert size(Effort(Path(), rounds=3, tiles=200, repeats=4)) == 1_000_000


def test_search_has_a_target_for_each_kind_of_question(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"box": {"p50": 3.0, "p95": 4.0, "found": 12.0}, "all": {"p50": 60.0, "p95": 70.0, "found": 1e6}}
    figures = {"items": 100_000, "kinds": kinds, "memory": 90.0, "size": 40.0, "made": 1.0}
    monkeypatch.setattr(bench.search, "search", lambda count, rounds: figures)
    report = Report({}, findings=list(search(QUICK)))
    assert report.misses() == ["all"]
    page = report.markdown()
    assert "## Search over 100,000 items" in page
    assert "| box | 3 ms | ≤ 50 ms | ok | p95 4.0 ms, finds 12 |" in page
    assert "| memory | 90 MB | ≤ 500 MB | ok |" in page


def test_vectors_tell_the_slowest_zoom(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = {"burn": {"first": 9.0, "zooms": {0: 4.0, 5: 55.0, 9: 2.0}}}
    figures: dict[str, Any] = {
        "polygons": 100_000,
        "tiles": tiles,
        "packing": (2.0, 3.0),
        "file": 30.0,
        "pack": 20.0,
        "memory": 5.0,
    }
    monkeypatch.setattr(bench.archives, "_apart", lambda *_: figures)
    found = list(vectors(QUICK))
    assert found[0].what == "burn, the slowest zoom"
    assert (found[0].value, found[0].verdict) == (55.0, "**miss**")
    assert found[0].note.startswith("at zoom 5, of 3")


def test_they_need_no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(NAMES) == {*MEASURES, *ARCHIVES}
    monkeypatch.setitem(ARCHIVES, "search", lambda effort: iter(["found"]))
    assert list(run(["search"], Path("/nothing"), QUICK)) == ["found"]
