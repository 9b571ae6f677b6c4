"""What a function may try: attacks run in the real sandbox, and afterwards all is well with everybody else.

They run as root and as an ordinary user, with the filter of system calls alone, with Landlock alone and with
both, by an engine of their own (`attacked_engine.py`). After each it computes the next tile of another user,
and counts its descriptors, threads and processes.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from geoloom_engine.sandbox.calls import MACHINES, machine
from geoloom_engine.sandbox.lock import LockLevel, available

pytestmark = pytest.mark.skipif(
    not available().seccomp or available().landlock_abi < 6,
    reason="this kernel cannot lock, or not by Landlock alone",
)

LEVELS = {
    "seccomp": LockLevel(seccomp=True, landlock=False),
    "landlock": LockLevel(seccomp=False, landlock=True),
    "both": LockLevel(),
}
MEMORY = 96 << 20
SECONDS = {"patient": 60.0, "quick": 0.5}
"""What the engine's pools give a function; the second is for what never ends."""

LOOK = 0.2
"""Seconds between two looks of theirs at workers without a tile."""

ANSWER_SECONDS = 120.0

SECRET = "geoloom-secret-1f7c"
RAMP = np.arange(40, dtype=np.uint16).reshape(2, 4, 5)

# What a function gets at that wants more than numpy, and how it makes calls of the system.
PRELUDE = """
ctypes = numpy.ctypeslib.ctypes
os, sys = ctypes._os, ctypes._sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(name, *arguments):
    made = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    answer = getattr(libc, name)(*made)
    if answer == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer

def room(size):
    return ctypes.create_string_buffer(size)

def module(name):
    return sys.modules.get(name) or sys.modules['importlib'].import_module(name)

def job():
    # The functions that called this one hide nothing: the job, the worker, what messages are made of.
    frame = sys._getframe(1)
    while frame.f_locals.get('job') is None:
        frame = frame.f_back
    return frame.f_locals['job'], frame.f_locals['self'], module('geoloom_engine.sandbox.messages')
"""

# Numbers of calls that the C library has no function for: x86-64, aarch64.
NUMBERS = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "keyctl": (250, 219), "add_key": (248, 217), "kcmp": (312, 272), "openat": (257, 56), "socket": (41, 198),
    "clone": (56, 220), "memfd_secret": (447, 447), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "process_vm_readv": (310, 270), "ptrace": (101, 117), "seccomp": (317, 277), "execve": (59, 221),
    "io_setup": (206, 0), "open_by_handle_at": (304, 265), "fsopen": (430, 430), "mq_open": (240, 180),
    "getdents64": (217, 61), "name_to_handle_at": (303, 264), "init_module": (175, 105),
}  # fmt: skip

# Attempts, each an expression that is true or raises nothing if it went through, by what has to stop it:
# - always: with either layer, as root and as an ordinary user;
# - stranger: the filter, or a uid of one's own (Landlock knows nothing of it);
# - filter: the filter alone. By itself each of these reaches nobody else. An engine that others use does not
#   run with Landlock alone.
ATTEMPTS: dict[str, dict[str, str]] = {
    "always": {
        "open": "os.open(at['secret'], os.O_RDONLY)",
        "open, raw": "call('syscall', number['openat'], -100, at['secret'].encode(), 0, 0)",
        "open with Python": "open(at['secret']).read()",
        "open with numpy": "numpy.fromfile(at['secret'], numpy.uint8)",
        "write": "os.open(at['secret'], os.O_WRONLY)",
        "append": "open(at['secret'], 'a').write('x')",
        "make": "os.open(at['folder'] + '/new', os.O_CREAT | os.O_WRONLY)",
        "temporary": "os.open(at['folder'], os.O_TMPFILE | os.O_RDWR)",
        "path only": "os.open('/', os.O_PATH)",
        "list": "os.listdir(at['folder'])",
        "scan": "next(os.scandir('/'))",
        "remove": "os.unlink(at['secret'])",
        "rename": "os.rename(at['secret'], at['folder'] + '/renamed')",
        "link": "os.link(at['secret'], at['folder'] + '/linked')",
        "symbolic link": "os.symlink('/', at['folder'] + '/symbolic')",
        "folder": "os.mkdir(at['folder'] + '/made')",
        "truncate": "os.truncate(at['secret'], 0)",
        "pipe with a name": "os.mkfifo(at['folder'] + '/pipe')",
        "device": "os.mknod(at['folder'] + '/null', 0o20666, os.makedev(1, 3))",
        "handle of a file": "call('syscall', number['open_by_handle_at'], -100, room(128), 0)",
        "terminal": "os.openpty()",
        "environment of itself": "open('/proc/self/environ', 'rb').read()",
        "memory of itself": "open('/proc/self/mem', 'rb')",
        "map of itself": "open('/proc/self/maps').read()",
        "environment of the engine": "open(f'/proc/{pid}/environ', 'rb').read()",
        "memory of the engine": "open(f'/proc/{pid}/mem', 'rb')",
        "descriptors of the engine": "os.listdir(f'/proc/{pid}/fd')",
        "processes": "[one for one in os.listdir('/proc')]",
        "mapped file": "os.open('/proc/self/map_files/' + os.listdir('/proc/self/map_files')[0], os.O_RDWR)",
        "shared memory": "os.open('/dev/shm/geoloom-test', os.O_CREAT | os.O_RDWR)",
        "shared memory, POSIX": "call('shm_open', b'/geoloom-test', os.O_CREAT | os.O_RDWR, 0o600)",
        "semaphore, POSIX": "libc.sem_open(b'/geoloom-test', os.O_CREAT, 0o600, 1) != 0",
        "TCP": "module('socket').create_connection(at['tcp'])",
        "TCP, raw": "call('syscall', number['socket'], 2, 1, 0)",
        "TCP, waiting": "module('socket').create_server(('127.0.0.1', 0))",
        "UDP": "module('socket').socket(2, 2).sendto(b'x', tuple(at['tcp']))",
        "raw socket": "module('socket').socket(2, 3, 1)",
        "netlink": "module('socket').socket(16, 3, 0)",
        "packets": "module('socket').socket(17, 3)",
        "kernel's ciphers": "module('socket').socket(38, 5)",
        "Unix socket": "connected(at['unix'])",
        "abstract socket": "connected(chr(0) + at['abstract'])",
        "pair of sockets": "module('socket').socketpair()",
        "name of a host": "module('socket').getaddrinfo('localhost', 80)",
        "pipe": "os.pipe()",
        "another descriptor": "os.dup(job()[1]._job.fileno())",
        "memfd": "os.memfd_create('x')",
        "secret memory": "call('syscall', number['memfd_secret'], 0)",
        "ring": "call('syscall', number['io_uring_setup'], 8, room(120))",
        "faults of memory": "call('syscall', number['userfaultfd'], 1)",
        "program in the kernel": "call('syscall', number['bpf'], 5, room(128), 128)",
        "map in the kernel": "call('syscall', number['bpf'], 0, ctypes.create_string_buffer("
        "numpy.array([2, 4, 4, 4], numpy.uint32).tobytes(), 128), 128)",
        "performance": "call('syscall', number['perf_event_open'], room(128), 0, -1, -1, 0)",
        "file system": "call('syscall', number['fsopen'], b'tmpfs', 0)",
        "queue": "call('syscall', number['mq_open'], b'geoloom', os.O_CREAT | os.O_RDWR, 0o600, None)",
        "epoll": "module('select').epoll()",
        "event": "os.eventfd(0)",
        "watching files": "call('inotify_init')",
        "watching all files": "call('fanotify_init', 0, 0)",
        "watching signals": "call('signalfd', -1, room(128), 0)",
        "timer with a descriptor": "call('timerfd_create', 1, 0)",
        "handle of the engine": "os.pidfd_open(pid)",
        "its descriptors": "call('syscall', number['pidfd_getfd'], 3, 0, 0)",
        "fork": "os.fork() or os._exit(0)",
        "fork, raw": "call('syscall', number['clone'], 17, 0, 0, 0, 0) or os._exit(0)",
        "thread": "module('_thread').start_new_thread(len, ('',))",
        "process": "os.posix_spawn('/bin/true', ['true'], {})",
        "os.system": "os.system('exit 0') == 0",
        "run": "os.execv('/bin/true/nothing', ['true']) or True",
        "signal to the engine": "os.kill(pid, 0) or True",
        "signal to the zygote": "os.kill(zygote, 0) or True",
        "signal by thread": "call('tgkill', pid, pid, 0) or True",
        "trace": "call('syscall', number['ptrace'], 0x4206, pid, 0, 0) or True",
        "trace the zygote": "call('syscall', number['ptrace'], 0x4206, zygote, 0, 0) or True",
        "read the engine": "peeked(pid)",
        "read the zygote": "peeked(zygote)",
        "compare": "call('syscall', number['kcmp'], pid, zygote, 1, 0, 0) or True",
        "uid": "os.setuid(0) or True",
        "uids": "os.setresuid(0, 0, 0) or True",
        "gid": "os.setgid(0) or True",
        "groups": "os.setgroups([0]) or True",
        "root folder": "os.chroot('/') or True",
        "mount": "call('mount', b'none', b'/', b'tmpfs', 0, None) or True",
        "unmount": "call('umount2', b'/', 2) or True",
        "module": "call('syscall', number['init_module'], room(8), 8, b'') or True",
        "name of the machine": "call('sethostname', b'x', 1) or True",
        "clock": "module('time').clock_settime(0, 0) or True",
        "log of the kernel": "call('klogctl', 3, room(100), 100)",
        "priority": "os.nice(-1) or True",
        "real time": "call('sched_setscheduler', 0, 1, ctypes.byref(ctypes.c_int(1))) or True",
        "locked memory": "call('mlock', room(65536), 65536) or True",
        "limits": "module('resource').setrlimit(7, (10, 10)) or True",
        "other namespaces": "[call('unshare', one) for one in (0x20000, 0x40000000, 0x20000000, 0x8000000)]",
        "another's namespace": "call('setns', 3, 0) or True",
        "runnable and writable": "mapped(7)",
        "made runnable": "call('mprotect', ctypes.addressof(room(8192)) & ~4095, 4096, 5) or True",
        "code made writable and runnable": "call('mprotect', code() & ~4095, 4096, 7) or True",
        "environment": "len(os.environ) > 0",
        "environment in C": "libc.getenv(b'PATH') + libc.getenv(b'PYTHONHASHSEED') != 0",
        "environment on the stack": "any(one in strings() for one in (b'SEED', b'BLAS', b'TUNABLES'))",
    },
    "stranger": {
        "rights of its files": "os.chmod(at['secret'], 0o777) or True",
        "time of its files": "os.utime(at['secret'], (1, 1)) or True",
        "limits of the engine": "module('resource').prlimit(pid, 7)",
        "priority of the engine": "call('setpriority', 0, pid, 19) or True",
        "processors of the engine": "call('sched_setaffinity', pid, 8, room(b'\\1')) or True",
        "scheduling of the engine": "call('sched_setscheduler', pid, 3, room(8)) or True",
    },
    "filter": {
        "stat": "os.stat(at['secret'])",
        "access": "os.access('/etc', os.R_OK)",
        "namespace of users": "call('unshare', 0x10000000) or True",
        "dumpable": "call('prctl', 4, 1, 0, 0, 0) or True",
        "outlive the parent": "call('prctl', 1, 0, 0, 0, 0) or True",
        "personality": "call('personality', 0xffffffff) or True",
        "handler of a crash": "module('_signal').signal(11, module('_signal').SIG_IGN) or True",
        "alarm": "libc.alarm(0) == 0",
        "shared pages": "module('mmap').mmap(-1, 4096)",
        "runnable, not writable": "mapped(5)",
        "segment": "call('shmctl', call('shmget', 0, 4096, 0o1600), 0, None) or True",
        "key": "call('syscall', number['add_key'], b'user', b'geoloom', b'x', 1, -1)",
        "keyring": "call('syscall', number['keyctl'], 0, -3, 0)",
        "processor time of others": "module('time').clock_gettime(~pid << 3 | 2)",
        "who else there is": "os.getppid() > 0 and call('getsid', pid)",
        "name of the machine": "os.uname()",
        "load of the machine": "os.getloadavg() if call('sysinfo', room(512)) else True",
    },
}  # fmt: skip

PROBE = (
    PRELUDE
    + """
def connected(name):
    one = module('socket').socket(1)
    one.connect(name)
    return True

def peeked(target):
    content = room(8)
    mine = (ctypes.c_void_p * 2)(ctypes.addressof(content), 8)
    # Both have the C library where their common ancestor loaded it, or nowhere: EFAULT means «allowed».
    theirs = (ctypes.c_void_p * 2)(ctypes.cast(libc.getpid, ctypes.c_void_p).value, 8)
    try:
        return call('syscall', number['process_vm_readv'], target, mine, 1, theirs, 1, 0)
    except OSError as error:
        if error.errno == 14:
            return True
        raise

def mapped(rights):
    libc.mmap.restype = ctypes.c_long
    return call('mmap', 0, 4096, rights, 0x22, -1, 0)

def code():
    return ctypes.cast(libc.getpid, ctypes.c_void_p).value

def strings():
    # The arguments, and behind them the environment that the process was started with, up to the stack's end.
    begin = ctypes.c_void_p.in_dll(libc, 'program_invocation_name').value
    return ctypes.string_at(begin, -begin % 4096)

def f(img, given):
    global at, number, pid, zygote
    at, number, pid, zygote = given['at'], given['number'], given['pid'], given['zygote']
    for name, attempt in attempts.items():
        try:
            if eval(attempt) is not False:
                print(name)
        except BaseException as error:
            failed[name] = error
    return img[0] + 1

failed = {}
"""
)


@dataclass
class Outcome:
    """What became of an attack.

    Parameters
    ----------
    error
        Name of the error's class; empty if there is a result.
    told
        All that is said of the error.
    data
        Of the result: (bands, rows, cols).
    """

    error: str
    told: dict[str, Any]
    data: Any
    kind: str
    valid: Any
    printed: str

    @staticmethod
    def of(done: dict[str, Any]) -> Outcome:
        """From what the engine says."""
        data = None
        if "data" in done:
            name, shape, kind = done["type"]
            assert kind == "ndarray"
            data = np.frombuffer(base64.b64decode(done["data"]), name).reshape(shape)
        return Outcome(
            done.get("error", ""),
            done.get("told", {}),
            data,
            done.get("kind", ""),
            done.get("valid"),
            done.get("printed", ""),
        )


Attack = tuple[str, list[Any], dict[str, Any]]
"""A function's text, its arguments, and what is other than usual of the call."""


class Attacked:
    """An engine that is attacked, in a process of its own."""

    def __init__(self, stack: ExitStack, user: str, level: str) -> None:
        self.user, self.level = user, level
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("attacked_engine.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ) | {"GEOLOOM_TEST_SECRET": SECRET},
        )
        stack.callback(self._end)
        begun = self._say(
            {"user": user, "level": asdict(LEVELS[level]), "memory": MEMORY, "seconds": SECONDS, "look": LOOK}
        )
        self.pid: int = begun["pid"]
        self.zygote: int = begun["zygote"]

    def stops(self, by: str) -> bool:
        """Whether what is to be stopped by this has to be stopped here; see `ATTEMPTS`."""
        return by == "always" or LEVELS[self.level].seccomp or (by == "stranger" and self.user == "root")

    def attack(self, *attacks: Attack) -> list[Outcome]:
        """Run attacks side by side. After each another user's tile is right; in the end all is well."""
        return [outcome for (outcome,) in self._attack([[one] for one in attacks])]

    def attack_in_turn(self, *attacks: Attack) -> list[Outcome]:
        """Run one after the other; so those of one function have the same worker, unless it ends."""
        (outcomes,) = self._attack([attacks])
        return outcomes

    def _attack(self, groups: Sequence[Sequence[Attack]]) -> list[list[Outcome]]:
        said = self._say(groups)
        assert all(done["bystander"] for group in said["done"] for done in group)
        assert said["health"] == {
            "bystander": True, "descriptors": 0, "threads": 0, "zygote": True, "children": True,
        }  # fmt: skip
        return [[Outcome.of(done) for done in group] for group in said["done"]]

    def workers(self) -> list[int]:
        """Pids of the processes that functions run in, but for those that have none yet."""
        spare = self._say([])["spare"]
        return [child.pid for child in psutil.Process(self.zygote).children() if child.pid not in spare]

    def _say(self, what: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        assert ready, "the engine does not answer any more"
        line = self._process.stdout.readline()
        assert line, "the engine has ended"
        return json.loads(line)

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(30) == 0
        finally:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()


@pytest.fixture(
    scope="module",
    params=[(user, level) for user in ("root", "ordinary") for level in LEVELS],
    ids="-".join,
)
def engine(request: pytest.FixtureRequest) -> Iterator[Attacked]:
    """An engine of root or of an ordinary user, its workers locked by some layers."""
    user, level = request.param
    if user == "root" and os.geteuid() != 0:
        pytest.skip("only root can be root")
    with ExitStack() as stack:
        yield Attacked(stack, user, level)


def function(body: str) -> str:
    """A function's text: what it needs, and the lines of ``f(img, bands)``."""
    lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return f"{PRELUDE}\ndef f(img, bands):\n{lines}\n"


def run(engine: Attacked, sources: dict[str, str], **options: Any) -> dict[str, Outcome]:
    """Run functions side by side, each in a process of its own."""
    attacks: list[Attack] = [(source, [], options) for source in sources.values()]
    return dict(zip(sources, engine.attack(*attacks), strict=True))


def run_in_turn(engine: Attacked, bodies: dict[str, str], together: bool = False) -> dict[str, Outcome]:
    """Run functions one after the other, `together` in one process, or in another if that ends."""
    cases = [
        f"def case{number}(img):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
        for number, body in enumerate(bodies.values())
    ]
    which = "def f(img, bands, number=''): return globals()['case' + bands[0]](img)"
    source = f"{PRELUDE}\n{''.join(cases)}\n{which}\n"
    # Those with arguments of their own have processes, and quarantines, of their own.
    own = [[] if together else [str(number)] for number in range(len(cases))]
    done = engine.attack_in_turn(*((source, given, {"step": i}) for i, given in enumerate(own)))
    return dict(zip(bodies, done, strict=True))


def ended(outcomes: dict[str, Outcome], *errors: str) -> dict[str, str]:
    """Those that ended otherwise than by one of these errors, and how."""
    return {
        name: f"{outcome.error}: {outcome.told.get('message')} {outcome.printed}"
        for name, outcome in outcomes.items()
        if outcome.error not in errors
    }


@dataclass
class Surroundings:
    """What there is to be got at outside, and what was there before."""

    secret: Path
    sockets: list[socket.socket]
    at: dict[str, Any]

    def untouched(self) -> bool:
        """Whether nobody was here."""
        told = self.secret.stat()
        return (
            [path.name for path in sorted(self.secret.parent.iterdir())] == ["secret", "socket"]
            and self.secret.read_text() == SECRET
            and stat.S_IMODE(told.st_mode) == 0o600
            and told.st_mtime == 1_000_000_000
            and select.select(self.sockets, [], [], 0)[0] == []
            and not Path("/dev/shm/geoloom-test").exists()
            and not Path("/dev/shm/sem.geoloom-test").exists()
        )


@pytest.fixture
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Surroundings]]:
    """Files and sockets that the user of an engine may use."""
    with ExitStack() as stack:

        def get(user: str) -> Surroundings:
            # Sockets have short paths, and an ordinary user cannot reach into root's folders.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="geoloom-")))
            secret = folder / "secret"
            secret.write_text(SECRET)
            secret.chmod(0o600)
            os.utime(secret, (1_000_000_000, 1_000_000_000))
            tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(str(folder / "socket"))
            (folder / "socket").chmod(0o777)
            abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
            abstract.bind("\0" + folder.name)
            unix.listen()
            abstract.listen()
            if user == "ordinary" and os.geteuid() == 0:
                for path in (folder, secret):
                    os.chown(path, 65534, 65534)
            at = {
                "secret": str(secret),
                "folder": str(folder),
                "tcp": list(tcp.getsockname()),
                "unix": str(folder / "socket"),
                "abstract": folder.name,
            }
            return Surroundings(secret, [tcp, unix, abstract], at)

        yield get


def probed(attempts: dict[str, str], at: dict[str, Any], pid: int, zygote: int) -> Attack:
    """A function that makes attempts and prints which went through."""
    place = [*MACHINES.values()].index(machine())  # type: ignore[arg-type]
    number = {name: numbers[place] for name, numbers in NUMBERS.items()}
    given = {"at": at, "number": number, "pid": pid, "zygote": zygote}
    return f"{PROBE}attempts = {attempts!r}\n", [given], {}


def test_attempts_fail(engine: Attacked, surroundings: Callable[[str], Surroundings]) -> None:
    around = surroundings(engine.user)
    attempts = {name: made for by in ATTEMPTS if engine.stops(by) for name, made in ATTEMPTS[by].items()}
    (outcome,) = engine.attack(probed(attempts, around.at, engine.pid, engine.zygote))
    assert outcome.error == "", outcome.told
    assert outcome.printed == ""
    np.testing.assert_array_equal(outcome.data, RAMP[:1] + 1.0)
    assert around.untouched()
    assert psutil.Process(engine.pid).nice() == psutil.Process().nice()


# Anybody's process that is not locked can do these, whatever the machine.
FREE = {
    "open", "open, raw", "open with Python", "open with numpy", "write", "append", "make", "path only",
    "list", "scan", "remove", "link", "symbolic link", "folder", "truncate", "pipe with a name",
    "environment of itself", "memory of itself", "map of itself", "environment of the engine", "processes",
    "TCP", "TCP, raw", "TCP, waiting", "UDP", "Unix socket", "abstract socket", "pair of sockets", "pipe",
    "another descriptor", "memfd", "epoll", "event", "watching files", "watching signals",
    "timer with a descriptor", "handle of the engine", "fork", "fork, raw", "thread", "process",
    "os.system", "signal to the engine", "environment", "environment in C", "environment on the stack",
    "rights of its files", "time of its files", "priority of the engine", "stat", "access", "dumpable",
    "outlive the parent", "personality", "handler of a crash", "alarm", "shared pages",
    "processor time of others", "who else there is",
}  # fmt: skip

UNLOCKED = """
import json, os, sys
import numpy
asked = json.load(sys.stdin)
class Worker:
    _job = sys.stdin.buffer
secret = asked["given"]["at"]["secret"]
content = open(secret).read()
space = {"numpy": numpy}
exec(asked["text"], space)
def attempt(self, job):
    return space["f"](numpy.zeros((2, 4, 5)), asked["given"])
# Each in a process of its own: they are not meant to be survived.
attempts = space["attempts"]
for name in list(attempts):
    sys.stdout.flush()
    with open(secret, "w") as file:
        file.write(content)
    if os.fork() == 0:
        space["attempts"] = {name: attempts[name]}
        attempt(Worker, "the first")
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def test_attempts_are_real(surroundings: Callable[[str], Surroundings]) -> None:
    attempts = {name: made for group in ATTEMPTS.values() for name, made in group.items()}
    around = surroundings("me")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        source, (given,), _ = probed(attempts, around.at, victim.pid, victim.pid)
        done = subprocess.run(
            [sys.executable, "-P", "-c", UNLOCKED],
            input=json.dumps({"text": source, "given": given}),
            capture_output=True,
            text=True,
            env=dict(os.environ) | {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
        )
        victim.kill()
    went = set(done.stdout.split("\n"))
    for left in ("/dev/shm/geoloom-test", "/dev/shm/sem.geoloom-test"):
        Path(left).unlink(missing_ok=True)
    assert FREE - went == set(), done.stderr
    assert not around.untouched()


CRASHES = {
    "no such memory": "ctypes.string_at(1)",
    "writing over code": "ctypes.memset(ctypes.cast(libc.getpid, ctypes.c_void_p).value, 0, 4096)",
    "abort": "os.abort()",
    "its end": "os._exit(0)",
    "its end, in C": "libc.exit(0)",
    "a signal to itself": "getattr(libc, 'raise')(9)\nos._exit(1)",
    "code of its own": """
        code = ctypes.create_string_buffer(bytes([0xC3, 0, 0, 0xD6] * 16))
        ctypes.CFUNCTYPE(None)(ctypes.addressof(code))()
    """,
    "end of the interpreter": "ctypes.pythonapi.Py_FinalizeEx()\nos._exit(1)",
    "stack": "ctypes.memset(ctypes.addressof(ctypes.c_int()), 1, 1 << 20)",
    "its input unmapped": """
        libc.munmap(ctypes.c_long(img.ctypes.data & ~4095), ctypes.c_long(4096))
        return img[0]
    """,
    "its socket closed": "job()[1]._job.close()",
    "its socket gone": "libc.close(job()[1]._job.fileno())\njob()[1]._job.detach()",
}


def test_crashes_stop_only_the_function(engine: Attacked) -> None:
    outcomes = run(engine, {name: function(body) for name, body in CRASHES.items()})
    assert ended(outcomes, "FunctionStopped") == {}


def test_deep_recursion_ends(engine: Attacked) -> None:
    recursions = {
        "a function": "f(img)",
        "in C": "kept = []\nfor _ in range(10**5): kept = [kept]\nrepr(kept)",
    }
    outcomes = run(engine, {name: function(body) for name, body in recursions.items()})
    # Python 3.13.0 does not count calls that leave arguments out: then it is memory that ends.
    assert ended(outcomes, "FunctionFailed", "FunctionStopped") == {}


def test_functions_that_want_to_end_python_fail(engine: Attacked) -> None:
    raised = {
        "exit": "sys.exit(0)",
        "quit": "raise KeyboardInterrupt",
        "run": "os.execv('/bin/true', ['true'])",
        "run, in C": "call('execv', b'/bin/true', ctypes.byref(ctypes.c_char_p(b'true')))",
    }
    assert ended(run(engine, {name: function(body) for name, body in raised.items()}), "FunctionFailed") == {}


BOMBS = {
    "at once": "numpy.ones(1 << 40)",
    "not touched": "numpy.empty(1 << 33)",
    "slowly": "kept = []\nwhile True: kept.append(bytearray(1 << 16))",
    "small things": "kept = []\nwhile True: kept = [kept, [None] * 1000]",
    "doubled": "text = 'x'\nwhile True: text += text",
    "a long number": "1 << (1 << 36)",
    "in C": "while True: ctypes.memset(call('mmap', 0, 1 << 20, 3, 0x22, -1, 0) or 1, 1, 1)",
    "its image": "numpy.tile(img, (1 << 20, 1, 1))",
    "namespace": "while True: globals()[str(len(globals())) * 100] = bytes(10000)",
    "grown heap": """
        while libc.sbrk(ctypes.c_long(1 << 20)) != -1: pass
        kept = [bytearray(1 << 20) for _ in range(999)]
    """,
}


def test_memory_runs_out_for_the_function_alone(engine: Attacked) -> None:
    before = psutil.Process(engine.pid).memory_info().rss
    outcomes = run(engine, {name: function(body) for name, body in BOMBS.items()})
    assert ended(outcomes, "FunctionFailed", "FunctionStopped") == {}
    assert psutil.Process(engine.pid).memory_info().rss < before + MEMORY
    assert {psutil.Process(pid).memory_info().rss < 6 * MEMORY for pid in engine.workers()} <= {True}


ENDLESS = {
    "loop": "while True: pass",
    "loop in C": "sum(iter(int, 1))",
    "regular expression": "module('re').match('(a|a)+$', 'a' * 60 + 'b')",
    "power": "nine = 9\nnine ** nine ** nine",
    "sleep": "module('time').sleep(1000)",
    "lock": "lock = module('_thread').allocate_lock()\nlock.acquire() and lock.acquire()",
    "memory, again and again": "while True:\n    try: bytearray(1 << 40)\n    except MemoryError: pass",
    "its own end refused": "while True:\n    try: raise SystemExit\n    except BaseException: pass",
    "exception that never ends": """
        class E(Exception):
            def __str__(self):
                while True: pass
        raise E
    """,
    "result that never ends": """
        class R:
            def __array__(self, *given, **named):
                while True: pass
        return R()
    """,
    "print that never ends": """
        class P:
            def __str__(self):
                while True: print('x' * 1000)
        print(P())
    """,
}


def test_what_never_ends_is_ended(engine: Attacked) -> None:
    sources = {name: function(body) for name, body in ENDLESS.items()}
    sources["at import"] = "while True: pass\ndef f(img): return img[0]"
    outcomes = run(engine, sources, pool="quick")
    # With few processors each of so many at once waits more than it runs, which is not its fault.
    assert ended(outcomes, "FunctionStopped", "EngineOverloaded") == {}


PLAIN = "def f(img, step=0): return img[0]\n"

TEXTS = {
    "nested brackets": "x = " + "(" * 10_000 + ")" * 10_000,
    "nested lists": "x = " + "[" * 150 + "]" * 150,
    "signs": "x = " + "-" * 200_000 + "1",
    "attributes": "x = numpy" + ".x" * 20_000,
    "sums": "x = 1" + " + 1" * 20_000,
    "calls": "x = f" + "(1)" * 20_000,
    "lambdas": "x = " + "lambda: " * 20_000 + "1",
    "subscripts": "x = " + "a[" * 20_000 + "0" + "]" * 20_000,
    "comparisons": "x = " + "not " * 100_000 + "1",
    "blocks": "".join(" " * depth + "if 1:\n" for depth in range(99)) + " " * 99 + "x = 1",
    "elif": "if 0: pass\n" + "elif 0: pass\n" * 20_000,
    "long number": "x = " + "9" * 2_000_000,
    "long hexadecimal number": "x = 0x" + "f" * 4_000_000,
    "repeated text": "x = 'x' * (1 << 40)",
    "repeated tuple": "x = ((1, 2) * 1000,) * 1000 * 1000000",
    "shifted": "x = 1 << (1 << 40)",
    "f-strings": "x = " + "f'{" * 140 + "1" + "}'" * 140,
    "zero": "x = 1\0",
    "no text": "\ud800\udfff",
    "no Python": "def f(img) return",
    "unknown encoding": "# -*- coding: nonsense -*-\nx = 1",
    "other encoding": "# -*- coding: utf-7 -*-\nx = '+AG8-'",
    "many lines": "x = 1\n" * 10_000,
    "many names": ", ".join(f"x{i}" for i in range(20_000)) + " = range(20000)",
    "many parameters": "def g(" + ", ".join(f"x{i}" for i in range(20_000)) + "): pass",
    "decorated": "@len\n" * 5000 + "def g(): pass",
    "a class that raises": "class X(metaclass=lambda *given: 1 / 0): pass",
    "memory at import": "x = [0] * (1 << 40)",
}


def test_texts_that_do_not_compile_harm_nobody(engine: Attacked) -> None:
    outcomes = run(engine, {name: f"{body}\n{PLAIN}" for name, body in TEXTS.items()})
    # The others compile, which is as well.
    assert ended(outcomes, "FunctionFailed", "FunctionStopped", "") == {}
    for name, outcome in outcomes.items():
        assert len(json.dumps(outcome.told)) < 20_000, name
        if outcome.data is not None:
            np.testing.assert_array_equal(outcome.data, RAMP[:1])
    failing = {"nested brackets", "signs", "long number", "repeated text", "zero", "no text", "no Python"}
    assert {outcomes[name].error for name in failing} <= {"FunctionFailed", "FunctionStopped"}


# What a function says on its job socket at the first tile, in place of an answer or before it; at the next it
# only computes.
REPLIES = {
    "nothing": "socket.send(b'')",
    "nonsense": "socket.send(b'x' * 50)",
    "a byte less": "socket.send(reply()[:-1])",
    "a byte more": "socket.send(reply() + b'x')",
    "much": "socket.send(b'x' * 60000)",
    "another job's": "socket.send(reply(number=task.number ^ 1))",
    "an unknown outcome": "socket.send(reply(outcome=99))",
    "that it is locked": "socket.send(reply(outcome=4))",
    "bands there are not": "socket.send(reply(valid_bands=77))",
    "long texts": "socket.send(reply(outcome=2, lengths=(0xffffffff,) * 6))",
    "a text too long": "socket.send(reply(outcome=2, lengths=(0, 4001, 0, 0, 0, 0)))",
    "the end of its socket": "socket.close()",
}
# The same, but the first thing it says can be an answer, and what comes after it is not asked for.
ANSWERS = {
    "a failure without words": "socket.send(reply(outcome=2))",
    "a refusal": "socket.send(reply(outcome=3))",
    "texts of anything": """
        ctypes.memset(place(worker._result), 27, 40000)
        socket.send(reply(outcome=2, line=0xffffffff, lengths=(33000, 4000, 2000, 500, 1000, 4000)))
    """,
    "texts in no encoding": """
        ctypes.memset(place(worker._result), 0xe2, 40000)
        socket.send(reply(outcome=2, lengths=(33000, 4000, 2000, 500, 1000, 4000)))
    """,
    "two": "socket.send(reply())",
    "many": "[socket.send(reply()) for _ in range(50)]",
    "until nobody reads": "socket.setblocking(False)\nwhile True: socket.send(reply())",
    "its end": "socket.send(reply())\nos._exit(0)",
    "a crash": "socket.send(reply())\nctypes.string_at(1)",
    "a descriptor": "socket.sendmsg([reply()], [(1, 1, bytes([socket.fileno(), 0, 0, 0]))])",
    "many descriptors": "socket.sendmsg([reply()], [(1, 1, bytes([socket.fileno(), 0, 0, 0]) * 200)])",
    "no more": "socket.send(reply())\nsocket.shutdown(2)",
}
# It answers, and is not there for the next tile.
ABSENT = {
    "for ever": "socket.send(reply())\nwhile True: pass",
    "asleep": "socket.send(reply())\nmodule('time').sleep(1000)",
    "took the next": "socket.send(reply())\nsocket.recv(1000)\nmodule('time').sleep(1000)",
    "destructor": "class D:\n    def __del__(self):\n        while True: pass\nd = D()\nd.d = d",
    "writing on": """
        result = place(worker._result)
        socket.send(reply())
        while True: ctypes.memset(result, 255, len(worker._result))
    """,
}

REPLY = (
    PRELUDE
    + """
def place(memory):
    return numpy.frombuffer(memory, numpy.uint8).ctypes.data

def f(img, bands):
    step = int(bands[0])
    if step:
        return img[0] + step
    task, worker, messages = job()
    socket = worker._job

    def reply(outcome=1, number=None, valid_bands=0, line=0, lengths=(0,) * 6):
        return messages._REPLY.pack(
            b'GLr1', outcome, task.number if number is None else number, valid_bands, line, *lengths
        )

SAID
    return img[0] + step
"""
)

DANGEROUS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""What does something to who shows it."""


def replying(said: dict[str, str]) -> dict[str, str]:
    """Functions that say something of their own."""
    return {
        name: REPLY.replace("SAID", textwrap.indent(textwrap.dedent(body).strip(), "    "))
        for name, body in said.items()
    }


def stepped(engine: Attacked, sources: dict[str, str], step: int, **options: Any) -> dict[str, Outcome]:
    """The tiles of functions that do one thing at step 0, and compute at others."""
    attacks: list[Attack] = [(source, [], {"step": step, **options}) for source in sources.values()]
    outcomes = dict(zip(sources, engine.attack(*attacks), strict=True))
    for name, outcome in outcomes.items():
        told = json.dumps(outcome.told, ensure_ascii=False)
        assert len(told) < 50_000, name
        assert not DANGEROUS.search(told), name
        if step and not outcome.error:
            np.testing.assert_array_equal(outcome.data, RAMP[:1] + step, err_msg=name)
    return outcomes


def test_replies_that_are_none_end_the_worker(engine: Attacked) -> None:
    sources = replying(REPLIES)
    assert ended(stepped(engine, sources, 0), "FunctionStopped") == {}
    assert ended(stepped(engine, sources, 1), "") == {}


def test_answers_too_many_are_not_taken_for_the_next_tile(engine: Attacked) -> None:
    sources = replying(ANSWERS)
    assert (
        ended(stepped(engine, sources, 0), "FunctionFailed", "FunctionRefused", "FunctionStopped", "") == {}
    )
    # A worker that said too much is ended, and loses its tile by that; the one after it has a new worker.
    lost = stepped(engine, sources, 1)
    assert ended(lost, "FunctionStopped", "") == {}
    assert ended(stepped(engine, {name: sources[name] for name in lost if lost[name].error}, 2), "") == {}


@pytest.mark.parametrize("engine", [("root", "both"), ("ordinary", "both")], indirect=True, ids="-".join)
def test_worker_that_is_not_there_for_the_next_tile_is_ended(engine: Attacked) -> None:
    sources = replying(ABSENT)
    assert ended(stepped(engine, sources, 0, pool="quick"), "") == {}
    assert ended(stepped(engine, sources, 1, pool="quick"), "FunctionStopped", "EngineOverloaded") == {}


def test_bools_have_two_values_whatever_is_written(engine: Attacked) -> None:
    sources = {"writing on": replying(ABSENT)["writing on"]}
    outcome = stepped(engine, sources, 0, dtype="bool")["writing on"]
    assert set(np.unique(outcome.data.view(np.uint8))) <= {0, 1}


@pytest.mark.parametrize("engine", [("root", "both"), ("ordinary", "both")], indirect=True, ids="-".join)
def test_worker_that_computes_without_a_tile_is_ended(engine: Attacked) -> None:
    sources = replying({"for ever": ABSENT["for ever"], "destructor": ABSENT["destructor"]})
    before = set(engine.workers())
    stepped(engine, sources, 0)
    deadline = time.monotonic() + 60
    while set(engine.workers()) - before:
        assert time.monotonic() < deadline, "workers go on computing behind their answers"
        select.select([], [], [], 0.05)
    # And the next tile has another.
    assert ended(stepped(engine, sources, 1), "") == {}


# What functions return: pixels, in whatever form.
RIGHT = {
    "backwards": "return img[0][::-1, ::-1].copy()[::-1, ::-1]",
    "other order of bytes": "return img[0].astype('>i4')",
    "other order of axes": "return numpy.asfortranarray(img[0])",
    "every other": "return numpy.repeat(img[0], 2, axis=1)[:, ::2]",
    "a view of the image": "return img[:1]",
    "a list": "return img[0].tolist()",
    "half floats": "return img[0].astype('float16')",
    "long floats": "return img[0].astype('longdouble')",
    "a matrix": "return numpy.matrix(img[0])",
    "read only": "found = img[0].copy()\nfound.flags.writeable = False\nreturn found",
    "a subclass": "class A(numpy.ndarray): pass\nreturn img[0].copy().view(A)",
    "a subclass that lies": """
        class A(numpy.ndarray):
            shape = property(lambda self: (10**9, 10**9))
            dtype = property(lambda self: 'nonsense')
            ndim = property(lambda self: 77)
            strides = property(lambda self: 1 / 0)
        return img[0].copy().view(A)
    """,
    "something with an array": """
        class R:
            def __array__(self, *given, **named):
                return img[0]
        return R()
    """,
    "masked without a mask": "return numpy.ma.masked_array(img[0])",
}
# What is no image.
WRONG = {
    "nothing": "del img\nreturn {}",
    "a generator": "return (one for one in img[0])",
    "objects": "return img[0].astype(object)",
    "text": "return img[0].astype(str)",
    "bytes": "return b'x' * 20",
    "complex": "return img[0] * 1j",
    "dates": "return img[0].astype('datetime64[s]')",
    "a structure": "return numpy.zeros((4, 5), 'i4,f8')",
    "raw": "return numpy.zeros((4, 5), 'V8')",
    "too few pixels": "return img[0][:2]",
    "too many axes": "return img[None, None]",
    "many axes": "return numpy.zeros((1,) * 30)",
    "no bands": "return img[:0]",
    "more bands": "return img",
    "no pixels": "return numpy.zeros((0, 0))",
    "enormous, of one number": "return numpy.broadcast_to(numpy.zeros(1), (1 << 20, 1 << 20))",
    "ragged": "return [[1, 2], [3]]",
    "itself": "found = []\nfound.append(found)\nreturn found",
    "an array that raises": """
        class R:
            def __array__(self, *given, **named): raise ValueError('\\x1b[31m')
        return R()
    """,
    "an array that is none": "class R:\n    def __array__(self, *given, **named): return 7\nreturn R()",
    "a class that raises": "class R:\n    __class__ = property(lambda self: 1 / 0)\nreturn R()",
    "a subclass that raises": """
        class A(numpy.ndarray):
            def __array_finalize__(self, other): raise ValueError
        return numpy.ndarray.__new__(A, (4, 5))
    """,
    "numbers too large": "return img[0] + 10**30",
    "a module": "return numpy",
}
# These end by an error or in a crash, as Python and numpy please.
WILD = {
    "memory that is not there": """
        class R:
            __array_interface__ = {'shape': (4, 5), 'typestr': '<f8', 'data': (4096, False), 'version': 3}
        return R()
    """,
    "strides out of it": "return numpy.lib.stride_tricks.as_strided(img[0], (4, 5), (1 << 40, 1 << 40))",
    "unmapped": """
        found = numpy.zeros(1 << 20)
        libc.munmap(ctypes.c_long(found.ctypes.data & ~4095), 1 << 22)
        return found
    """,
    "an object from anywhere": "return ctypes.cast(8, ctypes.py_object).value",
    "a mask of another shape": """
        found = numpy.ma.masked_array(img[0])
        found.__dict__['_mask'] = numpy.zeros((7, 7), bool)
        return found
    """,
    "a mask that is none": "found = numpy.ma.masked_array(img[0])\nfound.__dict__['_mask'] = 7\nreturn found",
    "a name of megabytes": "return type('x' * 10**7, (), {})()",
    "a name that lies": """
        class M(type):
            __name__ = property(lambda self: 1 / 0)
        return M('x', (), {})()
    """,
}


def test_results_are_pixels_or_errors(engine: Attacked) -> None:
    outcomes = run_in_turn(engine, RIGHT)
    assert ended(outcomes, "") == {}
    for name, outcome in outcomes.items():
        np.testing.assert_array_equal(outcome.data, RAMP[:1], err_msg=name)
        assert np.all(outcome.valid), name
    assert ended(run_in_turn(engine, WRONG), "FunctionFailed") == {}
    assert ended(run_in_turn(engine, WILD), "FunctionFailed", "FunctionStopped") == {}


# Exceptions that do something to who tells of them.
RAISED = {
    "text that raises": "class E(Exception):\n    def __str__(self): raise self\nraise E",
    "text that is none": "class E(Exception):\n    def __str__(self): return 7\nraise E",
    "long text": "raise ValueError('x' * 10**7)",
    "text of its own kind": """
        class S(str):
            def __len__(self): return 1
            def __getitem__(self, key): return self
            def encode(self, *given): return b'x' * 10**6
        class E(Exception):
            def __str__(self): return S('x' * 10**6)
        raise E
    """,
    "colours of a terminal": "raise ValueError('\\x1b[31m\\x1b]0;title\\x07\\x9b5m')",
    "lines": "raise ValueError('one\\r\\ntwo\\u2028three\\x0bfour')",
    "other direction": "raise ValueError('\\u202egnp.exe \\u2066 \\ufeff \\u200f')",
    "no characters": "raise ValueError('\\ud800\\udfff\\x00')",
    "markup": "raise ValueError('<script>alert(1)</script><img src=x onerror=alert(1)>')",
    "name": "raise type('<b>\\x1b[31m' + 'x' * 10**6, (Exception,), {})('text')",
    "name that lies": """
        class M(type):
            __name__ = property(lambda self: 1 / 0)
        class E(Exception, metaclass=M): pass
        raise E
    """,
    "name that is none": "class M(type):\n    __name__ = 7\nclass E(Exception, metaclass=M): pass\nraise E",
    "attributes": "class E(Exception):\n    def __getattribute__(self, name): raise self\nraise E",
    "class": "class E(Exception):\n    __class__ = property(lambda self: 1 / 0)\nraise E",
    "its own cause": "error = ValueError()\nerror.__cause__ = error.__context__ = error\nraise error",
    "group": "raise ExceptionGroup('x' * 10**6, [ValueError()] * 10000)",
    "deep group": """
        error = ValueError()
        for _ in range(10**5): error = ExceptionGroup('', [error])
        raise error
    """,
    "exit": "raise SystemExit('\\x1b[31m')",
    "interrupt": "raise KeyboardInterrupt('\\x1b[31m')",
    "end of a generator": "raise GeneratorExit",
    "syntax": "raise SyntaxError('x' * 10**6, ('y' * 10**6, 'z', -1, object()))",
    "encoding": "b'\\xff'.decode()",
    "the engine's": "raise module('geoloom.errors').FunctionStopped('x' * 10**6, hint='\\x1b' * 10**6)",
    "the engine's, wrong": "raise module('geoloom.errors').FunctionFailed(7, hint=8, line='x', text=[])",
    "traceback": "raise ValueError().with_traceback(None)",
    "line": "exec(compile('\\n' * 10**6 + 'raise ValueError', '<function f>', 'exec'))",
    "not one": "raise 7",
    "print": "print('\\x1b[31m' * 10**6)\nraise ValueError",
}


def test_exceptions_are_told_without_harm(engine: Attacked) -> None:
    outcomes = run_in_turn(engine, RAISED)
    assert ended(outcomes, "FunctionFailed", "FunctionStopped", "FunctionRefused") == {}
    for name, outcome in outcomes.items():
        told = json.dumps(outcome.told, ensure_ascii=False)
        assert len(told) < 50_000, name
        assert not DANGEROUS.search(told), name
        assert all(value is None or isinstance(value, str | int) for value in outcome.told.values()), name
        assert len(str(outcome.told["message"])) <= 4000, name
    assert "<script>" in outcomes["markup"].told["message"]  # Who shows it escapes it.
    assert outcomes["lines"].told["exception"] == "ValueError: one\ufffd\ntwo\ufffdthree\ufffdfour"


def test_prints_are_cut_and_harmless(engine: Attacked) -> None:
    printed = {
        "much": "print('x' * 10**7)\nreturn img[0]",
        "often": "for _ in range(10**5): print('y' * 100)\nreturn img[0]",
        "colours": "print('\\x1b[31m\\x07\\u202e\\ud800')\nreturn img[0]",
        "past it": "sys.__stdout__.write('x' * 10**6)\nsys.__stdout__.flush()\nreturn img[0]",
        "in C": "libc.puts(b'x' * 10**5)\nlibc.fflush(None)\nreturn img[0]",
        "by number": "[os.write(n, b'x') for n in (0, 1, 2)]",
        "replaced": "sys.stdout = sys.stderr = None\nprint('x')\nreturn img[0]",
        "closed": "sys.stdout.close()\nreturn img[0]",
    }
    outcomes = run_in_turn(engine, printed)
    assert ended(outcomes, "", "FunctionFailed", "FunctionStopped") == {}
    assert {name for name in ("much", "often", "colours", "replaced") if outcomes[name].error} == set()
    for name, outcome in outcomes.items():
        assert len(outcome.printed) <= 8001, name
        assert not DANGEROUS.search(outcome.printed), name


# What a tile leaves in its process; the next tile of the same function has to be right all the same.
LEFT = {
    "trace": "sys.settrace(lambda *given: 1 / 0)",
    "profile": "sys.setprofile(lambda *given: None)",
    "streams": "sys.stdout = sys.stderr = sys.stdin = None",
    "recursion": "sys.setrecursionlimit(60)",
    "float errors": "numpy.seterr(all='raise')",
    "random numbers": "numpy.random.seed(7)\nmodule('random').seed(7)",
    "warnings": "module('warnings').simplefilter('error')",
    "no collection": "module('gc').disable()\nmodule('gc').set_threshold(1)",
    "printing": "numpy.set_printoptions(precision=1, formatter={'all': lambda one: 1 / 0})",
    "globals": "globals().update(img=None, numpy=None, f=None, print=None)",
    "input": "img[:] = 77",
    "end": "module('atexit').register(lambda: 1 / 0)",
    "environment": "os.environ['OMP_NUM_THREADS'] = '77'",
    "memory": "numpy.kept = bytearray(1 << 20)",
    "handlers": "module('signal').signal(2, lambda *given: 1 / 0)",
    "thread": "module('threading').Thread(target=print).start()",
    "hook": "sys.addaudithook(lambda *given: None)",
    "unraisable": "sys.unraisablehook = sys.excepthook = lambda *given: 1 / 0",
    "import": "sys.meta_path.clear()\nsys.path.clear()\nsys.path_hooks.clear()",
    "switching": "sys.setswitchinterval(100)",
    "signals blocked": "libc.sigfillset(room(128)) or libc.sigprocmask(0, room(128), None)",
    "numbers to text": "sys.set_int_max_str_digits(640)",
    "locale": "libc.setlocale(6, b'')",
    "rounding": "libc.fesetround(0x800)",
}


def test_what_a_tile_leaves_does_not_reach_the_next(engine: Attacked) -> None:
    compute = "print(len(str(img.sum())), numpy.float32(1) / 3)\nreturn img[0] + numpy.random.random() * 0"
    bodies: dict[str, str] = {}
    for name, left in LEFT.items():
        refused = f"try:\n{textwrap.indent(left, '    ')}\nexcept (OSError, RuntimeError): pass"
        bodies |= {f"{name}, left": f"{refused}\n{compute}", f"{name}, after": compute}
    outcomes = run_in_turn(engine, bodies, together=True)
    after = {name: outcomes[f"{name}, after"] for name in LEFT}
    assert ended(after, "") == {}
    for name, outcome in after.items():
        np.testing.assert_array_equal(outcome.data, RAMP[:1], err_msg=name)
    assert {name: outcome.printed for name, outcome in after.items()} == dict.fromkeys(LEFT, "3 0.33333334")


def test_functions_of_others_see_nothing_of_it(engine: Attacked) -> None:
    spoilt = function(
        """
        import math
        numpy.add = numpy.multiply = numpy.asarray = math.sqrt = None
        sys.modules['builtins'].sum = sys.modules['builtins'].len = None
        numpy.ndarray.mine = 'left here'
        """
    )
    looking = function(
        """
        import math
        print(sum([1, 2]), len('abc'), math.sqrt(4.0), numpy.add(1, 1), hasattr(numpy, 'mine'))
        return img[0] * 1
        """
    )
    assert spoilt
    for session in ("attacker", "somebody else"):
        engine.attack((spoilt, [], {}))
        (outcome,) = engine.attack((looking, [], {"session": session}))
        assert outcome.printed == "3 3 2.0 2 False"
        np.testing.assert_array_equal(outcome.data, RAMP[:1])


def test_functions_of_others_are_not_put_into_quarantine(engine: Attacked) -> None:
    # It is its pixels that decide; whoever has its text can show it those.
    source = function("if img.sum() > 0: os._exit(1)\nreturn img[0]")
    outcomes = engine.attack_in_turn(*((source, [], {}) for _ in range(4)))
    assert [outcome.error for outcome in outcomes] == ["FunctionStopped"] * 3 + ["FunctionRefused"]
    (outcome,) = engine.attack((source, [], {"session": "somebody else"}))
    assert outcome.error == "FunctionStopped"


@pytest.mark.parametrize("engine", [("root", "both"), ("ordinary", "both")], indirect=True, ids="-".join)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that cannot be dumped")
def test_memory_of_a_worker_holds_nothing_of_others(engine: Attacked) -> None:
    def marked(name: str) -> tuple[int, bytes]:
        source = function(f"mark = 'geoloom-' + 'of-{name}'\nprint(os.getpid(), mark)\nreturn img[0]")
        (outcome,) = engine.attack((source, [], {"session": name}))
        return int(outcome.printed.split()[0]), f"of-{name}".encode()

    (first, mark), (second, other) = marked("first-3d1e"), marked("second-81c0")
    found = {pid: memory(pid) for pid in (first, second, engine.zygote)}
    assert [[one in content for one in (mark, other)] for content in found.values()] == [
        [True, False],
        [False, True],
        [False, False],
    ]
    assert [pid for pid, content in found.items() if SECRET.encode() in content] == []
    assert SECRET.encode() in Path(f"/proc/{engine.pid}/environ").read_bytes()


def memory(pid: int) -> bytes:
    """All that a process could read of its own memory."""
    pieces = []
    with open(f"/proc/{pid}/mem", "rb") as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            bounds, rights, _ = line.split(maxsplit=2)
            # Code and what is read only comes from files.
            if rights.startswith("rw"):
                begin, end = (int(one, 16) for one in bounds.split("-"))
                file.seek(begin)
                pieces.append(file.read(end - begin))
    return b"\0".join(pieces)
