"""The kernel's filter of system calls: built from names, then installed for good.

A filter is a small program in classic BPF that the kernel runs at every call:
https://docs.kernel.org/userspace-api/seccomp_filter.html. It looks at the number and the arguments as
they are in the registers; what a pointer points to it cannot see.

A call that is not allowed fails with EPERM, so the function that made it gets a `PermissionError` with a
line number, and tries of harmless library code (how many processors are there?) end well. Only calls of
another calling convention (32-bit, x32) end the process: their numbers mean other calls, and nothing
honest makes them.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import struct
from collections.abc import Collection, Sequence

from geoloom_engine.sandbox.calls import ALLOWED, Check, Machine, machine, system

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | 1  # SECCOMP_RET_ERRNO with EPERM
KILL = 0x80000000  # SECCOMP_RET_KILL_PROCESS

# Offsets in struct seccomp_data; both machines are little-endian.
_NUMBER, _AUDIT, _ARGUMENTS = 0, 4, 16

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

Instruction = tuple[int, int, int, int]
"""Code, steps to skip if true, steps to skip if false, constant: struct sock_filter."""


def program(machine: Machine, keep: Collection[int]) -> list[Instruction]:
    """The filter for a machine and the descriptors that may be read and written.

    The number is found by bisection: five or six comparisons, whichever the call. The kernel compiles
    the program, and knows the calls that are allowed whatever their arguments without running it (Linux
    5.11 on).
    """
    calls = sorted((number, ALLOWED[name]) for name, number in machine.numbers.items())
    return [
        (_LOAD, 0, 0, _AUDIT),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, machine.end),
        (_RETURN, 0, 0, KILL),
        *_bisected(calls, tuple(sorted(keep))),
    ]


def _bisected(calls: Sequence[tuple[int, tuple[Check, ...]]], keep: tuple[int, ...]) -> list[Instruction]:
    """Instructions that find a number among ``calls`` (sorted) and decide."""
    if len(calls) == 1:
        number, checks = calls[0]
        return [(_EQUAL, 1, 0, number), (_RETURN, 0, 0, REFUSE), *_checked(checks, keep)]
    middle = len(calls) // 2
    left, right = _bisected(calls[:middle], keep), _bisected(calls[middle:], keep)
    return [(_AT_LEAST, _near(len(left)), 0, calls[middle][0]), *left, *right]


def _checked(checks: tuple[Check, ...], keep: tuple[int, ...]) -> list[Instruction]:
    """Instructions that allow a call if all its checks hold."""
    made: list[Instruction] = []
    for check in checks:
        values = keep if check.values is None else check.values
        made += _one_of(_ARGUMENTS + 8 * check.argument, check.mask & 0xFFFFFFFF, values)
        if check.mask >> 32:
            made += _one_of(_ARGUMENTS + 8 * check.argument + 4, check.mask >> 32, (0,))
    return [*made, (_RETURN, 0, 0, ALLOW)]


def _one_of(offset: int, mask: int, values: tuple[int, ...]) -> list[Instruction]:
    """Instructions that refuse the call unless 32 bits of its arguments are one of ``values``."""
    masked = [] if mask == 0xFFFFFFFF else [(_AND, 0, 0, mask)]
    # From each comparison over those after it and over the refusal.
    compared = [(_EQUAL, _near(len(values) - place), 0, value) for place, value in enumerate(values)]
    return [(_LOAD, 0, 0, offset), *masked, *compared, (_RETURN, 0, 0, REFUSE)]


def _near(steps: int) -> int:
    """A jump's length, which has eight bits."""
    if steps > 255:
        raise ValueError(f"The filter is too long: it would jump over {steps} instructions.")
    return steps


@functools.cache
def _code(keep: tuple[int, ...]) -> bytes:
    """The filter of this machine as the kernel takes it. Kept: building it takes 0.3 ms."""
    here = machine()
    if here is None:
        raise NotImplementedError(f"The system calls of {platform.machine()} are not known.")
    return b"".join(struct.pack("=HBBI", *one) for one in program(here, keep))


def prepare(keep: Collection[int]) -> None:
    """Build the filter ahead, in a process that will fork the one to be filtered."""
    _code(tuple(sorted(keep)))


def install(keep: Collection[int]) -> None:
    """Filter the calling thread's system calls for good, and those of all it would start.

    Parameters
    ----------
    keep
        Descriptors that may be read and written.

    Raises
    ------
    OSError
        The kernel has no such filter, or no_new_privs is not set.
    NotImplementedError
        The numbers of this machine's calls are not known.
    """
    content = _code(tuple(sorted(keep)))
    code = ctypes.create_string_buffer(content, len(content))
    # struct sock_fprog: how many instructions, and where.
    handed = ctypes.create_string_buffer(
        struct.pack("@HP", len(content) // struct.calcsize("=HBBI"), ctypes.addressof(code))
    )
    system("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(handed), 0, 0)
