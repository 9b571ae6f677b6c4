"""Paths in full, and what lies near a missing file."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoloom.paths import absolute, nearby, other_kind


def test_paths_become_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a.tif") == str(tmp_path / "a.tif")
    assert absolute(Path("b/a.tif")) == str(tmp_path / "b" / "a.tif")
    assert absolute("~/a.tif") == str(Path.home() / "a.tif")


@pytest.mark.parametrize("href", ["/data/a.tif", "https://example.org/a.tif", "", "a\nb", 3, None])
def test_the_rest_stays(href: object) -> None:
    assert absolute(href) == href


@pytest.mark.parametrize(
    ("href", "words"),
    [
        ("/data/a.GPKG", "gl.vector('a.GPKG')"),
        ("/data/a.tif", "gl.open('a.tif')"),
        ("/data/a.csv", "vector.join(table, on=…)"),
        ("/data/a.bin", "None"),
    ],
)
def test_what_reads_a_file_of_another_kind(href: str, words: str) -> None:
    assert words in str(other_kind(href))


def test_a_name_nearly_right_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOLOOM_ENGINE_URL", raising=False)
    (tmp_path / "parcels.gpkg").touch()
    assert "did you mean parcels.gpkg?" in str(nearby(str(tmp_path / "parcel.gpkg")))
    assert nearby(str(tmp_path / "parcels.gpkg")) is None
    assert "It holds parcels.gpkg" in str(nearby(str(tmp_path)))
    assert "There is no folder deep" in str(nearby(str(tmp_path / "deep" / "a.gpkg")))
    assert nearby("https://example.org/a.gpkg") is None
    monkeypatch.setenv("GEOLOOM_ENGINE_URL", "http://127.0.0.1:1")
    assert nearby(str(tmp_path / "parcel.gpkg")) is None
