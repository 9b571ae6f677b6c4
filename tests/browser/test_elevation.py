"""The elevation GUI in a real browser: beside the map on a laptop, below it on a phone; a marker to drag."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import playwright.sync_api
import pytest
from osgeo import gdal
from PIL import Image

gdal.UseExceptions()

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
DEM = ROOT / "notebooks" / "data" / "srtm90.tif"
ARTEFACTS = ROOT / "tests" / "artefacts"
SECONDS = 120.0
LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}

CELL = """import geoloom as gl

gui = gl.gui.elevation()
m = gui.map
gui"""

BOXES = """() => ['map', 'panel'].map(name => {
    const box = document.querySelector(`.geoloom-gui-${name}`).getBoundingClientRect();
    return [box.left, box.top, box.right, box.bottom];
})"""
TOO_WIDE = """() => {
    const all = [...document.querySelectorAll('.geoloom-gui, .geoloom-gui-body, .geoloom-gui-panel')];
    const cut = [...document.querySelectorAll('.geoloom-gui-panel .widget-label')]
        .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent);
    return [...all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.className), ...cut];
}"""


def values(page: Any) -> dict[str, str]:
    """What the marker says."""
    names = page.page.locator(".geoloom-values dt").all_inner_texts()
    return dict(zip(names, page.page.locator(".geoloom-values dd").all_inner_texts(), strict=True))


def settle(page: Any) -> None:
    """Wait until the layer that is meant is shown, and the marker read."""
    page.wait(
        lambda: page.run(value="not gui._drawing.busy and not gui.pointer._reading.busy"), "the GUI to rest"
    )
    page.wait_for_tiles(page.run(value="gui.layer.key"), 4)
    page.until("!document.querySelector('.geoloom-gui h2 svg')")


def test_elevation(lab: Any, open_notebook: Any, pytestconfig: pytest.Config) -> None:
    page = open_notebook(lab, lab.write("elevation.ipynb", CELL.replace("()", '(source="data/srtm90.tif")')))
    screen = page.page
    screen.set_viewport_size(LAPTOP)
    page.run_all()
    settle(page)

    # On a laptop the controls stand beside the map, and nothing is cut off.
    of_map, panel = screen.evaluate(BOXES)
    assert panel[0] >= of_map[2]
    assert panel[2] <= LAPTOP["width"]
    assert of_map[2] - of_map[0] > 600
    assert screen.evaluate(TOO_WIDE) == []
    laptop = page.picture("elevation").with_name("elevation_laptop.png")
    screen.locator(".geoloom-gui").screenshot(path=laptop)
    if pytestconfig.getoption("--update-picture"):
        shutil.copy(laptop, ROOT / "docs" / "images" / "elevation.png")

    # The relief is there: green in the valley, white on the ridge.
    picture = np.asarray(Image.open(page.picture("elevation")).convert("RGB")).astype(int)
    heights, degrees = page.as_shown(DEM, picture.shape[:2])
    clear = np.s_[100:-60, 80:-40]
    low, high = heights[clear] < 100, heights[clear] > 3300
    low &= heights[clear] != 0
    green, white = (picture[clear][where].mean(axis=0) for where in (low, high))
    assert green[1] > green[0] + 30
    assert white.min() > 170

    # The marker is dragged; what it says is what GDAL has there.
    marker = screen.locator(".leaflet-marker-draggable")
    box, frame = marker.bounding_box(), page.map().bounding_box()
    before = page.run(value="gui.pointer.place")
    grip = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    screen.mouse.move(*grip)
    screen.mouse.down()
    screen.mouse.move(grip[0] + 60, grip[1] + 40, steps=8)
    screen.mouse.up()
    page.wait(lambda: page.run(value="gui.pointer.place") != before, "the marker to be told")
    settle(page)
    lon, lat = page.run(value="gui.pointer.place")
    tip = box["x"] + box["width"] / 2 + 60 - frame["x"], box["y"] + box["height"] + 40 - frame["y"]
    assert (lon, lat) == pytest.approx(degrees(*tip), abs=0.02)
    col, row = round(tip[0]), round(tip[1])
    near = heights[row - 2 : row + 3, col - 2 : col + 3]
    told = page.wait(lambda: values(page), "the values")
    assert near.min() - 5 <= float(re.match(r"[0-9.]+", told["Elevation"])[0]) <= near.max() + 5
    assert re.fullmatch(r"[0-9.]+°", told["Slope"])
    assert re.fullmatch(r"[0-9]+° \([NESW]{1,2}\)", told["Aspect"])

    # Keys alone do: fields have labels.
    screen.get_by_label("Light from, °").focus()
    screen.keyboard.press("ArrowUp")
    screen.keyboard.press("Tab")
    page.wait(lambda: page.run(value="gui.azimuth.value") == 320.0, "the light to turn")
    settle(page)
    screen.get_by_label("Show", exact=True).select_option("Slope")
    page.wait(lambda: "slope" in page.run(value="' '.join(gui.layer.image.steps())"), "the slope")
    settle(page)
    assert screen.get_by_label("Light from, °").is_visible() is False
    assert screen.get_by_label("Steepest, °").is_visible()
    screen.get_by_role("button", name="Show the code").click()
    code = screen.locator(".geoloom-gui-code pre").inner_text()
    assert code == page.run(value="gui.code")
    assert "dem.slope()" in code

    # A wrong file is told in a sentence, and the map stays.
    source = screen.locator(".geoloom-gui").get_by_label("Source")
    source.fill("data/nothing.tif")
    source.press("Enter")
    told = screen.locator(".geoloom-gui [role=alert]")
    told.wait_for()
    assert "nothing.tif is not there" in told.inner_text()
    source.fill("data/srtm90.tif")
    source.press("Enter")
    told.wait_for(state="detached")
    settle(page)
    assert page.run(value="gui.pointer.place") == (lon, lat)

    # On a phone they stand below the map, in the screen's width.
    screen.set_viewport_size(PHONE)
    screen.wait_for_function(f"() => {{ const [map, panel] = ({BOXES})(); return panel[1] >= map[3]; }}")
    of_map, panel = screen.evaluate(BOXES)
    assert panel[2] <= PHONE["width"]
    assert 240 <= of_map[3] - of_map[1] <= 0.6 * PHONE["height"]
    assert screen.evaluate(TOO_WIDE) == []
    page.map()
    screen.screenshot(path=page.picture("elevation").with_name("elevation_phone.png"))
    assert page.foreign == []
    assert page.errors() == []


@pytest.fixture
def apps(lab: Any) -> Iterator[str]:
    """Address of the repository's apps, open to guests; they use the engine of a JupyterLab's kernels."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{one.getsockname()[1]}/services/apps/"
    settings = {
        "GEOLOOM_APPS_FOLDER": str(ROOT / "hub" / "apps"),
        "GEOLOOM_APPS_GUESTS": "1",
        "JUPYTERHUB_SERVICE_URL": address,
        "JUPYTERHUB_SERVICE_PREFIX": "/services/apps/",
        "JUPYTERHUB_API_TOKEN": "nobody-asks-for-it",
    }
    log = (lab.folder.parent / "apps.log").open("wb")
    command = [sys.executable, "-m", "geoloom_hub.apps"]
    service = subprocess.Popen(command, env={**lab.environment, **settings}, stdout=log, stderr=log)
    try:
        yield address
    finally:
        service.terminate()
        service.wait(30)
        log.close()


def test_the_app_on_a_laptop_and_on_a_phone(apps: str, browser: Any) -> None:
    context = browser.new_context(viewport=LAPTOP)
    hosts: set[str] = set()
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or "127.0.0.1"))
    screen = context.new_page()
    screen.set_default_timeout(SECONDS * 1000)
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            screen.goto(f"{apps}voila/render/elevation.ipynb")
            break
        except playwright.sync_api.Error:
            assert time.monotonic() < deadline, "the apps service does not answer"
            screen.wait_for_timeout(200)

    def seen(size: dict[str, int]) -> tuple[list[float], list[float]]:
        screen.set_viewport_size(size)
        screen.locator(".geoloom-values dd").first.wait_for()
        screen.wait_for_function(
            "() => { const tiles = [...document.querySelectorAll('.leaflet-tile[src*=\"/tiles/\"]')];"
            "return tiles.length > 1 && tiles.every(one => one.complete && one.naturalWidth); }"
        )
        name = "laptop" if size is LAPTOP else "phone"
        ARTEFACTS.mkdir(exist_ok=True)
        screen.screenshot(path=ARTEFACTS / f"elevation_app_{name}.png")
        assert screen.evaluate(TOO_WIDE) == []
        of_map, panel = screen.evaluate(BOXES)
        assert panel[2] <= size["width"]
        return of_map, panel

    of_map, panel = seen(LAPTOP)
    assert panel[0] >= of_map[2]
    assert of_map[3] <= LAPTOP["height"], "the whole map is on the screen"
    assert of_map[3] - of_map[1] > 0.8 * LAPTOP["height"]
    assert screen.get_by_label("Source").input_value() == "srtm90.tif"
    of_map, panel = seen(PHONE)
    assert panel[1] >= of_map[3]
    assert of_map[2] - of_map[0] > 0.85 * PHONE["width"]
    assert screen.locator(".geoloom-values").bounding_box()["y"] < PHONE["height"] - 100, (
        "values are in sight"
    )
    assert hosts <= {"127.0.0.1"}
    context.close()
