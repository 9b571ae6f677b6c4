"""Locks the calling process down for good: afterwards it can compute and answer, and nothing else.

In a process that has been locked nothing can be opened, started, asked or signalled. Three layers say so,
and each holds without the others: what the process has been left with (no descriptors, no room for new
ones, no capabilities, a uid that is nobody's), Landlock, and the filter of system calls.

Out of scope: what can be told from timing, and processor time (its limit is per tile, and ``RLIMIT_CPU``
counts a process's whole life: who waits for the answer ends a worker that takes too long).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from geoloom_engine.sandbox import landlock, seccomp
from geoloom_engine.sandbox.calls import LIBRARY, machine, system

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_SET_MDWE = 38, 47, 65
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_PR_MDWE_REFUSE_EXEC_GAIN = 1
_SIGKILL = 9
_CAPABILITY_VERSION = 0x20080522

_NOBODY = 65534
_UIDS = 0x70000000
"""Uids from here on are nobody's (https://systemd.io/UIDS-GIDS/): each worker gets one of its own, by its
pid, so that workers of two users are strangers to each other too."""

_LIMITS = ("CORE", "FSIZE", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RTPRIO", "SIGPENDING")
"""What there is none of. With NOFILE 0 descriptors that are open stay, and no call can make another: no
file, socket, memfd, ring, or listening for page faults, whatever else would allow it."""

_PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LockLevel:
    """Which layers a lock is made of.

    Parameters
    ----------
    seccomp
        The filter of system calls.
    landlock
        Landlock, deny-all.
    drop_uid
        A process of root gets an unprivileged uid where that is possible.
    """

    seccomp: bool = True
    landlock: bool = True
    drop_uid: bool = True


@dataclass(frozen=True, slots=True)
class Available:
    """What this kernel has to lock a process with.

    Parameters
    ----------
    seccomp
        A process could be filtered.
    landlock_abi
        Version of Landlock with which a process could be denied files; 0 if none.
    reason
        What is missing and why, in words; empty if nothing is.
    """

    seccomp: bool
    landlock_abi: int
    reason: str


def lock(level: LockLevel, memory: int, keep: Collection[int], parent: int | None = None) -> None:
    """Lock the calling process down for good. It has one thread.

    - The environment is emptied, the strings in memory too.
    - All descriptors but ``keep`` are closed, and no call can make another.
    - Memory may grow by ``memory`` bytes beyond what it is now; no processes, threads, core files, locked
      memory, queues, priorities.
    - No privileges: a uid of its own (if root was), no groups, no capabilities, none to be gained.
    - Other processes of the same user can neither read it nor trace it.
    - It is killed when its parent ends.
    - Landlock, then the filter of system calls, if ``level`` says so.

    A page that the process shares with its parent is copied when it writes there. So it can take as
    much as it could write before, plus ``memory``.

    Parameters
    ----------
    level
        The layers. The rest is done always.
    memory
        Bytes.
    keep
        Descriptors it goes on using: to read, write, send and receive. Not 0 to 2 if the protocol on them
        matters: libraries in C write there.
    parent
        Pid of the process that must be its parent now; if another is, the one it was made for has ended.

    Raises
    ------
    OSError, NotImplementedError, RuntimeError
        It is not locked, or only half: such a process must end at once, without running anybody's code.
    """
    _forget_environment()
    _close_all_but(keep)
    os.umask(0o777)
    if sys.platform == "linux":
        status = _status()
        if status["Threads"] != "1":
            raise RuntimeError("A process with several threads cannot be locked: a lock is a thread's.")
        _drop_bounding(status)
        if level.drop_uid and os.geteuid() == 0:
            _drop_uid()
        _drop_privileges()
        system("prctl", _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)  # A change of the uid clears it.
        if parent is not None and os.getppid() != parent:
            raise RuntimeError("The process this one was made for has ended.")
        if level.landlock:
            landlock.deny_all()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        size = int(status["VmSize"].removesuffix("kB")) << 10
        limit = size + memory if most == resource.RLIM_INFINITY else min(size + memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name in _LIMITS:
        if hasattr(resource, f"RLIMIT_{name}"):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (0, 0))
    if level.seccomp:
        seccomp.install(keep)


def prepare(level: LockLevel, keep: Collection[int]) -> None:
    """Do ahead what all locks have in common, in the process that will fork those to be locked.

    That takes 0.6 ms from each lock. Capabilities are dropped from the bounding set here as well: this
    process keeps those it has, but what it would start could gain none.

    Parameters
    ----------
    level, keep
        What `lock` will be given.
    """
    if sys.platform == "linux":
        _drop_bounding(_status())
    if level.landlock:
        landlock.kinds()
    if level.seccomp:
        seccomp.prepare(keep)


def _forget_environment() -> None:
    """Empty the environment, and overwrite its strings where they lie.

    That is where the process was given them, and where it put those it set itself. They are not always
    the same: the C library copies ``GLIBC_TUNABLES`` before it takes it apart.
    """
    pieces: list[tuple[int, int]] = []
    if sys.platform == "linux":
        # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: its bounds come before the exit code.
        *_, begin, end, _ = Path("/proc/self/stat").read_bytes().split()
        pieces.append((int(begin), int(end) - int(begin)))
        pointers = ctypes.POINTER(ctypes.c_void_p).in_dll(LIBRARY, "environ")
        place = 0
        while pointers and (string := pointers[place]):
            pieces.append((string, len(ctypes.string_at(string))))
            place += 1
    os.environ.clear()
    for at, size in pieces:
        ctypes.memset(at, 0, size)


def _close_all_but(keep: Collection[int]) -> None:
    low = 0
    for kept in sorted(set(keep)):
        os.closerange(low, kept)
        low = kept + 1
    os.closerange(low, 0x7FFFFFFF)


def _status() -> dict[str, str]:
    """What the kernel tells of this process: in one file that one rather reads before rights are given up."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _drop_bounding(status: dict[str, str]) -> None:
    """Drop all capabilities from the set that bounds what could be gained."""
    bounding = int(status["CapBnd"], 16)
    # Who has no right to drop them has none to use either.
    with contextlib.suppress(PermissionError):
        for capability in range(bounding.bit_length()):
            if bounding >> capability & 1:
                system("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)


def _drop_privileges() -> None:
    """Give up all rights for good, and shut other processes of the same user out."""
    # Kernels before 4.3 have no ambient capabilities.
    with contextlib.suppress(OSError):
        system("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    nothing = ctypes.create_string_buffer(24)
    system("capset", ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0)), nothing)
    system("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    system("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    # Linux 6.3 on: memory that could not be run before cannot be made runnable.
    with contextlib.suppress(OSError):
        system("prctl", _PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)


def _drop_uid() -> None:
    """Become nobody, as far as this root may: in a container it may have few uids to choose from."""
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    for identity in (_UIDS + os.getpid(), _NOBODY):
        try:
            os.setresgid(identity, identity, identity)
            os.setresuid(identity, identity, identity)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise


@functools.cache
def available() -> Available:
    """What this kernel has. Tried in a process of its own: nothing here can be taken back.

    A new interpreter and not a fork, because whoever asks may have threads.
    """
    if sys.platform != "linux":
        return Available(False, 0, f"Neither seccomp nor Landlock: this is {sys.platform}, not Linux.")
    probe = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PROBE_SECONDS,
        check=False,
    )
    try:
        return Available(**json.loads(probe.stdout))
    except ValueError:
        said = probe.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return Available(False, 0, f"The process that tries seccomp and Landlock failed: {said}")


def _probe() -> Available:
    """Lock this very process with what there is, and see whether it holds."""
    _status()  # A lock reads it, and not every container has it.
    system("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    reasons = []
    version = landlock.abi()
    if version == 0:
        reasons.append("No Landlock: the kernel has none, or was started without it (lsm=).")
    else:
        landlock.deny_all()
        if _succeeds(os.open, "/", os.O_RDONLY):
            version = 0
            reasons.append("No Landlock: it does not hold.")
    filtered = False
    if machine() is None:
        reasons.append(f"No seccomp: the system calls of {os.uname().machine} are not known.")
    else:
        try:
            seccomp.install([1])
            filtered = not _succeeds(system, "getppid")
            if not filtered:
                reasons.append("No seccomp: it does not hold.")
        except OSError as error:
            reasons.append(f"No seccomp: {error.strerror}.")
    return Available(filtered, version, " ".join(reasons))


def _succeeds(call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_probe())))
