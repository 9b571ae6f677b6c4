"""A child of the supervisor: a process group that is started again when it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time

START_SECONDS = 40.0
STOP_SECONDS = 5.0
FIRST_PAUSE, LAST_PAUSE = 0.1, 10.0
"""Seconds between two starts of a child that keeps ending; the pause doubles each time."""
STABLE_SECONDS = 30.0
CHECK_SECONDS = 10.0
MOST_SILENCES = 6
"""A child that lives but leaves so many checks in a row unanswered hangs, and is ended."""

log = logging.getLogger("geoloom.embedded")


class StartError(RuntimeError):
    """A child cannot be started; the message is for the log's last lines, which the kernel shows."""


class Child:
    """A process with its own process group that is started again when it ends.

    Subclasses say how it is launched (`launch`) and when it works (`works`).
    """

    name = ""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.pause = FIRST_PAUSE
        self.launched = self.due = self.checked = 0.0
        self.silences = 0

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        raise NotImplementedError

    def works(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def failed(self) -> None:
        """It ended before it ever worked; may change what the next launch does, or raise `StartError`."""

    def start(self) -> None:
        """Launch it and wait until it works.

        Raises
        ------
        StartError
            It ends again, or does not work in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.ready:
            if self.process is None:
                self._launch()
            elif self.process.poll() is not None:
                status = self.process.returncode
                self.end()
                log.error("%s ended with status %s while starting", self.name, status)
                self.failed()
            elif self.works():
                self.ready = True
            elif time.monotonic() > deadline:
                raise StartError(f"{self.name} does not answer within {START_SECONDS:g} s")
            else:
                time.sleep(0.02)

    def tend(self) -> None:
        """Start it again if it has ended or hangs."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due:
                try:
                    self._launch()
                except (StartError, OSError) as error:
                    log.warning("%s cannot be started: %s", self.name, error)
                    self._delay(now)
        elif self.process.poll() is not None:
            log.warning("%s ended with status %s; it is started again", self.name, self.process.returncode)
            worked = self.ready
            self.end()
            if worked and now - self.launched > STABLE_SECONDS:
                self.pause = FIRST_PAUSE
            self._delay(now)
            if not worked:
                with contextlib.suppress(StartError):
                    self.failed()
        elif not self.ready:
            self.ready = self.works()
        elif now - self.checked > CHECK_SECONDS:
            self.silences = 0 if self.works() else self.silences + 1
            self.checked = time.monotonic()
            if self.silences >= MOST_SILENCES:
                log.error("%s does not answer any more; it is ended", self.name)
                _signal_group(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """End the whole process group: politely first if the process itself still lives."""
        if self.process is None:
            return
        if self.process.poll() is None:
            _signal_group(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process, self.ready = None, False

    def _delay(self, now: float) -> None:
        self.due, self.pause = now + self.pause, min(self.pause * 2, LAST_PAUSE)

    def _launch(self) -> None:
        self.launched = self.checked = time.monotonic()
        self.silences = 0
        self.process = self.launch()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
