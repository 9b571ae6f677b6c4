"""What a process had of the processors: how long it ran, and how long it was kept waiting."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a process so far, by three clocks.

    Parameters
    ----------
    wall
        On the wall.
    ran
        On a processor; None if not known.
    waited
        Ready to run, while others had the processors; None if not known.
    """

    wall: float
    ran: float | None
    waited: float | None

    def waited_since(self, before: Spent) -> float:
        """Seconds since an earlier reading that it waited for a processor; 0 where that is not known."""
        return 0.0 if self.waited is None or before.waited is None else max(0.0, self.waited - before.waited)

    def own_since(self, before: Spent) -> float:
        """Seconds since an earlier reading that are the process's own doing: it ran or slept.

        Where waiting is not known, only what it ran counts; where that is neither, all does.
        """
        wall = self.wall - before.wall
        if self.waited is not None and before.waited is not None:
            return max(0.0, wall - self.waited_since(before))
        if self.ran is not None and before.ran is not None:
            return min(wall, self.ran - before.ran)
        return wall


def spent(pid: int) -> Spent:
    """What the first thread of a process had so far.

    Linux says it in ``/proc/PID/schedstat`` (https://docs.kernel.org/scheduler/sched-stats.html: nanoseconds
    it ran, nanoseconds it waited). Where that is hidden or not built in, the clock of the process tells
    at least what it ran.
    """
    now = time.monotonic()
    with contextlib.suppress(OSError, ValueError):
        ran, waited, _ = (int(word) for word in Path(f"/proc/{pid}/schedstat").read_bytes().split())
        if ran:
            return Spent(now, ran / 1e9, waited / 1e9)
    with contextlib.suppress(OSError, OverflowError):
        # https://www.man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html
        return Spent(now, time.clock_gettime((~pid << 3) | 2), None)
    return Spent(now, None, None)
