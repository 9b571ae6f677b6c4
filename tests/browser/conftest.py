"""A real JupyterLab and a real browser."""

from __future__ import annotations

import ast
import contextlib
import http.client
import json
import math
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "notebooks" / "data"
ARTEFACTS = ROOT / "tests" / "artefacts"
SECONDS = 40.0
HALF = 20037508.342789244
"""Half the width of the Web Mercator map in metres."""


def chromium_path() -> str | None:
    """Debian's chromium, if it is installed."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if chromium_path() is None:
        missing = pytest.mark.skip(reason="chromium is not installed (apt-get install chromium)")
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(missing)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless chromium; while it is open, Playwright's event loop counts as running in this thread."""
    from playwright.sync_api import sync_playwright

    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
    ]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
        yield launched
        launched.close()


@dataclass
class Lab:
    """A running JupyterLab with folders of its own."""

    folder: Path
    url: str
    token: str
    environment: dict[str, str] = field(repr=False)

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, self.folder / name)
        return name

    def api(self, method: str, path: str) -> Any:
        """Ask the Jupyter server itself."""
        host, _, base = self.url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request(method, f"/{base}{path}", headers={"Authorization": f"token {self.token}"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, json.loads(body) if body else None


@pytest.fixture(scope="session")
def start_lab() -> Iterator[Callable[..., Lab]]:
    """Start JupyterLab servers; all are ended, with their engines, when the session ends."""
    with contextlib.ExitStack() as stack:

        def start(base_url: str = "/", **environment: str) -> Lab:
            return stack.enter_context(running_lab(base_url, environment))

        yield start


@pytest.fixture(scope="session")
def lab(start_lab: Callable[..., Lab]) -> Lab:
    """A JupyterLab at the root of its host."""
    return start_lab()


@contextlib.contextmanager
def running_lab(base_url: str, extra: dict[str, str]) -> Iterator[Lab]:
    """JupyterLab as a process; the folder is short because sockets live below it."""
    home = Path(tempfile.mkdtemp(prefix="gl-lab-", dir="/tmp"))
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "XDG_DATA_HOME": str(home / "data"),
        # Compiled code is shared with the machine's other runs: compiling takes longer than the tests.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "JUPYTER_RUNTIME_DIR": str(home / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "jupyter-data"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "GEOLOOM_LINGER": "1",
        # A cell that asks for values fails where a person would try again; here the machine may be busy.
        "GEOLOOM_QUEUE_TIMEOUT": "60s",
        "GEOLOOM_FUNCTION_TIMEOUT": "60s",
        **extra,
    }
    for name in ("GEOLOOM_ENGINE_URL", "GEOLOOM_TOKEN", "JPY_PARENT_PID"):
        environment.pop(name, None)
    notebooks = home / "notebooks"
    for folder in (home / "run", notebooks):
        folder.mkdir(mode=0o700)
    (notebooks / "data").symlink_to(DATA)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, notebooks)
    quiet = home / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    settings = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (quiet / "notification.jupyterlab-settings").write_text(json.dumps(settings))
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={base_url}",
        f"--ServerApp.root_dir={notebooks}",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
    ]
    log = (home / "lab.log").open("wb")
    process = subprocess.Popen(command, env=environment, cwd=notebooks, stdout=log, stderr=log)
    found = Lab(notebooks, f"http://127.0.0.1:{port}{base_url}", token, environment)
    try:
        wait_for(lambda: answers(found), f"JupyterLab; its log: {home / 'lab.log'}")
        yield found
        for session in found.api("GET", "api/sessions")[1]:
            found.api("DELETE", f"api/sessions/{session['id']}")
    finally:
        process.terminate()
        process.wait(20)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


def answers(lab: Lab) -> bool:
    try:
        return bool(lab.api("GET", "api/status")[0] == 200)
    except (OSError, http.client.HTTPException):
        return False


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(holds: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait until something holds, and give it."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.05)
    return found


class NotebookPage:
    """A notebook open in JupyterLab, and what its page asked of the network."""

    def __init__(self, context: Any, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.requests: list[str] = []
        self.foreign: list[str] = []
        self.tiles: list[tuple[str, int]] = []
        self.host = lab.url.split("/")[2]
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("response", self._answered)
        context.route(
            lambda url: not url.startswith((f"http://{self.host}/", "data:", "blob:")), self._refuse
        )
        self.page = context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.goto(f"{lab.url}lab/tree/{name}?token={lab.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.until(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

    def _answered(self, response: Any) -> None:
        if "/tiles/" in response.url:
            self.tiles.append((response.url, response.status))

    def _refuse(self, route: Any) -> None:
        self.foreign.append(route.request.url)
        route.abort()

    def until(self, script: str, seconds: float = SECONDS) -> None:
        """Wait until an expression of the page's script is true."""
        self.page.wait_for_function(script, timeout=seconds * 1000)

    def wait(self, holds: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """Wait until something holds, while the page goes on."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, f"gave up waiting for {what}"
            self.page.wait_for_timeout(50)
        return found

    def command(self, name: str) -> None:
        """Run one of JupyterLab's commands and wait for its end."""
        self.page.evaluate("(name) => window.jupyterapp.commands.execute(name).then(() => null)", name)

    def run_all(self) -> None:
        """Run all cells and wait for the last."""
        self.command("notebook:run-all-cells")
        assert self.errors() == []

    def as_shown(self, path: Path, shape: tuple[int, int], **how: Any) -> tuple[Any, Callable[..., Any]]:
        """A file's pixels (bands, rows, cols) where the map `m` shows them, by GDAL; `how` is its `Warp`'s.

        The second is a function: degrees east and north of the middle of a pixel (col, row) of the map.
        """
        from osgeo import gdal

        (lat, lon), zoom = self.run(value="(list(m.center), m.zoom)")
        rows, cols = shape
        resolution = 2 * HALF / (256 * 2**zoom)
        north = math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)) / math.pi * HALF
        x0, y0 = lon / 180 * HALF - cols / 2 * resolution, north + rows / 2 * resolution
        pixels = gdal.Warp(
            "",
            str(path),
            format="MEM",
            dstSRS="EPSG:3857",
            outputBounds=(x0, y0 - rows * resolution, x0 + cols * resolution, y0),
            width=cols,
            height=rows,
            resampleAlg="bilinear",
            **how,
        ).ReadAsArray()

        def degrees(col: int, row: int) -> tuple[float, float]:
            x, y = x0 + (col + 0.5) * resolution, y0 - (row + 0.5) * resolution
            return x / HALF * 180, math.degrees(math.atan(math.sinh(y / HALF * math.pi)))

        return pixels, degrees

    def run(self, code: str = "", value: str = "None") -> Any:
        """Run code in the notebook's kernel; gives the value of an expression, which must be a literal."""
        answer = self.page.evaluate(
            """async ([code, value]) => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const reply = await kernel.requestExecute({code, user_expressions: {value}}).done;
                return reply.content;
            }""",
            [code, value],
        )
        assert answer["status"] == "ok", answer
        found = answer["user_expressions"]["value"]
        assert found["status"] == "ok", found
        return ast.literal_eval(found["data"]["text/plain"])

    def errors(self) -> list[str]:
        """Tracebacks in the notebook's outputs."""
        return self.page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells
                .flatMap(cell => cell.outputs || []).filter(output => output.output_type === 'error')
                .map(output => output.evalue)"""
        )

    def restart(self) -> None:
        """Restart the kernel, confirming the question."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('kernelmenu:restart'); }")
        self.page.click(".jp-Dialog .jp-mod-accept")
        self.page.wait_for_selector(".jp-Dialog", state="detached")
        self.until("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'")

    def saved(self) -> str:
        """The notebook as it stands on disk after saving."""
        self.command("docmanager:save")
        return (self.lab.folder / self.name).read_text()

    def loaded(self, key: str = "") -> set[str]:
        """URLs of tiles that arrived, of one chain or all."""
        return {url for url, status in self.tiles if status == 200 and f"/tiles/{key}" in url}

    def wait_for_tiles(self, key: str = "", count: int = 8) -> None:
        """Wait until a layer's tiles have arrived."""
        self.wait(lambda: len(self.loaded(key)) >= count, f"{count} tiles of {key or 'any layer'}")
        self.page.wait_for_function("() => !document.querySelector('.geoloom-panel svg')")

    def secrets(self) -> set[str]:
        """Everything that opens something: the server's token, the engine's, and the layers' rights."""
        found = {self.lab.token}
        for url in self.requests:
            found |= set(parse_qs(urlsplit(url).query).get("c", []))
        for endpoint in (self.lab.folder.parent / "run").glob("geoloom-*/engine.json"):
            found.add(json.loads(endpoint.read_text())["token"])
        return found

    def map(self, index: int = 0) -> Any:
        """A map on the page, scrolled into view."""
        found = self.page.locator(".leaflet-container").nth(index)
        found.scroll_into_view_if_needed()
        return found

    def picture(self, name: str, index: int = 0) -> Path:
        """A screenshot of a map, kept as an artefact."""
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.map(index).screenshot(path=path)
        return path


@pytest.fixture
def open_notebook(browser: Any) -> Iterator[Callable[..., NotebookPage]]:
    """Open a notebook: `open_notebook(lab, name)`; its kernel is ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(lab: Lab, name: str, **options: Any) -> NotebookPage:
            context = stack.enter_context(
                contextlib.closing(browser.new_context(viewport={"width": 1280, "height": 900}, **options))
            )
            return NotebookPage(context, lab, name)

        yield start
