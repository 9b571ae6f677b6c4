"""Server processes: TiTiler, the engine with a Valkey of its own, and the processor time they have used."""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from geoloom.engine_client import EngineClient
from geoloom_engine.embedded import store

HERE = Path(__file__).resolve().parent
START_SECONDS = 180.0

REST_SECONDS = 0.25
"""A server that reads next to nothing for so long has loaded all its code."""

REST_BYTES = 20_000

# What TiTiler's documentation advises for local and remote COGs, and one thread, which costs least per tile.
TITILER_SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_CACHEMAX": "512",
    "GDAL_BAND_BLOCK_CACHE": "HASHSET",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
    "RIO_TILER_MAX_THREADS": "1",
    "NUMEXPR_MAX_THREADS": "1",
}

NODES = {
    "GEOLOOM_MEMORY": "4GB",
    "GEOLOOM_BLOCK_CACHE": "3GB",
    "GEOLOOM_TILE_CACHE": "0",
    "GEOLOOM_TILE_REDIS_URL": "",
}
"""Decoded blocks of all the benchmark's tiles and results of steps are kept, tiles are not."""

WARM = {**NODES, "GEOLOOM_NODE_CACHE": "0"}
"""Decoded blocks in memory, and nothing else."""

COLD = {**WARM, "GEOLOOM_BLOCK_CACHE": "0", "GEOLOOM_GDAL_CACHE": "1MB"}
"""Each tile is decoded from the files."""

AS_IT_COMES: Mapping[str, str] = {}
"""All caches, as installed."""


@dataclass
class Server:
    """A running server.

    Parameters
    ----------
    name
        What the report calls it.
    url
        Where it answers.
    process
        The head of its process tree.
    store
        The Valkey it uses, if any.
    ready_seconds
        From its start until it was ready.
    client
        Speaks to an engine.
    """

    name: str
    url: str
    process: subprocess.Popen[bytes]
    store: subprocess.Popen[bytes] | None = None
    ready_seconds: float = 0.0
    client: EngineClient | None = field(default=None, repr=False)

    @property
    def known(self) -> EngineClient:
        """The client of an engine."""
        if self.client is None:
            raise TypeError(f"{self.name} is no engine")
        return self.client

    def cpu(self) -> tuple[float, float]:
        """Seconds of processor time so far: of the server's process tree, and of its store."""
        return sum(map(_spent, tree(self.process.pid))), 0.0 if self.store is None else _spent(
            psutil.Process(self.store.pid)
        )

    def read(self) -> float:
        """Bytes the process tree has read so far, from files and sockets; 0 where that is not counted."""
        if not hasattr(psutil.Process, "io_counters"):
            return 0.0
        return float(sum(one.io_counters().read_chars for one in tree(self.process.pid)))

    def rest(self) -> None:
        """Wait until it reads nothing any more: a ready engine goes on to load compiled code for a while."""
        before, now = -math.inf, self.read()
        deadline = time.monotonic() + START_SECONDS
        while now - before > REST_BYTES and time.monotonic() < deadline:
            time.sleep(REST_SECONDS)
            before, now = now, self.read()

    def resident(self) -> float:
        """Memory in MB, pages that workers share counted for each."""
        return float(sum(one.memory_info().rss for one in tree(self.process.pid)) / 2**20)

    def fetch(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case and body of an answer."""
        return ask(self.url, path)


def ask(url: str, path: str, timeout: float = 60.0) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case and body of an answer to a GET on a new connection."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    head = psutil.Process(pid)
    return [head, *head.children(recursive=True)]


def _spent(process: psutil.Process) -> float:
    used = process.cpu_times()
    spent: float = used.user + used.system
    return spent


@contextlib.contextmanager
def titiler(environment: Path, workers: int = 1) -> Iterator[Server]:
    """TiTiler under uvicorn, from its own virtual environment."""
    port = free_port()
    command = [
        str(environment / "bin" / "uvicorn"),
        "bench.titiler_app:app",
        *("--app-dir", str(HERE.parent), "--port", str(port), "--workers", str(workers)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    begun = time.monotonic()
    url = f"http://127.0.0.1:{port}"
    with running(command, {**plain_environment(), **TITILER_SETTINGS}) as process:
        wait_until(lambda: answers(url, "/ping"), "TiTiler", process)
        yield Server("TiTiler", url, process, ready_seconds=time.monotonic() - begun)


@contextlib.contextmanager
def engine(name: str, settings: Mapping[str, str], sources: Path, workers: int = 1) -> Iterator[Server]:
    """The real engine: supervisor, workers, a token and a Valkey of its own."""
    token = secrets.token_hex(16)
    with valkey() as (place, server):
        environment = {
            **plain_environment(),
            "GEOLOOM_REDIS_URL": f"unix://{place}",
            "GEOLOOM_TOKEN": token,
            "GEOLOOM_SOURCES": str(sources),
            "GEOLOOM_LOG_LEVEL": "warning",
            **settings,
        }
        command = [sys.executable, "-m", "geoloom_engine", "--port", "0", "--workers", str(workers)]
        begun = time.monotonic()
        with running(command, environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            words = process.stdout.readline().decode().split()
            if "on" not in words:
                raise RuntimeError(f"the engine did not start: {' '.join(words)}")
            url = words[words.index("on") + 1]
            # Each worker warms up by itself, and a new connection may come to any of them.
            wait_until(lambda: all(answers(url, "/readyz") for _ in range(8 * workers - 7)), name, process)
            client = EngineClient(url, token)
            yield Server(name, url, process, server, time.monotonic() - begun, client)
            client.close()


@contextlib.contextmanager
def valkey() -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A Valkey that keeps nothing on disk: its socket and process."""
    # Paths of sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="gl-bench-", dir="/tmp"))
    place = folder / "valkey.sock"
    command = [
        str(store.program()),
        "--port",
        "0",
        "--unixsocket",
        str(place),
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    try:
        with running(command, plain_environment(), stdout=subprocess.DEVNULL) as process:
            wait_until(lambda: store.ping(place), "Valkey", process)
            yield place, process
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended, with all below it, at the end."""
    process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stdout)
    try:
        yield process
    finally:
        family = tree(process.pid) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=15)
        for one in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def plain_environment() -> dict[str, str]:
    """This process's environment without what would tune one of the servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GEOLOOM_", "OPENBLAS_", "GDAL_", "VSI_", "CPL_", "RIO_TILER_"))
    }


def answers(url: str, path: str) -> bool:
    """Whether a server answers with 200."""
    try:
        return ask(url, path, timeout=5)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def wait_until(holds: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server does what it should; raises RuntimeError when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} was not ready within {START_SECONDS:g} s")
        time.sleep(0.02)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
