"""Attributes of features at a place: what is asked, and how the answer is shown."""

from __future__ import annotations

from typing import Any

from geoloom import blobs
from geoloom.attributes import attributes_at, attributes_html
from geoloom.joining import Table
from geoloom.ops.draw import Draw


class Client:
    """Knows one feature, and one table."""

    def __init__(self, table: bytes = b"") -> None:
        self.asked: list[dict[str, Any]] = []
        self.table = table

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        assert path == "/identify"
        self.asked.append(question)
        return {"features": [{"properties": {"code": 7}}]}

    def blob(self, key: str) -> bytes:
        return self.table


def test_a_layer_is_asked_for_what_it_shows() -> None:
    client = Client()
    node = Draw(href="/a.gpkg", layer="roads").chain().node
    assert attributes_at(client, node, 23.0, 44.0, 12) == [{"code": 7}]
    assert client.asked == [{"href": "/a.gpkg", "layer": "roads", "lon": 23.0, "lat": 44.0, "zoom": 12}]


def test_a_joined_table_is_known_here_or_to_the_engine() -> None:
    here = Table.of({7: "wheat"}, "code", "crop").content()
    there = Table.of({7: "maize"}, "code", "crop").content()
    node = Draw(href="/a.gpkg", table=blobs.keep(here)).chain().node
    assert attributes_at(Client(), node, 0, 0, 1) == [{"code": 7, "crop": "wheat"}]
    node = Draw(href="/a.gpkg", table="1" * 32).chain().node
    assert attributes_at(Client(there), node, 0, 0, 1) == [{"code": 7, "crop": "maize"}]


def test_values_are_written_as_people_write_them() -> None:
    html = attributes_html([{"a": 0.123456, "b": None, "c": True, "<d>": "<e>", "f": "x" * 300, "g": 12}])
    for text in (
        "0.1235",
        "<td>–</td>",
        "<td>yes</td>",
        "&lt;d&gt;",
        "&lt;e&gt;",
        "x" * 199 + "…",
        "<td>12</td>",
    ):
        assert text in html


def test_many_are_cut() -> None:
    assert "No feature here." in attributes_html([])
    assert "… and 2 more features" in attributes_html([{"a": 1}] * 7)
    assert "… and 60 more<" in attributes_html([{str(i): i for i in range(100)}])
