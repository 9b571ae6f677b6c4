"""The private folder in which a user's kernels and engine meet, and locks on its files.

A *held* file carries an advisory lock (flock), which the operating system releases however the holder ends.
A forked child would inherit locks and keep them after its parent's death: here it closes them at once.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from geoloom._version import __version__
from geoloom.errors import EngineUnreachable

if os.name == "posix":
    import fcntl

__all__ = ["catalog_path", "data_path", "held", "hold", "let_go", "locked", "runtime_path", "still_there"]

SOCKET_PATH_BYTES = 100
"""Longest path of a Unix socket that every system takes (macOS: 104 with the final zero)."""

_open: set[int] = set()


def runtime_path(environ: Mapping[str, str] | None = None) -> Path:
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


def data_path(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of this user and environment for saved chains, port and signing key; not created here.

    It does not depend on the version: an update of Geoloom keeps what was saved.
    """
    return _base(environ) / hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]


def catalog_path(environ: Mapping[str, str] | None = None) -> Path:
    """The catalogue of this user, whatever Python made it: where ``geoloom ingest`` puts collections."""
    return _base(environ) / "catalog"


def _base(environ: Mapping[str, str] | None) -> Path:
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or Path.home())
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]) / "geoloom"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "geoloom"
    return home / ".local" / "share" / "geoloom"


@contextmanager
def locked(deadline: float) -> Iterator[Path]:
    """Hold the lock of the runtime folder, which is created if it is missing.

    Parameters
    ----------
    deadline
        Until when to wait for the lock, by `time.monotonic`.

    Raises
    ------
    TimeoutError
        Another process keeps the lock.
    EngineUnreachable
        The folder is not safe, or this is Windows.
    """
    if os.name != "posix":
        raise EngineUnreachable(
            "The embedded engine runs on Linux and macOS.",
            hint="On Windows use WSL 2, "
            "or set GEOLOOM_ENGINE_URL and GEOLOOM_TOKEN to use an engine elsewhere.",
        )
    folder = runtime_path()
    while True:
        _make_private(folder)
        try:
            descriptor = hold(folder / "lock", deadline)
        except FileNotFoundError:
            continue
        try:
            # An ending engine removes the folder, its lock included: then this lock guards nothing.
            if still_there(folder / "lock", descriptor):
                yield folder
                return
        finally:
            let_go(descriptor)


def hold(path: Path, deadline: float) -> int:
    """Create the file if need be and lock it; the descriptor for `let_go`.

    Raises
    ------
    TimeoutError
        Another process keeps it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    _open.add(descriptor)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is held by another process.") from None
                time.sleep(0.02)
    except BaseException:
        let_go(descriptor)
        raise


def let_go(descriptor: int) -> None:
    """Release a file that this process holds."""
    if descriptor in _open:
        _open.discard(descriptor)
        os.close(descriptor)


def held(path: Path) -> bool:
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


def still_there(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


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


def _close_in_child() -> None:
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


if os.name == "posix":
    os.register_at_fork(after_in_child=_close_in_child)
