"""What is soaked: processes that somebody keeps alive, and where each of them is found to be killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

from geoloom_engine.embedded.child import Child
from geoloom_engine.embedded.store import program
from soak.probes import Probe

READY_SECONDS = 240.0


class Deployment:
    """Where everything is.

    Parameters
    ----------
    tiles
        Where browsers find tiles.
    engine
        Where kernels find the engine.
    chains
        URL of the Valkey that keeps chains.
    secret
        The operator's.
    """

    kinds: tuple[str, ...] = (
        "engine worker",
        "sandboxed function",
        "sandbox",
        "Valkey tiles",
        "Valkey chains",
        "engine",
    )
    """What is killed."""

    def __init__(self, tiles: str, engine: str, chains: str, secret: str) -> None:
        self.tiles, self.engine, self.chains, self.secret = tiles, engine, chains, secret

    def token(self, user: int) -> str:
        """What a user's kernel shows to the engine."""
        return self.secret

    def roots(self) -> dict[str, int]:
        """Process ids of what is supervised, by name."""
        raise NotImplementedError

    def probes(self) -> list[Probe]:
        """Questions to what there is beside the engine."""
        return []

    def family(self) -> list[psutil.Process]:
        """Everything supervised, and what it has started."""
        found = []
        for pid in self.roots().values():
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(pid)
                found += [root, *root.children(recursive=True)]
        return found

    def stop(self) -> None:
        """End everything."""
        raise NotImplementedError

    def victims(self, kind: str) -> list[psutil.Process]:
        """The processes of a kind, as they are now."""
        with contextlib.suppress(psutil.Error, KeyError):
            return self._found(kind)
        return []

    def _found(self, kind: str) -> list[psutil.Process]:
        if kind in ("engine worker", "sandbox", "sandboxed function"):
            children = psutil.Process(self.roots()["engine"]).children()
            zygotes = [one for one in children if any("sandbox.zygote" in part for part in one.cmdline())]
            if kind == "engine worker":
                return [one for one in children if one not in zygotes]
            if kind == "sandbox":
                return zygotes
            return [worker for zygote in zygotes for worker in zygote.children()]
        return [psutil.Process(self.roots()[kind])]


class Valkey(Child):
    """A Valkey server at a port of this machine.

    Parameters
    ----------
    folder
        For what it writes; with None it writes nothing.
    """

    def __init__(self, name: str, port: int, folder: Path, options: dict[str, str]) -> None:
        super().__init__()
        self.name = name
        self._command = [str(program()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += [part for item in options.items() for part in (f"--{item[0]}", item[1])]
        self._port = port
        self._log = folder / f"{name.replace(' ', '-')}.log"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server."""
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, process_group=0)

    def works(self) -> bool:
        """Whether it has loaded its data."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1.0) as client:
                client.sendall(b"PING\r\n")
                return client.recv(100).startswith(b"+PONG")
        except OSError:
            return False


class Engine(Child):
    """An engine at a port of this machine."""

    name = "engine"

    def __init__(self, port: int, log: Path, settings: dict[str, str]) -> None:
        super().__init__()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GEOLOOM_")}
        given = {f"GEOLOOM_{name.upper()}": value for name, value in settings.items()}
        self._environment = kept | given
        self._command = [sys.executable, "-P", "-m", "geoloom_engine", "--port", str(port)]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it."""
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0,
            )  # fmt: skip

    def works(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/healthz")


class Bare(Deployment):
    """An engine of two workers and two Valkeys, without a hub.

    Parameters
    ----------
    folder
        For logs and data.
    sources
        What the engine may read.
    """

    def __init__(self, folder: Path, sources: Path) -> None:
        chains, tiles, port = free_port(), free_port(), free_port()
        url = f"http://127.0.0.1:{port}"
        secret = secrets.token_hex(16)
        super().__init__(url, url, f"redis://127.0.0.1:{chains}/0", secret)
        settings = {
            "workers": "2",
            "redis_url": self.chains,
            "tile_redis_url": f"redis://127.0.0.1:{tiles}/0",
            "token": secret,
            "signing_key": secrets.token_hex(32),
            "nonce": secrets.token_hex(8),
            "sources": str(sources),
            "capability_ttl": CAPABILITY_SECONDS,
        }
        self.log = folder / "engine.log"
        self._children: list[Child] = [
            Valkey("Valkey chains", chains, folder, KEPT),
            Valkey("Valkey tiles", tiles, folder, CACHED),
            Engine(port, self.log, settings),
        ]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._thread.start()
        wait_until(lambda: answers(f"{url}/readyz"), "the engine's start")

    def roots(self) -> dict[str, int]:
        """Process ids of the three."""
        return {one.name: one.process.pid for one in self._children if one.process is not None}

    def stop(self) -> None:
        """End everything."""
        self._ended.set()
        self._thread.join()

    def _supervise(self) -> None:
        while not self._ended.wait(0.05):
            for one in self._children:
                one.tend()
        for one in reversed(self._children):
            one.end()


CAPABILITY_SECONDS = "60"
"""Lifetime of a layer's URL: short, so that all are renewed while something is away."""

KEPT = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}
"""As on the hub and in the chart: with ``everysec`` Valkey may answer before it writes, on a busy disk."""
CACHED = {"save": "", "maxmemory": "256mb", "maxmemory-policy": "allkeys-lru"}


def answers(url: str) -> bool:
    """Whether something answers there with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(true: Callable[[], object], what: str, seconds: float = READY_SECONDS) -> None:
    """Wait for a condition; RuntimeError if it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.05)
