from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from geoloom.errors import ParameterError
from geoloom.filters import condition, filters_of, order_of
from geoloom.query import Query


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (("p", "==", np.int16(3)), ("p", "==", 3)),
        (("p", "<", np.float32(0.5)), ("p", "<", 0.5)),
        (("p", "in", np.array([1, 2])), ("p", "in", (1, 2))),
        (("p", "in", range(2)), ("p", "in", (0, 1))),
        (("p", "in", {"b", "a"}), ("p", "in", ("a", "b"))),
        (("p", ">=", date(2016, 7, 13)), ("p", ">=", "2016-07-13T00:00:00Z")),
        (("p", ">", date(2016, 7, 13)), ("p", ">", "2016-07-14T00:00:00Z")),
        (("p", "<=", datetime(2016, 7, 13, 9)), ("p", "<=", "2016-07-13T09:00:00Z")),
        (("p", "==", True), ("p", "==", True)),
    ],
)
def test_conditions(given: tuple[Any, ...], kept: Any) -> None:
    assert condition(*given) == kept
    assert Query("s2", where=(condition(*given),)).where == (kept,)


@pytest.mark.parametrize("operator", ["=", "like", None, ["<"]])
def test_unknown_operators(operator: Any) -> None:
    with pytest.raises(ParameterError, match="The operators are == !="):
        condition("p", operator, 3)


def test_a_number_in_quotes_is_no_number() -> None:
    with pytest.raises(ParameterError, match="Give the number: 20"):
        condition("cloud", "<", "20")
    assert condition("code", "==", "20") == ("code", "==", "20")
    assert condition("datetime", ">=", "2016") == ("datetime", ">=", "2016")


def test_each_filter_is_told_and_can_be_left_out() -> None:
    point = {"type": "Point", "coordinates": [8, 45]}
    query = Query(
        "s2",
        areas=(point,),
        dates=(("2016-01-01T00:00:00Z", "2017-01-01T00:00:00Z"),),
        months=(6, 7, 8),
        where=(("cloud", "<", 20.5), ("platform", "in", ("a", "b")), ("mode", "!=", "x")),
        ids=tuple(f"i{n}" for n in range(10)),
    )
    found = filters_of(query, ["over 8, 45"])
    assert [told for told, _ in found] == [
        "over 8, 45",
        "in 2016",
        "in June, July and August of any year",
        "cloud < 20.5",
        "platform is one of a or b",
        "mode is not x",
        "only i0, i1, i2, i3, i4, i5 and 4 more",
    ]
    assert found[0][1].areas == ()
    assert found[1][1].dates == ()
    assert found[3][1].where == query.where[1:]
    assert found[6][1].ids == ()
    assert len({without.key for _, without in found}) == len(found)


def test_order_in_words() -> None:
    assert order_of(Query("s2")) == "newest first"
    assert order_of(Query("s2", sort=(("cloud", "asc"), ("datetime", "asc")), limit=1000)) == (
        "smallest cloud, then oldest first; no more than 1,000"
    )
    assert order_of(Query("s2", near="2016-07-13T00:00:00Z")) == "nearest to 2016-07-13T00:00:00Z first"
