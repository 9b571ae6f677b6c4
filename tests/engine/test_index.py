"""The index against a search that looks at each item by itself."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom.errors import RequestError
from geoloom.outlines import outlines
from geoloom.query import Query
from geoloom_engine.catalog import columns
from geoloom_engine.catalog.geoparquet import to_table
from geoloom_engine.catalog.index import Index, arranged, save

Item = dict[str, Any]

EPOCH = datetime(2016, 1, 1, tzinfo=UTC).timestamp()
PLATFORMS = ("sentinel-2a", "sentinel-2b", "Größe")


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def item(number: int, west: float, south: float, size: float, day: int | None, **properties: Any) -> Item:
    box = shapely.box(west, south, west + size, min(south + size / 2, 90))
    corners = shapely.Polygon([*box.exterior.coords[:3], box.centroid.coords[0]])
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"scene-{number}",
        "geometry": json.loads(shapely.to_geojson(corners)),
        "properties": {"datetime": None if day is None else stamp(EPOCH + day * 86400), **properties},
        "assets": {},
        "links": [],
    }


def index_of(*parts: list[Item]) -> Index:
    tables = [columns.of_items(to_table(items), number) for number, items in enumerate(parts)]
    return Index(arranged(columns.joined(tables), {}))


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    def properties() -> Item:
        chosen: Item = {}
        if draw(st.booleans()):
            chosen["eo:cloud_cover"] = draw(st.sampled_from([0, 1, 5.5, 20, 100]))
        if draw(st.booleans()):
            chosen["platform"] = draw(st.sampled_from(PLATFORMS))
        if draw(st.booleans()):
            chosen["mixed"] = draw(st.sampled_from([1, 2.5, "a", True, [1, "b"]]))
        return chosen

    numbers = draw(st.lists(st.integers(0, 30), max_size=20, unique=True))
    return [
        item(
            number,
            draw(st.integers(-180, 185)),
            draw(st.integers(-90, 85)),
            draw(st.sampled_from([1, 4, 30])),
            draw(st.one_of(st.none(), st.integers(0, 400))),
            **properties(),
        )
        for number in numbers
    ]


@st.composite
def areas(draw: st.DrawFn) -> Item:
    west, south = draw(st.integers(-180, 170)), draw(st.integers(-90, 80))
    width, height = draw(st.integers(1, 180 - west)), draw(st.integers(1, 90 - south))
    box = shapely.box(west, south, west + width, south + height)
    shape = draw(st.sampled_from([box, shapely.Polygon(box.exterior.coords[:3]), box.centroid]))
    found: Item = json.loads(shapely.to_geojson(shape))
    return found


@st.composite
def queries(draw: st.DrawFn) -> Query:
    def dates() -> tuple[str, str]:
        start = draw(st.integers(0, 399))
        return stamp(EPOCH + start * 86400), stamp(EPOCH + draw(st.integers(start + 1, 401)) * 86400)

    conditions = st.sampled_from(
        [
            ("eo:cloud_cover", "<", 20),
            ("eo:cloud_cover", "!=", 0),
            ("eo:cloud_cover", "in", (0, 5.5, "a")),
            ("eo:cloud_cover", "==", "a"),
            ("platform", "==", "sentinel-2b"),
            ("platform", "!=", "sentinel-2b"),
            ("platform", "contains", "2"),
            ("platform", ">", "sentinel-2a"),
            ("platform", "in", ("Größe", 1)),
            ("mixed", "contains", "b"),
            ("mixed", "==", 1),
            ("mixed", "!=", 1),
            ("mixed", "in", (True, 2.5)),
            ("mixed", "<", 2),
            ("datetime", ">=", "2016-06-01T00:00:00Z"),
        ]
    )
    orders = st.sampled_from(["eo:cloud_cover", "platform", "datetime", "id"])
    return Query(
        collection="made-up",
        areas=tuple(draw(st.lists(areas(), max_size=2))),
        dates=tuple(dates() for _ in range(draw(st.integers(0, 2)))),
        months=tuple(draw(st.lists(st.integers(1, 12), max_size=4))),
        where=tuple(draw(st.lists(conditions, max_size=2))),
        ids=tuple(draw(st.lists(st.sampled_from([f"scene-{n}" for n in range(30)]), max_size=9))),
        sort=tuple(
            (name, draw(st.sampled_from(["asc", "desc"]))) for name in draw(st.lists(orders, max_size=2))
        ),
        near=draw(st.one_of(st.none(), st.just("2016-07-13T00:00:00Z"))),
        limit=draw(st.one_of(st.none(), st.integers(1, 8))),
    )


def holds(there: Any, operator: str, value: Any) -> bool:
    def same(a: Any, b: Any) -> bool:
        return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)

    if there is None:
        return False
    if operator == "contains":
        return any(same(one, value) for one in there) if isinstance(there, list) else value in str(there)
    if operator == "in":
        return any(same(there, one) for one in value)
    if operator in ("==", "!="):
        return same(there, value) == (operator == "==")
    try:
        return bool(
            {"<": lambda: there < value, ">": lambda: there > value, ">=": lambda: there >= value}[operator]()
        )
    except TypeError:
        return False


def expected(found: list[Item], query: Query) -> list[str]:
    """Ids in the order of a query, each item looked at by itself."""

    def seconds(text: str | None) -> float:
        return math.nan if text is None else datetime.fromisoformat(text).timestamp()

    def fits(one: Item) -> bool:
        date = one["properties"]["datetime"]
        (shape,) = outlines([shapely.from_geojson(json.dumps(one["geometry"]))])
        return (
            (not query.ids or one["id"] in query.ids)
            and all(date is not None and low <= date < high for low, high in query.dates)
            and (not query.months or (date is not None and int(date[5:7]) in query.months))
            and all(holds(one["properties"].get(name), op, value) for name, op, value in query.where)
            and all(shapely.from_geojson(json.dumps(area)).intersects(shape) for area in query.areas)
        )

    def key(one: Item, name: str) -> Any:
        return one["id"] if name == "id" else one["properties"].get(name)

    def compare(a: Item, b: Item) -> int:
        if query.near is not None:
            near = seconds(query.near)
            gaps = [abs(seconds(one["properties"]["datetime"]) - near) for one in (a, b)]
            gaps = [math.inf if math.isnan(gap) else gap for gap in gaps]
            if gaps[0] != gaps[1]:
                return -1 if gaps[0] < gaps[1] else 1
        for name, direction in (*query.sort, ("datetime", "desc"), ("id", "asc")):
            left, right = key(a, name), key(b, name)
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return -1 if (left < right) == (direction == "asc") else 1
        return 0

    return [one["id"] for one in sorted(filter(fits, found), key=cmp_to_key(compare))][: query.limit]


@settings(max_examples=120, deadline=None)
@given(items(), queries())
def test_the_index_finds_what_each_item_says(found: list[Item], query: Query) -> None:
    everything = item(99, 0, 0, 1, 0, **{"eo:cloud_cover": 3, "platform": "x", "mixed": [1]})
    found = [*found, everything]
    index = index_of(found)
    ids = index.ids(index.search(query))
    assert ids == expected(found, query)
    assert index.count(query) == len(ids)
    assert index.ids(index.search(query, most=3)) == ids[:3]


def test_many_boxes_are_decided_by_cells() -> None:
    found = [item(number, number % 60 * 2, number // 60, 1, number) for number in range(3000)]
    circle = shapely.Point(40, 25).buffer(22)
    query = Query("made-up", areas=(json.loads(shapely.to_geojson(circle)),))
    index = index_of(found)
    assert index.ids(index.search(query)) == expected(found, query)


def test_later_parts_override_earlier_ones() -> None:
    first = [item(1, 0, 0, 1, 5, platform="a"), item(2, 0, 0, 1, 6)]
    index = index_of(first, [item(1, 50, 0, 1, 7, platform="b")])
    assert index.ids(index.search(Query("made-up"))) == ["scene-1", "scene-2"]
    assert index.count(Query("made-up", where=(("platform", "==", "a"),))) == 0
    assert index.about["twice"]


def test_properties_of_other_types_in_other_parts_stay_apart() -> None:
    index = index_of([item(1, 0, 0, 1, 5, tile=7)], [item(2, 0, 0, 1, 6, tile="7")], [item(3, 0, 0, 1, 6)])
    assert index.ids(index.search(Query("m", where=(("tile", "==", "7"),)))) == ["scene-2"]
    assert index.ids(index.search(Query("m", where=(("tile", "==", 7),)))) == ["scene-1"]


def test_items_without_a_footprint_are_found_by_all_else() -> None:
    bare = item(1, 0, 0, 1, 5) | {"geometry": None}
    index = index_of([bare, item(2, 0, 0, 1, 6)])
    assert index.count(Query("m")) == 2
    world = json.loads(shapely.to_geojson(shapely.box(-180, -90, 180, 90)))
    assert index.ids(index.search(Query("m", areas=(world,)))) == ["scene-2"]


def test_an_unknown_property_is_said_with_the_nearest() -> None:
    index = index_of([item(1, 0, 0, 1, 5, **{"eo:cloud_cover": 3})])
    with pytest.raises(RequestError, match="Did you mean 'eo:cloud_cover'"):
        index.count(Query("m", where=(("eo:cloud_covr", "<", 3),)))


def test_an_index_comes_back_from_its_file(tmp_path: Path) -> None:
    table = arranged(columns.of_items(to_table([item(1, 0, 0, 1, 5, platform="a")]), 0), {"parts": ["a"]})
    save(table, tmp_path / "made-up.arrow")
    index = Index.open(tmp_path / "made-up.arrow")
    assert index.about["parts"] == ["a"]
    assert index.ids(index.search(Query("m", where=(("platform", "==", "a"),)))) == ["scene-1"]
    assert index.properties() == {"platform": ["a"]}
    (tmp_path / "broken.arrow").write_bytes(b"ARROW1")
    with pytest.raises((OSError, ValueError)):
        Index.open(tmp_path / "broken.arrow")


def test_no_items_are_an_index_too() -> None:
    index = index_of([])
    assert index.count(Query("m", where=(("a", "<", 1),), sort=(("b", "asc"),))) == 0
    assert isinstance(arranged(columns.of_items(to_table([]), 0), {}), pa.Table)
