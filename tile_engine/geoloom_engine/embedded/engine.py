"""The embedded engine: its settings, its port, and how kernels are told where it is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
import zlib
from pathlib import Path

from geoloom.runtime_folder import catalog_path
from geoloom_engine.embedded.child import Child, StartError
from geoloom_engine.machine import Machine

MOST_WORKERS = 4
SOURCES = "/,http://,https://,s3://"
"""Everything: the user's own rights on the machine are the limit."""

log = logging.getLogger("geoloom.embedded")


class Engine(Child):
    """The tile engine and its workers."""

    name = "the engine"

    def __init__(
        self, runtime: Path, data: Path, claim: int, successor: list[str], redis_url: str | None
    ) -> None:
        super().__init__()
        self.runtime, self.data, self.claim, self.successor = runtime, data, claim, successor
        self.token, self.nonce = secrets.token_urlsafe(32), secrets.token_hex(16)
        self.port = _read_port(data / "port")
        self.lifeline = -1
        self.relaunched = False
        self.failures = 0
        self.added = {
            "GEOLOOM_TOKEN": self.token,
            "GEOLOOM_NONCE": self.nonce,
            "GEOLOOM_SIGNING_KEY": _signing_key(data / "signing.key"),
        }
        machine = Machine.here()
        workers = min(machine.workers, MOST_WORKERS)
        defaults = {
            "GEOLOOM_SOURCES": SOURCES,
            "GEOLOOM_CATALOGS": f"local={catalog_path()}",
            "GEOLOOM_WORKERS": str(workers),
            # The kernels beside it need memory too, in a container of one user's as on a laptop.
            "GEOLOOM_MEMORY": str(machine.per_worker(workers, alone=False)),
            "GEOLOOM_DRAIN_TIMEOUT": "3s",
        }
        if sys.platform != "linux":
            # There is nothing to lock a process in with; whoever wrote a function may run it here anyway.
            defaults["GEOLOOM_FUNCTIONS"] = "trusted"
        if redis_url is not None:
            defaults["GEOLOOM_REDIS_URL"] = redis_url
        self.added |= {name: value for name, value in defaults.items() if name not in os.environ}
        # Kernels with other settings can tell; hashed, since an address may hold a password.
        self.settings = {
            name: hashlib.sha256(value.encode()).hexdigest()
            for name, value in os.environ.items()
            if name.startswith("GEOLOOM_") and name not in self.added
        }

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the engine on its usual port, or on another if somebody else has taken that."""
        # A worker just killed, or of a supervisor that was, may take a moment to let go of the port.
        self.port = _choose_port(self.port, 3.0 if self.relaunched else 1.5)
        self.relaunched = True
        (self.data / "port").write_text(f"{self.port}\n")
        reading, self.lifeline = os.pipe()
        command = [
            sys.executable,
            "-P",
            "-m",
            "geoloom_engine.embedded.lifeline",
            str(reading),
            str(self.claim),
        ]
        command += [",".join(self.added), *self.successor, "--", "geoloom_engine"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.added,
                pass_fds=(reading, self.claim),
                process_group=0,
            )
        finally:
            os.close(reading)

    def works(self) -> bool:
        """Whether it answers with its nonce; then kernels are told where it is."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=1.0) as answer:
                nonce = json.loads(answer.read(10_000)).get("engine")
        except (OSError, ValueError, AttributeError):
            return False
        if nonce != self.nonce:
            return False
        if not self.ready:
            self._announce()
        return True

    def failed(self) -> None:
        """Try once more, since a busy machine may be the reason, and as long as the port is not free."""
        self.failures += 1
        if self.failures > 1 and _free(self.port):
            raise StartError("The engine does not start")

    def end(self) -> None:
        """End it; only then the lifeline, so that it does not take over as supervisor."""
        super().end()
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def _announce(self) -> None:
        url = f"http://127.0.0.1:{self.port}"
        found: dict[str, object] = {"url": url, "token": self.token, "pid": os.getpid(), "nonce": self.nonce}
        found["settings"] = self.settings
        draft = self.runtime / "engine.json.new"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(found, file)
        draft.replace(self.runtime / "engine.json")


def _signing_key(path: Path) -> str:
    """The user's key for layer URLs, made on first use."""
    with contextlib.suppress(OSError):
        key = path.read_text().strip()
        if len(key) >= 64:
            return key
    path.unlink(missing_ok=True)
    key = secrets.token_hex(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
    return key


def _read_port(path: Path) -> int:
    """The port used last; at first one that depends on user and environment, below the ephemeral ones."""
    with contextlib.suppress(OSError, ValueError):
        port = int(path.read_text())
        if 1024 <= port <= 65535:
            return port
    return 20_000 + zlib.crc32(f"{os.getuid()} {sys.prefix}".encode()) % 10_000


def _choose_port(usual: int, wait: float) -> int:
    """`usual` if it is free or becomes free within `wait` seconds, else the next free one."""
    deadline = time.monotonic() + wait
    while True:
        if _free(usual):
            return usual
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for port in range(usual + 1, min(usual + 200, 65_536)):
        if _free(port):
            log.warning("Port %d is taken by another program; using %d. Reload open maps", usual, port)
            return port
    raise StartError(f"No port is free after {usual}")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
