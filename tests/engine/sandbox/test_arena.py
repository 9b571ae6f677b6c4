"""Shared memory: who sees what, and that things fit and do not overlap."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom_engine.sandbox import arena
from geoloom_engine.sandbox.arena import SMALLEST, Layout
from geoloom_engine.sandbox.messages import TEXT_ROOM

SIZE = 1 << 16


@pytest.mark.parametrize("nameless", [True, False])
def test_what_one_writes_the_other_reads(nameless: bool) -> None:
    descriptor = arena.reserve(SIZE, nameless)
    one, other = arena.shared(descriptor, SIZE), arena.readable(descriptor, SIZE)
    os.close(descriptor)
    arena.view(one, 4096, (2, 3), "<i4")[:] = [[1, 2, 3], [4, 5, 6]]
    np.testing.assert_array_equal(arena.view(other, 4096, (2, 3), "<i4"), [[1, 2, 3], [4, 5, 6]])
    assert not arena.view(other, 0, (8,), "u1").flags.writeable


def test_what_is_written_to_a_private_map_stays_there_until_it_is_renewed() -> None:
    descriptor = arena.reserve(SIZE)
    one, private = arena.shared(descriptor, SIZE), arena.private(descriptor, SIZE)
    os.close(descriptor)
    theirs, mine = arena.view(one, 0, (SIZE,), "u1"), arena.view(private, 0, (SIZE,), "u1")
    theirs[:] = 1
    mine[:100] = 9
    theirs[:] = 2
    assert theirs.min() == theirs.max() == 2
    assert mine[0] == 9
    assert mine[-1] == 2
    arena.renew(private)
    assert mine.min() == mine.max() == 2


def test_memory_cannot_change_its_size() -> None:
    descriptor = arena.reserve(SIZE)
    for size in (0, SIZE - 1, SIZE + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    os.close(descriptor)


def test_sizes_are_few() -> None:
    assert arena.fitting(1) == SMALLEST
    assert arena.fitting(SMALLEST) == SMALLEST
    assert arena.fitting(SMALLEST + 1) == 2 * SMALLEST


counts = st.integers(1, 40)


@given(
    st.integers(0, 100_000),
    st.integers(0, 10_000),
    st.tuples(counts, counts, counts),
    st.sampled_from(["?", "i4", "u4", "i8", "f4", "f8"]),
    st.tuples(counts, counts, counts),
    st.sampled_from(["?", "i1", "u2", "f4", "f8"]),
)
def test_nothing_overlaps(
    program: int,
    words: int,
    given_shape: tuple[int, int, int],
    dtype: str,
    result: tuple[int, int, int],
    result_dtype: str,
) -> None:
    kinds = np.dtype(dtype), np.dtype(result_dtype)
    layout = Layout.of(program, words, given_shape, kinds[0], result, kinds[1])
    inside = [
        (0, program),
        (layout.words_at, words),
        (layout.data_at, int(np.prod(given_shape)) * kinds[0].itemsize),
        (layout.valid_at, int(np.prod(given_shape))),
        (layout.inside, 0),
    ]
    outside = [
        (0, TEXT_ROOM),
        (layout.result_at, int(np.prod(result)) * kinds[1].itemsize),
        (layout.result_valid_at, int(np.prod(result))),
        (layout.outside, 0),
    ]
    for places in (inside, outside):
        for (at, size), (following, _) in pairwise(places):
            assert at + size <= following
    assert layout.data_at % 64 == layout.result_at % 64 == 0
