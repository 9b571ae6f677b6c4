"""Tries from inside a lock what nobody may do there: ``python -m geoloom_engine.sandbox.proof``.

It locks itself down as a worker of the sandbox does, tries, and tells on its output what succeeded, a line
each, and that it came to the end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geoloom_engine.sandbox.lock import LockLevel, available, lock

MEMORY = 64 << 20
SECONDS = 60.0
ANSWER = 1
"""The descriptor it answers on."""
END = "end"
PROGRAM = "run a program"
NONE = LockLevel(seccomp=False, landlock=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a process that was locked down here could still do.

    Parameters
    ----------
    level
        The layers of the lock.
    gained
        What was not refused, in words; all should be.
    reason
        Why there is less than could be, or why nothing could be tried; empty if neither.
    """

    level: LockLevel
    gained: tuple[str, ...]
    reason: str


def prove() -> Proof:
    """Try it in a process of its own: nothing of a lock can be taken back."""
    found = available()
    level = LockLevel(seccomp=found.seccomp, landlock=found.landlock_abi > 0)
    if not found.seccomp:
        return Proof(level, (), found.reason)
    try:
        # In a folder of its own, for what it must not be able to make.
        with tempfile.TemporaryDirectory() as folder:
            tried = subprocess.run(
                [sys.executable, "-P", "-m", __name__, "landlock" if level.landlock else ""],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
    except (OSError, subprocess.SubprocessError) as error:
        return Proof(NONE, (), f"The process that tries it failed: {error}.")
    gained = tried.stdout.decode().splitlines()
    if END not in gained:
        said = tried.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return Proof(NONE, (), f"The process that tries it ended with {tried.returncode}: {said}")
    return Proof(level, tuple(name for name in gained if name != END), found.reason)


def _file() -> object:
    return os.open("/", os.O_RDONLY)


def _new_file() -> object:
    return os.open("proof-of-the-sandbox", os.O_WRONLY | os.O_CREAT, 0o600)


def _processes() -> object:
    return list(Path("/proc").iterdir())


def _network() -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _local_sockets() -> object:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _process() -> object:
    child = os.fork()
    if not child:
        os._exit(0)
    return child


def _signal() -> object:
    os.kill(os.getppid(), 0)
    return True


def _environment() -> object:
    return dict(os.environ)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read a file": _file,
    "make a file": _new_file,
    "see other processes": _processes,
    "open a network socket": _network,
    "open a local socket": _local_sockets,
    "start a process": _process,
    "signal a process": _signal,
    "read the environment": _environment,
}


def main() -> None:
    """Lock this process down, try everything, and tell."""
    os.environ["GEOLOOM_PROOF"] = "secret"
    lock(LockLevel(landlock=sys.argv[1:] == ["landlock"]), MEMORY, [ANSWER])
    for name, attempt in ATTEMPTS.items():
        with contextlib.suppress(OSError):
            if attempt():
                os.write(ANSWER, f"{name}\n".encode())
    os.write(ANSWER, f"{END}\n".encode())
    # If this succeeds the process is another, which says what it is.
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, "-c", f"print({PROGRAM!r})"])  # noqa: S606


if __name__ == "__main__":
    main()
