from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.errors import RequestError
from geoloom.query import MAX_IDS, MAX_POSITIONS, OPERATORS, Query

BOX = {
    "type": "Polygon",
    "coordinates": [[[23.5, 44], [23.75, 44], [23.75, 44.5], [23.5, 44.5], [23.5, 44]]],
}
FULL = {
    "collection": "local/s2",
    "areas": [BOX, {"type": "Point", "coordinates": [8.5, 45.75]}],
    "dates": [["2016-06-01T00:00:00Z", "2016-10-01T00:00:00Z"]],
    "months": [6, 7],
    "where": [["eo:cloud_cover", "<", 20], ["platform", "in", ["sentinel-2a", "sentinel-2b"]]],
    "ids": ["S2A_1", "S2B_2"],
    "sort": [["eo:cloud_cover", "asc"], ["id", "desc"]],
    "near": "2016-07-13T09:30:00.25Z",
    "limit": 10,
}

texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20)
instants = st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1)).map(
    lambda one: (text := one.replace(tzinfo=UTC).isoformat()[:-6]).rstrip("0" if "." in text else "") + "Z"
)
numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
points = st.tuples(st.floats(-180, 180), st.floats(-90, 90))
rings = st.lists(points, min_size=3, max_size=6).map(lambda one: [*one, one[0]])
areas = st.one_of(
    points.map(lambda one: {"type": "Point", "coordinates": one}),
    st.lists(rings, min_size=1, max_size=3).map(lambda one: {"type": "Polygon", "coordinates": one}),
    st.lists(st.lists(rings, min_size=1, max_size=2), min_size=1, max_size=2).map(
        lambda one: {"type": "MultiPolygon", "coordinates": one}
    ),
)
scalars = texts | numbers | st.booleans()
conditions = st.one_of(
    st.tuples(texts, st.sampled_from(["==", "!=", "contains"]), scalars),
    st.tuples(texts, st.sampled_from(["<", "<=", ">", ">="]), texts | numbers),
    st.tuples(texts, st.just("in"), st.lists(scalars, min_size=1, max_size=3)),
)
queries = st.builds(
    Query,
    collection=texts,
    areas=st.lists(areas, max_size=2),
    dates=st.lists(
        st.lists(instants, min_size=2, max_size=2, unique=True).map(
            lambda two: tuple(sorted(two, key=datetime.fromisoformat))
        ),
        max_size=2,
    ),
    months=st.lists(st.integers(1, 12), max_size=4),
    where=st.lists(conditions, max_size=3),
    ids=st.lists(texts, max_size=3),
    sort=st.lists(st.tuples(texts, st.sampled_from(["asc", "desc"])), max_size=2),
    near=st.none() | instants,
    limit=st.none() | st.integers(1, 10**6),
)


@given(queries)
def test_json_and_back(query: Query) -> None:
    text = json.dumps(query.to_json(), allow_nan=False)
    back = Query.from_json(json.loads(text))
    assert back == query
    assert hash(back) == hash(query)
    assert back.key == query.key


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.lists(one)))
def test_any_value_of_any_field_is_taken_or_refused(value: Any) -> None:
    for field in fields(Query):
        refused = ""
        try:
            query = Query.from_json({"collection": "s2", field.name: value})
        except RequestError as error:
            refused = error.message
        assert field.name in refused or Query.from_json(query.to_json()) == query


def test_a_full_query() -> None:
    assert Query.from_json(FULL).to_json() == FULL


def test_what_asks_for_nothing_is_left_out() -> None:
    assert Query("s2").to_json() == {"collection": "s2"}
    assert Query.from_json({"collection": "s2", "areas": None, "near": None}) == Query("s2")


def test_equal_questions_have_equal_json() -> None:
    one = Query("s2", months=(7, 6, 6), where=(("cloud", "<", 20.0),), areas=[{**BOX, "bbox": [1, 2, 3, 4]}])
    assert one.to_json() == Query("s2", months=(6, 7), where=(("cloud", "<", 20),), areas=(BOX,)).to_json()


def test_one_is_not_true() -> None:
    assert Query("s2", where=[("p", "==", True)]) != Query("s2", where=[("p", "==", 1)])


def test_heights_are_left_out() -> None:
    assert Query("s2", areas=({"type": "Point", "coordinates": [8.5, 45, 200.0]},)).to_json()["areas"] == [
        {"type": "Point", "coordinates": [8.5, 45]}
    ]


def test_it_holds_its_own_copy() -> None:
    area = {"type": "Point", "coordinates": [8.5, 45]}
    query = Query("s2", areas=(area,))
    area["coordinates"] = [0, 0]
    assert query.to_json()["areas"][0]["coordinates"] == [8.5, 45]
    assert replace(query, limit=3).areas == query.areas


OPEN_RING = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}
LONG = {"type": "MultiPoint", "coordinates": [[0, 0]] * (MAX_POSITIONS + 1)}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("collection", "", "text is needed"),
        ("collection", None, "text is needed"),
        ("collection", "x" * 1001, "too long"),
        ("collection", "a\nb", "control characters"),
        ("collection", "\ud800", "UTF-8"),
        ("areas", BOX, "a list is needed"),
        ("areas", [3], "GeoJSON geometry"),
        ("areas", [{"type": "Feature"}], "no type of geometry"),
        ("areas", [{"type": ["Point"]}], "no type of geometry"),
        ("areas", [{"type": "Point"}], "no coordinates"),
        ("areas", [{"type": "Point", "coordinates": [1]}], "longitude and latitude"),
        ("areas", [{"type": "Point", "coordinates": [45, 180]}], "45, 180 is no longitude"),
        ("areas", [{"type": "Point", "coordinates": [float("nan"), 0]}], "finite"),
        ("areas", [{"type": "Point", "coordinates": ["1", 0]}], "a number is needed"),
        ("areas", [{"type": "Polygon", "coordinates": []}], "empty"),
        ("areas", [{"type": "Polygon", "coordinates": [[[0, 0]]]}], "4 are needed"),
        ("areas", [OPEN_RING], "not closed"),
        ("areas", [LONG], "100,000 corners"),
        ("dates", [["2016-06-01T00:00:00Z"]], "start, end"),
        ("dates", [["2016-06-01", "2016-06-02"]], "a time is written"),
        ("dates", [["2016-06-01T00:00:00+00:00", "2016-06-02T00:00:00Z"]], "a time is written"),
        ("dates", [["2016-06-31T00:00:00Z", "2016-07-02T00:00:00Z"]], "not in the calendar"),
        ("dates", [["2016-06-02T00:00:00Z", "2016-06-02T00:00:00Z"]], "not before"),
        ("months", [13], "1 to 12"),
        ("months", [True], "1 to 12"),
        ("months", 7, "a list is needed"),
        ("where", [["cloud", "<"]], "property, operator, value"),
        ("where", [["cloud", "=", 3]], "no operator"),
        ("where", [["cloud", ["<"], 3]], "no operator"),
        ("where", [["cloud", "<", None]], "needs a number"),
        ("where", [["cloud", "<", True]], "compares numbers"),
        ("where", [["cloud", "<", float("inf")]], "finite"),
        ("where", [["cloud", "<", 1 << 63]], "64 bits"),
        ("where", [["cloud", "in", 3]], "a list of values"),
        ("where", [["cloud", "in", []]], "a list of values"),
        ("where", [["", "<", 3]], "text is needed"),
        ("ids", ["a", 3], "text is needed"),
        ("ids", ["a"] * (MAX_IDS + 1), "too many"),
        ("sort", [["cloud", "up"]], '"asc" or "desc"'),
        ("sort", ["cloud"], "property, direction"),
        ("near", "2016", "a time is written"),
        ("near", "2016-06-01T25:00:00Z", "not in the calendar"),
        ("limit", 0, "from 1"),
        ("limit", True, "from 1"),
        ("limit", 2.5, "from 1"),
    ],
)
def test_a_wrong_field_is_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        Query.from_json({"collection": "s2", name: value})
    assert name in caught.value.message
    assert words in caught.value.message


@pytest.mark.parametrize("value", [None, [], "s2", {}, {"collection": "s2", "cloud": 3}])
def test_what_is_no_query_is_told(value: Any) -> None:
    with pytest.raises(RequestError, match="query"):
        Query.from_json(value)


def test_operators() -> None:
    for operator in OPERATORS:
        value = ["a"] if operator == "in" else "a"
        assert Query("s2", where=[("p", operator, value)]).to_json()["where"] == [["p", operator, value]]
