"""A part of the hub: a process in its own session that is started again when it ends.

Each holds a lock (see `geoloom_hub.folder`) that its children inherit and the system releases with the last
of them. So a supervisor that was killed leaves parts that go on serving, and the next finds and ends them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geoloom_hub.folder import Folder, hold, holder, name_holder

__all__ = ["Part", "PartError", "Recipe"]

STOP_SECONDS = 8.0
FIRST_PAUSE, LAST_PAUSE = 0.05, 10.0
"""Seconds between two starts of a part that keeps ending; the pause doubles each time."""
STABLE_SECONDS = 20.0
CHECK_SECONDS = 5.0
SILENT_SECONDS = 30.0
"""A part that lives but answers nothing for so long hangs, and is ended."""
START_SECONDS = 120.0
"""The same while it starts, on a busy machine."""

log = logging.getLogger("geoloom_hub")


class PartError(RuntimeError):
    """A part cannot be started; the message is for whoever runs the hub."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a part is started.

    Parameters
    ----------
    name
        One word.
    command
        Program and arguments; secrets go elsewhere.
    environment
        All its variables.
    works
        Whether it answers.
    told
        What it reads from its standard input.
    needs
        Parts that must work before it is started.
    essential
        Whether there is no hub without it.
    restored
        Called when it works again after it had ended.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(repr=False)
    works: Callable[[], bool]
    told: str = field(default="", repr=False)
    needs: tuple[str, ...] = ()
    essential: bool = True
    restored: Callable[[], None] | None = None


class Part:
    """A part that is kept alive."""

    def __init__(self, recipe: Recipe, folder: Folder) -> None:
        self.recipe, self.name, self.folder = recipe, recipe.name, folder
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.starts = 0
        self.pause = FIRST_PAUSE
        self.due = self.launched = self.checked = self.answered = 0.0

    def tend(self, startable: bool) -> None:
        """Start it if it does not run and may, look whether it works, end it if it hangs."""
        now = time.monotonic()
        if self.process is None:
            if startable and now >= self.due:
                self._launch(now)
        elif self.process.poll() is not None:
            log.warning("%s ended with status %s; it is started again", self.name, self.process.returncode)
            if self.ready and now - self.launched > STABLE_SECONDS:
                self.pause = FIRST_PAUSE
            self.end()
            self.postpone()
        elif not self.ready or now - self.checked > CHECK_SECONDS:
            self._check()

    def postpone(self) -> None:
        """Let its next start wait for a while, longer each time."""
        self.due, self.pause = time.monotonic() + self.pause, min(self.pause * 2, LAST_PAUSE)

    def ask_to_end(self) -> None:
        """Tell it to end; `end` waits for that."""
        if self.process is not None and self.process.poll() is None:
            # It alone: the engine's and Voilà's own children are ended by their parents.
            self.process.terminate()

    def end(self, seconds: float = STOP_SECONDS) -> None:
        """End it and all that it started in its session: politely first."""
        if self.process is None:
            return
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process, self.ready = None, False

    def last_lines(self, count: int = 12) -> list[str]:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return self.folder.log(self.name).read_text(errors="replace").strip().splitlines()[-count:]
        return []

    def _check(self) -> None:
        works = self.recipe.works()
        now = self.checked = time.monotonic()
        if works:
            self.answered = now
            if not self.ready:
                self.ready = True
                log.info("%s works, after %.1f s", self.name, now - self.launched)
                if self.starts > 1 and self.recipe.restored is not None:
                    self.recipe.restored()
        elif now - self.answered > (SILENT_SECONDS if self.ready else START_SECONDS) and self.process:
            log.error("%s does not answer; it is ended", self.name)
            signal_group(self.process.pid, signal.SIGKILL)

    def _launch(self, now: float) -> None:
        lock = self.folder.lock(self.name)
        end_holder(lock)
        self.launched = self.answered = now
        self.starts += 1
        output = os.open(self.folder.log(self.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with hold(lock) as descriptor:
                self.process = subprocess.Popen(
                    self.recipe.command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=dict(self.recipe.environment),
                    cwd=self.folder.path,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                )
                name_holder(descriptor, self.process.pid)
        except OSError as error:
            raise PartError(f"{self.name} cannot be started: {error}.") from None
        finally:
            os.close(output)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as told:
            told.write(self.recipe.told.encode())


def end_holder(lock: Path) -> None:
    """End what still holds a part's lock: left by a supervisor that was killed, or by the part itself.

    Raises
    ------
    PartError
        It does not end.
    """
    pid = holder(lock)
    if pid is None:
        return
    log.warning("%s still runs (%d) and is ended", lock.stem, pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # The first process ends its children itself; where it is gone its number may be another's.
            if number == signal.SIGTERM and os.getpgid(pid) == pid:
                os.kill(pid, number)
            else:
                os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if holder(lock) is None:
                return
            time.sleep(0.02)
    raise PartError(f"{lock.stem} still runs as process {pid} and cannot be ended; end it, then start again.")


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a session's first process and all that it has started in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
