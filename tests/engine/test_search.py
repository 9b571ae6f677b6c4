"""Search over HTTP: a real engine, a catalogue on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from geoloom.errors import NotFound, RequestError
from geoloom.query import Query
from geoloom.selection import Selection
from geoloom_engine.catalog import write_items
from geoloom_engine.routes.search import written

if TYPE_CHECKING:
    from conftest import RunningEngine, StartEngine


@pytest.fixture(scope="module")
def searching(
    start_engine: StartEngine, valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> RunningEngine:
    """An engine of two workers with a collection of three items."""
    root = tmp_path_factory.mktemp("catalog")
    (root / "made-up" / "items").mkdir(parents=True)
    described = {"type": "Collection", "id": "made-up", "title": "Made up", "extent": {}, "links": []}
    (root / "made-up" / "collection.json").write_text(json.dumps(described))
    items = [
        {
            "type": "Feature",
            "id": f"scene-{number}",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[number, 0], [number + 1, 0], [number, 1], [number, 0]]],
            },
            "properties": {"datetime": f"2016-07-1{number}T00:00:00Z", "eo:cloud_cover": 10.0 * number},
            "assets": {"B04": {"href": f"/data/{number}.tif", "type": "image/tiff"}},
            "links": [],
        }
        for number in range(3)
    ]
    write_items(root / "made-up" / "items" / "a.parquet", items)
    return start_engine(
        valkey, root, workers=2, catalogs=f"local={root}", indexes=str(tmp_path_factory.mktemp("indexes"))
    )


def test_a_query_is_answered_in_three_ways(searching: RunningEngine) -> None:
    client = searching.client()
    query = Query("made-up", where=(("eo:cloud_cover", ">", 5),)).to_json()
    assert client.ask("/search", query=query, answer="count") == {"count": 2}
    told = client.ask("/search", query=query, answer="items")
    assert [one["id"] for one in told["items"]] == ["scene-2", "scene-1"]
    assert told["items"][0]["date"] == "2016-07-12T00:00:00Z"
    told = client.ask("/search", query=query, answer="selection")
    assert Selection.from_bytes(told["selection"]).ids == ("scene-2", "scene-1")
    assert told["count"] == 2


def test_collections_are_told(searching: RunningEngine) -> None:
    client = searching.client()
    (told,) = client.ask("/collections")["collections"]
    assert (told["id"], told["catalog"], told["items"]) == ("made-up", "local", 3)
    assert client.ask("/collections", words="sentinel")["collections"] == []


def test_wrong_questions_are_said(searching: RunningEngine) -> None:
    client = searching.client()
    query = {"collection": "made-up"}
    with pytest.raises(RequestError, match="'count', 'items' or 'selection'"):
        client.ask("/search", query=query, answer="all")
    with pytest.raises(RequestError, match="'query'"):
        client.ask("/search", answer="count")
    with pytest.raises(RequestError, match="limit"):
        client.ask("/search", query={**query, "limit": -1}, answer="count")
    with pytest.raises(NotFound, match="Did you mean 'made-up'"):
        client.ask("/search", query={"collection": "madeup"}, answer="count")
    assert searching.ask("POST", "/search", b"{}", token=False).status == 401
    assert searching.ask("POST", "/collections", b"{}", token=False).status == 401


def test_numbers_that_json_lacks_are_null() -> None:
    assert written({"a": [float("nan"), 1.5]}) == '{"a":[null,1.5]}'


def test_settings_of_catalogues_are_checked(tmp_path: Path) -> None:
    from geoloom_engine.settings import load

    assert load(["--catalogs", f"a={tmp_path},b=https://x.example/"], {}).catalogs == (
        f"a={tmp_path}",
        "b=https://x.example/",
    )
    for wrong in ("folder", "a=", "a=folder", "a=/x,a=/y", "a/b=/x"):
        with pytest.raises(ValueError, match="catalogs"):
            load(["--catalogs", wrong], {})
