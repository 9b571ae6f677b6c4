from __future__ import annotations

import datetime
import decimal
import itertools
import math
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.chain import canonical
from geoloom.errors import ParameterError
from geoloom.param import REQUIRED, BandName, BlobKey, Number, Parameter, frozen, param, plain

KEY = "0123456789abcdef" * 2


def declared(hint: Any, **how: Any) -> Parameter:
    return replace(param(doc="A value.", **how), name="p", hint=hint)


def normal(hint: Any, value: Any, **how: Any) -> Any:
    return declared(hint, **how).normalise(value, "op")


def same(found: Any, expected: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if isinstance(expected, tuple):
        return type(found) is tuple and len(found) == len(expected) and all(map(same, found, expected))
    return type(found) is type(expected) and found == expected


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (bool, True, True),
        (bool, np.bool_(False), False),
        (int, 3, 3),
        (int, 3.0, 3),
        (int, -0.0, 0),
        (int, np.int16(-3), -3),
        (int, np.uint64(2**64 - 1), 2**64 - 1),
        (int, np.float32(7), 7),
        (int, np.array(5), 5),
        (int, -(2**63), -(2**63)),
        (float, 1, 1.0),
        (float, -0.0, 0.0),
        (float, np.float64(0.1), 0.1),
        (float, np.float32(0.1), 0.10000000149011612),
        (float, np.int8(3), 3.0),
        (float, np.array(2.5), 2.5),
        (float, 5e-324, 5e-324),
        (float, 2**53 + 1, 9007199254740992.0),
        (Number, 1, 1),
        (Number, 1.0, 1.0),
        (Number, np.int8(1), 1),
        (Number, np.float16(0.5), 0.5),
        (Number, -0.0, 0.0),
        (Number | None, None, None),
        (Number | None, 2, 2),
        (Number | None, 2.0, 2.0),
        (float | None, None, None),
        (float | None, 2, 2.0),
        (str, "Zürich", "Zürich"),
        (str, np.str_("B04"), "B04"),
        (str, PurePosixPath("/data/a.tif"), "/data/a.tif"),
        (str, datetime.date(2016, 7, 13), "2016-07-13"),
        (str, datetime.datetime(2016, 7, 13, 9, 30, tzinfo=datetime.UTC), "2016-07-13T09:30:00+00:00"),
        (str, np.datetime64("2016-07-13"), "2016-07-13"),
        (str, "\x00\u2028", "\x00\u2028"),
        (BandName, "B04", "B04"),
        (BandName, np.str_("B04"), "B04"),
        (BlobKey, KEY, KEY),
        (Literal["pixel", "m"], "m", "m"),
        (Literal["pixel", "m"], np.str_("m"), "m"),
        (Literal[1, 2], np.int64(2), 2),
        (Literal["a"] | None, None, None),
        (tuple[int, ...], [1, 2.0, np.int8(3)], (1, 2, 3)),
        (tuple[int, ...], np.arange(3), (0, 1, 2)),
        (tuple[int, ...], range(2), (0, 1)),
        (tuple[int, ...], (i for i in (1, 2)), (1, 2)),
        (tuple[int, ...], (), ()),
        (tuple[float, float], [1, 2], (1.0, 2.0)),
        (tuple[tuple[float, str], ...], [[1, "a"], (2, "b")], ((1.0, "a"), (2.0, "b"))),
        (tuple[tuple[float, ...], ...], np.eye(2, dtype=np.int32), ((1.0, 0.0), (0.0, 1.0))),
        (tuple[Number | None, ...], [1, None, 2.5], (1, None, 2.5)),
    ],
)
def test_what_people_pass_becomes_canonical(hint: Any, value: Any, expected: Any) -> None:
    found = normal(hint, value)
    assert same(found, expected)
    assert same(normal(hint, found), expected)
    canonical(plain(found))


def test_minus_zero_has_the_key_of_zero() -> None:
    for hint in (float, Number, int):
        assert math.copysign(1, normal(hint, -0.0)) == 1
    assert str(normal(tuple[float, ...], [-0.0])) == "(0.0,)"


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (bool, 1, "must be True or False, got int 1"),
        (bool, None, "must be True or False"),
        (int, True, "must be a whole number, got bool True"),
        (int, 1.5, "must be a whole number, got float 1.5"),
        (int, np.bool_(True), "must be a whole number"),
        (int, "1", "must be a whole number, got str '1'"),
        (int, math.nan, "must be a whole number"),
        (int, math.inf, "must be a whole number"),
        (int, 2**64, "does not fit into 64 bits"),
        (int, -(2**63) - 1, "does not fit into 64 bits"),
        (int, 1e300, "does not fit into 64 bits"),
        (int, np.array([1]), "must be a whole number"),
        (float, True, "must be a number, got bool True"),
        (float, math.nan, "must be a finite number"),
        (float, -math.inf, "must be a finite number"),
        (float, np.float32("nan"), "must be a finite number"),
        (float, 10**400, "must be a finite number"),
        (float, 1j, "must be a number, got complex"),
        (float, None, "must be a number, got NoneType"),
        (float, decimal.Decimal("0.1"), "must be a number, got Decimal"),
        (Number, True, "must be a number, got bool True"),
        (Number, math.nan, "must be a finite number"),
        (Number, "1", "must be a number"),
        (Number | None, "1", "must be a number"),
        (str, 1, "must be text, got int 1"),
        (str, b"x", "must be text, got bytes"),
        (str, None, "must be text"),
        (str, "\ud800", "not valid Unicode"),
        (BandName, 1, "must be a band's name, got int 1"),
        (BandName, "\ud800", "not valid Unicode"),
        (BlobKey, "xyz", "must be the key of a blob"),
        (BlobKey, KEY.upper(), "must be the key of a blob"),
        (Literal["pixel", "m"], "km", "must be one of 'pixel', 'm'; got str 'km'"),
        (Literal["pixel", "m"], np.array(["m", "m"]), "must be one of"),
        (Literal["pixel", "m"], ["m"], "must be one of"),
        (Literal[1, 2], True, "must be one of 1, 2; got bool True"),
        (Literal[1, 2], 1.0, "must be one of"),
        (tuple[int, ...], 1, "must be a list, got int 1"),
        (tuple[int, ...], "12", "must be a list, got str"),
        (tuple[int, ...], {1: 2}, "must be a list, got dict"),
        (tuple[int, ...], {1, 2}, "must be a list, got set"),
        (tuple[str, ...], frozenset("ab"), "must be a list, got frozenset"),
        (tuple[int, ...], np.array(1), "must be a list, got int 1"),
        (tuple[float, float], [1], "needs 2 values, got 1"),
        (tuple[float, float], [1, 2, 3], "needs 2 values, got 3"),
    ],
)
def test_what_cannot_be_canonical_is_refused(hint: Any, value: Any, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        normal(hint, value)
    assert str(caught.value).startswith("op(p=…)")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("hint", "value", "path"),
    [
        (tuple[int, ...], [1, 2, "x"], "op(p=…)[2] must be a whole number"),
        (tuple[tuple[float, str], ...], [(1, "a"), (2, 3)], "op(p=…)[1][1] must be text, got int 3"),
        (tuple[tuple[float, str], ...], [(1, "a"), (2,)], "op(p=…)[1] needs 2 values, got 1"),
        (tuple[tuple[float, ...], ...], [[1], [2, math.nan]], "op(p=…)[1][1] must be a finite number"),
        (tuple[float, ...], [1, 99], "op(p=…)[1] must be at most 10, got 99.0"),
        (tuple[tuple[float, ...], ...], [[1], [2, 99]], "op(p=…)[1][1] must be at most 10, got 99.0"),
    ],
)
def test_messages_have_the_path(hint: Any, value: Any, path: str) -> None:
    with pytest.raises(ParameterError) as caught:
        normal(hint, value, le=10)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("how", "good", "bad", "words"),
    [
        ({"gt": 0}, 0.1, 0, "must be greater than 0, got 0.0"),
        ({"ge": 0}, 0, -0.1, "must be at least 0, got -0.1"),
        ({"lt": 1}, 0.9, 1, "must be less than 1, got 1.0"),
        ({"le": 1}, 1, 1.1, "must be at most 1, got 1.1"),
        ({"ge": 0, "le": 360}, 360, 361, "must be at most 360"),
    ],
)
def test_bounds(how: dict[str, float], good: float, bad: float, words: str) -> None:
    assert normal(float, good, **how) == good
    assert normal(float | None, None, **how) is None
    with pytest.raises(ParameterError, match=words):
        normal(float, bad, **how)


def test_the_least_number_of_values() -> None:
    with pytest.raises(ParameterError, match="needs at least 2 values, got 1"):
        normal(tuple[int, ...], [1], min_length=2)


def test_numbers_too_long_to_print() -> None:
    for hint, words in (
        (int, "a value of type int does not fit"),
        (float, "finite number"),
        (Number, "64 bits"),
    ):
        with pytest.raises(ParameterError, match=words):
            normal(hint, 10**5000)


def test_endless_lists_end() -> None:
    with pytest.raises(ParameterError):
        normal(tuple[bool, ...], itertools.count())


def test_a_foreign_repr_that_fails_is_no_crash() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(ParameterError, match="a value of type Odd"):
        normal(int, Odd())


def test_coerce_comes_first() -> None:
    pairs = declared(
        tuple[tuple[int, int], ...],
        coerce=lambda value: list(value.items()) if isinstance(value, dict) else value,
    )
    assert pairs.normalise({1: 10}, "remap") == ((1, 10),)
    assert pairs.normalise([[1, 10]], "remap") == ((1, 10),)


def test_required_or_not() -> None:
    assert declared(int).required
    assert declared(int).default is REQUIRED
    assert repr(REQUIRED) == "required"
    assert not declared(int | None, default=None).required


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (float, "float"),
        (Number, "int | float"),
        (Number | None, "int | float | None"),
        (BandName, "str"),
        (Literal["pixel", "m"], "Literal['pixel', 'm']"),
        (tuple[float, ...], "tuple[float, ...]"),
        (tuple[tuple[Number, str], ...], "tuple[tuple[int | float, str], ...]"),
    ],
)
def test_types_in_words(hint: Any, words: str) -> None:
    assert declared(hint).describe_type() == words


def test_a_type_that_no_parameter_can_have() -> None:
    with pytest.raises(TypeError, match="which no parameter can have"):
        normal(dict, {})


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(numbers, max_size=3), max_size=3))
def test_normalising_twice_changes_nothing(value: list[list[float]]) -> None:
    once = normal(tuple[tuple[Number, ...], ...], value)
    assert same(normal(tuple[tuple[Number, ...], ...], once), once)
    assert same(frozen(plain(once)), once)


@given(
    st.one_of(st.none(), st.booleans(), st.text(), st.binary(), numbers, st.floats(), st.lists(st.integers()))
)
def test_anything_is_normalised_or_refused(value: Any) -> None:
    for hint in (
        bool,
        int,
        float,
        Number,
        str,
        BandName,
        BlobKey,
        Literal["m"],
        tuple[int, ...],
        Path | None,
    ):
        try:
            canonical(plain(normal(hint, value)))
        except ParameterError:
            continue
        except TypeError:
            assert hint == Path | None
