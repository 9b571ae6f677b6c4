from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from geoloom.thumbnail import png, thumbnail


def decoded(content: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(content))
    assert picture.mode == "L"
    return np.asarray(picture)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (256, 256)])
def test_another_library_reads_the_same_pixels(shape: tuple[int, int]) -> None:
    shades = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    content = png(shades)
    np.testing.assert_array_equal(decoded(content), shades)
    assert Image.open(io.BytesIO(content)).info["transparency"] == 0


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "float64"])
def test_values_are_stretched_from_the_smallest_to_the_largest(dtype: str) -> None:
    band = np.array([[10, 20, 30], [7, 250, 10]], dtype)
    valid = np.array([[True, True, True], [False, False, True]])
    content, limits = thumbnail(band, valid)
    np.testing.assert_array_equal(decoded(content), [[1, 128, 255], [0, 0, 1]])
    assert limits == (10.0, 30.0)


def test_bools_and_values_that_are_all_the_same() -> None:
    everywhere = np.ones((1, 2), np.bool_)
    content, limits = thumbnail(np.array([[False, True]]), everywhere)
    np.testing.assert_array_equal(decoded(content), [[1, 255]])
    assert limits == (0.0, 1.0)
    content, limits = thumbnail(np.array([[7, 7]]), everywhere)
    np.testing.assert_array_equal(decoded(content), [[128, 128]])
    assert limits == (7.0, 7.0)


def test_what_is_not_finite_is_clear() -> None:
    content, limits = thumbnail(np.array([[np.nan, np.inf, 1.0, 2.0]]), np.ones((1, 4), np.bool_))
    np.testing.assert_array_equal(decoded(content), [[0, 0, 1, 255]])
    assert limits == (1.0, 2.0)


def test_without_a_valid_pixel_there_are_no_limits() -> None:
    content, limits = thumbnail(np.zeros((2, 2)), np.zeros((2, 2), np.bool_))
    assert limits is None
    assert not decoded(content).any()


def test_large_bands_are_thinned_out() -> None:
    content, _ = thumbnail(np.zeros((512, 512)), np.ones((512, 512), np.bool_))
    assert decoded(content).shape == (256, 256)
