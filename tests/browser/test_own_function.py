"""A user's own function in a real browser: burnt fields on the map, and what a failure looks like."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
NAME = "02_your_own_function.ipynb"
FIELDS = ROOT / "notebooks" / "data" / "fields.tif"
ARTEFACTS = ROOT / "tests" / "artefacts"
LIME, YELLOW = (0, 255, 0), (255, 255, 0)

FREE = np.s_[80:-60, 60:-300]
"""The part of a picture of a map where no control lies."""


def cell(beginning: str, number: int = 0) -> str:
    """The source of one of the notebook's cells, by a text in it."""
    found = [
        one.source for one in nbformat.read(ROOT / "notebooks" / NAME, 4).cells if beginning in one.source
    ]
    return str(found[number])


def shown(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def is_colour(picture: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    return (np.abs(picture.astype(int) - colour) <= 6).all(axis=2)


def expected(page: Any, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which pixels of the map are burnt, by GDAL and the rule."""
    (b4, b6, b8, b11), _ = page.as_shown(FIELDS, shape)
    dark = (b4 < 1000) & (b6 < 1200) & (b8 < 1200)
    found: npt.NDArray[np.bool_] = dark & (b4 > 0) & (b11 > 500) & (b11 < 1600)
    return found


def test_burnt_fields_are_where_the_rule_says(
    lab: Any, open_notebook: Any, pytestconfig: pytest.Config
) -> None:
    page = open_notebook(lab, NAME)
    page.run_all()
    assert page.errors() == []
    for name in ("False colour", "Burnt", "Burnt fields"):
        page.wait_for_tiles(page.run(value=f"m.layer({name!r}).key"))
    assert is_colour(shown(page.picture("burnt_and_cleaned"))[FREE], YELLOW).any()
    page.run("for name in ('Burnt fields', 'Against clouds', 'Older style'): m.remove_layer(name)")
    page.wait(
        lambda: not is_colour(shown(page.picture("burnt"))[FREE], YELLOW).any(), "the yellow layer to go"
    )
    picture = shown(page.picture("burnt"))
    burnt = expected(page, picture.shape[:2])
    free = np.zeros(burnt.shape, bool)
    free[FREE] = True
    inside = ndimage.binary_erosion(burnt, iterations=2) & free
    outside = ~ndimage.binary_dilation(burnt, iterations=2) & free
    assert inside.sum() > 2000
    lime = is_colour(picture, LIME)
    assert lime[inside].mean() > 0.995
    assert lime[outside].mean() < 0.001

    page.page.set_viewport_size({"width": 1280, "height": 1160})
    page.page.evaluate("() => document.querySelector('.leaflet-container').scrollIntoView({block: 'start'})")
    page.page.locator(".jp-Cell", has_text="bands.execute(stubble, 1000").first.wait_for()
    page.page.screenshot(path=ARTEFACTS / "own_function.png")
    if pytestconfig.getoption("--update-picture"):
        shutil.copy(ARTEFACTS / "own_function.png", ROOT / "docs" / "images" / "own_function.png")
    saved = page.saved()
    assert [secret for secret in page.secrets() if secret in saved] == []
    assert page.foreign == []


def test_a_function_that_fails_says_where_and_how_to_repeat_it(lab: Any, open_notebook: Any) -> None:
    opening, failing, mended = (
        cell('gl.open("data/fields.tif")'),
        cell("def against_clouds", 0),
        cell("def against_clouds", 1),
    )
    page = open_notebook(
        lab, lab.write("failing_function.ipynb", cell("import geoloom as gl"), opening, failing)
    )
    page.run_all()
    board = page.page.locator(".geoloom-messages")
    page.wait(lambda: "zero-size array" in board.inner_text(), "the failure")
    page.wait(lambda: "cloudy pixels:" in board.inner_text(), "the print")
    told = board.inner_text()
    assert "against_clouds, line 4: ValueError: zero-size array" in told
    assert "return img[0] / clouds.max()" in told
    assert "m.layer('Against clouds').image.replay(13, " in told
    assert told.count("ValueError") == 1
    page.wait(lambda: {422} & {status for _, status in page.tiles}, "tiles that show the message")
    page.picture("failing_function")
    # The call it was told, as it stands there.
    call = next(line for line in told.splitlines() if "replay(" in line).strip()
    error = page.run(f"try:\n    {call}\nexcept ValueError as error:\n    told = str(error)", value="told")
    assert error.startswith("zero-size array")

    page.run(mended.replace("visible=False", "visible=True"))
    page.wait_for_tiles(page.run(value="m.layer('Against clouds').key"))
    page.wait(lambda: "ValueError" not in board.inner_text(), "the message to go")
    assert page.foreign == []
