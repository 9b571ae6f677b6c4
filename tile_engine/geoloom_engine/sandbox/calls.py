"""The system calls a locked-down process may still make, and how a call of the system is made.

What is not named here is refused. The list holds what an interpreter needs that computes on memory it
has, grows and gives back memory, reads a clock, and talks over the descriptors it was left with; it was
found by running under it, and each argument that matters is checked too.

Numbers: ``arch/x86/entry/syscalls/syscall_64.tbl`` and, for aarch64, ``scripts/syscall.tbl`` of Linux
(before 6.11 ``include/uapi/asm-generic/unistd.h``).
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What one argument of a call must be.

    Parameters
    ----------
    argument
        Its place, from 0.
    values
        What it may be, of 32 bits; None: a descriptor that the process keeps.
    mask
        The bits of it that are looked at. Of a 64-bit argument that the kernel takes as an int only
        the lower half counts, so a mask of 32 bits is right there; a pointer needs all 64, and then
        the upper half must be 0.
    """

    argument: int
    values: tuple[int, ...] | None
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of processor, as the kernel's filter knows it.

    Parameters
    ----------
    name
        As ``platform.machine()`` spells it.
    audit
        Its ``AUDIT_ARCH``.
    numbers
        Of the calls in `ALLOWED`. A call that this kind of processor does not have is left out.
    end
        Numbers from here on are another calling convention (x32) or no calls at all.
    """

    name: str
    audit: int
    numbers: Mapping[str, int]
    end: int = 0x40000000


# Memory that can be run is made before the lock or never: read and write are all that can be asked for.
_READ_WRITE = Check(2, (0,), mask=~0x3 & 0xFFFFFFFF)

# Private and anonymous, as malloc and numpy ask for it. What may come with it: MAP_FIXED, MAP_NORESERVE,
# MAP_POPULATE, MAP_STACK. So no file, no memory that others could share, no huge page of a pool.
_ANONYMOUS = Check(3, (0x22,), mask=~(0x10 | 0x4000 | 0x8000 | 0x20000) & 0xFFFFFFFF)

# The clocks of the machine and of the process itself; those of other processes are negative numbers.
_OWN_CLOCK = Check(0, (0,), mask=~0xF & 0xFFFFFFFF)

_KEPT = Check(0, None)
_NOWHERE = Check(4, (0,), mask=0xFFFFFFFFFFFFFFFF)

ALLOWED: Mapping[str, tuple[Check, ...]] = {
    # The descriptors that were kept. No other address, no descriptors inside (no sendmsg, recvmsg), and of
    # the flags only MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC and MSG_WAITALL: MSG_OOB of Unix sockets let a
    # sandboxed process of Chrome into the kernel (CVE-2025-38236).
    "read": (_KEPT,),
    "write": (_KEPT,),
    "recvfrom": (_KEPT, Check(3, (0,), mask=~(0x20 | 0x40 | 0x100) & 0xFFFFFFFF)),
    "sendto": (_KEPT, Check(3, (0,), mask=~(0x40 | 0x4000) & 0xFFFFFFFF), _NOWHERE),
    # Memory.
    "brk": (),
    "mmap": (_READ_WRITE, _ANONYMOUS),
    "mprotect": (_READ_WRITE,),
    "mremap": (Check(3, (0, 1)),),  # MREMAP_MAYMOVE
    "munmap": (),
    # MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE: not MADV_MERGEABLE, which shares pages
    # with strangers and tells by its timing what they hold.
    "madvise": (Check(2, (4, 8, 14, 15)),),
    # Time. It is the kernel that is asked only where the clock cannot be read without it.
    "clock_getres": (_OWN_CLOCK,),
    "clock_gettime": (_OWN_CLOCK,),
    "clock_nanosleep": (_OWN_CLOCK,),
    "gettimeofday": (),
    "nanosleep": (),
    "restart_syscall": (),
    "time": (),
    # Waiting and waking inside the process: FUTEX_WAIT, FUTEX_WAKE and their BITSET forms, private or
    # not, on either clock. Requeueing and priority inheritance have been ways into the kernel.
    "futex": (Check(1, (0, 1, 9, 10), mask=~(0x80 | 0x100) & 0xFFFFFFFF),),
    "sched_yield": (),
    # What it is, where it runs and what it took. Of itself only: of others it would tell which there are.
    "getpid": (),
    "gettid": (),
    "getrandom": (),
    "getrusage": (Check(0, (0,)),),
    "sched_getaffinity": (Check(0, (0,)),),
    # Returning from a handler installed before the lock, and masks around it. Not rt_sigaction: a handler
    # of SIGSEGV would make a crash an endless loop.
    "rt_sigprocmask": (),
    "rt_sigreturn": (),
    "exit": (),
    "exit_group": (),
}
"""Calls by name; all checks of a call must hold."""

_X86_64 = Machine(
    name="x86_64",
    audit=0xC000003E,
    numbers={
        "read": 0, "write": 1, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39,
        "sendto": 44, "recvfrom": 45, "exit": 60, "gettimeofday": 96, "getrusage": 98, "gettid": 186,
        "time": 201, "futex": 202, "sched_getaffinity": 204, "restart_syscall": 219, "clock_gettime": 228,
        "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318,
    },
)  # fmt: skip

_AARCH64 = Machine(
    name="aarch64",
    audit=0xC00000B7,
    numbers={
        "read": 63, "write": 64, "exit": 93, "exit_group": 94, "futex": 98, "nanosleep": 101,
        "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123,
        "sched_yield": 124, "restart_syscall": 128, "rt_sigprocmask": 135, "rt_sigreturn": 139,
        "getrusage": 165, "gettimeofday": 169, "getpid": 172, "gettid": 178, "sendto": 206,
        "recvfrom": 207, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226,
        "madvise": 233, "getrandom": 278,
    },
)  # fmt: skip

MACHINES: Mapping[str, Machine] = {machine.name: machine for machine in (_X86_64, _AARCH64)}


def machine() -> Machine | None:
    """The machine this process runs on; None if its calls are not in the tables."""
    known = sys.platform == "linux" and sys.maxsize > 1 << 32 and sys.byteorder == "little"
    return MACHINES.get(platform.machine()) if known else None


# Made at import, so that a process forked from one that has imported this has it: it takes 0.5 ms.
LIBRARY = ctypes.CDLL(None, use_errno=True)
LIBRARY.syscall.restype = ctypes.c_long


def system(function: str, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call a function of the C library that tells failure by -1.

    Integers are passed as longs: ``prctl`` and ``syscall`` look at the whole register.

    Raises
    ------
    OSError
        The call failed.
    """
    passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    answer = int(getattr(LIBRARY, function)(*passed))
    if answer == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return answer
