"""Constants: the text gives the same value, exactly; what has none is refused with what to do."""

from __future__ import annotations

import collections
import datetime
import io
import math
import pathlib
import random
import re
import types
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geoloom.capture.constants import written
from geoloom.capture.refusal import Unsendable


def name_of(value: object) -> str | None:
    return "numpy" if value is np else None


def text_of(value: Any) -> str:
    return written("value", value, name_of)


def again(value: Any) -> Any:
    return eval(text_of(value), {"numpy": np})


def identical(one: Any, other: Any) -> bool:
    """Whether two values are of one type and the same to the last bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        return bool(
            one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        )
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or one.hex() == other.hex()
    if isinstance(one, complex):
        return identical(one.real, other.real) and identical(one.imag, other.imag)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, dict):
        return identical(list(one.items()), list(other.items()))
    return bool(one == other)


plain = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
)
keys = st.integers() | st.text() | st.booleans()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner) | st.frozensets(keys)
    ),
    max_leaves=12,
)


@given(values)
def test_plain_values_come_back(value: Any) -> None:
    assert identical(again(value), value)


@given(
    arrays.arrays(
        arrays.boolean_dtypes()
        | arrays.integer_dtypes()
        | arrays.unsigned_integer_dtypes()
        | arrays.floating_dtypes(sizes=(16, 32, 64))
        | arrays.complex_number_dtypes(sizes=(64, 128))
        | arrays.datetime64_dtypes()
        | arrays.unicode_string_dtypes(max_len=5),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12),
    )
)
def test_arrays_come_back(value: npt.NDArray[Any]) -> None:
    found = again(value)
    assert identical(found, value)
    assert found.flags.writeable
    assert found.flags.c_contiguous == value.flags.c_contiguous


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1), np.float64("nan"), np.int16(-5), np.uint8(255), np.bool_(True), np.float16(1 / 3),
        np.complex64(1 + 2j), np.datetime64("2016-07-13"), np.timedelta64(3, "D"), np.str_("ü"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_numbers_of_numpy_come_back(value: Any) -> None:
    assert identical(again(value), value)


def test_arrays_in_other_orders_come_back() -> None:
    columns = np.asfortranarray(np.arange(200, dtype=np.float32).reshape(10, 20))
    assert again(columns).flags.f_contiguous
    assert identical(again(columns), columns)
    assert identical(again(columns[::2, ::-3]), np.ascontiguousarray(columns[::2, ::-3]))
    assert identical(again(np.arange(300, dtype=">i2")), np.arange(300, dtype=">i2"))


def test_small_arrays_can_be_read_in_the_text() -> None:
    assert (
        text_of(np.array([[0.1, 2], [3, -4]], np.float32).astype(np.float64)[1])
        == "numpy.array([3.0, -4.0], 'float64')"
    )
    assert text_of(np.eye(2, dtype=bool)) == "numpy.array([[True, False], [False, True]], 'bool')"


def test_other_plain_things_come_back() -> None:
    for value in (
        range(3, 9, 2),
        slice(None, -1, 2),
        ...,
        {1, "a"},
        set(),
        frozenset(),
        frozenset({1}),
        (1,),
        (),
    ):
        assert identical(again(value), value)
    assert again(np.dtype("uint16")) == np.dtype("uint16")


def test_sets_have_one_order_and_dicts_their_own() -> None:
    letters = [*"abcdefgh"]
    texts = {text_of(set(random.sample(letters, 8))) for _ in range(20)}
    assert texts == {"{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}"}
    assert text_of({"b": 1, "a": 2}) == "{'b': 1, 'a': 2}"


def of_library(module: str, name: str) -> Any:
    """What looks like an object of a library that need not be installed."""
    return type(name, (), {"__module__": module})()


Point = collections.namedtuple("Point", "x y")
ring: list[Any] = []
ring.append(ring)
deep: list[Any] = []
for _ in range(60):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "reason", "hint"),
    [
        (np.zeros((200, 200)), r"shape \(200, 200\) and 312 kB, and only 64 kB", "gl.stack"),
        (np.zeros(9_000_000), r"72\.0 MB", "inside the function"),
        (np.array([None]), "dtype object", "numbers"),
        (np.ma.masked_array([1]), "masked array", "filled"),
        (np.rec.array([(1,)]), "a recarray, a special", "numpy.asarray"),
        (list(range(100_000)), "too large: 688,890 characters", "numpy array"),
        (1 << 10_000, "whole number", ""),
        (ring, "contains itself", ""),
        (deep, "nested more than 50 deep", ""),
        (of_library("pandas.core.frame", "DataFrame"), "pandas DataFrame", "to_numpy"),
        (of_library("pandas", "Series"), "pandas Series", "to_numpy"),
        (of_library("xarray.core.dataarray", "DataArray"), "xarray DataArray", "gl.open"),
        (Point(1, 2), r"a Point \(a kind of tuple\)", r"tuple\(value\)"),
        (collections.defaultdict(int), r"a defaultdict \(a kind of dict\)", r"dict\(value\)"),
        (io.StringIO("a"), "open file", "read it"),
        (pathlib.Path("/data"), "PosixPath", "text or a number"),
        (datetime.datetime(2020, 1, 1), "datetime", "text or a number"),
        (types.SimpleNamespace(a=1), "object of class SimpleNamespace", "argument"),
        (object(), "object of class object", "argument"),
        ((one for one in ()), "generator", "list"),
        (Point, "is a class", "dict"),
        (np.longdouble(1) / 3, "dtype float128", "float64"),
        (np.zeros(3, np.clongdouble), "dtype complex256", "complex128"),
        ([1, {"a": object()}], "a value in value is an object", "argument"),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, str) else "",
)  # fmt: skip
def test_what_is_no_constant_is_refused_with_what_to_do(value: Any, reason: str, hint: str) -> None:
    with pytest.raises(Unsendable, match=reason) as caught:
        text_of(value)
    assert re.search(hint, caught.value.hint or "")


class Hostile:
    """Whoever looks at it closely fails the test."""

    def _refuse(self, *args: Any) -> Any:
        raise AssertionError("the object was asked")

    __repr__ = __str__ = __eq__ = __len__ = __iter__ = __bool__ = __index__ = __getattribute__ = _refuse  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]
    __class__ = property(_refuse)  # type: ignore[assignment]


def test_foreign_objects_are_not_asked_anything() -> None:
    with pytest.raises(Unsendable, match="object of class Hostile"):
        text_of(Hostile())
    with pytest.raises(Unsendable, match="object of class Hostile"):
        text_of({"a": [Hostile()]})
