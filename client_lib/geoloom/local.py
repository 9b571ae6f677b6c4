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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from geoloom._version import __version__
from geoloom.errors import EngineUnreachable

if os.name == "posix":
    import fcntl

__all__ = ["Endpoint", "data_folder", "ensure", "release", "runtime_folder"]

START_SECONDS = 20.0
"""How long `ensure` waits for the engine."""

FRESH_SECONDS = 3.0
"""How long a verified endpoint is returned without looking again."""

SOCKET_PATH_BYTES = 100
"""Longest path of a Unix socket that every system takes (macOS: 104 with the final zero)."""

LOG_BYTES = 1_000_000
"""Size beyond which the log is set aside when an engine starts."""

PRIVATE_PREFIXES = ("JPY_", "JUPYTER_", "JUPYTERHUB_")
"""Variables of one kernel, its secrets among them, that the engine of all kernels must not inherit."""


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
        self.descriptors: set[int] = set()
        self.path: Path | None = None
        self.descriptor = -1
        self.endpoint: Endpoint | None = None
        self.verified = 0.0

    def take(self, folder: Path) -> None:
        """Hold a lease in `folder`; call with the folder's lock held."""
        if (
            self.path is not None
            and self.path.parent.parent == folder
            and _same_file(self.path, self.descriptor)
        ):
            return
        self.drop()
        leases = folder / "leases"
        leases.mkdir(mode=0o700, exist_ok=True)
        path = leases / f"{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.descriptors.add(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.path, self.descriptor = path, descriptor

    def drop(self) -> None:
        """Give the lease up."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.descriptors.discard(self.descriptor)
            os.close(self.descriptor)
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
            if _answers(known):
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
        if (folder / "lock").exists() and not _held(folder / "supervisor"):
            with _locked(time.monotonic() + 1.0) as folder:
                _sweep(folder)


def runtime_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder in which the kernels of this user, environment and version meet; not created here.

    Below ``$XDG_RUNTIME_DIR`` where that is the user's and short enough for a socket, else in /tmp.
    """
    environ = os.environ if environ is None else environ
    name = hashlib.sha256(f"{sys.prefix}\0{__version__}".encode()).hexdigest()[:8]
    base = Path(environ.get("XDG_RUNTIME_DIR") or "/nowhere")
    folder = base / f"geoloom-{name}"
    if len(os.fsencode(folder / "valkey.sock")) <= SOCKET_PATH_BYTES and base.is_dir():
        status = base.stat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022:
            return folder
    return Path("/tmp") / f"geoloom-{os.getuid()}-{name}"  # noqa: S108


def data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of this user and environment for saved chains, port and signing key; not created here.

    It does not depend on the version: an update of Geoloom keeps what was saved.
    """
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or Path.home())
    if environ.get("XDG_DATA_HOME"):
        base = Path(environ["XDG_DATA_HOME"])
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = home / ".local" / "share"
    return base / "geoloom" / hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]


def _find_or_start(folder: Path, deadline: float) -> Endpoint:
    started = False
    while True:
        if _held(folder / "supervisor"):
            endpoint = _read_endpoint(folder)
            if endpoint is not None and _answers(endpoint):
                return endpoint
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
    command += ["--runtime", str(folder), "--data", str(data_folder())]
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


@contextmanager
def _locked(deadline: float) -> Iterator[Path]:
    """Hold the lock of the runtime folder, which is created if it is missing."""
    if os.name != "posix":
        raise EngineUnreachable(
            "The embedded engine runs on Linux and macOS.",
            hint="On Windows use WSL 2, "
            "or set GEOLOOM_ENGINE_URL and GEOLOOM_TOKEN to use an engine elsewhere.",
        )
    folder = runtime_folder()
    while True:
        _make_private(folder)
        try:
            descriptor = os.open(
                folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except FileNotFoundError:
            continue
        _lease.descriptors.add(descriptor)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise _unreachable(
                            "is still being started or ended by another process", folder
                        ) from None
                    time.sleep(0.02)
            # An ending engine removes the folder, its lock included: then this lock guards nothing.
            if _same_file(folder / "lock", descriptor):
                yield folder
                return
        finally:
            _lease.descriptors.discard(descriptor)
            os.close(descriptor)


def _make_private(folder: Path) -> None:
    """Create the runtime folder, or check that nobody else can write into it."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise EngineUnreachable(f"The folder {folder} cannot be created: {error.strerror}.") from error
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if folder.is_symlink():
        wrong = "is a symbolic link"
    elif not folder.is_dir():
        wrong = "is not a folder"
    elif status.st_uid != os.getuid():
        wrong = f"belongs to another user (id {status.st_uid})"
    elif status.st_mode & 0o077:
        wrong = f"is open to other users (mode {status.st_mode & 0o777:o})"
    else:
        return
    raise EngineUnreachable(
        f"The folder {folder}, where the embedded engine keeps its secret, {wrong}.",
        hint="Remove it, or set XDG_RUNTIME_DIR to a private folder.",
    )


def _sweep(folder: Path) -> None:
    """Remove what a killed supervisor left, if nobody uses it; call with the folder's lock held."""
    leases = folder / "leases"
    if _held(folder / "supervisor") or (leases.is_dir() and any(_held(lease) for lease in leases.iterdir())):
        return
    shutil.rmtree(folder, ignore_errors=True)


def _held(path: Path) -> bool:
    """Whether a living process holds an advisory lock on the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _same_file(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _read_endpoint(folder: Path) -> Endpoint | None:
    try:
        found = json.loads((folder / "engine.json").read_text())
        return Endpoint(str(found["url"]), str(found["token"]), int(found["pid"]), str(found["nonce"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
    """In a forked child: let go of the parent's lease and locks, which would outlive the parent here."""
    global _lease
    for descriptor in _lease.descriptors:
        os.close(descriptor)
    _lease = _Lease()


if os.name == "posix":
    os.register_at_fork(after_in_child=_forget)
atexit.register(release)
