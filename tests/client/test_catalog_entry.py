from __future__ import annotations

import ast
from typing import Any

import pytest

import geoloom as gl
from geoloom import catalog
from geoloom.catalog_entry import Entry, identifier, table

TOLD = {
    "id": "sentinel-2-l2a",
    "catalog": "local",
    "title": "Sentinel-2",
    "description": "d" * 500,
    "keywords": ["land"],
    "bands": [{"name": name, "dtype": "uint16", "unit": "1"} for name in ("B02", "B03", "B04", "B08")],
    "bbox": [23.1234, 44.0, 24.9876, 45.0],
    "interval": ["2016-06-01T09:30:00Z", "2016-09-30T09:30:00Z"],
    "items": 1234567,
    "properties": {"eo:cloud_cover": {"minimum": 0.5, "maximum": 100}, "platform": ["a", "b", "c", "d", "e"]},
}


SNIPPET = """\
import geoloom as gl

sentinel_2_l2a = (
    gl.collection("local/sentinel-2-l2a")
    .filter_rect(23.123, 44, 24.988, 45)
    .filter_date("2016-06-01", "2016-09-30")
    .filter("eo:cloud_cover", "<=", 20)
)
image = sentinel_2_l2a.bands("B04", "B03", "B02")
m = gl.Map()
m.add_layer(image, name="sentinel_2_l2a")
m.fit(image)
m"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sentinel-2-l2a", "sentinel_2_l2a"),
        ("3dep", "c_3dep"),
        ("class", "class_"),
        ("a b/c", "a_b_c"),
        ("---", "collection"),
        ("_hidden_", "hidden"),
        ("été", "été"),
    ],
)
def test_identifiers(text: str, name: str) -> None:
    assert identifier(text) == name
    assert name.isidentifier()


def test_rows_and_extent() -> None:
    entry = Entry.from_json(TOLD)
    rows = entry.rows()
    assert rows["items"] == "1,234,567"
    assert rows["dates"] == "from 2016-06-01 to 2016-09-30"
    assert rows["bands"] == "B02 (1), B03 (1), B04 (1), B08 (1)"
    assert rows["properties"] == "eo:cloud_cover 0.5 to 100, platform (a, b, c, d, …)"
    ends = {
        "gsd": {"minimum": 10.003961, "maximum": 10.003972},
        "level": {"minimum": 0.0, "maximum": 250000.5},
    }
    shown = Entry.from_json({**TOLD, "properties": ends}).rows()["properties"]
    assert shown == "gsd 10.004, level 0 to 250000.5"
    assert rows["about"].endswith("…")
    assert "about" not in Entry.from_json({**TOLD, "description": TOLD["title"]}).rows()
    assert entry.extent == "Its items are from 2016-06-01 to 2016-09-30, within 23.1234, 44, 24.9876, 45."
    assert "1,234,567" in table([entry], "Found")


def test_an_entry_that_knows_little() -> None:
    entry = Entry.from_json({"id": "x", "interval": [None, None], "bbox": None, "items": None})
    assert entry.rows() == {"id": "x"}
    assert entry.extent == ""
    assert entry.name == "x"
    assert (
        Entry.from_json({"id": "x", "interval": ["2016-01-01T00:00:00Z", None]}).dates == "from 2016-01-01 on"
    )
    assert Entry.from_json({"id": "x", "interval": ["long ago", None]}).dates == "from long ago to .."


def test_words_fit_better_in_titles() -> None:
    entry = Entry.from_json(TOLD)
    by_id, by_keyword, begun, none = (entry.score([one]) for one in ("sentinel", "land", "sent", "zebra"))
    assert by_id > by_keyword > 0
    assert by_id > begun > 0
    assert none == 0
    assert entry.score(["sentinel", "land"]) > by_id


def test_a_snippet() -> None:
    assert Entry.from_json({**TOLD, "items": 100}).snippet() == SNIPPET
    assert '.filter_date("2016-09-01", "2016-09-30")' in Entry.from_json(TOLD).snippet()


def test_a_snippet_of_what_is_little_known() -> None:
    code = Entry.from_json({"id": "x"}).snippet()
    assert 'x = gl.collection("x")\nimage = x.mosaic()' in code
    dem = Entry.from_json({"id": "dem", "bands": [{"name": "height"}]}).snippet()
    assert 'dem.bands("height")' in dem


def test_a_snippet_holds_no_code_of_the_catalogue() -> None:
    evil = '"); import os; ("\n'
    told = {"id": evil, "bands": [{"name": evil}], "interval": ['"+boom+"x', '"+boom+"x'], "title": evil}
    tree = ast.parse(Entry.from_json(told).snippet())
    called = {one.func.attr for one in ast.walk(tree) if isinstance(one, ast.Call)}  # type: ignore[attr-defined]
    assert called == {"collection", "filter_date", "bands", "Map", "add_layer", "fit"}
    assert not [one for one in ast.walk(tree) if isinstance(one, ast.BinOp)]


def test_the_snippet_runs_up_to_the_map(paper_catalogue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_listing", None)
    code = gl.collection("s2").snippet()
    names: dict[str, Any] = {}
    exec(code.partition("m = gl.Map()")[0], names)
    assert names["image"].band_names == ("red",)
