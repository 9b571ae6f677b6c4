from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoloom import towns
from geoloom.towns import Towns, cache_path

ISPRA = 3175406


@pytest.fixture
def own_cache(few_cities: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder in which nothing is yet; how often the cities are read is written to ``reads``."""
    reads = tmp_path / "reads"
    reads.write_text("")

    def read() -> Any:
        reads.write_text(reads.read_text() + ".")
        return few_cities

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened: dict[Path, Towns] = {}
    monkeypatch.setattr(towns, "_opened", opened)
    monkeypatch.setattr(towns, "_cities", read)
    yield tmp_path
    for one in opened.values():
        one.close()


def test_names_in_any_spelling(gazetteer: None) -> None:
    known = towns.towns()
    (ispra,) = known.called("ISPRA")
    assert (ispra.id, ispra.country, ispra.region) == (ISPRA, "IT", "09")
    assert (ispra.lon, ispra.lat) == (pytest.approx(8.61, abs=0.01), pytest.approx(45.81, abs=0.01))
    assert known.numbered(ISPRA) == ispra
    assert known.numbered(1) is None
    for name in ("München", "munchen", "Munich", "MÜNCHEN"):
        assert known.called(name)[0].name == "Munich"
    assert known.called("東京")[0].name == "Tokyo"
    assert known.called("Roma")[0].main == 0
    assert known.called("Rome")[0].main == 1
    assert known.called("'; DROP TABLE town; --") == []


def test_larger_towns_come_first(gazetteer: None) -> None:
    people = [town.population for town in towns.towns().called("Springfield")]
    assert people == sorted(people, reverse=True)
    assert len(people) > 10


def test_several_names_and_beginnings(gazetteer: None) -> None:
    known = towns.towns()
    found = known.called_one_of([*(str(n) for n in range(2000)), "ispra", "como"])
    assert {town.name for town in found} >= {"Ispra", "Como"}
    assert [town.name for town in known.begun("ispr")] == ["Ispra"]
    assert len(known.begun("san", 3)) == 3


def test_places_in_a_region(gazetteer: None) -> None:
    known = towns.towns()
    assert len(known.places_in("IT", "09")) > 500
    assert len(known.places_in("IT")) > len(known.places_in("IT", "09"))
    assert known.places_in("XX") == []


def test_the_index_is_made_once(own_cache: Path, capsys: Any) -> None:
    assert towns.towns().called("Ispra")
    assert "once for this user" in capsys.readouterr().err
    assert towns.towns() is towns.towns()
    towns._opened.popitem()[1].close()
    assert towns.towns().called("Ispra")
    assert (own_cache / "reads").read_text() == "."
    assert capsys.readouterr().err == ""
    assert [path.name for path in cache_path().parent.iterdir()] == [cache_path().name]


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, b"SQLite format 3\0"])
def test_a_damaged_index_is_made_anew(own_cache: Path, content: bytes) -> None:
    cache_path().parent.mkdir(parents=True)
    cache_path().write_bytes(content)
    assert towns.towns().called("Ispra")
    kept = Towns(cache_path())
    assert kept.complete
    kept.close()


def test_an_index_that_was_not_finished_is_made_anew(own_cache: Path) -> None:
    cache_path().parent.mkdir(parents=True)
    half = Towns(cache_path())
    assert not half.complete
    half.close()
    assert towns.towns().called("Ispra")


def test_without_a_folder_to_write_the_index_is_in_memory(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_cache / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_cache / "file"))
    assert towns.towns().called("Ispra")
    assert (own_cache / "file").read_text() == ""


def test_an_interrupted_index_leaves_nothing(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Towns, "fill", interrupt)
        with pytest.raises(KeyboardInterrupt):
            towns.towns()
    assert list(cache_path().parent.iterdir()) == []
    assert towns.towns().called("Ispra")


def test_where_the_index_is() -> None:
    assert cache_path({"XDG_CACHE_HOME": "/x"}).parent == Path("/x/geoloom")
    assert Path("/home/me") in cache_path({"HOME": "/home/me"}).parents
