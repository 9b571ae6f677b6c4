"""Vectors in a real browser: parcels in the colours of their crops, and a click that tells whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
PARCELS = ROOT / "notebooks" / "data" / "parcels.gpkg"
ORANGE, VIOLET = (240, 138, 36), (122, 91, 168)

CELLS = (
    """import pandas as pd

import geoloom as gl

parcels = gl.vector("data/parcels.gpkg").join(pd.read_csv("data/crops.csv"), on="code")
shown = parcels.categories("crop", {"sunflower": "#f08a24", "alfalfa": "#7a5ba8"}).style(line="none")""",
    """m = gl.Map(center=(44.165, 23.15), zoom=14, basemap="none")
m.add_layer(shown, name="Crops")
m.inspect()
m""",
)

TOP, LEFT = 80, 380
FREE = np.s_[TOP:-60, LEFT:-300]
"""The part of a picture of a map where no control lies."""


def is_colour(picture: Any, colour: tuple[int, int, int]) -> Any:
    return (np.abs(picture.astype(int) - colour) <= 3).all(axis=2)


def test_parcels_have_the_colours_of_their_crops_and_tell_what_they_are(lab: Any, open_notebook: Any) -> None:
    page = open_notebook(lab, lab.write("vectors.ipynb", *CELLS))
    page.run_all()
    assert page.errors() == []
    page.wait_for_tiles(page.run(value="m.layer('Crops').key"), 6)
    legend = page.page.locator(".geoloom-panel").inner_text()
    assert "sunflower" in legend
    assert "alfalfa" in legend

    def seen() -> Any:
        return np.asarray(Image.open(page.picture("parcels")).convert("RGB"))

    page.wait(lambda: is_colour(seen()[FREE], VIOLET).any(), "the parcels")
    picture = seen()
    told = page.page.locator(".geoloom-inspector")
    for colour, crop in ((ORANGE, "sunflower"), (VIOLET, "alfalfa")):
        rows, cols = np.nonzero(is_colour(picture[FREE], colour))
        places = zip((rows[::50] + TOP).tolist(), (cols[::50] + LEFT).tolist(), strict=True)
        inside = [
            (row, col)
            for row, col in places
            if is_colour(picture[row - 6 : row + 7, col - 6 : col + 7], colour).all()
        ]
        assert inside, f"no parcel of {crop}"
        row, col = inside[len(inside) // 2]
        page.map().click(position={"x": col, "y": row})
        page.wait(lambda crop=crop: crop in told.inner_text(), f"the attributes of a parcel of {crop}")
        assert "farm" in told.inner_text()
    page.picture("parcels_inspected")
    assert page.foreign == []
