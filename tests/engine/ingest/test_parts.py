"""Parts: replaced in one step, joined, put right after an end in between, read again only if changed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import shapely

from geoloom_engine.catalog.geoparquet import read_items, write_items
from geoloom_engine.ingest import parts as module
from geoloom_engine.ingest.parts import Change, Parts
from geoloom_engine.ingest.progress import Progress
from geoloom_engine.ingest.scratch import Scratch


def item(id_: str, value: int = 0, **files: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": id_,
        "bbox": [value, 0, value + 1, 1],
        "geometry": shapely.geometry.mapping(shapely.box(value, 0, value + 1, 1)),
        "properties": {"datetime": "2020-01-01T00:00:00Z", "value": value},
        "assets": {
            name: {"href": href, "geoloom:mark": "0123456789"}
            for name, href in (files or {"a": f"/{id_}.tif"}).items()
        },
        "links": [],
    }


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path / "items")


def never(_: str) -> bool:
    return False


def all_items(parts: Parts) -> dict[str, Any]:
    found = [one for name in parts.names() for one in parts.items(name)]
    assert len({one["id"] for one in found}) == len(found)
    return {one["id"]: one for one in found}


def test_an_item_takes_the_place_of_another_in_its_part(parts: Parts) -> None:
    parts.put([Change([item("a"), item("b")], {})], never)
    (name,) = parts.names()
    parts.put([Change([item("a", 5)], {name: {"a"}}), Change([item("c")], {})], never)
    assert len(parts.names()) == 2
    assert {one["id"] for one in parts.items(name)} == {"a", "b"}
    assert all_items(parts)["a"]["properties"]["value"] == 5


def test_items_of_other_ids_go_where_those_were_whose_files_they_have(parts: Parts) -> None:
    parts.put([Change([item("a")], {})], never)
    parts.put([Change([item("b")], {})], never)
    first, second = parts.names()
    parts.put([Change([item("ab")], {first: {"a"}, second: {"b"}})], never)
    assert set(all_items(parts)) == {"ab"}


def test_assets_of_files_from_elsewhere_stay(parts: Parts) -> None:
    parts.put([Change([item("a", 0, red="/1/red.tif", nir="/2/nir.tif")], {})], never)
    (name,) = parts.names()
    parts.put([Change([item("a", 3, red="/1/red.tif")], {name: {"a"}})], lambda file: file.startswith("/2"))
    found = all_items(parts)["a"]
    assert set(found["assets"]) == {"red", "nir"}
    assert found["bbox"] == [0, 0, 4, 1]


def test_small_parts_are_joined(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    for number in range(9):
        parts.put([Change([item(f"{number}"), item(f"{number}b")], {})], never)
    assert parts.compact() == 2
    assert len(all_items(parts)) == 18


def test_what_an_ended_joining_leaves_is_put_right(tmp_path: Path, parts: Parts) -> None:
    parts.put([Change([item("a"), item("b")], {})], never)
    parts.put([Change([item("c")], {})], never)
    joined = [one for name in parts.names() for one in parts.items(name)]
    write_items(tmp_path / "items" / "9999999999999999-000000.parquet", joined)
    (tmp_path / "items" / ".9.parquet.tmp").write_bytes(b"half")
    parts = Parts(tmp_path / "items")
    with Scratch() as scratch:
        assert len(list(parts.read(scratch))) == 3
        assert parts.drop_twice(scratch)
        assert list(parts.read(scratch)) == []
        assert not parts.drop_twice(scratch)
        assert scratch.known_of("/a.tif")[0].part.startswith("9999")
    assert set(all_items(parts)) == {"a", "b", "c"}
    assert [path.name for path in (tmp_path / "items").iterdir()] == ["9999999999999999-000000.parquet"]


def test_parts_are_read_again_only_when_they_changed(parts: Parts) -> None:
    parts.put([Change([item("a")], {})], never)
    parts.put([Change([item("b")], {})], never)
    first, second = parts.names()
    with Scratch() as scratch:
        assert list(parts.read(scratch)) == [first, second]
        assert list(parts.read(scratch)) == []
        parts.put([Change([item("b", 7)], {second: {"b"}})], never)
        assert list(parts.read(scratch)) == [second]
        parts.drop_files(first, {"/a.tif"})
        assert list(parts.read(scratch)) == []
        assert scratch.known_of("/a.tif") == []
        assert len(list(scratch.summaries())) == 1


def test_a_part_is_whole_when_it_is_there(
    tmp_path: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.put([Change([item("a")], {})], never)
    (name,) = parts.names()

    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_items", failing)
    with pytest.raises(OSError, match="No space left"):
        parts.put([Change([item("a", 9)], {name: {"a"}})], never)
    assert [one["properties"]["value"] for one in read_items(tmp_path / "items" / name)] == [0]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_lines_elsewhere() -> None:
    terminal, plain, problems = Terminal(), io.StringIO(), io.StringIO()
    for out in (terminal, plain):
        progress = Progress(out, problems)
        progress.state("1 of 2")
        progress.say("Done.")
    assert terminal.getvalue().startswith("\r1 of 2")
    assert terminal.getvalue().endswith("\r      \rDone.\n")
    assert plain.getvalue() == "Done.\n"
    progress.problem("/data/x.tif", "x.tif is damaged.")
    assert problems.getvalue() == "/data/x.tif: it is damaged.\n"
    assert progress.summary() == ["  1 × it is damaged"]
