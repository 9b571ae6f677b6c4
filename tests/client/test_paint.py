from __future__ import annotations

import numpy as np
import pytest

import geoloom.colour as colour
import geoloom.paint as paint
from geoloom.profile import Look


def some(bands: int, rows: int = 5, cols: int = 7) -> np.ndarray:
    return np.random.default_rng(bands).integers(0, 256, (bands, rows, cols)).astype(np.uint8)


def full(bands: int = 1, rows: int = 5, cols: int = 7) -> np.ndarray:
    return np.ones((bands, rows, cols), np.bool_)


def test_grey_and_colours() -> None:
    grey, rgb, rgba = some(1), some(3), some(4)
    assert (paint.rgba(grey, full(), Look("grey"))[:3] == grey[0]).all()
    assert (paint.rgba(rgb, full(), Look("rgb"))[:3] == rgb).all()
    assert (paint.rgba(rgb, full(), Look("rgb"))[3] == 255).all()
    assert (paint.rgba(rgba, full(), Look("rgba")) == rgba).all()


def test_palette() -> None:
    lut = ("#01020304", "#ff00ff80")
    got = paint.rgba(np.array([[[0, 1, 2]]], np.uint8), full(1, 1, 3), Look("palette", lut=lut))
    assert got[:, 0].T.tolist() == [[1, 2, 3, 4], [255, 0, 255, 128], [0, 0, 0, 0]]


@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba", "palette"])
def test_invalid_pixels_are_nothing(kind: str) -> None:
    bands = {"rgb": 3, "rgba": 4}.get(kind, 1)
    look = Look(kind, lut=colour.lut(["red", "blue"], 256) if kind == "palette" else ())
    valid = full(bands)
    valid[bands - 1, 2, 3] = False
    got = paint.rgba(some(bands), valid, look)
    assert not got[:, 2, 3].any()
    assert got[:, 2, 4].any()


def test_opacity_multiplies_alpha() -> None:
    assert (paint.rgba(some(3), full(), Look("rgb", opacity=0.5))[3] == 128).all()
    palette = Look("palette", lut=("#ff000080",), opacity=0.5)
    assert (paint.rgba(np.zeros((1, 2, 2), np.uint8), full(1, 2, 2), palette)[3] == 64).all()


def test_over() -> None:
    red = np.array([255, 0, 0, 255], np.uint8).reshape(4, 1, 1)
    half_blue = np.array([0, 0, 255, 128], np.uint8).reshape(4, 1, 1)
    nothing = np.zeros((4, 1, 1), np.uint8)
    assert (paint.over(red, half_blue) == red).all()
    assert paint.over(half_blue, red).ravel().tolist() == [127, 0, 128, 255]
    assert (paint.over(half_blue, nothing) == half_blue).all()
    assert (paint.over(nothing, half_blue) == half_blue).all()
    assert not paint.over(nothing, nothing).any()


def test_over_equals_the_formula() -> None:
    top, bottom = some(4, 30, 30), some(4, 30, 31)[:, :, :30]
    a, b = top[3] / 255, bottom[3] / 255
    alpha = a + b * (1 - a)
    colours = (top[:3] * a + bottom[:3] * b * (1 - a)) / np.where(alpha > 0, alpha, 1)
    got = paint.over(top, bottom)
    assert np.abs(got[3] - alpha * 255).max() <= 0.501
    assert np.abs(got[:3] - np.where(alpha > 0, colours, 0)).max() <= 0.51


def test_grey_to_index_leaves_255_free() -> None:
    table = paint.GREY_TO_INDEX
    assert (table[0], table[255]) == (0, colour.LEVELS - 1)
    assert (np.diff(table.astype(int)) >= 0).all()
    assert not table.flags.writeable


@pytest.mark.parametrize("look", [Look("rgb"), Look("wrong")])  # type: ignore[arg-type]
def test_wrong_data_are_refused(look: Look) -> None:
    with pytest.raises(ValueError, match="look"):
        paint.rgba(some(1), full(), look)
