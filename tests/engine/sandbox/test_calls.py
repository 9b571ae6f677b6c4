"""The allow-list and its numbers, against the kernel's headers where they are installed."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import threading
import time
from pathlib import Path

import pytest

from geoloom_engine.sandbox import calls
from geoloom_engine.sandbox.calls import ALLOWED, LIBRARY, MACHINES, machine, system

# Debian's multiarch folder, and where other systems have them.
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}

# Written down apart from the tables, from the kernel's own lists.
WELL_KNOWN = {
    "x86_64": {"read": 0, "mmap": 9, "brk": 12, "getpid": 39, "exit_group": 231, "getrandom": 318},
    "aarch64": {"read": 63, "mmap": 222, "brk": 214, "getpid": 172, "exit_group": 94, "getrandom": 278},
}

NEVER = {
    "accept4", "add_key", "arch_prctl", "bind", "bpf", "chmod", "clone", "clone3", "close", "connect", "dup",
    "execve", "execveat", "fork", "ftruncate", "getppid", "io_uring_enter", "io_uring_setup", "ioctl",
    "keyctl", "kill", "landlock_restrict_self", "memfd_create", "mount", "open", "openat", "openat2",
    "perf_event_open", "personality", "pidfd_getfd", "pidfd_open", "pkey_mprotect", "prctl", "prlimit64",
    "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace", "recvmsg", "rt_sigaction",
    "sched_setaffinity", "seccomp", "sendmsg", "setns", "setrlimit", "setuid", "shmat", "shmget", "socket",
    "socketpair", "stat", "tgkill", "timer_create", "unlink", "unshare", "userfaultfd", "vfork", "vmsplice",
}  # fmt: skip

on_known_machine = pytest.mark.skipif(machine() is None, reason="this machine's calls are not in the tables")


@pytest.mark.parametrize("name", MACHINES)
def test_numbers_are_the_headers(name: str) -> None:
    header = next((Path(path) for path in HEADERS[name] if Path(path).exists()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", header.read_text(), re.MULTILINE)
    defined = {call: int(number) for call, number in found}
    assert {call: defined[call] for call in MACHINES[name].numbers} == dict(MACHINES[name].numbers)


@pytest.mark.parametrize("name", MACHINES)
def test_well_known_numbers_are_right(name: str) -> None:
    assert WELL_KNOWN[name].items() <= MACHINES[name].numbers.items()


@pytest.mark.parametrize(("name", "audit"), [("x86_64", 62), ("aarch64", 183)])
def test_audit_is_the_elf_machine_with_64_bits_little_endian(name: str, audit: int) -> None:
    assert MACHINES[name].audit == audit | 0x80000000 | 0x40000000


def test_every_allowed_call_has_a_number_and_the_other_way_round() -> None:
    assert set(MACHINES["x86_64"].numbers) == set(ALLOWED)
    # Those without a suffix in time, which newer machines never had.
    assert set(ALLOWED) - set(MACHINES["aarch64"].numbers) == {"time"}
    assert set(MACHINES["aarch64"].numbers) <= set(ALLOWED)
    for known in MACHINES.values():
        assert len(set(known.numbers.values())) == len(known.numbers)


def test_nothing_that_opens_starts_or_reaches_out_is_allowed() -> None:
    assert NEVER & set(ALLOWED) == set()


@on_known_machine
def test_numbers_do_on_this_machine_what_their_names_say() -> None:
    here = machine()
    assert here is not None

    def made(name: str, *arguments: int) -> int:
        return system("syscall", here.numbers[name], *arguments)

    assert made("getpid") == os.getpid()
    assert made("gettid") == threading.get_native_id()
    assert made("sched_yield") == 0
    assert made("brk", 0) > 0
    assert made("write", 1, 0, 0) == 0
    begin = time.monotonic()
    now = bytearray(16)
    pointer = (ctypes.c_char * 16).from_buffer(now)
    assert made("clock_gettime", time.CLOCK_MONOTONIC, ctypes.addressof(pointer)) == 0
    assert begin - 1 < int.from_bytes(now[:8], "little") <= time.monotonic()
    # An unused page can be mapped, protected, advised of and given back.
    page = made("mmap", 0, 4096, 3, 0x22, -1, 0)
    assert made("mprotect", page, 4096, 1) == 0
    assert made("madvise", page, 4096, 4) == 0
    assert made("mremap", page, 4096, 4096, 0) == page
    assert made("munmap", page, 4096) == 0


def test_machine_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machine() is (MACHINES["aarch64"] if os.uname().sysname == "Linux" else None)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert machine() is None
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(calls.sys, "platform", "darwin")
    assert machine() is None


def test_32_bit_interpreter_on_a_64_bit_kernel_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls.sys, "maxsize", (1 << 31) - 1)
    assert machine() is None


def test_failure_of_the_system_is_an_error_with_number_and_name() -> None:
    with pytest.raises(OSError, match="close: ") as raised:
        system("close", 0x7FFFFFF0)
    assert raised.value.errno == errno.EBADF


def test_function_the_library_does_not_have() -> None:
    assert not hasattr(LIBRARY, "no_such_function_of_geoloom")
    with pytest.raises(AttributeError):
        system("no_such_function_of_geoloom")
