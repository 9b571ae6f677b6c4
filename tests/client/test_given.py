from __future__ import annotations

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.given import DTYPES, Given, Result, asked_for, widened, without_margin
from geoloom.grid import Tile

GRID = Tile(12, 2200, 1400).grid()


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_small_integers_become_int32_and_nothing_else_changes(dtype: str) -> None:
    wide = widened(dtype)
    assert wide == (np.int32 if dtype in ("int8", "uint8", "int16", "uint16") else np.dtype(dtype))


def test_a_window_is_a_copy_that_may_be_changed() -> None:
    block = Block.of(np.full((2, 1, 1), 7, np.uint8), np.ones((1, 1, 1), np.bool_))
    given = Given.of(block, ("a", "b"), GRID, margin=3)
    assert given.data.shape == (2, 262, 262)
    assert given.valid.shape == (1, 262, 262)
    given.data[:] = 300
    assert (given.data == 300).all()
    assert (block.data == 7).all()


def test_what_a_function_asks_for_fits_its_window() -> None:
    valid = np.ones((1, 260, 260), np.bool_)
    valid[0, 0, 0] = False
    given = Given(np.zeros((3, 260, 260), np.int32), valid, ("a", "b", "c"), GRID, 2)
    mask = asked_for("valid", given)
    assert mask.shape == given.data.shape
    assert not mask[:, 0, 0].any()
    mask[:] = False
    assert valid[0, 1, 1]
    assert asked_for("bands", given) == ["a", "b", "c"]
    place = asked_for("grid", given)
    assert place.crs == "EPSG:3857"
    assert place.margin == 2
    assert place.bounds == GRID.expand(2).bounds()
    assert place.pixel_width.shape == place.pixel_height.shape == (260, 1)
    assert np.array_equal(place.pixel_width, GRID.expand(2).ground_resolution()[0])


def test_the_margin_is_cut_off() -> None:
    given = Given(np.zeros((1, 260, 260), np.int32), np.ones((1, 260, 260), np.bool_), ("a",), GRID, 2)
    array = np.arange(260 * 260).reshape(1, 260, 260)
    assert np.array_equal(without_margin(array, given), array[:, 2:-2, 2:-2])
    flat = Given(given.data, given.valid, ("a",), GRID.expand(2), 0)
    assert without_margin(array, flat) is array


def test_a_result_as_a_block_keeps_the_promises() -> None:
    data = np.array([[[1.0, np.nan, 3.0]]], np.float32)
    data.setflags(write=False)
    block = Result(data, np.array([[[True, True, False]]])).block()
    assert block.data.tolist() == [[[1.0, 0.0, 0.0]]]
    assert block.valid.tolist() == [[[True, False, False]]]
    assert np.isnan(data[0, 0, 1])


def test_a_window_travels_as_bytes() -> None:
    random = np.random.default_rng(1)
    valid = random.random((1, 260, 260)) > 0.2
    given = Given(random.random((2, 260, 260)), valid, ("ä", "b"), GRID, 2)
    read = Given.unpack(given.pack())
    assert np.array_equal(read.data, given.data)
    assert np.array_equal(read.valid, given.valid)
    assert (read.names, read.grid, read.margin) == (given.names, given.grid, given.margin)
    read.data[:] = 0
