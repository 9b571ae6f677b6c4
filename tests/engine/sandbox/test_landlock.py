"""Landlock: what it denies, tried in a process with a ruleset; and kernels that know less or more."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from geoloom_engine.sandbox import landlock

KERNEL = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")

# https://docs.kernel.org/userspace-api/landlock.html#previous-limitations
FILE_KINDS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16}

DENIED = """
import json, os, socket, sys
from geoloom_engine.sandbox import landlock
from geoloom_engine.sandbox.calls import system
folder, port, abstract = sys.argv[1:]
os.chdir(folder)
here = os.open("kept", os.O_RDWR)
system("prctl", 38, 1, 0, 0, 0)
landlock.deny_all()


def unix(name):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(name)


def tcp(what, number):
    with socket.socket() as one:
        getattr(one, what)(("127.0.0.1", number))


tries = {
    "read": lambda: os.open("kept", os.O_RDONLY),
    "write": lambda: os.open("kept", os.O_WRONLY),
    "list": lambda: os.listdir("."),
    "make": lambda: os.open("new", os.O_CREAT | os.O_WRONLY),
    "make folder": lambda: os.mkdir("folder"),
    "make pipe": lambda: os.mkfifo("pipe"),
    "link": lambda: os.symlink("kept", "link"),
    "remove": lambda: os.unlink("kept"),
    "rename": lambda: os.rename("kept", "other"),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "trace": lambda: system("ptrace", 16, os.getppid(), 0, 0),
    "truncate": lambda: os.truncate("kept", 0),
    "connect": lambda: tcp("connect", int(port)),
    "bind": lambda: tcp("bind", 0),
    "abstract": lambda: unix("\\0" + abstract),
    "signal": lambda: os.kill(os.getppid(), 0),
}
errors = {}
for name, attempt in tries.items():
    try:
        attempt()
        errors[name] = None
    except OSError as error:
        errors[name] = error.errno
os.write(here, b"what was open stays open")
print(json.dumps(errors))
"""

# Since which version.
TRIED = {
    "read": 1, "write": 1, "list": 1, "make": 1, "make folder": 1, "make pipe": 1, "link": 1, "remove": 1,
    "rename": 1, "run": 1, "trace": 1, "truncate": 3, "connect": 4, "bind": 4, "abstract": 6, "signal": 6,
}  # fmt: skip


@KERNEL
def test_everything_the_kernel_can_deny_is_denied(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("here before")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0geoloom-test-" + tmp_path.name)
        unix.listen()
        done = subprocess.run(
            [
                *(sys.executable, "-P", "-c", DENIED),
                *(str(tmp_path), str(tcp.getsockname()[1]), "geoloom-test-" + tmp_path.name),
            ],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert set(errors) == set(TRIED)
    expected = {name for name, since in TRIED.items() if landlock.abi() >= since}
    assert {name: errors[name] for name in expected} == {
        name: errno.EPERM if name in ("trace", "abstract", "signal") else errno.EACCES for name in expected
    }
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "what was open stays open"


@KERNEL
def test_kinds_are_those_of_the_version() -> None:
    abi = landlock.abi()
    files, network, outside = landlock.kinds()
    if abi in FILE_KINDS:
        assert files == (1 << FILE_KINDS[abi]) - 1
        assert network == (3 if abi >= 4 else 0)
        assert outside == (3 if abi >= 6 else 0)
    else:
        assert files > 0xFFFF
        assert network >= 3
        assert outside >= 3


class Kernel:
    """Answers as a kernel that knows so many kinds in each field of its struct."""

    def __init__(self, *known: int) -> None:
        self.known = known
        self.open: set[int] = set()
        self.restricted: list[tuple[int, ...]] = []
        self._rulesets: dict[int, tuple[int, ...]] = {}

    def system(self, function: str, number: int, *arguments: Any) -> int:
        assert function == "syscall"
        if number == 446:
            assert arguments[0] in self.open
            self.restricted.append(self._rulesets[arguments[0]])
            return 0
        attributes, size, flags = arguments
        assert (number, size, flags) == (444, 24, 0)
        asked = [int.from_bytes(attributes.raw[at : at + 8], "little") for at in (0, 8, 16)]
        if any(asked[len(self.known) :]):
            raise OSError(errno.E2BIG, "too big")
        if not any(asked):
            raise OSError(errno.ENOMSG, "empty")
        if any(bits >> known for bits, known in zip(asked, self.known, strict=False)):
            raise OSError(errno.EINVAL, "unknown")
        made = 1000 + len(self._rulesets)
        self._rulesets[made] = tuple(asked)
        self.open.add(made)
        return made


@pytest.mark.parametrize(
    ("known", "kinds"),
    [
        ((13,), (0x1FFF, 0, 0)),
        ((15,), (0x7FFF, 0, 0)),
        ((15, 2), (0x7FFF, 3, 0)),
        ((16, 2, 2), (0xFFFF, 3, 3)),
        ((17, 4, 3), (0x1FFFF, 0xF, 7)),
        ((64, 2, 2), (0xFFFFFFFFFFFFFFFF, 3, 3)),
    ],
)
def test_kernels_that_know_less_or_more(
    known: tuple[int, ...], kinds: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(*known)
    monkeypatch.setattr(landlock, "system", kernel.system)
    monkeypatch.setattr(landlock, "os", SimpleNamespace(close=kernel.open.remove))
    landlock.kinds.cache_clear()
    try:
        assert landlock.kinds() == kinds
        landlock.deny_all()
        assert kernel.restricted == [kinds]
        assert kernel.open == set()
    finally:
        landlock.kinds.cache_clear()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_kernel_without_it(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(landlock, "system", refuse)
    assert landlock.abi() == 0
    landlock.kinds.cache_clear()
    try:
        with pytest.raises(OSError, match="no"):
            landlock.deny_all()
    finally:
        landlock.kinds.cache_clear()


@KERNEL
def test_asking_changes_nothing(tmp_path: Path) -> None:
    # In a thread of its own: a ruleset would be the asking thread's.
    read: list[bytes] = []
    (tmp_path / "file").write_bytes(b"read")

    def ask() -> None:
        landlock.abi()
        landlock.kinds.cache_clear()
        landlock.kinds()
        read.append((tmp_path / "file").read_bytes())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert read == [b"read"]
