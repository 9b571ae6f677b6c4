"""The memory and the processors there are: of the machine, or of the container this process is in.

Containers limit both by control groups, each within its parent, and the least limit counts. Both
versions are read: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")

CONTAINER_SHARE = 0.6
"""Of a container that has memory of its own: it was made for the engine, and Linux needs some."""

MACHINE_SHARE = 0.25
"""Of a machine, or of a container, that others work in too."""

LEAST_PER_WORKER = 384 << 20
"""With less a worker could keep nothing: it takes 240 MB before it has kept anything (measured)."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group that limits memory.

    Parameters
    ----------
    limit
        Bytes its processes may take together.
    folder
        Where the kernel tells what they take.
    version
        Of control groups, 1 or 2.
    """

    limit: int
    folder: Path
    version: int

    def free(self) -> int | None:
        """Bytes that can still be taken; None if the kernel does not tell.

        Pages of files not used lately count as free: the kernel drops them before anything else.
        """
        usage = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        cached = "inactive_file" if self.version == 2 else "total_inactive_file"
        taken = _number(self.folder / usage)
        if taken is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            for line in (self.folder / "memory.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == cached:
                    taken -= int(value)
        return self.limit - taken


@dataclass(frozen=True, slots=True)
class Machine:
    """What is there for this process and those beside it.

    Parameters
    ----------
    memory
        Bytes in all: of the machine, or the least limit of the control groups this process is in.
    groups
        Those of the control groups that limit it to less than the machine has.
    cores
        Processors it may use, in full or in parts.
    """

    memory: int
    groups: tuple[Group, ...]
    cores: float = 1.0

    @classmethod
    def here(cls, proc: Path = PROC, root: Path = GROUPS, physical: int | None = None) -> Machine:
        """What this process runs on; the parameters are for tests."""
        if physical is None:
            physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        places = list(_places(proc, root))
        groups = tuple(group for group in _groups(places) if group.limit < physical)
        cores = min([float(_processors()), *_quotas(places)])
        return cls(min([physical, *(group.limit for group in groups)]), groups, cores)

    @property
    def workers(self) -> int:
        """How many to start if nobody says: as many as there are cores for, and memory."""
        share = CONTAINER_SHARE if self.groups else MACHINE_SHARE
        return max(1, min(math.ceil(self.cores), int(self.memory * share) // LEAST_PER_WORKER))

    def per_worker(self, workers: int, *, alone: bool = True) -> int:
        """What one of so many workers takes if nobody says: a share of what is there.

        Parameters
        ----------
        alone
            Whether a container was made for the engine. It never has a machine for itself.
        """
        share = CONTAINER_SHARE if self.groups and alone else MACHINE_SHARE
        return max(int(self.memory * share) // workers, LEAST_PER_WORKER)

    def free(self) -> int | None:
        """Bytes that the fullest control group has left; None if there is none that limits."""
        left = [free for group in self.groups if (free := group.free()) is not None]
        return min(left, default=None)


def resident() -> int | None:
    """Bytes of memory this process takes now (RSS); None where that cannot be read cheaply."""
    try:
        pages = (PROC / "self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _places(proc: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """The groups this process is in and those around them: of what, and the folder; "" in version 2.

    In a container the path is often that on the host, of which only the end is mounted, or leads out
    of what is: then the mount itself is the group.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in {"", "memory", "cpu"}.intersection(controllers.split(",")):
            mount = root / controller
            parts = [part for part in path.split("/") if part]
            if ".." in parts or not mount.joinpath(*parts).is_dir():
                parts = []
            for count in range(len(parts), -1, -1):
                yield controller, mount.joinpath(*parts[:count])


def _groups(places: list[tuple[str, Path]]) -> Iterator[Group]:
    for controller, folder in places:
        files = {"": ("memory.max", "memory.high"), "memory": ("memory.limit_in_bytes",)}.get(controller, ())
        limits = [limit for name in files if (limit := _number(folder / name)) is not None]
        if limits:
            yield Group(min(limits), folder, 1 if controller else 2)


def _quotas(places: list[tuple[str, Path]]) -> Iterator[float]:
    """Processors that groups may use at a time."""
    for controller, folder in places:
        quota: int | None = None
        period: int | None = None
        if controller == "cpu":
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        elif not controller:
            with contextlib.suppress(OSError, ValueError):
                quota, period = (int(part) for part in (folder / "cpu.max").read_text().split())
        if quota and period and quota > 0:
            yield quota / period


def _processors() -> int:
    """Those this process may run on; all where the system cannot say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _number(file: Path) -> int | None:
    """What a file says; None for "max", and if there is no such file."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
