"""Collections in a real browser: a mosaic, the date slider, and what a map shows that would be too much."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from osgeo import gdal
from PIL import Image

gdal.UseExceptions()

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
NAME = "03_collections.ipynb"
SCENES = ROOT / "notebooks" / "data" / "scenes"
MONTHS = 1
"""Which of the notebook's maps has the date slider."""

WATCH = """() => {
    const map = document.querySelectorAll('.leaflet-container')[%d];
    window.seen = [];
    const look = () => {
        const shown = [...map.querySelectorAll('.leaflet-layer')].filter(one => one.style.opacity !== '0');
        const tiles = shown.flatMap(one => [...one.querySelectorAll('img')])
            .filter(one => one.src.includes('/tiles/'));
        window.seen.push([tiles.filter(one => one.complete && one.naturalWidth).length, tiles.length]);
        window.watching = requestAnimationFrame(look);
    };
    look();
}"""


def source(beginning: str) -> str:
    """The source of the notebook's cell that holds a text."""
    cells = nbformat.read(ROOT / "notebooks" / NAME, 4).cells
    return str(next(one.source for one in cells if one.cell_type == "code" and beginning in one.source))


def test_a_season_on_the_map(lab: Any, open_notebook: Any) -> None:
    page = open_notebook(lab, NAME)
    page.run_all()
    page.wait_for_tiles(page.run(value="m.layer('Cloud-free').key"))

    # The mosaic shows the newest clear scene: the burnt field, as the file of 23 July has it.
    page.run("m.remove_layer('Newest first'); m.panel.layout.display = 'none'")
    page.wait(lambda: "Newest" not in page.run(value="repr(m)"), "the layer to go")
    picture = np.asarray(Image.open(page.picture("cloud_free")).convert("RGB")).astype(int)
    shown, _ = page.as_shown(SCENES / "T34TGP_20160723T092031_B04_10m.tif", picture.shape[:2])
    expected = np.clip(shown / 2500 * 255, 0, 255)
    burnt = np.hypot(*np.meshgrid(*(np.arange(size) - at for size, at in _place(page, picture)))) < 12
    assert expected[burnt].max() < 80
    assert np.abs(picture[..., 0] - expected)[burnt].mean() < 3

    # The slider: another date, other tiles, and never an empty place between them.
    slider = page.page.locator(".geoloom-dates")
    page.map(MONTHS)
    layer = "through_time.layer('Months')"
    page.wait_for_tiles(page.run(value=f"{layer}.key"), 6)
    page.wait(lambda: page.run(value=f"{layer}.ahead.loading") is False, "the next date's tiles")
    assert slider.inner_text().startswith("March 2016")
    first = page.run(value=f"{layer}.key")
    page.page.evaluate(WATCH % MONTHS)
    for step, month in ((1, "April"), (2, "May")):
        if step == 1:
            slider.locator("button").nth(2).click()
        else:
            slider.locator(".noUi-handle").press("ArrowRight")
        page.wait(lambda: page.run(value=f"{layer}.shown") == step, month)  # noqa: B023
        assert slider.inner_text().startswith(f"{month} 2016")
        page.wait_for_tiles(page.run(value=f"{layer}.key"), 6)
    page.page.evaluate("() => cancelAnimationFrame(window.watching)")
    assert page.run(value=f"{layer}.key") != first
    seen = np.array(page.page.evaluate("() => window.seen"))
    assert len(seen) > 10
    assert seen[:, 0].min() == seen[0, 0] == seen[0, 1]

    # Played, it goes on by itself.
    page.run(f"{layer}.interval = 0.1")
    slider.locator("button").nth(1).click()
    page.wait(lambda: page.run(value=f"{layer}.shown") == 5, "August")
    slider.locator("button").nth(1).click()
    page.wait(lambda: page.run(value=f"{layer}.playing") is False, "the pause")
    page.picture("months", MONTHS)

    saved = page.saved()
    assert [secret for secret in page.secrets() if secret in saved] == []
    assert page.foreign == []


def _place(page: Any, picture: Any) -> list[tuple[int, float]]:
    """Size of the picture and pixel of the burnt field, across and down."""
    _, degrees = page.as_shown(SCENES / "T34TGP_20160723T092031_B04_10m.tif", picture.shape[:2])
    rows, cols = picture.shape[:2]
    (west, north), (east, south) = degrees(0, 0), degrees(cols - 1, rows - 1)
    lon, lat = page.run(value="(field.lon, field.lat)")
    across = (lon - west) / (east - west) * (cols - 1)
    down = (lat - north) / (south - north) * (rows - 1)
    return [(cols, across), (rows, down)]


def test_a_view_that_would_be_too_much_says_so(lab: Any, open_notebook: Any) -> None:
    # An engine of its own, which allows little.
    runtime = lab.folder.parent / "run-2"
    runtime.mkdir(mode=0o700)
    settings = {"GEOLOOM_MAX_READS": "20", "XDG_RUNTIME_DIR": str(runtime)}
    cells = [
        f"import os\n\nos.environ.update({settings!r})",
        source("import geoloom as gl"),
        source("ingest data/scenes"),
        "season = gl.collection('season')",
        source("def true_colour").replace("summer.mosaic()", "season.median()"),
    ]
    page = open_notebook(lab, lab.write("too_much.ipynb", *cells))
    page.run_all()
    board = page.page.locator(".geoloom-messages")
    page.wait(lambda: "more than the 20 files" in board.inner_text(), "the message")
    # Whichever tile is refused first: some hold one of the two neighbours, some both.
    assert re.search(r"This view needs (12 scenes with 36|24 scenes with 72) files", board.inner_text())
    page.wait(lambda: {status for _, status in page.tiles} & {413, 422}, "tiles that show the reason")
    page.picture("too_much")
    page.run("m.clear(); m.add_layer(season.coverage(), name='Scenes', vmin=0, vmax=24, colormap='viridis')")
    page.wait_for_tiles(page.run(value="m.layer('Scenes').key"), 4)
