"""The filter of system calls: in a small interpreter for both machines, and by the kernel for this one."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoloom_engine.sandbox import calls, seccomp
from geoloom_engine.sandbox.calls import ALLOWED, MACHINES, Machine, machine
from geoloom_engine.sandbox.lock import available
from geoloom_engine.sandbox.seccomp import ALLOW, KILL, REFUSE, Instruction, program

JOB = 7
LONGEST_PATH = 30
"""Instructions the kernel runs for a call at most (seen: 20)."""

MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 1, 2, 0x10, 0x20
MAP_NORESERVE, MAP_HUGETLB, MAP_SYNC = 0x4000, 0x40000, 0x80000

# The same calls on both machines: name, arguments, whether it goes through.
TRIED: list[tuple[str, tuple[int, ...], bool]] = [
    ("read", (JOB, 1, 100), True),
    ("read", (0, 1, 100), False),
    ("read", (JOB + 1, 1, 100), False),
    # The kernel takes a descriptor as an int and sees only the lower half.
    ("read", (JOB | 5 << 32, 1, 100), True),
    ("write", (JOB, 1, 100), True),
    ("write", (1, 1, 100), False),
    ("write", (2, 1, 100), False),
    ("recvfrom", (JOB, 1, 100, 0, 0, 0), True),
    ("recvfrom", (JOB, 1, 100, 0x40, 0, 0), True),  # MSG_DONTWAIT
    ("recvfrom", (JOB, 1, 100, 1, 0, 0), False),  # MSG_OOB
    ("recvfrom", (JOB, 1, 100, 0x41, 0, 0), False),
    ("recvfrom", (3, 1, 100, 0, 0, 0), False),
    ("sendto", (JOB, 1, 100, 0, 0, 0), True),
    ("sendto", (JOB, 1, 100, 0x4000, 0, 0), True),  # MSG_NOSIGNAL
    ("sendto", (JOB, 1, 100, 1, 0, 0), False),
    ("sendto", (JOB, 1, 100, 0, 0x7FFF0000, 16), False),
    ("sendto", (JOB, 1, 100, 0, 5 << 32, 16), False),
    ("sendto", (3, 1, 100, 0, 0, 0), False),
    ("mmap", (0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), True),
    ("mmap", (0, 4096, 0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), True),
    ("mmap", (0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), True),
    ("mmap", (0, 4096, 4, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), False),
    ("mmap", (0, 4096, 5, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), False),
    ("mmap", (0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), False),
    ("mmap", (0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0), False),
    ("mmap", (0, 4096, 3, MAP_PRIVATE, JOB, 0), False),
    ("mmap", (0, 4096, 3, MAP_SHARED, JOB, 0), False),
    ("mmap", (0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0), False),
    ("mmap", (0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_SYNC, -1, 0), False),
    ("mprotect", (1 << 40, 4096, 0), True),
    ("mprotect", (1 << 40, 4096, 3), True),
    ("mprotect", (1 << 40, 4096, 4), False),
    ("mprotect", (1 << 40, 4096, 5), False),
    ("mprotect", (1 << 40, 4096, 0x01000003), False),  # PROT_GROWSDOWN
    ("mremap", (1 << 40, 4096, 8192, 1), True),
    ("mremap", (1 << 40, 4096, 8192, 3, 1 << 41), False),  # MREMAP_FIXED
    ("madvise", (1 << 40, 4096, 4), True),
    ("madvise", (1 << 40, 4096, 14), True),
    ("madvise", (1 << 40, 4096, 12), False),  # MADV_MERGEABLE
    ("madvise", (1 << 40, 4096, 100), False),  # MADV_HWPOISON
    ("clock_gettime", (0, 1), True),
    ("clock_gettime", (3, 1), True),
    ("clock_gettime", (~1234 << 3 | 2, 1), False),  # processor time of process 1234
    ("clock_nanosleep", (1, 0, 1, 0), True),
    ("clock_nanosleep", (~1234 << 3 | 2, 0, 1, 0), False),
    ("futex", (1 << 40, 0), True),
    ("futex", (1 << 40, 0x80), True),  # FUTEX_WAIT_PRIVATE
    ("futex", (1 << 40, 0x189), True),  # FUTEX_WAIT_BITSET, private, realtime clock
    ("futex", (1 << 40, 3), False),  # FUTEX_REQUEUE
    ("futex", (1 << 40, 6), False),  # FUTEX_LOCK_PI
    ("futex", (1 << 40, 0x8B), False),  # FUTEX_WAIT_REQUEUE_PI
    ("sched_getaffinity", (0, 128, 1), True),
    ("sched_getaffinity", (1, 128, 1), False),
    ("getrusage", (0, 1), True),
    ("getrusage", (-1, 1), False),  # RUSAGE_CHILDREN
    ("brk", (0,), True),
    ("munmap", (1 << 40, 4096), True),
    ("getrandom", (1, 8, 0), True),
    ("exit_group", (0,), True),
]

# Calls somebody would like to make, as numbered on (x86-64, aarch64); None where there is none.
WISHED = {
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "stat": (4, None), "newfstatat": (262, 79),
    "close": (3, 57), "unlinkat": (263, 35), "renameat2": (316, 276), "fchmodat": (268, 53),
    "getdents64": (217, 61), "readlinkat": (267, 78), "ftruncate": (77, 46), "mount": (165, 40),
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "sendmsg": (46, 211), "recvmsg": (47, 212), "getsockopt": (55, 209), "pipe2": (293, 59),
    "clone": (56, 220), "clone3": (435, 435), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "process_madvise": (440, 440),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282), "bpf": (321, 280),
    "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_setup": (206, 0), "unshare": (272, 97), "setns": (308, 268),
    "setuid": (105, 146), "setresuid": (117, 147), "setgroups": (116, 159), "capset": (126, 91),
    "prctl": (157, 167), "arch_prctl": (158, None), "personality": (135, 92), "seccomp": (317, 277),
    "prlimit64": (302, 261), "setrlimit": (160, 164), "sched_setaffinity": (203, 122),
    "keyctl": (250, 219), "add_key": (248, 217), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "rt_sigaction": (13, 134), "sigaltstack": (131, 132),
    "timer_create": (222, 107), "pkey_mprotect": (329, 288), "mlock": (149, 228),
    "remap_file_pages": (216, 234),
    "modify_ldt": (154, None), "ioctl": (16, 29), "fcntl": (72, 25), "dup": (32, 23), "getppid": (110, 173),
    "landlock_restrict_self": (446, 446), "init_module": (175, 105), "kexec_load": (246, 104),
    "vmsplice": (278, 75), "splice": (275, 76), "tee": (276, 77), "chroot": (161, 51), "rseq": (334, 293),
    "futex_waitv": (449, 449), "membarrier": (324, 283), "sysinfo": (99, 179), "uname": (63, 160),
}  # fmt: skip


def run(instructions: list[Instruction], audit: int, number: int, *arguments: int) -> tuple[int, int]:
    """What the kernel would do, and how many instructions it would run."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    seen = struct.pack("<II7Q", number & 0xFFFFFFFF, audit, 0, *(one & (1 << 64) - 1 for one in padded))
    at = steps = accumulator = 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        steps += 1
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", seen, constant)
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x15:
            at += if_true if accumulator == constant else if_false
        elif code == 0x35:
            at += if_true if accumulator >= constant else if_false
        elif code == 0x06:
            return constant, steps
        else:
            raise AssertionError(f"no instruction {code:#x}")


@pytest.fixture(params=list(MACHINES.values()), ids=list(MACHINES))
def known(request: pytest.FixtureRequest) -> Machine:
    found: Machine = request.param
    return found


def decided(known: Machine, number: int, *arguments: int) -> int:
    return run(program(known, [JOB]), known.audit, number, *arguments)[0]


@pytest.mark.parametrize(("name", "arguments", "goes"), TRIED)
def test_arguments_decide(known: Machine, name: str, arguments: tuple[int, ...], goes: bool) -> None:
    assert decided(known, known.numbers[name], *arguments) == (ALLOW if goes else REFUSE)


def test_tries_name_every_call_that_has_a_check() -> None:
    checked = {name for name, checks in ALLOWED.items() if checks}
    assert {name for name, _, goes in TRIED if not goes} == checked - {"clock_getres"}


@pytest.mark.parametrize(
    ("place", "header"),
    [(0, "x86_64-linux-gnu/asm/unistd_64.h"), (1, "asm-generic/unistd.h")],
    ids=list(MACHINES),
)
def test_wishes_have_the_numbers_of_the_headers(place: int, header: str) -> None:
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", path.read_text(), re.MULTILINE)
    defined = {call: int(number) for call, number in found} | ({} if place == 0 else {"newfstatat": 79})
    wished = {name: numbers[place] for name, numbers in WISHED.items()}
    assert wished == {name: defined.get(name) for name in WISHED}


@pytest.mark.parametrize("name", WISHED)
def test_what_an_attacker_would_like_is_refused(known: Machine, name: str) -> None:
    number = WISHED[name][list(MACHINES).index(known.name)]
    if number is not None:
        assert decided(known, number, JOB, 1, 1, 0, 0, 0) == REFUSE


def test_every_number_that_is_not_in_the_table_is_refused(known: Machine) -> None:
    allowed = set(known.numbers.values())
    others = [number for number in (*range(1024), 0x3FFFFFFF) if number not in allowed]
    assert {decided(known, number, JOB) for number in others} == {REFUSE}


def test_other_calling_conventions_end_the_process(known: Machine) -> None:
    for number in known.numbers.values():
        # x32 has a bit set; a tracer's «no call» is -1.
        assert decided(known, number | 0x40000000, JOB) == KILL
    assert decided(known, -1) == KILL
    others = {one.audit for one in MACHINES.values()} - {known.audit}
    for audit in (*others, 0x40000003, 0x40000028, 0):  # i386, 32-bit ARM
        assert run(program(known, [JOB]), audit, known.numbers["getpid"])[0] == KILL


def test_program_is_one_the_kernel_takes(known: Machine) -> None:
    instructions = program(known, [JOB, 9])
    assert len(instructions) < 4096
    for at, (code, if_true, if_false, constant) in enumerate(instructions):
        assert code in (0x20, 0x54, 0x15, 0x35, 0x06)
        assert 0 <= constant <= 0xFFFFFFFF
        assert max(if_true, if_false) <= 255
        if code != 0x06:
            assert at + 1 + max(if_true, if_false) < len(instructions)
        if code == 0x20:
            assert constant % 4 == 0
            assert constant < 64
    assert instructions[-1][0] == 0x06


def test_no_call_takes_long(known: Machine) -> None:
    instructions = program(known, [JOB])
    steps = [
        run(instructions, known.audit, known.numbers[name], *arguments)[1]
        for name, arguments, _ in TRIED
        if name in known.numbers
    ]
    assert max(steps) <= LONGEST_PATH


def test_several_descriptors_or_none(known: Machine) -> None:
    two, none = program(known, [9, 4]), program(known, [])
    read = known.numbers["read"]
    assert [run(two, known.audit, read, one)[0] == ALLOW for one in (3, 4, 5, 9, 10)] == [0, 1, 0, 1, 0]
    assert {run(none, known.audit, read, one)[0] for one in range(10)} == {REFUSE}


def test_more_descriptors_than_a_jump_can_pass(known: Machine) -> None:
    with pytest.raises(ValueError, match="too long"):
        program(known, range(300))


def test_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls.platform, "machine", lambda: "riscv64")
    with pytest.raises(NotImplementedError, match="riscv64"):
        seccomp.install([12345])


KERNEL = pytest.mark.skipif(not available().seccomp, reason="this kernel has no seccomp")

FILTERED = """
import json, os, sys
from geoloom_engine.sandbox import seccomp
from geoloom_engine.sandbox.calls import system
system("prctl", 38, 1, 0, 0, 0)
tried, done = json.load(sys.stdin), []
seccomp.install([1])
for number, *arguments in tried:
    try:
        system("syscall", number, *arguments)
        done.append(0)
    except OSError as error:
        done.append(error.errno)
os.write(1, json.dumps(done).encode())
"""


def filtered(*tried: tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    """Make calls in a process that is filtered and may write to 1; gives their error numbers."""
    return subprocess.run(
        [sys.executable, "-P", "-c", FILTERED], input=json.dumps(tried), capture_output=True, text=True
    )


@pytest.fixture
def here() -> Iterator[Machine]:
    found = machine()
    assert found is not None
    return found


@KERNEL
def test_kernel_decides_as_the_interpreter_does(here: Machine) -> None:
    place = list(MACHINES).index(here.name)
    wished = [
        (number, 0, 0, 0, 0, 0, 0) for numbers in WISHED.values() if (number := numbers[place]) is not None
    ]
    done = filtered(*wished)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1] * len(wished)


@KERNEL
def test_kernel_looks_at_arguments(here: Machine) -> None:
    numbers = here.numbers
    done = filtered(
        (numbers["mmap"], 0, 4096, 3, 0x22, -1, 0),
        (numbers["mmap"], 0, 4096, 7, 0x22, -1, 0),
        (numbers["mmap"], 0, 4096, 3, 0x21, -1, 0),
        (numbers["write"], 1, 0, 0),
        (numbers["write"], 2, 0, 0),
        (numbers["getpid"],),
        (numbers["clock_getres"], 1, 0),
        (numbers["clock_getres"], -6, 0),
    )
    assert json.loads(done.stdout) == [0, 1, 1, 0, 1, 0, 0, 1]


@KERNEL
@pytest.mark.skipif(machine() is not MACHINES["x86_64"], reason="x32 is of x86-64")
def test_kernel_ends_a_process_that_makes_calls_of_x32(here: Machine) -> None:
    assert filtered((here.numbers["getpid"] | 0x40000000,)).returncode == -31  # SIGSYS
