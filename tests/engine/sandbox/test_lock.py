"""A process that has locked itself down: as root and as an ordinary user, with each layer alone and both."""

from __future__ import annotations

import errno
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from geoloom_engine.sandbox import lock as module
from geoloom_engine.sandbox.lock import Available, LockLevel, available

MEMORY = 64 << 20
SECRET = "b5f1e2-not-for-the-function"

LEVELS = {
    "seccomp": LockLevel(seccomp=True, landlock=False),
    "landlock": LockLevel(seccomp=False, landlock=True),
    "both": LockLevel(),
    "neither": LockLevel(seccomp=False, landlock=False),
}
USERS = ("root", "ordinary")

pytestmark = pytest.mark.skipif(
    not (available().seccomp and available().landlock_abi), reason="this kernel cannot lock"
)

# It locks itself and then does what it is told, as expressions, one after another.
LOCKED = """
import ctypes, mmap, os, resource, signal, socket, sys, threading, time
from geoloom_engine.sandbox import lock as module
from geoloom_engine.sandbox.calls import system
from geoloom_engine.sandbox.lock import LockLevel, lock
job = socket.socket(fileno=int(sys.argv[1]))
if sys.argv[2] == "ordinary" and os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
keep, memory, level, parent = [job.fileno()], int(sys.argv[3]), eval(sys.argv[4]), os.getppid()
before = {}
exec(sys.argv[5])
try:
    lock(level, memory, keep, parent)
except Exception as error:
    job.send(repr(error).encode())
    os._exit(3)
job.send(b"locked")
while True:
    asked = job.recv(4096)
    if not asked:
        os._exit(0)
    try:
        answer = repr(eval(asked))
    except BaseException as error:
        answer = f"{type(error).__name__} {getattr(error, 'errno', None)}"
    job.send(answer.encode())
"""


class Locked:
    """A process that locked itself down, and evaluates what it is sent."""

    def __init__(self, stack: ExitStack, user: str, level: LockLevel, prepare: str, memory: int) -> None:
        self._job, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(self._job)
        self._job.settimeout(60)
        with theirs:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-c", LOCKED),
                    *(str(theirs.fileno()), user, str(memory), repr(level), prepare),
                ],
                pass_fds=[theirs.fileno()],
                env=dict(os.environ) | {"GEOLOOM_TEST_SECRET": SECRET},
            )
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        self.said = self._job.recv(4096).decode()

    def run(self, expression: str) -> str:
        """The value's repr, or the error's type and number."""
        self._job.send(expression.encode())
        return self._job.recv(1 << 16).decode()

    def gone(self) -> bool:
        """Whether it ended."""
        return self._job.recv(1) == b""

    def status(self) -> dict[str, str]:
        """What the kernel tells of it."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


StartLocked = Callable[..., Locked]


def locked_process(
    stack: ExitStack,
    user: str = "ordinary",
    level: str | LockLevel = "both",
    prepare: str = "",
    memory: int = MEMORY,
) -> Locked:
    """A process that locked itself down, as this user; it ends with the stack."""
    if user == "root" and os.geteuid() != 0:
        pytest.skip("only root can be root")
    return Locked(stack, user, LEVELS[level] if isinstance(level, str) else level, prepare, memory)


@pytest.fixture
def start() -> Iterator[StartLocked]:
    """Starts processes that lock themselves down; they end with the test."""
    with ExitStack() as stack:
        yield partial(locked_process, stack)


@pytest.fixture(scope="module")
def common() -> Iterator[StartLocked]:
    """Processes that tests share because they only look."""
    with ExitStack() as stack:
        yield cache(partial(locked_process, stack))


every = pytest.mark.parametrize(("user", "level"), list(itertools.product(USERS, LEVELS)))


@every
def test_it_can_still_compute_and_answer(user: str, level: str, common: StartLocked) -> None:
    locked = common(user, level)
    assert locked.said == "locked"
    assert locked.run("sum(range(100))") == "4950"
    assert locked.run("len(bytearray(MEMORY := 20 << 20))") == str(20 << 20)
    assert locked.run("[len(bytearray(1 << 20)) for _ in range(200)][-1]") == str(1 << 20)
    assert locked.run("len(os.urandom(16))") == "16"
    assert locked.run("time.sleep(0.001)") == "None"
    assert locked.run("time.monotonic() > 0 and time.time() > 0 and time.process_time() > 0") == "True"
    assert locked.run("os.getpid()") == str(locked.process.pid)
    assert locked.run("len(os.sched_getaffinity(0)) > 0") == "True"
    assert locked.run("len(mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))") == "4096"
    assert locked.run("threading.Lock().acquire() and threading.Condition().acquire()") == "True"


@every
def test_it_has_no_privileges(user: str, level: str, common: StartLocked) -> None:
    locked = common(user, level)
    status = locked.status()
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert status["Groups"] == ""
    if user == "root":
        assert int(status["CapBnd"], 16) == 0
        mine = str(module._UIDS + locked.process.pid)
        assert status["Uid"].split() == status["Gid"].split() == [mine] * 4
    elif os.geteuid() == 0:
        assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
    assert status["Seccomp"] == ("2" if LEVELS[level].seccomp else "0")
    # What belongs to a process that may not be dumped is root's.
    assert Path(f"/proc/{locked.process.pid}/environ").stat().st_uid == 0
    assert int(status["Umask"], 8) == 0o777


@every
def test_it_has_no_room_for_anything_but_memory(user: str, level: str, common: StartLocked) -> None:
    locked = common(user, level)
    lines = Path(f"/proc/{locked.process.pid}/limits").read_text().splitlines()[1:]
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    for name in (
        *("core file size", "file size", "locked memory", "msgqueue size", "nice priority", "open files"),
        *("processes", "realtime priority", "pending signals"),
    ):
        assert limits[f"Max {name}"] == ["0", "0"], name
    soft, hard = limits["Max address space"]
    assert soft == hard
    size = int(locked.status()["VmSize"].removesuffix("kB")) << 10
    assert size + MEMORY // 2 < int(soft) < size + 2 * MEMORY


@pytest.mark.parametrize("level", LEVELS)
def test_memory_runs_out_in_it_and_not_in_the_machine(level: str, common: StartLocked) -> None:
    locked = common("ordinary", level)
    assert locked.run("bytearray(1 << 40)") == "MemoryError None"
    assert locked.run(f"bytearray({2 * MEMORY})") == "MemoryError None"
    assert locked.run("[bytearray(1 << 20) for _ in range(1 << 20)]") == "MemoryError None"
    assert locked.run(f"len(bytearray({MEMORY // 2}))") == str(MEMORY // 2)


def test_limit_of_memory_that_was_there_before_stays(start: StartLocked) -> None:
    locked = start(prepare="resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))", memory=1 << 40)
    assert locked.said == "locked"
    assert (
        "Max address space         1073741824           1073741824"
        in Path(f"/proc/{locked.process.pid}/limits").read_text()
    )


@every
def test_environment_is_gone(user: str, level: str, start: StartLocked) -> None:
    prepare = """
os.environ["GEOLOOM_TEST_LATER"] = os.environ["GEOLOOM_TEST_SECRET"]
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_void_p
before = [getenv(name) for name in (b"GEOLOOM_TEST_SECRET", b"GEOLOOM_TEST_LATER")]
assert [ctypes.string_at(one).decode() for one in before] == [os.environ["GEOLOOM_TEST_SECRET"]] * 2
"""
    locked = start(user, level, prepare)
    assert locked.said == "locked"
    assert (
        locked.run("dict(os.environ), os.environ.get('PATH'), os.environb.get(b'PATH')") == "({}, None, None)"
    )
    assert locked.run("getenv(b'GEOLOOM_TEST_SECRET'), getenv(b'PATH')") == "(None, None)"
    assert locked.run("[ctypes.string_at(one, 20) for one in before]") == repr([bytes(20)] * 2)
    if os.geteuid() == 0:
        shown = Path(f"/proc/{locked.process.pid}/environ").read_bytes()
        assert SECRET.encode() not in shown
        assert shown.strip(b"\0") == b""


@every
def test_descriptors_are_closed_but_those_kept(user: str, level: str, start: StartLocked) -> None:
    prepare = "opened = [os.open('/dev/null', os.O_RDWR) for _ in range(20)]; os.dup2(opened[0], 900)"
    locked = start(user, level, prepare)
    assert locked.said == "locked"
    refused = "PermissionError 1" if LEVELS[level].seccomp else f"OSError {errno.EBADF}"
    for descriptor in (0, 1, 2, 900):
        assert locked.run(f"os.write({descriptor}, b'')") == refused
    if os.geteuid() == 0:
        kept = [int(path.name) for path in Path(f"/proc/{locked.process.pid}/fd").iterdir()]
        assert [str(one) for one in kept] == [locked.run("job.fileno()")]


# What to try, and what must stop it: None for all levels, else those levels.
TRIES: dict[str, tuple[str, set[str] | None]] = {
    "open": ("os.open('/etc/passwd', os.O_RDONLY)", None),
    "list": ("os.listdir('/')", None),
    "write": ("os.open('/tmp/geoloom-test', os.O_CREAT | os.O_WRONLY)", None),
    "remove": ("os.unlink('/nonexistent/x')", None),
    "make folder": ("os.mkdir('/tmp/geoloom-test-folder')", {"seccomp", "landlock", "both"}),
    "stat": ("os.stat('/etc/passwd')", {"seccomp", "both"}),
    "socket": ("socket.socket()", None),
    "pair": ("socket.socketpair()", None),
    "pipe": ("os.pipe()", None),
    "dup": ("os.dup(job.fileno())", None),
    "memfd": ("os.memfd_create('x')", None),
    "ring": ("system('syscall', 425, 1, ctypes.create_string_buffer(120))", None),
    "faults": ("system('syscall', 323 if os.uname().machine == 'x86_64' else 282, 1)", None),
    "pidfd": ("os.pidfd_open(os.getppid())", None),
    "fork": ("os.fork()", None),
    "thread": ("threading.Thread(target=print).start()", None),
    "signal": ("os.kill(os.getppid(), 0)", {"seccomp", "landlock", "both"}),
    "trace": ("system('ptrace', 16, os.getppid(), 0, 0)", None),
    "nice": ("os.nice(-1)", None),
    "uid": ("os.setresuid(0, 0, 0)", None),
    "group": ("os.setgroups([0])", None),
    "limits": ("resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))", None),
    "namespace": ("system('unshare', 0x10000000)", {"seccomp", "both"}),
    "dumpable": ("system('prctl', 4, 1, 0, 0, 0)", {"seccomp", "both"}),
    "handler": ("signal.signal(signal.SIGSEGV, print)", {"seccomp", "both"}),
    "runnable": ("mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)", None),
    "made runnable": ("system('mprotect', id(before) & ~0xfff, 4096, 7)", None),
    "shared": ("mmap.mmap(-1, 4096)", {"seccomp", "both"}),
    "segment": ("system('shmget', 0, 4096, 0o1600)", {"seccomp", "both"}),
}
# Of an ordinary user without layers, what stops a uid of nobody from meddling with its own.
NOT_WITHOUT = {"trace", "remove"}


@every
def test_attempts_fail(user: str, level: str, common: StartLocked) -> None:
    locked = common(user, level)
    went = {
        name: answer
        for name, (attempt, by) in TRIES.items()
        if (level in by if by is not None else level != "neither" or name not in NOT_WITHOUT)
        if "Error" not in (answer := locked.run(attempt))
    }
    assert went == {}
    assert locked.run("1 + 1") == "2"


@pytest.mark.parametrize("level", ["seccomp", "both"])
def test_refusals_are_errors_of_permission(level: str, common: StartLocked) -> None:
    locked = common("ordinary", level)
    attempts = (
        "os.open('/etc/passwd', os.O_RDONLY)",
        "socket.socket()",
        "os.fork()",
        "os.kill(os.getppid(), 0)",
    )
    assert {locked.run(one) for one in attempts} == {f"PermissionError {errno.EPERM}"}


@pytest.mark.parametrize("user", USERS)
def test_no_memory_can_be_written_and_run(user: str, common: StartLocked) -> None:
    locked = common(user, "both")
    if os.geteuid() != 0:
        pytest.skip("only root may read the map of a process that cannot be dumped")
    rights = [line.split()[1] for line in Path(f"/proc/{locked.process.pid}/maps").read_text().splitlines()]
    assert any("x" in one for one in rights)
    assert [one for one in rights if "w" in one and "x" in one] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="the test must be root to become another user")
def test_processes_of_the_same_user_cannot_read_it(common: StartLocked) -> None:
    locked = common("ordinary", "both")
    attempt = f"os.setresuid(65534, 65534, 65534); open('/proc/{locked.process.pid}/mem', 'rb')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import os; {attempt}"], capture_output=True, text=True
    )
    assert "PermissionError" in done.stderr


def test_root_without_another_uid_has_no_rights_either(start: StartLocked) -> None:
    locked = start("root", LockLevel(seccomp=False, landlock=False, drop_uid=False))
    assert locked.said == "locked"
    assert locked.status()["Uid"].split() == ["0"] * 4
    assert int(locked.status()["CapPrm"], 16) == 0
    assert locked.run("os.setresuid(1, 1, 1)") == f"PermissionError {errno.EPERM}"
    assert locked.run("system('chroot', ctypes.create_string_buffer(b'/'))").startswith("PermissionError")


def test_uid_that_a_container_does_not_have(start: StartLocked) -> None:
    # As in a user namespace, where only some uids are known.
    prepare = """
setresgid = os.setresgid
def few(*wanted):
    if wanted[0] > 100000:
        raise OSError(22, "Invalid argument")
    setresgid(*wanted)
os.setresgid = few
"""
    locked = start("root", "both", prepare)
    assert locked.said == "locked"
    assert locked.status()["Uid"].split() == ["65534"] * 4


def test_crash_ends_it_without_handlers_or_core(start: StartLocked) -> None:
    for attempt, signals in (
        ("ctypes.string_at(1)", {signal.SIGSEGV}),
        ("os.abort()", {signal.SIGSEGV, signal.SIGABRT, signal.SIGILL}),
    ):
        locked = start()
        locked._job.send(attempt.encode())
        assert locked.gone()
        assert -locked.process.wait(60) in signals


def test_it_ends_with_its_parent() -> None:
    # Between the test and the locked process is one that ends.
    between = f"""
import os, socket, sys
from geoloom_engine.sandbox.lock import LockLevel, lock
job = socket.socket(fileno=int(sys.argv[1]))
parent = os.getpid()
if os.fork() == 0:
    lock(LockLevel(), {MEMORY}, [job.fileno()], parent)
    job.send(b"locked")
    job.recv(1)
    os._exit(0)
sys.stdin.read()
os._exit(0)
"""
    job, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with job:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", between, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
            )
        assert process.stdin is not None
        job.settimeout(60)
        assert job.recv(10) == b"locked"
        # Both hold the socket, and nothing has ended it so far.
        assert select.select([job], [], [], 0) == ([], [], [])
        process.stdin.close()
        process.wait(60)
        assert job.recv(10) == b""


def test_parent_that_has_ended_already(start: StartLocked) -> None:
    locked = start(prepare="parent = 1 << 22")
    assert locked.said == "RuntimeError('The process this one was made for has ended.')"
    assert locked.process.wait(60) == 3


def test_process_with_threads_is_not_locked(start: StartLocked) -> None:
    prepare = "event = threading.Event(); threading.Thread(target=event.wait, daemon=True).start()"
    assert "several threads" in start(prepare=prepare).said


@pytest.mark.parametrize("user", USERS)
def test_preparing_changes_what_is_forked_only_in_time(user: str, start: StartLocked) -> None:
    prepare = """
names = ("Uid", "Gid", "CapPrm", "CapEff", "NoNewPrivs", "Seccomp")
before = [module._status()[name] for name in names]
module.prepare(level, keep)
module.prepare(level, keep)
assert before == [module._status()[name] for name in names]
assert int(module._status()["CapBnd"], 16) == 0 or os.geteuid() != 0
open("/etc/passwd").close()
assert os.environ["GEOLOOM_TEST_SECRET"]
"""
    locked = start(user, "both", prepare)
    assert locked.said == "locked"
    assert locked.run("os.open('/etc/passwd', os.O_RDONLY)").startswith("PermissionError")


def mine() -> dict[str, Any]:
    """What a lock would have changed of this process."""
    names = ("NoNewPrivs", "Seccomp", "CapPrm", "Uid")
    lines = Path("/proc/self/status").read_text().splitlines()
    status = {name: value for name, _, value in (line.partition(":") for line in lines) if name in names}
    return status | {"environment": dict(os.environ), "descriptors": len([*Path("/proc/self/fd").iterdir()])}


def test_probing_tells_what_the_kernel_has_and_changes_nothing() -> None:
    before = mine()
    module.available.cache_clear()
    found: list[Available] = []
    # From a process with threads, in one of them.
    thread = threading.Thread(target=lambda: found.append(available()))
    thread.start()
    thread.join()
    assert found == [Available(True, module.landlock.abi(), "")]
    assert mine() == before
    assert available() is found[0]


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What is known of the kernel is forgotten, before and after."""
    module.available.cache_clear()
    yield
    module.available.cache_clear()


def test_probe_that_fails_says_so(asked_anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho first >&2\necho 'no such thing' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    found = available()
    assert (found.seccomp, found.landlock_abi) == (False, 0)
    assert found.reason.endswith("no such thing")


def test_systems_without_either(asked_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert available() == Available(False, 0, "Neither seccomp nor Landlock: this is darwin, not Linux.")


PROBED = """
import errno, os, sys
from geoloom_engine.sandbox import calls, landlock, lock, seccomp
def refuse(*arguments):
    raise OSError(errno.EINVAL, "Invalid argument")
exec(sys.argv[1])
found = lock._probe()
os.write(1, repr((found.seccomp, found.landlock_abi > 0, found.reason)).encode())
"""


@pytest.mark.parametrize(
    ("fault", "seccomp", "landlock", "reason"),
    [
        ("landlock.abi = lambda: 0", True, False, "No Landlock: the kernel has none"),
        ("landlock.deny_all = lambda: None", True, False, "No Landlock: it does not hold."),
        ("lock.machine = lambda: None", False, True, "are not known."),
        ("seccomp.install = refuse", False, True, "No seccomp: Invalid argument."),
        ("seccomp.install = lambda keep: None", False, True, "No seccomp: it does not hold."),
    ],
)
def test_probe_believes_only_what_it_saw(fault: str, seccomp: bool, landlock: bool, reason: str) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", PROBED, fault], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = eval(done.stdout)
    assert found[:2] == (seccomp, landlock)
    assert reason in found[2]
