from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geoloom_engine.picture import error_tile, footprints_tile, reason_tile


def pixels(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGBA"))


def ink(data: bytes) -> int:
    """How many pixels are dark."""
    picture = pixels(data)
    return int(((picture[..., :3].astype(int).sum(axis=2) < 200) & (picture[..., 3] > 200)).sum())


@pytest.mark.parametrize("size", [64, 256, 512, 1024])
def test_has_the_size_of_the_tile(size: int) -> None:
    for data in (error_tile("Wrong", size), reason_tile("Too much", size)):
        assert pixels(data).shape == (size, size, 4)
        assert len(data) < 30_000


def test_is_half_transparent_with_clear_edges() -> None:
    picture = pixels(error_tile("Band 'B99' does not exist.", hint="The bands are: B02, B03."))
    assert (picture[[0, -1]][..., 3] == 0).all()
    assert (picture[:, [0, -1]][..., 3] == 0).all()
    paper = picture[240, 128]
    assert 150 < paper[3] < 230
    assert paper[:3].min() > 220
    assert ink(error_tile("Band 'B99' does not exist.")) > 100


def test_more_words_are_more_ink() -> None:
    alone = ink(error_tile("It failed."))
    hinted = ink(error_tile("It failed.", hint="Try again."))
    assert 0 < alone < hinted
    assert error_tile("It failed.", incident="ab12") != error_tile("It failed.")


def test_the_two_tones_differ() -> None:
    error, reason = pixels(error_tile("x"))[240, 128], pixels(reason_tile("x"))[240, 128]
    assert error[0] > error[2], "warm"
    assert reason[2] > reason[0], "cool"


def test_text_stays_inside_the_card() -> None:
    data = error_tile("W" * 3000, hint="i " * 3000, incident="9" * 200)
    picture = pixels(data).astype(int)
    dark = (picture[..., :3].sum(axis=2) < 500) & (picture[..., 3] > 0)
    rows, cols = np.nonzero(dark[8:-8, 8:-8])
    assert rows.min() >= 5
    assert cols.min() >= 5
    assert rows.max() <= 235
    assert cols.max() <= 235


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400), st.none() | st.text(max_size=400), st.none() | st.text(max_size=50))
def test_any_text_gives_a_picture(message: str, hint: str | None, incident: str | None) -> None:
    data = error_tile(message, 256, hint, incident)
    assert pixels(data).shape == (256, 256, 4)
    assert data == error_tile(message, 256, hint, incident)


@pytest.mark.parametrize("size", [256, 512])
def test_scenes_are_shown_where_they_are(size: int) -> None:
    counts = np.zeros((size, size), np.int32)
    counts[: size // 2, : size // 2] = 3
    hint = "Zoom in to level 9, or choose fewer."
    shown = pixels(footprints_tile(counts, "This view needs 1,240 scenes, more than 500.", hint))
    assert shown.shape == (size, size, 4)
    assert (shown[: size // 2 - 1, : size // 2 - 1, 3] > 30).all()
    assert not shown[: size // 2, size // 2 + 1 :, 3].any()
    # What stands in brackets has commas of its own.
    listed = "Zoom in to level 9 (or 10, or 11), or choose fewer."
    assert np.array_equal(
        shown, pixels(footprints_tile(counts, "This view needs 1,240 scenes, more than 500.", listed))
    )
    # The words stand at the lower edge; without scenes the tile is clear.
    assert shown[-size // 5 :, ..., 3].any()
    assert not pixels(footprints_tile(np.zeros_like(counts), "This view needs 9 scenes.", hint))[..., 3].any()
