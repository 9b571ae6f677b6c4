"""A STAC API, made up on loopback: what it is asked, what it answers, and how its failures are told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import shapely

from geoloom.errors import RequestError, SourceUnreadable
from geoloom.query import Query
from geoloom_engine.catalog import api
from geoloom_engine.catalog.catalogues import Catalogues

Json = dict[str, Any]

ITEM_SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
TIMEOUT = 0.5


def item(number: int) -> Json:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"scene-{number:02d}",
        "collection": "s2",
        "geometry": json.loads(shapely.to_geojson(shapely.box(number, 40, number + 1, 41))),
        "bbox": [number, 40, number + 1, 41],
        "properties": {
            "datetime": f"2016-{number % 12 + 1:02d}-13T09:20:32Z",
            "eo:cloud_cover": number * 5,
            "proj:epsg": 32634,
        },
        "links": [],
        "assets": {
            "red": {
                "href": f"https://store.example/{number}/B04.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "proj:shape": [10980, 10980],
                "proj:transform": [10, 0, 399960, 0, -10, 4900020],
                "eo:bands": [{"name": "B04", "common_name": "red"}],
                "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": -0.1}],
            }
        },
    }


class Server(ThreadingHTTPServer):
    """A STAC API over twenty items, three a page; understands what its conformance says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.items = [item(number) for number in range(20)]
        self.conforms = ["core", f"{ITEM_SEARCH}#query", f"{ITEM_SEARCH}#sort"]
        self.asked: list[Json] = []
        self.broken: str | int | None = None
        self.released = threading.Event()
        self.tells_count = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def found(self, asked: Json) -> list[Json]:
        """What a server finds that compares numbers, dates and areas."""
        compared = {"lt": lambda a, b: a < b, "gte": lambda a, b: a >= b, "eq": lambda a, b: a == b}
        items = self.items
        for name, conditions in asked.get("query", {}).items():
            for op, value in conditions.items():
                items = [one for one in items if compared[op](one["properties"][name], value)]
        if "datetime" in asked:
            start, end = (datetime.fromisoformat(one) for one in asked["datetime"].split("/"))
            dates = [(one, datetime.fromisoformat(one["properties"]["datetime"])) for one in items]
            items = [one for one, date in dates if start <= date <= end]
        if "intersects" in asked:
            area = shapely.from_geojson(json.dumps(asked["intersects"]))
            items = [
                one for one in items if shapely.from_geojson(json.dumps(one["geometry"])).intersects(area)
            ]
        if "ids" in asked:
            items = [one for one in items if one["id"] in asked["ids"]]
        for order in reversed(asked.get("sortby", [])):
            name = order["field"].removeprefix("properties.")
            items = sorted(
                items,
                key=lambda one: one["id"] if name == "id" else one["properties"][name],
                reverse=order["direction"] == "desc",
            )
        return items


class Answers(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *rest: object) -> None:
        """Say nothing."""

    def send(self, content: Any, status: int = 200) -> None:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        url = self.server.url
        if self.path == "/":
            search = [
                {"rel": "search", "href": f"{url}search", "method": method} for method in ("GET", "POST")
            ]
            links = [{"rel": "data", "href": f"{url}collections"}, *search]
            self.send({"type": "Catalog", "id": "api", "conformsTo": self.server.conforms, "links": links})
        elif self.path == "/collections":
            more = [{"rel": "next", "href": f"{url}collections?page=2"}]
            self.send(
                {"collections": [{"id": "s2", "type": "Collection", "title": "Sentinel"}], "links": more}
            )
        else:
            self.send({"collections": [{"id": "dem", "type": "Collection"}], "links": []})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        broken = self.server.broken
        self.server.asked.append(asked)
        if broken == "stall":
            self.server.released.wait(30)
            return
        if broken == "words":
            self.send(b"<html>Welcome</html>")
            return
        if isinstance(broken, int):
            self.send({"code": "no"}, broken)
            return
        start, found = int(asked.get("token", 0)), self.server.found(asked)
        size = min(3, asked["limit"])
        answer: Json = {"type": "FeatureCollection", "features": found[start : start + size], "links": []}
        if self.server.tells_count:
            answer["numberMatched"] = len(found)
        if start + size < len(found):
            body = {**asked, "token": start + size}
            answer["links"] = [
                {"rel": "next", "method": "POST", "href": f"{self.server.url}search", "body": body}
            ]
        self.send(answer)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def found(server: Server, tmp_path: Path) -> Catalogues:
    return Catalogues([f"api={server.url}"], tmp_path, timeout=TIMEOUT)


def ids(found: Catalogues, query: Query) -> list[str]:
    return [one["id"] for one in found.items(query)[1]]


def area(west: float, east: float) -> Json:
    shape: Json = json.loads(shapely.to_geojson(shapely.box(west, 40.2, east, 40.8)))
    return shape


def test_collections_of_all_pages_are_told(found: Catalogues) -> None:
    told = found.collections()
    assert [(one["id"], one["catalog"], one["items"]) for one in told["collections"]] == [
        ("s2", "api", None),
        ("dem", "api", None),
    ]


def test_all_pages_are_read(found: Catalogues, server: Server) -> None:
    query = Query("s2", where=(("eo:cloud_cover", "<", 50),), sort=(("eo:cloud_cover", "desc"),))
    assert ids(found, query) == [f"scene-{number:02d}" for number in range(9, -1, -1)]
    assert server.asked[0]["query"] == {"eo:cloud_cover": {"lt": 50}}


def test_the_first_ones_are_asked_for_in_order(found: Catalogues, server: Server) -> None:
    assert ids(found, Query("s2", sort=(("eo:cloud_cover", "desc"),), limit=2)) == ["scene-19", "scene-18"]
    assert len(server.asked) == 1
    assert server.asked[0]["sortby"][0] == {"field": "properties.eo:cloud_cover", "direction": "desc"}


def test_what_the_server_does_not_understand_is_decided_here(found: Catalogues, server: Server) -> None:
    server.conforms = ["core"]
    query = Query(
        "s2",
        areas=(area(0.5, 9.5), area(3.5, 30)),
        months=(5, 6, 7),
        where=(("eo:cloud_cover", ">", 20), ("eo:cloud_cover", "!=", 30)),
        limit=1,
    )
    assert ids(found, query) == ["scene-05"]
    assert "query" not in server.asked[0]
    assert found.count(query) == 1


def test_the_end_of_a_range_is_not_part_of_it(found: Catalogues) -> None:
    dates = (("2016-01-01T00:00:00Z", "2016-02-13T09:20:32Z"),)
    assert ids(found, Query("s2", dates=dates)) == ["scene-00", "scene-12"]
    assert found.count(Query("s2", dates=dates)) == 2


def test_the_count_is_the_servers_where_it_tells_one(found: Catalogues, server: Server) -> None:
    assert found.count(Query("s2")) == 20
    assert found.count(Query("s2", limit=7)) == 7
    assert len(server.asked) == 2
    server.tells_count = False
    assert found.count(Query("s2")) == 20


def test_a_selection_is_made_of_stac_1_0(found: Catalogues) -> None:
    selection, problems = found.selection(Query("api/s2", ids=("scene-03",)))
    assert problems == []
    (band,) = selection.bands
    assert (band.name, band.dtype, band.nodata, band.scale, band.offset) == ("red", "uint16", 0, 0.0001, -0.1)
    (asset,) = selection.item(0).assets
    assert (asset.href, asset.crs) == ("https://store.example/3/B04.tif", "EPSG:32634")
    assert asset.transform == (399960, 10, 0, 4900020, 0, -10)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (403, "answered 403: it refuses"),
        (404, "answered 404"),
        (500, "answered 500"),
        (503, "answered 503: it is busy"),
        ("stall", f"did not answer within {TIMEOUT:g} seconds"),
        ("words", "answered with what is no STAC"),
    ],
)
def test_failures_are_one_sentence(found: Catalogues, server: Server, broken: str | int, said: str) -> None:
    found.collections()
    server.broken = broken
    with pytest.raises(SourceUnreadable, match=said) as caught:
        found.items(Query("s2"))
    assert caught.value.message.count(".") == caught.value.message.count("127.0.0.1") * 3 + 1 + said.count(
        "."
    )


def test_a_server_that_is_not_there_is_said(tmp_path: Path, server: Server) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as gone:
        port = gone.server_address[1]
    found = Catalogues([f"gone=http://127.0.0.1:{port}/", f"api={server.url}"], tmp_path, timeout=TIMEOUT)
    told = found.collections()
    assert [one["id"] for one in told["collections"]] == ["s2", "dem"]
    assert "'gone'" in told["problems"][0]
    assert "cannot be reached" in told["problems"][0]
    assert found.count(Query("s2")) == 20


def test_too_many_items_are_refused(found: Catalogues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST", 10)
    with pytest.raises(RequestError, match="more than 10 items"):
        found.items(Query("s2", months=(1, 2, 3)))


def test_malformed_items_do_not_stop_the_others(found: Catalogues, server: Server) -> None:
    server.items[0] = {"id": None}
    server.items[1] = {**item(1), "geometry": "nonsense", "assets": "none"}
    server.items[2] = {**item(2), "properties": {"datetime": "yesterday", "eo:cloud_cover": "much"}}
    server.conforms = ["core"]
    selection, problems = found.selection(Query("s2"))
    assert len(selection) == 18
    assert problems == ["Item 'scene-01' is left out: it has no raster files."]
    assert ids(found, Query("s2", where=(("eo:cloud_cover", "<", 20),))) == ["scene-03", "scene-01"]
