"""Landlock: a process that gives up files, TCP and strangers, whatever its uid may do.

https://docs.kernel.org/userspace-api/landlock.html. A ruleset names the kinds of access it handles; what
it handles and no rule allows is denied. Ours handles all there are and has no rule.

Beyond what it names, a process with a ruleset may trace no process outside, change no mounts. Not
handled by any kernel so far: stat, chdir, chmod, chown, utime, and sockets that are neither TCP nor Unix.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Sequence

from geoloom_engine.sandbox.calls import system

# The same on all machines, as all calls since Linux 5.1.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1

_FIELDS = 3
"""Of struct landlock_ruleset_attr: files, network (ABI 4 on), abstract sockets and signals (ABI 6 on)."""


def abi() -> int:
    """The version of Landlock the kernel has; 0 if none, or if it is not enabled. Changes nothing."""
    try:
        return system("syscall", _CREATE_RULESET, None, 0, _VERSION)
    except (OSError, AttributeError):
        return 0


@functools.cache
def kinds() -> tuple[int, ...]:
    """All kinds of access the kernel can deny: bits for files, network, and what is outside.

    The kernel refuses bits it does not know. So it is asked, and a later kernel's kinds are denied as
    well; a table by version would leave them allowed. It is asked once in a process and those forked
    from it.
    """
    return tuple(_known(field) for field in range(_FIELDS))


def _known(field: int) -> int:
    """The bits of one field that the kernel knows: they have no gaps."""
    bits = 0
    while bits < 0xFFFFFFFFFFFFFFFF:
        tried = [0] * _FIELDS
        tried[field] = bits << 1 | 1
        try:
            os.close(_ruleset(tried))
        except OSError as error:
            # E2BIG: the kernel's struct is shorter, and what it does not have must be 0.
            if error.errno in (errno.EINVAL, errno.E2BIG):
                break
            raise
        bits = tried[field]
    return bits


def _ruleset(handled: Sequence[int]) -> int:
    """A descriptor of a ruleset that handles these kinds."""
    attributes = ctypes.create_string_buffer(struct.pack(f"={_FIELDS}Q", *handled), 8 * _FIELDS)
    return system("syscall", _CREATE_RULESET, attributes, len(attributes), 0)


def deny_all() -> None:
    """Deny the calling thread all the kernel can deny, for good.

    Raises
    ------
    OSError
        The kernel has no Landlock, or no_new_privs is not set.
    """
    ruleset = _ruleset(kinds())
    try:
        system("syscall", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
