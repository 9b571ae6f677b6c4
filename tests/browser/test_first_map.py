"""The main job in a real browser: cells run, tiles come through the Jupyter proxy, people look and click."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from osgeo import gdal
from PIL import Image

gdal.UseExceptions()
pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
LANDSAT = ROOT / "notebooks" / "data" / "landsat.tif"
SETUP = """
import geoloom as gl
landsat = gl.open("data/landsat.tif")
colour = landsat.rgb("B3", "B2", "B1").scale(20, 130)
"""
SHOW = """
m = gl.Map(center=(40.8, -112.7), zoom=11)
layer = m.add_layer(colour, name="True colour")
m
"""
ARTEFACTS = ROOT / "tests" / "artefacts"


def test_the_first_notebook_shows_real_imagery(
    lab: Any, open_notebook: Any, pytestconfig: pytest.Config
) -> None:
    page = open_notebook(lab, "01_first_map.ipynb")
    page.run_all()
    keys = page.run(
        value="[layer.key for one in (m, mountains) for layer in one.image_layers if layer.visible]"
    )
    assert len(keys) == 4
    page.map(0)
    for key in keys[:2]:
        page.wait_for_tiles(key)
    shown = page.picture("first_map", 0)
    page.map(1)
    page.wait_for_tiles(keys[-1], count=6)
    page.map(1).locator(".geoloom-panel").wait_for()
    page.page.locator("p", has_text="there are no seams").wait_for()
    page.page.screenshot(path=ARTEFACTS / "notebook.png")
    page.run("mountains.zoom = 9")
    for key in keys[2:]:
        page.wait_for_tiles(key)
    relief = page.picture("relief", 1)
    for path in (shown, relief):
        assert len(np.unique(np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3), axis=0)) > 5000
    if pytestconfig.getoption("--update-picture"):
        (ROOT / "docs" / "images").mkdir(exist_ok=True)
        shutil.copy(ARTEFACTS / "notebook.png", ROOT / "docs" / "images" / "first_map.png")
    saved = page.saved()
    assert "Map(center=" in saved
    assert [secret for secret in page.secrets() if secret in saved] == []
    assert page.foreign == []


def test_colours_opacity_and_values_are_those_of_the_data(lab: Any, open_notebook: Any) -> None:
    page = open_notebook(lab, lab.write("values.ipynb", SETUP, SHOW))
    page.run_all()
    page.wait_for_tiles()
    shot = np.asarray(Image.open(page.picture("true_colour")).convert("RGB")).astype(float)
    rows, cols = shot.shape[:2]
    warped, degrees = page.as_shown(LANDSAT, (rows, cols), dstNodata=0)
    expected = np.clip((warped[[2, 1, 0]].astype(float) - 20) / 110 * 255, 0, 255).transpose(1, 2, 0)
    free = np.zeros((rows, cols), bool)
    free[80:-60, 120 : cols - 280] = True  # where no control lies
    free &= (warped > 0).all(axis=0)
    assert free.sum() > 50_000
    difference = np.abs(shot - expected)[free]
    assert np.median(difference) <= 4
    for channel in range(3):
        assert np.corrcoef(shot[..., channel][free], expected[..., channel][free])[0, 1] > 0.97

    slider = page.page.locator(".geoloom-layer .noUi-base").first
    box = slider.bounding_box()
    slider.click(position={"x": box["width"] * 0.3, "y": box["height"] / 2})
    page.wait(lambda: abs(page.run(value="layer.opacity") - 0.3) < 0.05, "the kernel to hear of the slider")
    faded = np.asarray(Image.open(page.picture("faded")).convert("RGB")).astype(float)
    assert faded[free].mean() > shot[free].mean() + 60  # the light base map shines through

    page.run("inspector = m.inspect()")
    place = (int(cols * 0.42), int(rows * 0.5))
    page.map().click(position={"x": place[0], "y": place[1]})
    result = page.page.locator(".geoloom-inspector")
    page.wait(lambda: "full resolution (30 m)" in result.inner_text(), "the inspector")
    source = gdal.Open(str(LANDSAT))
    clicked_lon, clicked_lat = degrees(*place)
    origin = source.GetGeoTransform()
    col, row = int((clicked_lon - origin[0]) / origin[1]), int((clicked_lat - origin[3]) / origin[5])
    around = source.ReadAsArray(col - 2, row - 2, 5, 5)[2]
    lines = dict(line.split("\t", 1) for line in result.inner_text().splitlines() if line.startswith("B"))
    assert around.min() <= int(lines["B3"].split("\t")[-1]) <= around.max()
    assert "map, zoom 11" in result.inner_text()
    page.picture("inspected")

    page.run('m.add_layer(landsat["B5"], name="B5"); m.split("True colour", "B5")')
    page.wait_for_tiles(page.run(value="m.layer('B5').key"))
    page.page.wait_for_selector(".leaflet-sbs-divider")
    page.picture("split")

    assert page.foreign == []
    page.page.locator(".geoloom-panel select").select_option("OpenStreetMap (online)")
    page.wait(lambda: page.foreign, "the online base map")
    assert {url.split("/")[2] for url in page.foreign} == {"tile.openstreetmap.org"}


def test_a_failure_is_told_and_a_restarted_kernel_goes_on(lab: Any, open_notebook: Any) -> None:
    big = """
    from osgeo import gdal
    gdal.UseExceptions()
    made = gdal.GetDriverByName("GTiff").Create(
        "big.tif", 40000, 40000, 1, gdal.GDT_Byte, ["SPARSE_OK=YES", "TILED=YES"])
    made.SetProjection("EPSG:4326")
    made.SetGeoTransform((-120, 0.001, 0, 50, 0, -0.001))
    made = None
    """
    # The message must come while the cell still runs.
    fail = """
    import time
    m.add_layer(gl.open("big.tif").scale(0, 255), name="Too <big>")
    m.zoom = 4
    deadline = time.monotonic() + 30
    while not m.messages:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    """
    page = open_notebook(lab, lab.write("failing.ipynb", SETUP, SHOW, dedent(big), dedent(fail)))
    page.run_all()
    board = page.page.locator(".geoloom-messages")
    page.wait(lambda: "Too <big>" in board.inner_text(), "the message")
    said = page.run(value="list(m.messages)")
    assert len(said) == 1
    assert said[0] in board.inner_text()
    page.picture("failing")
    assert page.errors() == []
    page.page.locator(".geoloom-messages button").click()
    page.wait(lambda: page.run(value="m.messages") == (), "the message to go")

    page.run("import os, signal; os.kill(m._watch.engine.endpoint.pid, signal.SIGKILL)")
    page.run("m.remove_layer('Too <big>'); m.zoom = 11")
    page.wait(lambda: [url for url in page.loaded() if "&v=" in url], "the map to come back with the engine")

    before = page.loaded()
    page.restart()
    page.command("notebook:run-all-cells")
    # Back to where there is imagery: the last cell looks at the file that is too big.
    page.run("m.remove_layer('Too <big>'); m.zoom = 11")
    page.wait(lambda: len(page.loaded() - before) >= 8, "tiles for the restarted kernel")
    saved = page.saved()
    assert [secret for secret in page.secrets() if secret in saved] == []
    assert page.foreign == []


def test_tiles_that_an_engine_process_took_along_come_without_a_move(lab: Any, open_notebook: Any) -> None:
    slow = """
    def f(img):
        for _ in range(12_000_000):
            pass
        return img[0]

    colour = landsat.execute(f).scale(20, 130)
    """
    page = open_notebook(lab, lab.write("taken_along.ipynb", SETUP, dedent(slow), SHOW))
    page.run_all()
    page.wait_for_tiles(count=1)
    page.run("import os, signal; os.kill(m._watch.engine.health()['pid'], signal.SIGKILL)")
    # Leaflet leaves the class off images that failed.
    missing = "() => document.querySelectorAll('img.leaflet-tile:not(.leaflet-tile-loaded)').length"
    page.wait(lambda: [url for url in page.loaded() if "&v=" in url], "tiles to be asked for again")
    page.wait(lambda: page.page.evaluate(missing) == 0, "all tiles to be there")
    assert page.run(value="m.messages") == ()
    page.picture("taken_along")


def test_below_a_prefix_on_a_dense_screen_with_a_busy_engine(start_lab: Any, open_notebook: Any) -> None:
    lab = start_lab("/user/anna/", GEOLOOM_WORKERS="1", GEOLOOM_QUEUE_LENGTH="1")
    slow = 'colour = landsat.focal_median(4).rgb("B3", "B2", "B1").scale(20, 130)'
    page = open_notebook(lab, lab.write("prefix.ipynb", SETUP, slow, SHOW), device_scale_factor=2)
    page.run_all()
    page.wait_for_tiles()
    assert 503 in {status for _, status in page.tiles}
    page.wait(lambda: page.run(value="layer.waiting") is False, "refused tiles to come back")
    assert page.run(value="m.messages") == ()
    assert all("/user/anna/proxy/" in url and "/11/" in url and "@2x.png" in url for url in page.loaded())
    assert page.foreign == []
    page.picture("dense")


def test_a_browser_that_cannot_reach_the_engine_is_told_what_to_do(lab: Any, open_notebook: Any) -> None:
    lost = 'import os\nos.environ["GEOLOOM_TILES_URL"] = "/nowhere"'
    page = open_notebook(lab, lab.write("lost.ipynb", lost, SETUP, SHOW))
    page.run_all()
    board = page.page.locator(".geoloom-messages")
    page.wait(lambda: "does not reach the tile engine at /nowhere" in board.inner_text(), "the message", 20)
    assert "GEOLOOM_TILES_URL" in board.inner_text()
