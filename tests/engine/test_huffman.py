"""Every stream is unpacked by zlib."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom_engine.huffman import deflated


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(0, 2**32),
    st.sampled_from(["noise", "peak", "steep", "one", "late"]),
)
def test_zlib_unpacks_it(rows: int, cols: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        lines = rng.integers(0, 256, (rows, cols))
    elif kind == "peak":
        lines = rng.normal(0, 3, (rows, cols)).astype(int) % 256
    elif kind == "steep":  # one symbol twice as often as the next: the longest codes there can be
        lines = np.minimum(rng.geometric(0.5, (rows, cols)), 255)
    elif kind == "one":
        lines = np.full((rows, cols), seed % 256)
    else:  # what is in no line that is counted
        lines = np.where(np.arange(rows)[:, np.newaxis] < rows - 1, 0, rng.integers(0, 256, (rows, cols)))
    given_lines = lines.astype(np.uint8)
    assert zlib.decompress(deflated(given_lines)) == given_lines.tobytes()


def test_codes_as_long_as_can_be() -> None:
    # Numbers of Fibonacci make Huffman's codes one bit longer with each symbol.
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    data = np.repeat(np.arange(24, dtype=np.uint8), counts)
    lines = np.random.default_rng(1).permutation(data)[: data.size // 300 * 300].reshape(-1, 300)
    assert zlib.decompress(deflated(lines)) == lines.tobytes()


@pytest.mark.parametrize("rows", [256, 512])
def test_about_as_short_as_the_entropy_allows(rows: int) -> None:
    lines = (np.random.default_rng(2).normal(0, 2, (rows, 257)).round().astype(int) % 256).astype(np.uint8)
    share = np.bincount(lines.ravel(), minlength=256) / lines.size
    bits = -np.sum(share * np.log2(np.where(share > 0, share, 1)))
    assert len(deflated(lines)) < lines.size * bits / 8 * 1.03 + 200
    assert len(deflated(lines)) < len(zlib.compress(lines, 6))


def test_read_only_lines() -> None:
    lines = np.zeros((100, 100), np.uint8)
    lines.setflags(write=False)
    assert zlib.decompress(deflated(lines)) == lines.tobytes()
