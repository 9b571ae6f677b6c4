"""The memory there is: of the machine, or of the container this process is in.

Containers limit memory by control groups, each within its parent, and the least limit counts. Both
versions are read: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html.
"""

from __future__ import annotations

import contextlib
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
    """The memory that is there for this process and those beside it.

    Parameters
    ----------
    memory
        Bytes in all: of the machine, or the least limit of the control groups this process is in.
    groups
        Those of the control groups that limit it to less than the machine has.
    """

    memory: int
    groups: tuple[Group, ...]

    @classmethod
    def here(cls, proc: Path = PROC, root: Path = GROUPS, physical: int | None = None) -> Machine:
        """What this process runs on; the parameters are for tests."""
        if physical is None:
            physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        groups = tuple(group for group in _groups(proc, root) if group.limit < physical)
        return cls(min([physical, *(group.limit for group in groups)]), groups)

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


def _groups(proc: Path, root: Path) -> Iterator[Group]:
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _limits(root, path, ("memory.max", "memory.high"), 2)
        elif "memory" in controllers.split(","):
            yield from _limits(root / "memory", path, ("memory.limit_in_bytes",), 1)


def _limits(mount: Path, path: str, files: tuple[str, ...], version: int) -> Iterator[Group]:
    """The limits of a group and of those around it, up to the mount.

    In a container the path is often that on the host, of which only the end is mounted, or leads out
    of what is: then the mount itself is the group.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts or not mount.joinpath(*parts).is_dir():
        parts = []
    for count in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:count])
        limits = [limit for name in files if (limit := _number(folder / name)) is not None]
        if limits:
            yield Group(min(limits), folder, version)


def _number(file: Path) -> int | None:
    """What a file says; None for "max", and if there is no such file."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
