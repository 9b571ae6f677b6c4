"""Colours by an attribute: classes from what a column holds."""

from __future__ import annotations

from typing import Any

import pytest

from geoloom.classification import HUES, Column, categories, graduated
from geoloom.errors import ParameterError
from geoloom.symbols import Category, Interval

CROPS = Column.of("crop", ["wheat", "maize", "wheat", None, "Rape"])
AREAS = Column.of("area", [float(i) for i in range(101)])


def test_what_a_column_holds() -> None:
    assert CROPS.counts == (("wheat", 2), (None, 1), ("Rape", 1), ("maize", 1))
    assert (CROPS.distinct, CROPS.percentiles) == (4, ())
    assert AREAS.percentiles[::25] == (0.0, 25.0, 50.0, 75.0, 100.0)
    assert AREAS.whole
    assert not Column.of("a", [0.5, 1]).whole


def test_each_value_gets_a_colour() -> None:
    by = categories(CROPS, None, None, None)
    assert [(one.label, one.values) for one in by.classes] == [
        ("maize", ("maize",)),
        ("Rape", ("Rape",)),
        ("wheat", ("wheat",)),
        ("no value", (None,)),
    ]
    assert [one.colour for one in by.classes] == [f"{hue}ff" for hue in HUES[:4]]
    assert by.other is None


def test_numbers_stand_by_size() -> None:
    by = categories(Column.of("code", [10, 2, 2.0]), "viridis", {2: "two"}, None)
    assert [one.label for one in by.classes] == ["two", "10"]
    assert by.classes[0].colour == "#440154ff"


def test_colours_can_name_the_values() -> None:
    by = categories(
        "crop", {"wheat": ("Wheat", "gold"), ("maize", "corn"): "green"}, {"maize": "Maize"}, "grey"
    )
    assert by.classes == (
        Category("Wheat", "#ffd700ff", ("wheat",)),
        Category("Maize, corn", "#008000ff", ("maize", "corn")),
    )
    assert by.other == "#808080ff"


def test_rare_values_are_other() -> None:
    many = Column.of("id", [*range(30), 7])
    by = categories(many, None, None, None)
    assert len(by.classes) == 20
    assert (7,) in [one.values for one in by.classes if isinstance(one, Category)]
    assert by.other == "#bdbdbdff"
    assert len({one.colour for one in by.classes}) == 20


@pytest.mark.parametrize(
    ("column", "colours", "words"),
    [
        (CROPS, ["red", "blue"], "2 colours for 4 values"),
        (CROPS, "nosuch", "no colour ramp"),
        (CROPS, ["red", "blue", "green", "nosuch"], "no colour"),
        ("crop", {}, "is empty"),
        ("crop", {"wheat": "nosuch"}, "no colour"),
        ("crop", {frozenset([1]): "red"}, "text or a number"),
        (Column("crop", (), 0), None, "holds no values"),
    ],
)
def test_colours_that_do_not_do(column: Any, colours: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        categories(column, colours, None, None)


@pytest.mark.parametrize("method", ["quantile", "equal"])
def test_even_values_give_even_classes(method: str) -> None:
    by = graduated(AREAS, 4, method, "viridis", None)
    assert [(one.low, one.high) for one in by.classes if isinstance(one, Interval)] == [
        (0.0, 25.0),
        (25.0, 50.0),
        (50.0, 75.0),
        (75.0, 100.0),
    ]
    assert [one.label for one in by.classes] == ["0 – 25", "25 – 50", "50 – 75", "75 – 100"]
    assert by.classes[0].colour == "#440154ff"


def test_quantiles_follow_the_values() -> None:
    skewed = Column.of("area", [0.0] * 60 + [float(i) for i in range(1, 41)])
    by = graduated(skewed, 4, "quantile", ["white", "black"], "red")
    # Two of the four would end at 0: what would be empty is left out.
    assert [one.low for one in by.classes if isinstance(one, Interval)] == [0.0, 15.0]
    assert by.other == "#ff0000ff"


def test_breaks_have_few_digits_and_hold_all() -> None:
    values = [0.123456, 0.5, 0.987654, 3.14159]
    by = graduated(Column.of("x", values), 3, "quantile", "viridis", None)
    first, last = by.classes[0], by.classes[-1]
    assert isinstance(first, Interval)
    assert isinstance(last, Interval)
    assert first.low <= min(values)
    assert last.high >= max(values)
    assert all(len(one.label) < 14 for one in by.classes)


def test_breaks_of_ones_own() -> None:
    by = graduated(Column("x", (), 0), 5, [0, 0.5, 10], "viridis", None)
    assert [one.label for one in by.classes] == ["0 – 0.5", "0.5 – 10"]


def test_one_value_is_one_class() -> None:
    (one,) = graduated(Column.of("x", [5, 5]), 5, "equal", "viridis", None).classes
    assert (one.label, one.low, one.high) == ("5", 5.0, 5.0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("column", "classes", "method", "words"),
    [
        (CROPS, 5, "quantile", "holds no numbers"),
        (AREAS, 0, "equal", "from 1 to 20"),
        (AREAS, 21, "equal", "from 1 to 20"),
        (AREAS, True, "equal", "from 1 to 20"),
        (AREAS, 5, "jenks", "not 'jenks'"),
        (AREAS, 5, [1], "rising"),
        (AREAS, 5, [1, 1], "rising"),
    ],
)
def test_classes_that_cannot_be(column: Column, classes: Any, method: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        graduated(column, classes, method, "viridis", None)
