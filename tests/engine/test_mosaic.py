"""Reducers against numpy, block by block, with any validity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geoloom.block import Block
from geoloom.ops.composite import Composite
from geoloom.ops.quality import Quality
from geoloom_engine.mosaic import reducer

KEY = "0" * 32
SHAPE = (2, 3, 4)


def blocks_of(values: np.ndarray, valid: np.ndarray) -> list[Block]:
    return [Block.of(one.copy(), good) for one, good in zip(values, valid, strict=True)]


def reduce(how: str, blocks: list[Block], dtype: str) -> Block:
    made = reducer(Composite(selection=KEY, how=how), SHAPE[0], SHAPE[1:], dtype, len(blocks))
    for block in blocks:
        made.add(block)
    return made.result()


def stacks(dtype: str) -> st.SearchStrategy:
    number = st.integers(1, 6)
    elements = st.integers(0, 200) if np.dtype(dtype).kind in "iu" else st.floats(-1e3, 1e3, width=32)
    return number.flatmap(
        lambda n: st.tuples(
            arrays.arrays(dtype, (n, *SHAPE), elements=elements),
            st.one_of(
                arrays.arrays(np.bool_, (n, *SHAPE)),
                arrays.arrays(np.bool_, (n, 1, *SHAPE[1:])),
            ),
        )
    )


@pytest.mark.parametrize("how", ["min", "max", "mean", "median", "std", "count"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@given(data=st.data())
def test_statistics_are_those_of_masked_arrays(how: str, dtype: str, data: st.DataObject) -> None:
    values, valid = data.draw(stacks(dtype))
    result_dtype = {"count": "int32", "min": dtype, "max": dtype}.get(
        how, "float64" if dtype == "float64" else "float32"
    )
    block = reduce(how, blocks_of(values, valid), result_dtype)
    good = np.broadcast_to(valid, values.shape)
    stack = np.ma.masked_array(values.astype(np.float64), ~good)
    expected = {
        "min": lambda: stack.min(axis=0),
        "max": lambda: stack.max(axis=0),
        "mean": lambda: stack.mean(axis=0),
        "median": lambda: np.ma.median(stack, axis=0),
        "std": lambda: stack.std(axis=0),
        "count": lambda: np.ma.masked_equal(good.sum(axis=0), 0),
    }[how]()
    assert block.data.dtype == result_dtype
    there = good.any(axis=0)
    np.testing.assert_array_equal(np.broadcast_to(block.valid, SHAPE), there)
    assert not block.data[~there].any()
    np.testing.assert_allclose(
        block.data[there], np.ma.filled(expected, 0)[there], rtol=1e-5, atol=1e-3 if how == "std" else 1e-4
    )


@pytest.mark.parametrize("how", ["first", "last"])
@given(data=st.data())
def test_the_first_valid_value_of_each_pixel(how: str, data: st.DataObject) -> None:
    values, valid = data.draw(stacks("uint16"))
    block = reduce(how, blocks_of(values, valid), "uint16")
    good = np.broadcast_to(valid, values.shape)
    first = good.argmax(axis=0)
    expected = np.where(good.any(axis=0), np.take_along_axis(values, first[np.newaxis], axis=0)[0], 0)
    # `last` is fed from the end by whoever gathers.
    np.testing.assert_array_equal(block.data, expected)


def test_full_once_each_pixel_is_filled() -> None:
    made = reducer(Composite(selection=KEY), 1, (1, 2), "uint8", 3)
    made.add(Block(np.array([[[1, 0]]], np.uint8), np.array([[[True, False]]])))
    assert not made.full
    made.add(Block(np.array([[[7, 8]]], np.uint8), np.array([[[True, True]]])))
    assert made.full
    assert made.result().data.tolist() == [[[1, 8]]]


def test_blocks_that_are_the_same_everywhere_count_in_each_pixel() -> None:
    one = Block(np.full((1, 1, 1), 4, np.uint8), np.ones((1, 1, 1), np.bool_))
    for how, expected in (("median", 4), ("mean", 4), ("max", 4), ("count", 2), ("first", 4), ("std", 0)):
        made = reducer(Composite(selection=KEY, how=how), 1, (2, 3), "float32", 2)
        made.add(one)
        made.add(one)
        block = made.result()
        assert block.data.shape == (1, 2, 3)
        assert (block.data == expected).all(), how


def test_masks_can_be_reduced() -> None:
    values = np.array([[[[True, False]]], [[[False, False]]], [[[True, False]]]])
    for how, expected in (("max", [1, 0]), ("median", [1, 0]), ("first", [1, 0]), ("count", [3, 3])):
        dtype = {"max": "bool", "first": "bool", "count": "int32"}.get(how, "float32")
        made = reducer(Composite(selection=KEY, how=how), 1, (1, 2), dtype, 3)
        for one in values:
            made.add(Block(one, np.ones((1, 1, 2), np.bool_)))
        assert made.result().data[0, 0].astype(int).tolist() == expected


def test_nothing_added_is_nothing_valid() -> None:
    for how in ("first", "min", "mean", "median", "count", "std"):
        block = reducer(Composite(selection=KEY, how=how), 2, (3, 4), "float32", 0).result()
        assert block.data.shape == (2, 3, 4)
        assert not block.valid.any()


@given(data=st.data())
def test_the_best_is_the_first_of_the_highest_scores(data: st.DataObject) -> None:
    values, valid = data.draw(stacks("uint8"))
    made = reducer(Quality(selection=KEY), 1, SHAPE[1:], "uint8", len(values))
    good = np.broadcast_to(valid, values.shape)
    for block in blocks_of(values, valid):
        made.add(block)
    both = good.all(axis=1)
    score = np.where(both, values[:, 1].astype(int), -1)
    best = score.argmax(axis=0)
    expected = np.take_along_axis(values[:, 0], best[np.newaxis], axis=0)[0]
    block = made.result()
    there = both.any(axis=0)
    np.testing.assert_array_equal(block.valid[0], there)
    np.testing.assert_array_equal(block.data[0][there], expected[there])
