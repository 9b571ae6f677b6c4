"""Sums, products, quotients, powers: against Python's own exact integers and numpy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES = ("bool", *INTEGERS, "float32", "float64")
EXACT = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "floor_divide": lambda a, b: a // b,
    "modulo": lambda a, b: a % b,
}


@pytest.mark.parametrize(
    ("name", "one", "other", "expected"),
    [
        ("add", "uint8", "uint8", "int32"),
        ("add", "int16", "uint16", "int32"),
        ("add", "bool", "bool", "int32"),
        ("add", "int32", "int32", "int64"),
        ("add", "uint32", "uint8", "int64"),
        ("add", "int64", "int64", "int64"),
        ("add", "uint64", "uint8", "float64"),
        ("add", "uint8", 1, "int32"),
        ("add", "int32", 1, "int64"),
        ("add", "uint8", 2**40, "int64"),
        ("add", "uint8", 0.5, "float32"),
        ("add", "float32", 0.5, "float32"),
        ("add", "float64", 0.5, "float64"),
        ("add", "int64", "float32", "float32"),
        ("add", "float32", "float64", "float64"),
        ("add", 1, 2, "int32"),
        ("add", 0.5, 2, "float64"),
        ("subtract", "uint8", "uint16", "int32"),
        ("subtract", "uint32", "uint32", "int64"),
        ("multiply", "uint8", "uint8", "int32"),
        ("multiply", "int16", "int16", "int32"),
        ("multiply", "uint16", "uint16", "int64"),
        ("multiply", "uint16", 10_000, "int32"),
        ("multiply", "uint16", 100_000, "int64"),
        ("multiply", "int32", "int32", "int64"),
        ("multiply", "int64", "int64", "float64"),
        ("multiply", "int64", 2, "float64"),
        ("divide", "uint8", "uint8", "float32"),
        ("divide", "uint8", 0.1, "float32"),
        ("divide", "float64", "uint8", "float64"),
        ("floor_divide", "uint8", "uint8", "int32"),
        ("floor_divide", "uint8", 2, "int32"),
        ("floor_divide", "int32", "uint8", "int64"),
        ("floor_divide", "float32", 2, "float32"),
        ("modulo", "uint16", 10, "int32"),
        ("modulo", "int64", "int64", "int64"),
        ("power", "uint8", 2, "int32"),
        ("power", "uint16", 2, "int64"),
        ("power", "uint8", 8, "float64"),
        ("power", "int8", 10**9, "float64"),
        ("power", "bool", 10**9, "int32"),
        ("power", "uint8", -1, "float32"),
        ("power", "uint8", 0.5, "float32"),
        ("power", "uint8", "uint8", "float32"),
        ("power", "float64", 2, "float64"),
    ],
)
def test_dtypes(profile, name, one, other, expected) -> None:
    assert profile(name, one, other).dtype == expected


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("bool", "int32"), ("uint8", "int32"), ("int32", "int64"), ("uint32", "int64"), ("int64", "int64")]
    + [("uint64", "float64"), ("float32", "float32")],
)
def test_dtype_of_the_negative(profile, dtype, expected) -> None:
    assert profile("negative", dtype).dtype == expected


@st.composite
def operands(draw):
    """An array of any integer dtype at its extremes and near 0, and another one or a number."""

    def values(dtype):
        info = np.iinfo(dtype) if dtype != "bool" else None
        low, high = (0, 1) if info is None else (int(info.min), int(info.max))
        near = [x for x in (low, low + 1, -1, 0, 1, 2, high - 1, high) if low <= x <= high]
        pixels = st.one_of(st.sampled_from(near), st.integers(low, high))
        return np.array(draw(st.lists(pixels, min_size=6, max_size=6)), dtype)[np.newaxis]

    one = values(draw(st.sampled_from(("bool", *INTEGERS))))
    if draw(st.booleans()):
        return one, values(draw(st.sampled_from(("bool", *INTEGERS))))
    return one, draw(st.one_of(st.integers(-300, 300), st.integers(-(2**63), 2**63 - 1)))


@given(operands(), st.sampled_from(sorted(EXACT)), st.booleans())
@settings(max_examples=400, deadline=None)
def test_whole_numbers_never_wrap(run, pair, name, swapped) -> None:
    one, other = pair[::-1] if swapped else pair
    result = run(name, one, other)[0, 0]
    for i, found in enumerate(result):
        a, b = (int(x if isinstance(x, int) else x[0, i]) for x in (one, other))
        try:
            exact = EXACT[name](a, b)
        except ZeroDivisionError:
            assert found is np.ma.masked
            continue
        if result.dtype.kind == "f":
            if name in ("floor_divide", "modulo"):
                continue  # uint64 beside negative numbers: no integer holds both
            assert abs(Fraction(float(found)) - exact) <= abs(exact) * Fraction(1, 2**51)
        elif -(2**63) <= exact < 2**63:
            assert int(found) == exact
        else:
            assert found is np.ma.masked


@given(
    st.sampled_from(DTYPES),
    st.one_of(st.sampled_from(DTYPES), st.integers(-(2**40), 2**40), st.floats(-1e6, 1e6)),
    st.sampled_from((*EXACT, "divide", "power", "minimum", "maximum", "arctan2", "hypot", "less", "equal")),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_kernels_give_the_dtype_of_the_profile(run, one, other, name, swapped) -> None:
    first = np.ones((1, 1), one)  # one pixel: not to be taken for a number
    second = np.ones((1, 1), other) if isinstance(other, str) else other
    run(name, *((second, first) if swapped else (first, second)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "floor_divide", "modulo", "power"])
def test_floats_as_numpy(run, name, dtype) -> None:
    rng = np.random.default_rng(1)
    a, b = ((rng.random((5, 7)) * 20 - 10).astype(dtype) for _ in range(2))
    numpy_name = "remainder" if name == "modulo" else name
    with np.errstate(all="ignore"):
        expected = np.ma.masked_invalid(getattr(np, numpy_name)(a, b))
    found = run(name, a, b)[0]
    assert np.array_equal(found.mask, np.ma.getmaskarray(expected))
    assert np.array_equal(found.filled(0), expected.filled(0))


def test_a_float64_image_keeps_the_digits_of_a_number(run) -> None:
    image = np.full((2, 2), 1.0)
    assert (run("multiply", image, 0.1) == 0.1).all()


def test_division_by_zero_is_invalid(run) -> None:
    top = np.array([[0, 1, -1, 6]], "int16")
    bottom = np.array([[0, 0, 0, 4]], "int16")
    for name, expected in (("divide", 1.5), ("floor_divide", 1), ("modulo", 2)):
        found = run(name, top, bottom)[0, 0]
        assert found.mask.tolist() == [True, True, True, False]
        assert found[3] == expected
        assert run(name, top, 0).mask.all()


def test_powers(run) -> None:
    image = np.array([[-3, 0, 2, 200]], "int16")
    assert run("power", image, 2)[0, 0].tolist() == [9, 0, 4, 40000]
    assert run("power", image, 3)[0, 0].tolist() == [-27, 0, 8, 8_000_000]
    assert run("power", image, 0.5).mask.tolist() == [[[True, False, False, False]]]
    assert run("power", image, -1).mask.tolist() == [[[False, True, False, False]]]
    assert run("power", image, 0)[0, 0].tolist() == [1, 1, 1, 1]


def test_pixels_are_valid_where_both_are(run) -> None:
    one = np.ma.array(np.arange(4, dtype="uint8")[np.newaxis], mask=[[1, 0, 0, 0]])
    other = np.ma.array(np.ones((2, 1, 4), "uint8"), mask=[[[0, 1, 0, 0]], [[0, 0, 1, 0]]])
    found = run("add", one, other)
    assert found.shape == (2, 1, 4)
    assert found.mask.tolist() == [[[1, 1, 0, 0]], [[1, 0, 1, 0]]]


def test_bands_that_do_not_fit_are_named(profile, three) -> None:
    from geoloom.errors import BandError
    from geoloom.profile import Profile

    with pytest.raises(BandError, match="3 and 2 bands"):
        profile("add", three, Profile(("a", "b"), "uint8"))


def test_units(profile) -> None:
    from geoloom.profile import Profile

    metres = Profile(("dem",), "float32", unit="m")
    assert profile("add", metres, 5).unit == "m"
    assert profile("subtract", metres, metres).unit == "m"
    assert profile("subtract", metres, "float32").unit is None
    assert profile("multiply", metres, metres).unit is None
    assert profile("negative", metres).unit == "m"
