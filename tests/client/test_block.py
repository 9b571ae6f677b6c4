from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from geoloom.block import Block, eroded, everywhere, valid_in_all

DTYPES = ["bool", "uint8", "int16", "uint16", "int32", "int64", "uint64", "float32", "float64"]


def block(bands: int = 2, rows: int = 3, cols: int = 4) -> Block:
    data = np.arange(bands * rows * cols, dtype=np.float32).reshape(bands, rows, cols)
    return Block(data, np.ones((1, rows, cols), np.bool_))


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_zeroes_what_is_invalid(dtype: str) -> None:
    data, valid = np.ones((2, 2, 2), dtype), np.array([[[True, False], [False, True]]])
    found = Block.of(data, valid)
    assert found.data.dtype == dtype
    assert found.data.tolist() == [[[1, 0], [0, 1]]] * 2
    assert found.valid is valid


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_makes_what_is_not_finite_invalid(dtype: str) -> None:
    data = np.array([[[1, np.nan], [np.inf, -np.inf]]], dtype)
    found = Block.of(data, np.ones((1, 2, 2), np.bool_))
    assert found.data.tolist() == [[[1, 0], [0, 0]]]
    assert found.valid.tolist() == [[[True, False], [False, False]]]


def test_of_splits_valid_by_band_where_bands_differ() -> None:
    data = np.array([[[1.0, np.nan]], [[2.0, 3.0]]])
    found = Block.of(data, np.array([[[True, True]]]))
    assert found.valid.tolist() == [[[True, False]], [[True, True]]]
    assert found.data.tolist() == [[[1, 0]], [[2, 3]]]


def test_of_takes_planes() -> None:
    found = Block.of(np.ones((2, 3)), np.ones((2, 3), np.bool_))
    assert found.data.shape == found.valid.shape == (1, 2, 3)


def test_of_copies_what_it_may_not_write() -> None:
    data, valid = np.ones((1, 1, 2), np.uint8), np.array([[[True, False]]])
    data.flags.writeable = valid.flags.writeable = False
    found = Block.of(data, valid)
    assert found.data.tolist() == [[[1, 0]]]
    assert data.tolist() == [[[1, 1]]]


def test_of_keeps_valid_as_it_was() -> None:
    valid = np.ones((1, 1, 2), np.bool_)
    Block.of(np.array([[[1.0, np.nan]]]), valid)
    assert valid.all()


def test_of_a_number_that_is_valid_here_and_there() -> None:
    found = Block.of(np.full((2, 1, 1), 7), np.array([[[True, False]]]))
    assert found.data.tolist() == [[[7, 0]]] * 2


def test_crop_is_a_view() -> None:
    whole = block()
    part = whole.crop((slice(1, 3), slice(0, 2)))
    assert part.shape == (2, 2)
    assert np.shares_memory(part.data, whole.data)
    assert part.data.tolist() == whole.data[:, 1:3, :2].tolist()


def test_crop_leaves_what_is_the_same_everywhere() -> None:
    number = Block(np.ones((1, 1, 1)), np.ones((1, 1, 1), np.bool_))
    window = (slice(5, 9), slice(7, 9))
    assert number.crop(window).shape == (1, 1)
    mixed = Block(block(1, 20, 20).data, np.ones((1, 1, 1), np.bool_)).crop(window)
    assert (mixed.data.shape, mixed.valid.shape) == ((1, 4, 2), (1, 1, 1))


@given(st.permutations(range(4)), st.integers(1, 4), st.booleans())
def test_pick(order: list[int], count: int, own: bool) -> None:
    whole = block(4)
    if own:
        whole = Block(whole.data, whole.data % 3 > 0)
    picked = whole.pick(tuple(order[:count]))
    assert picked.bands == count
    for i, band in enumerate(order[:count]):
        assert np.array_equal(picked.data[i], whole.data[band])
        assert np.array_equal(picked.valid[i if own else 0], whole.valid[band if own else 0])


def test_pick_of_all_bands_is_the_block() -> None:
    whole = block()
    assert whole.pick((0, 1)) is whole
    assert whole.pick((1, 1)).data.tolist() == [whole.data[1].tolist()] * 2


def test_fill() -> None:
    number = Block(np.full((2, 1, 1), 7, np.uint8), np.ones((1, 1, 1), np.bool_))
    filled = number.fill(3, 4)
    assert filled.data.shape == (2, 3, 4)
    assert filled.valid.shape == (1, 3, 4)
    assert filled.data.flags.writeable
    assert (filled.data == 7).all()
    whole = block()
    assert whole.fill(3, 4) is whole


def test_fill_writes_out_validity_too() -> None:
    filled = Block(block().data, np.ones((1, 1, 1), np.bool_)).fill(3, 4)
    assert filled.valid.shape == (1, 3, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty(dtype: str) -> None:
    nothing = Block.empty(3, 2, 5, dtype)
    assert nothing.data.dtype == dtype
    assert (nothing.bands, nothing.shape) == (3, (2, 5))
    assert not nothing.valid.any()
    assert not nothing.data.any()


def test_blocks_do_not_change() -> None:
    with pytest.raises(AttributeError):
        block().data = np.zeros((1, 1, 1))  # type: ignore[misc]


@given(
    npst.arrays(np.bool_, st.tuples(st.integers(1, 2), st.integers(7, 12), st.integers(7, 12))),
    st.integers(1, 3),
)
def test_erosion_is_what_it_says(valid: np.ndarray, margin: int) -> None:
    size = 2 * margin + 1
    windows = np.lib.stride_tricks.sliding_window_view(valid, (size, size), axis=(1, 2))
    assert np.array_equal(eroded(valid, margin), windows.all(axis=(3, 4)))


def test_valid_in_all_of_them() -> None:
    a, b = block(1, 1, 3), block(2, 1, 3)
    b.valid[0, 0, 1] = False
    assert valid_in_all((a, b)).tolist() == [[[True, False, True]]]
    assert valid_in_all((a,)) is a.valid


def test_everywhere() -> None:
    valid = np.ones((2, 3, 4), np.bool_)
    assert everywhere(valid)
    assert everywhere(np.broadcast_to(np.array(True), (2, 3, 4)))
    assert not everywhere(np.broadcast_to(np.array([True, False])[:, np.newaxis, np.newaxis], (2, 3, 4)))
    assert not everywhere(np.broadcast_to(np.array([True, False, True, True]), (2, 3, 4)))
    valid[1, 2, 3] = False
    assert not everywhere(valid)
    assert everywhere(valid[:, :0])


def test_one_truth_for_all_pixels_is_neither_copied_nor_combined() -> None:
    truth = np.broadcast_to(np.True_, (1, 6, 7))
    number = Block(np.full((1, 1, 1), 3), np.ones((1, 1, 1), np.bool_))
    image = Block(np.ones((1, 6, 7)), truth)
    gaps = Block(np.ones((1, 6, 7)), np.arange(42).reshape(1, 6, 7) % 5 > 0)
    assert valid_in_all((number, image)) is truth
    assert valid_in_all((image, gaps, number)) is gaps.valid
    assert not valid_in_all((image, Block(image.data, np.broadcast_to(np.False_, (1, 6, 7))))).any()
    assert Block(image.data, np.ones((1, 1, 1), np.bool_)).fill(6, 7).valid.strides == (0, 0, 0)
    assert eroded(truth, 1, 2).strides == (0, 0, 0)
    assert eroded(truth, 1, 2).shape == (1, 4, 3)
    assert Block.of(image.data, truth).valid is truth
