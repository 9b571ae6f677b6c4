"""The hub in a real browser: two users log in, draw, and see their own layers, in Lab and in Voilà."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from geoloom_hub.settings import BadSetting, Settings
from geoloom_hub.stack import Stack

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "tests" / "artefacts"
SECONDS = 60.0
PEOPLE = ("anna", "bert")
CODE = f"""
import os, secrets
import geoloom as gl
from geoloom.engine_client import connect

word = secrets.token_hex(8)


def tell(img, word):
    print("said by " + word)
    return img


dem = gl.open({str(ROOT / "notebooks" / "data" / "srtm90.tif")!r})
m = gl.Map(center=(37.6, -119.0), zoom=8)
layer = m.add_layer(dem.execute(tell, word).scale(0, 4000).colormap("viridis"), name=word)
print("drawn", word, layer.key, connect().session)
"""
DRAWN = re.compile(r"drawn (\w+) (\w+) (\w+)")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A hub with one app that draws."""
    try:
        Settings.read({})
    except BadSetting as error:
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="gl-hub-", dir="/tmp"))
    (folder / "apps").mkdir()
    write(folder / "apps" / "draw.ipynb")
    environment = {
        "GEOLOOM_HUB_IDLE": "0",
        "GEOLOOM_WORKERS": "1",
        "GEOLOOM_APPS_FOLDER": str(folder / "apps"),
    }
    try:
        with Stack(folder / "hub", environment=environment | {"GEOLOOM_FUNCTION_TIMEOUT": "60s"}) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(CODE), nbformat.v4.new_code_cell("m")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def people(stack: Stack, browser: Any) -> dict[str, Any]:
    """Two users who have logged in: what their browsers keep, and where their servers are."""
    found = {}
    for name in PEOPLE:
        home = stack.folder.path / "users" / name
        (home / ".jupyter").mkdir(parents=True)
        write(home / "draw.ipynb")
        (home / ".jupyter" / "jupyter_lab_config.py").write_text("c.LabApp.expose_app_in_browser = True\n")
        token = stack.user(name)
        stack.api("POST", f"/users/{name}/server")
        found[name] = SimpleNamespace(folder=home, url=f"{stack.url}/user/{name}/", token="", api_token=token)
    for name, person in found.items():
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{stack.url}/hub/login?next=%2Fhub%2Fhome")
        page.fill("#username_input", name)
        page.fill("#password_input", "any")
        page.click("#login_submit")
        page.wait_for_url("**/hub/home")
        person.state = context.storage_state()
        context.close()
        stack.wait_until(
            lambda name=name: stack.api("GET", f"/users/{name}")["servers"].get("", {}).get("ready"),
            f"{name}'s server",
            SECONDS,
        )
    return found


def events(stack: Stack, token: str, session: str) -> list[Any]:
    """What the engine tells the owner of a token about a session of this name."""
    answer = stack.ask(
        "GET", "/services/tiles/events?timeout=0", token, headers={"X-Geoloom-Session": session}
    )
    assert answer.status == 200, answer.body
    return list(answer.json["events"])


def said(found: list[Any], word: str) -> bool:
    return f"said by {word}" in json.dumps(found)


def test_two_users_draw_in_lab_and_see_and_hear_only_their_own(
    stack: Stack, people: dict[str, Any], open_notebook: Any
) -> None:
    pages, drawn, tokens = {}, {}, {}
    for name, person in people.items():
        page = pages[name] = open_notebook(person, "draw.ipynb", storage_state=person.state)
        page.run_all()
        drawn[name] = page.run(value="(word, layer.key, connect().session)")
        tokens[name] = page.run(value="os.environ['JUPYTERHUB_API_TOKEN']")
    for name, other in zip(PEOPLE, reversed(PEOPLE), strict=True):
        page, (word, key, session) = pages[name], drawn[name]
        page.map()
        page.wait_for_tiles(key, count=2)
        board = page.page.locator(".geoloom-messages")
        page.wait(lambda: f"said by {word}" in board.inner_text(), "the function's print")  # noqa: B023
        assert page.loaded(drawn[other][1]) == set()
        assert f"said by {drawn[other][0]}" not in board.inner_text()
        assert page.foreign == []
        assert said(events(stack, tokens[name], session), word)
        for stranger in (tokens[other], people[other].api_token):
            assert events(stack, stranger, session) == []
            assert stack.ask("GET", f"/user/{name}/api/kernels", stranger).status in (403, 404)
        page.picture(f"hub_lab_{name}")
    offers_guis_and_apps(pages["anna"], people["anna"])


def offers_guis_and_apps(page: Any, person: Any) -> None:
    """JupyterLab's launcher leads to GUIs and apps."""
    page.command("launcher:create")
    labels = page.page.locator(".jp-LauncherCard-label")
    page.wait(lambda: {"Elevation", "Draw (app)"} <= set(labels.all_inner_texts()), "the launcher's entries")
    page.page.screenshot(path=ARTEFACTS / "launcher.png")
    with page.page.context.expect_page() as opened:
        labels.get_by_text("Draw (app)", exact=True).click()
    opened.value.wait_for_url("**/services/apps/voila/render/draw.ipynb")
    opened.value.close()
    labels.get_by_text("Elevation", exact=True).click()
    page.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)", has_text="gl.gui.elevation()").wait_for()
    assert (person.folder / "Elevation.ipynb").is_file()


class AppPage:
    """An app in a browser, and what its page asked of the network."""

    def __init__(self, browser: Any, stack: Stack, path: str, state: Any = None) -> None:
        self.context = browser.new_context(storage_state=state, viewport={"width": 1280, "height": 900})
        self.requests: list[str] = []
        self.tiles: set[str] = set()
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.context.on("response", self._answered)
        self.own = f"{stack.url}/"
        self.page = self.context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.goto(stack.url + path)
        self.page.locator(".leaflet-container").wait_for()
        found = DRAWN.search(self.page.locator("body").inner_text())
        assert found
        self.word, self.key, self.session = found.groups()
        self.page.wait_for_function("() => document.querySelectorAll('.leaflet-tile-loaded').length > 8")

    def _answered(self, response: Any) -> None:
        if response.status == 200 and (found := re.search(r"/tiles/(\w{32})/", response.url)):
            self.tiles.add(found[1])

    def wait_for_tiles(self) -> None:
        """Wait until the app's own layer has arrived."""
        board = self.page.locator(".geoloom-messages", has_text=f"said by {self.word}")
        board.wait_for()

    def foreign(self) -> list[str]:
        """Requests to anything but the hub."""
        return [url for url in self.requests if not url.startswith((self.own, "data:", "blob:"))]


def test_voila_in_a_users_own_server(stack: Stack, people: dict[str, Any], browser: Any) -> None:
    anna, bert = (
        AppPage(browser, stack, f"/user/{name}/voila/render/draw.ipynb", people[name].state)
        for name in PEOPLE
    )
    for one in (anna, bert):
        one.wait_for_tiles()
        assert one.tiles == {one.key}
        assert one.foreign() == []
    assert anna.word != bert.word
    assert said(events(stack, people["anna"].api_token, anna.session), anna.word)
    assert events(stack, people["bert"].api_token, anna.session) == []
    for one in (anna, bert):
        one.context.close()


def test_apps_for_all_behind_the_hubs_login(stack: Stack, people: dict[str, Any], browser: Any) -> None:
    path = "/services/apps/voila/render/draw.ipynb"
    stranger = stack.ask("GET", path)
    assert stranger.status == 302
    assert stranger.headers["location"].startswith("/hub/api/oauth2/authorize")
    anna, bert = (AppPage(browser, stack, path, people[name].state) for name in PEOPLE)
    for one in (anna, bert):
        one.wait_for_tiles()
        assert one.tiles == {one.key}
        assert one.foreign() == []
    anna.page.screenshot(path=ARTEFACTS / "hub_app.png")
    assert anna.word != bert.word
    # Whose kernel it is, the hub's login says; nobody's own token opens what an app's kernel hears.
    kernels = {
        one: str(
            one.page.evaluate(
                "JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId"
            )
        )
        for one in (anna, bert)
    }
    assert said(events(stack, stack.folder.secrets["apps"], anna.session), anna.word)
    for name in PEOPLE:
        assert events(stack, people[name].api_token, anna.session) == []
    ask = """([method, path]) => fetch(`/services/apps/${path}`, {
        method, headers: {"X-XSRFToken": document.cookie.match(/_xsrf=([^;]*)/)[1]}
    }).then(answer => answer.status)"""
    state, ending = (f"{path}/{kernels[anna]}" for path in ("api/kernels", "voila/api/shutdown"))
    assert anna.page.evaluate(ask, ["GET", state]) == 200
    assert bert.page.evaluate(ask, ["GET", state]) == 404
    assert bert.page.evaluate(ask, ["POST", ending]) == 404
    # A page whose kernel has ended says so.
    assert anna.page.evaluate(ask, ["POST", ending]) == 204
    anna.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    anna.page.get_by_role("button", name="Start it again").wait_for()
    # So does one that a service started anew does not know any more.
    anna.page.evaluate("document.getElementById('geoloom-ended').hidden = true")
    anna.context.clear_cookies()
    anna.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    anna.page.get_by_role("button", name="Start it again").wait_for()
    # One that is closed ends its kernel by itself.
    for one in (anna, bert):
        one.page.goto(f"{stack.url}/services/apps/")
    opened = "fetch('/services/apps/health').then(answer => answer.json()).then(found => found.apps)"
    for one in (anna, bert):
        one.page.wait_for_function(f"() => {opened}.then(count => count === 0)")
        one.context.close()
