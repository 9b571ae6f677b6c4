"""The supervisor's hold on the zygote: starts it by exec in a clean environment, and starts it again.

It imports neither numpy nor GDAL: the supervisor forks engine workers after it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from geoloom_engine.sandbox import wire
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.messages import forget

ENVIRONMENT = {
    # Libraries for linear algebra start threads when they are loaded, and a process that has some cannot
    # be forked safely.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    # No module is loaded after the lock.
    "EAGER_IMPORT": "1",
    # Sets of strings have the same order in all workers.
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    # Memory of arrays is kept for the next: with glibc's own limits each array of 128 KB and more is given
    # back when it is freed, and a subtraction of two bands takes three times as long for its page faults.
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864",
}

KEPT = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What is taken over from the engine's environment: where Python and its libraries are."""

STOP_SECONDS = 1.0
"""Seconds that the zygote has to end by itself."""


class Launcher:
    """Starts the zygote, once for all engine workers; its channels outlive it.

    Parameters
    ----------
    channels
        How many engine workers there are.
    lock
        How sandbox workers are locked down.
    modules
        What functions may import, by the first part of their names.
    packets
        Whether to use what only Linux has: sequenced packets, nameless memory, handles of processes.
    """

    def __init__(
        self,
        channels: int,
        lock: LockLevel,
        modules: Sequence[str],
        packets: bool = wire.PACKETS,
    ) -> None:
        self._lock = lock
        self._modules = tuple(modules)
        self._packets = packets
        self._pairs = [wire.pair(packets) for _ in range(channels)]
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the zygote; None before the start and after the stop."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the zygote."""
        self._control, theirs = wire.pair(self._packets)
        level = ",".join(name for name, chosen in asdict(self._lock).items() if chosen)
        descriptors = [theirs.fileno(), *(zygote.fileno() for _, zygote in self._pairs)]
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "geoloom_engine.sandbox.zygote"),
                    *(level, ",".join(self._modules)),
                    *(str(descriptor) for descriptor in descriptors),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=ENVIRONMENT | {name: os.environ[name] for name in KEPT if name in os.environ},
                pass_fds=descriptors,
            )

    def restart(self) -> None:
        """Start another zygote in place of one that ended. Its workers ended with it."""
        self._end()
        self.start()

    def channel(self, index: int) -> socket.socket:
        """The end of a channel that the engine worker of this index uses, for `Pool`."""
        return self._pairs[index][0]

    def claim(self, index: int) -> socket.socket:
        """Be the engine worker of this index from now on: closes here what belongs to others.

        Returns
        -------
        socket.socket
            Its channel.
        """
        if self._control is not None:
            self._control.close()
        for i, (engine, zygote) in enumerate(self._pairs):
            zygote.close()
            if i != index:
                engine.close()
        return self._pairs[index][0]

    def forget(self, index: int) -> None:
        """Kill the sandbox workers of an engine worker that has ended; before another takes its place."""
        if self._control is not None:
            # If the zygote has ended, so have they.
            with contextlib.suppress(OSError):
                wire.send(self._control, forget(index))

    def stop(self) -> None:
        """End the zygote and all its workers, and close the channels."""
        self._end()
        for engine, zygote in self._pairs:
            engine.close()
            zygote.close()

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                # It loads its modules, and has no workers yet.
                process.kill()
                process.wait()
