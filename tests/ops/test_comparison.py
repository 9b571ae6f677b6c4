"""Comparisons are exact and bool."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

COMPARE = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")

each = pytest.mark.parametrize("name", COMPARE)


@given(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.sampled_from(sorted(COMPARE)), st.data())
@settings(max_examples=200, deadline=None)
def test_integers_of_any_two_dtypes_compare_by_value(run, one, other, name, data) -> None:
    ends = [sorted({np.iinfo(d).min, np.iinfo(d).max, np.iinfo(d).max - 1, 0, 1}) for d in (one, other)]
    a, b = (data.draw(st.sampled_from(values)) for values in ends)
    found = run(name, np.array([[a]], one), np.array([[b]], other))
    assert bool(found[0, 0, 0]) is COMPARE[name](int(a), int(b))


@each
def test_integers_compare_with_fractions(run, name) -> None:
    image = np.array([[0, 1, 2, 255]], "uint8")
    found = run(name, image, 1.5)[0, 0]
    assert found.tolist() == [COMPARE[name](int(x), 1.5) for x in image[0]]


@each
def test_int32_beside_float32_is_exact(run, name) -> None:
    image, other = np.array([[16_777_217]], "int32"), np.array([[16_777_216]], "float32")
    assert bool(run(name, image, other)[0, 0, 0]) is COMPARE[name](16_777_217, 16_777_216)


def test_a_number_beside_float32_is_the_nearest_float32(run) -> None:
    image = np.full((2, 2), 0.1, "float32")
    assert run("equal", image, 0.1).all()
    assert not run("less", image, 0.1).any()
    assert run("equal", image.astype("float64"), float(np.float32(0.1))).all()
    assert not run("equal", image.astype("float64"), 0.1).any()


def test_one_pixel_of_float64_beside_float32_is_no_number(run) -> None:
    assert not run("equal", np.full((1, 1), 0.1, "float32"), np.full((1, 1), 0.1)).any()


@each
def test_numbers_beyond_the_dtype(run, name) -> None:
    image = np.array([[0, 200]], "uint8")
    assert run(name, image, -1)[0, 0].tolist() == [COMPARE[name](int(x), -1) for x in image[0]]
    assert run(name, image, 300)[0, 0].tolist() == [COMPARE[name](int(x), 300) for x in image[0]]


def test_result_and_sampling(profile) -> None:
    from geoloom.op import registry

    assert profile("less", "uint8", 3).dtype == "bool"
    assert profile("less", "uint8", 3).range == (0, 1)
    assert registry()["equal"]().sampling(None) == "nearest"
    assert registry()["less"]().sampling("cubic") == "cubic"


def test_invalid_stays_invalid(run) -> None:
    image = np.ma.array([[1, 2]], mask=[[True, False]], dtype="uint8")
    assert run("greater", image, 0).mask.tolist() == [[[True, False]]]
