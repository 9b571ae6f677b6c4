"""A user's table: its forms, its keys, and what does not fit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from geoloom.errors import ParameterError
from geoloom.joining import Table, key_text, near

ROWS = [{"code": 1, "crop": "wheat"}, {"code": 2.0, "crop": None}, {"code": None, "crop": "maize"}]
EXPECTED = {"crop": {"1": "wheat"}}


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (ROWS, None),
        (pd.DataFrame(ROWS), None),
        (pd.DataFrame(ROWS[:2]).set_index("code"), None),
        ({"code": [1, 2], "crop": ["wheat", None]}, None),
        ({1: {"crop": "wheat"}, 2: {"crop": float("nan")}}, ["crop"]),
        ({"1": "wheat"}, "crop"),
        (pd.DataFrame({"code": [1], "crop": ["wheat"], "more": [5]}), "crop"),
    ],
)
def test_many_forms(table: Any, columns: Any) -> None:
    found = Table.of(table, "code", columns)
    assert found.on == "code"
    assert found.columns == EXPECTED
    assert found.keys == {"1"}


def test_names_can_differ() -> None:
    found = Table.of(pd.DataFrame({"CODE_2": ["a"], "crop": ["wheat"]}), ("code", "CODE_2"))
    assert (found.on, found.columns) == ("code", {"crop": {"a": "wheat"}})


def test_equal_tables_are_equal_texts() -> None:
    one, other = (Table.of(rows, "code").content() for rows in (ROWS, list(reversed(ROWS))))
    assert one == other
    assert json.loads(one) == {"on": "code", "columns": EXPECTED}
    assert Table.from_content(one).content() == one


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.int64(7), "7"),
        (1.5, "1.5"),
        ("01", "01"),
        (True, "1"),
        (None, None),
        (float("nan"), None),
    ],
)
def test_keys_are_text(value: Any, text: str | None) -> None:
    assert key_text(value) == text


def test_attributes_are_completed() -> None:
    table = Table.of(ROWS, "code")
    assert table.add_to({"code": 1, "area": 3}) == {"code": 1, "area": 3, "crop": "wheat"}
    assert table.add_to({"code": None}) == {"code": None, "crop": None}


def test_types() -> None:
    rows = {"k": ["a", "b"], "i": [1, 2], "f": [1, 0.5], "t": ["x", 1], "b": [True, False]}
    assert Table.of(rows, "k").types() == {"i": "int64", "f": "float64", "t": "text", "b": "bool"}


def test_rows_without_features_are_counted() -> None:
    table = Table.of({"a": 1, "b": 2, "c": 3}, "code", "n")
    assert table.unmatched(frozenset("abc")) == ""
    assert table.unmatched(frozenset("ad")) == "2 of 3 rows of the table have no feature: 'b', 'c'."
    with pytest.raises(ParameterError, match="its keys are 'a', 'b', 'c', the features' code is 'x'"):
        table.unmatched(frozenset("x"))


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        ([], None, "The table is empty"),
        ([{"cod": 1, "crop": "wheat"}], None, "no column 'code' to join on. Did you mean 'cod'"),
        ([{"code": 1}], None, "no column besides 'code'"),
        ([{"code": 1, "crop": 1}, {"code": 1.0, "crop": 2}], None, "more than one row for code = '1'"),
        (ROWS, ["corp"], "no column 'corp'. Did you mean 'crop'"),
        ({"code": [1, 2], "crop": ["a"]}, None, "not of one length"),
        ({1: "wheat"}, None, "needs the column's name"),
        ("crops.csv", None, "This str is no table"),
        (None, None, "This NoneType is no table"),
        ([1, 2], None, "This list is no table"),
    ],
)
def test_other_things_are_refused(table: Any, columns: Any, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Table.of(table, "code", columns)
    assert words in str(caught.value)


def test_names_nearby() -> None:
    assert near("populaton", ["population", "name"]) == "Did you mean 'population'?"
    assert near("xyz", ["a", "b"]) == "There are: a, b."
    assert near("xyz", []) == "There are none."
