from __future__ import annotations

from typing import Any

import pytest

from geoloom.errors import ParameterError, RequestError
from geoloom.lazy_collection import Collection
from geoloom.query import Query

S2 = Collection(Query("s2"))


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (lambda: S2.filter_date(), "no date"),
        (lambda: S2.filter_date(month=13), "no month"),
        (lambda: S2.filter_date(month=6).filter_date(month=7), "only June already"),
        (lambda: S2.filter_rect(1, 2, 3), "four numbers"),
        (lambda: S2.filter_location(45.8, 123), "(123, 45.8)"),
        (lambda: S2.filter_geometry("here"), "no geometry"),
        (lambda: S2.filter("cloud", "=", 3), "Use '=='"),
        (lambda: S2.filter("cloud", "like", 3), "no operator"),
        (lambda: S2.filter("cloud", "<", None), "cannot be compared"),
        (lambda: S2.filter("cloud", "<", [1, 2]), "two filters"),
        (lambda: S2.filter("cloud", "in", "abc"), "a list of values"),
        (lambda: S2.filter(3, "<", 3), "named by text"),  # type: ignore[arg-type]
        (lambda: S2.ids(), "no id"),
        (lambda: S2.ids("a").ids("b"), "None of these ids"),
        (lambda: S2.nearest("soon"), "no date"),
    ],
)
def test_wrong_filters_are_told_at_once(filters: Any, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        filters()
    assert said in str(caught.value)


@pytest.mark.parametrize("n", [0, -1, 2.5, "10", None, True])
def test_a_limit_is_a_number(n: Any) -> None:
    with pytest.raises((RequestError, ParameterError), match="limit"):
        S2.limit(n)


def test_collections_do_not_change() -> None:
    before = S2.query
    S2.filter_date("2016").limit(3).sort("id")
    assert S2.query is before
