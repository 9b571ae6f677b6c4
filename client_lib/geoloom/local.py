"""The embedded engine: finds the user's own engine on this machine, or starts it.

All kernels of one user, Python environment and Geoloom version share one engine. They meet in a
*runtime folder*, private to the user::

    lock            held while an engine is looked for, started or ended
    supervisor      held by the living supervisor (`geoloom_engine.embedded`)
    engine.json     where the engine is, and its secret
    engine.log      what supervisor, engine and Valkey print
    leases/         one file per kernel, held by it: the engine ends some time after the last one
    valkey.sock     the embedded store

"Held" means an advisory lock (flock), which the operating system releases however a process ends.
What lives longer (saved chains, port, signing key) is in the *data folder*.
"""

from __future__ import annotations

import atexit
import hashlib
import http.client
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from geoloom import runtime_folder
from geoloom.errors import EngineUnreachable

__all__ = ["Endpoint", "ensure", "release"]

START_SECONDS = 45.0
"""How long `ensure` waits for the engine: a first import from a cold network disk takes its time."""

FRESH_SECONDS = 3.0
"""How long a verified endpoint is returned without looking again."""

LOG_BYTES = 1_000_000
"""Size beyond which the log is set aside when an engine starts."""

PRIVATE_PREFIXES = ("JPY_", "JUPYTER_", "JUPYTERHUB_")
"""Variables of one kernel, its secrets among them, that the engine of all kernels must not inherit."""

OWN_VARIABLES = (
    "GEOLOOM_ENGINE_URL",
    "GEOLOOM_TILES_URL",
    "GEOLOOM_HOME",
    "GEOLOOM_TOKEN",
    "GEOLOOM_TOKEN_FROM",
    "GEOLOOM_LINGER",
)
"""Variables of the client, of which the engine knows nothing."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine is and how to speak to it.

    Parameters
    ----------
    url
        Base URL without a final slash, as this process reaches it.
    token
        Session secret, for the header ``Authorization: Bearer …`` only.
    pid
        Process that supervises the engine.
    nonce
        The name by which the engine answers to ``GET /healthz``.
    """

    url: str
    token: str = field(repr=False)
    pid: int
    nonce: str


class _Lease:
    """The share of one process in the engine; a forked child starts without one."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.path: Path | None = None
        self.descriptor = -1
        self.endpoint: Endpoint | None = None
        self.verified = 0.0

    def take(self, folder: Path) -> None:
        """Hold a lease in `folder`; call with the folder's lock held."""
        leases = folder / "leases"
        leases.mkdir(mode=0o700, exist_ok=True)
        if (
            self.path is not None
            and self.path.parent == leases
            and runtime_folder.still_there(self.path, self.descriptor)
        ):
            return
        self.drop()
        for lease in leases.iterdir():
            if not runtime_folder.held(lease):
                lease.unlink()
        path = leases / f"{os.getpid()}-{secrets.token_hex(4)}"
        self.descriptor = runtime_folder.hold(path, time.monotonic() + 1.0)
        self.path = path

    def supervised(self) -> bool:
        """Whether a supervisor lives in the folder of the lease."""
        return self.path is not None and runtime_folder.held(self.path.parent.parent / "supervisor")

    def drop(self) -> None:
        """Give the lease up."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            runtime_folder.let_go(self.descriptor)
        self.path, self.descriptor, self.endpoint = None, -1, None


_lease = _Lease()


def ensure(*, verify: bool = False) -> Endpoint:
    """Find the running embedded engine or start one, and hold a lease on it for this process.

    Cheap when the engine runs: it is asked for its health at most every few seconds.

    Parameters
    ----------
    verify
        Ask the engine even if it was well a moment ago; for use after a failed request.

    Raises
    ------
    EngineUnreachable
        No engine came up in time; the message ends with the last lines of its log.
    """
    with _lease.guard:
        known = _lease.endpoint
        if known is not None:
            if not verify and time.monotonic() - _lease.verified < FRESH_SECONDS:
                return known
            # Workers of a killed supervisor may answer for a moment more.
            if _lease.supervised() and _answers(known):
                _lease.verified = time.monotonic()
                return known
        deadline = time.monotonic() + START_SECONDS
        with _locked(deadline) as folder:
            _lease.take(folder)
            try:
                _lease.endpoint = _find_or_start(folder, deadline)
            except BaseException:
                _lease.drop()
                _sweep(folder)
                raise
        _lease.verified = time.monotonic()
        return _lease.endpoint


def release() -> None:
    """Give up this process's lease; the engine ends some time after the last one."""
    with _lease.guard:
        if _lease.path is None:
            return
        folder = _lease.path.parent.parent
        _lease.drop()
        if (folder / "lock").exists() and not runtime_folder.held(folder / "supervisor"):
            with suppress(EngineUnreachable), _locked(time.monotonic() + 1.0) as folder:
                _sweep(folder)


def _find_or_start(folder: Path, deadline: float) -> Endpoint:
    started = False
    while True:
        if runtime_folder.held(folder / "supervisor"):
            found = _read(folder)
            if found is not None and _answers(found[0]):
                if not started:
                    _warn_of_other_settings(found[1])
                return found[0]
            if time.monotonic() > deadline:
                raise _unreachable(f"did not answer within {START_SECONDS:g} s", folder)
            time.sleep(0.02)
        elif started:
            raise _unreachable("ended while it was starting", folder)
        else:
            _start(folder)
            started = True


def _start(folder: Path) -> None:
    """Start a supervisor; returns once it holds its lock or has failed."""
    if importlib.util.find_spec("geoloom_engine") is None:
        raise EngineUnreachable(
            "The tile engine is not installed in this Python environment.",
            hint="Install it with: pip install 'geoloom[engine]', "
            "or set GEOLOOM_ENGINE_URL and GEOLOOM_TOKEN to use another one.",
        )
    log = folder / "engine.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(folder / "engine.log.1")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE_PREFIXES)}
    command = [sys.executable, "-P", "-m", "geoloom_engine.embedded"]
    command += ["--runtime", str(folder), "--data", str(runtime_folder.data_path())]
    if "GEOLOOM_LINGER" in environment:
        command += ["--linger", environment.pop("GEOLOOM_LINGER")]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # The child forks the supervisor proper and exits, so that no zombie is left in the kernel;
        # in a session of its own it survives Jupyter's killing of the kernel's process group.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=environment,
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    try:
        process.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _sweep(folder: Path) -> None:
    """Remove what a killed supervisor left, if nobody uses it; call with the folder's lock held."""
    leases = folder / "leases"
    if runtime_folder.held(folder / "supervisor") or (
        leases.is_dir() and any(runtime_folder.held(lease) for lease in leases.iterdir())
    ):
        return
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(deadline: float) -> Iterator[Path]:
    try:
        with runtime_folder.locked(deadline) as folder:
            yield folder
    except TimeoutError:
        raise _unreachable(
            "is still being started or ended by another process", runtime_folder.runtime_path()
        ) from None


def _read(folder: Path) -> tuple[Endpoint, dict[str, str]] | None:
    """What the supervisor wrote: where the engine is, and hashes of the settings it was started with."""
    try:
        found = json.loads((folder / "engine.json").read_text())
        endpoint = Endpoint(str(found["url"]), str(found["token"]), int(found["pid"]), str(found["nonce"]))
        return endpoint, dict(found["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _warn_of_other_settings(started_with: dict[str, str]) -> None:
    """Say which settings of this kernel the running engine, started by another, does not follow."""
    ignored = [
        name
        for name, value in sorted(os.environ.items())
        if name.startswith("GEOLOOM_")
        and name not in OWN_VARIABLES
        and hashlib.sha256(value.encode()).hexdigest() != started_with.get(name)
    ]
    if ignored:
        warnings.warn(
            f"The embedded engine was started by another kernel without your {', '.join(ignored)}. "
            "End all kernels that use it to change its settings.",
            stacklevel=4,
        )


def _answers(endpoint: Endpoint) -> bool:
    """Whether the engine itself, not another server on its port, says that it lives."""
    connection = http.client.HTTPConnection(urlsplit(endpoint.url).netloc, timeout=2.0)
    try:
        connection.request("GET", "/healthz")
        answer = json.loads(connection.getresponse().read(10_000))
        return isinstance(answer, dict) and answer.get("engine") == endpoint.nonce
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _unreachable(what: str, folder: Path) -> EngineUnreachable:
    try:
        lines = (folder / "engine.log").read_text(errors="replace").strip().splitlines()[-15:]
    except OSError:
        lines = []
    log = "\n".join(["", "The end of its log:", *lines]) if lines else ""
    return EngineUnreachable(
        f"The embedded engine {what}.{log}",
        hint=None if log else "Set GEOLOOM_ENGINE_URL and GEOLOOM_TOKEN to use an engine elsewhere.",
    )


def _forget() -> None:
    """In a forked child: the lease is the parent's."""
    global _lease
    _lease = _Lease()


if os.name == "posix":
    os.register_at_fork(after_in_child=_forget)
atexit.register(release)
