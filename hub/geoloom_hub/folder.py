"""The hub's state in one folder, private to whoever runs it.

::

    secrets.json            passwords, tokens, signing key: made once
    ports.json              ports of the parts, kept so that users' servers find a restarted hub
    jupyterhub.sqlite       users, servers, tokens
    jupyterhub_config.d/    the operator's own configuration
    chains/                 the chains' Valkey
    catalog/                collections for everybody, made by `geoloom ingest --catalog`
    shared/                 data for everybody: the engine may read it
    users/                  home folders, where users are no system users
    log/                    what each part prints
    run/                    who runs: one lock per part, and status.json
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDERS = ("run", "log", "users", "chains", "catalog", "indexes", "shared", "jupyterhub_config.d")
SECRETS = {
    "engine": 32,
    "signing_key": 32,
    "metrics": 32,
    "proxy": 32,
    "chains": 32,
    "tiles": 32,
    "usage": 32,
    "apps": 32,
    "supervisor": 32,
    "culler": 32,
    "crypt_key": 32,
    "mark": 16,
    "password": 6,
    "admin_password": 16,
}
"""Bytes of each secret; the two passwords are for people, who may have to type the first."""
PORTS = ("public", "proxy", "hub", "engine", "apps", "usage", "chains", "tiles")


@dataclass(slots=True)
class Folder:
    """The folder, its secrets and ports; `open` makes what is not there yet."""

    path: Path
    secrets: dict[str, str] = field(repr=False)
    ports: dict[str, int]

    @classmethod
    def open(cls, path: Path, port: int) -> Folder:
        """Open the folder for a hub that listens on `port`, or on a free one (0)."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        for name in FOLDERS:
            (path / name).mkdir(mode=0o700, exist_ok=True)
        kept = _read(path / "secrets.json")
        found = {name: str(kept.get(name) or secrets.token_hex(size)) for name, size in SECRETS.items()}
        if found != kept:
            write(path / "secrets.json", found)
        ports = _ports(_read(path / "ports.json"), port)
        write(path / "ports.json", ports)
        return cls(path, found, ports)

    def url(self, name: str) -> str:
        """Where a part listens."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def lock(self, name: str) -> Path:
        """The file that a part holds while it lives."""
        return self.path / "run" / f"{name}.lock"

    def log(self, name: str) -> Path:
        """What a part prints."""
        return self.path / "log" / f"{name}.log"

    def status(self) -> dict[str, Any]:
        """What the supervisor wrote last; empty if none runs."""
        return _read(self.path / "run" / "status.json")


def write(path: Path, content: object) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    draft.replace(path)


def holder(lock: Path) -> int | None:
    """The process that holds a lock: the one that was started with it, or what that has left behind."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(ValueError):
            return int(os.pread(descriptor, 20, 0))
    finally:
        os.close(descriptor)
    return None


@contextlib.contextmanager
def hold(lock: Path) -> Iterator[int]:
    """Take a lock for a process that is being started; gives a descriptor that it must inherit.

    Raises
    ------
    BlockingIOError
        Somebody holds it.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def name_holder(descriptor: int, pid: int) -> None:
    """Write into a lock who holds it."""
    os.pwrite(descriptor, f"{pid}\n".encode(), 0)


def free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens on a port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _ports(kept: dict[str, Any], public: int) -> dict[str, int]:
    """The ports used before, and free ones for what is new."""
    found = {name: kept[name] for name in PORTS if isinstance(kept.get(name), int)}
    if public:
        found["public"] = public
    with contextlib.ExitStack() as probes:
        for name in PORTS:
            if name not in found:
                # Held until all are found, so that no two are the same.
                probe = probes.enter_context(socket.socket())
                probe.bind(("127.0.0.1", 0))
                found[name] = probe.getsockname()[1]
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
