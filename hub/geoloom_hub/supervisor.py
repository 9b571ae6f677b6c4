"""Starts all parts, keeps them alive, ends them."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import psutil

from geoloom_hub.folder import Folder, free, hold, holder, name_holder, write
from geoloom_hub.part import Part, PartError, end_holder
from geoloom_hub.parts import public_url, recipes
from geoloom_hub.settings import Settings

__all__ = ["AlreadyRunning", "Supervisor", "end_leftovers", "end_users_servers"]

POLL_SECONDS = 0.5
LOG_BYTES = 5_000_000
MOST_FAILURES = 5
"""So many failed starts of a part, and the hub does not start, or does without it."""
SERVERS_SECONDS = 6.0
"""How long users' servers may take to end their kernels and themselves."""

log = logging.getLogger("geoloom_hub")


class AlreadyRunning(RuntimeError):
    """Another supervisor looks after this folder."""


class Supervisor:
    """Everything that serves the hub's users on this machine.

    Parameters
    ----------
    settings
        How.
    environ
        The variables that parts inherit.
    announce
        Called once, when everything works.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        announce: Callable[[Supervisor], None] = lambda _: None,
    ) -> None:
        self.settings, self.environ, self.announce = settings, environ, announce
        self.folder = Folder.open(settings.home, settings.port)
        self.url = public_url(settings, self.folder)
        self.parts: list[Part] = []
        self.given_up: list[Part] = []
        self.stopping = self.keep_servers = self.hurry = False
        self.told: dict[str, Any] = {}
        self.announced = False

    def run(self) -> None:
        """Start, watch, end.

        Raises
        ------
        AlreadyRunning
            Another supervisor does it.
        PartError
            A part cannot be started.
        """
        with self._only_one(), _woken() as wake:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                signal.signal(number, self._stop)
            try:
                cooked = recipes(self.settings, self.folder, self.environ)
                # What a killed supervisor left goes first: parts that are started would meet it.
                for recipe in cooked:
                    end_holder(self.folder.lock(recipe.name))
                self._check_port()
                self.parts = [Part(recipe, self.folder) for recipe in cooked]
                while not self.stopping:
                    self._tend()
                    steady = all(part.ready for part in self.parts)
                    select.select([wake], [], [], POLL_SECONDS if steady else 0.03)
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, 1000)
            finally:
                self._end()

    def _tend(self) -> None:
        ready = {part.name for part in self.parts if part.ready}
        for part in self.parts:
            try:
                part.tend(startable=ready.issuperset(part.recipe.needs))
            except (PartError, OSError) as error:
                if not self.announced:
                    raise
                # The machine may have no room for a process, or on its disk, just now: all others go on.
                log.error("%s", error)
                part.postpone()
            failed = part.process is None and part.starts >= MOST_FAILURES
            if failed and not self.announced and part not in self.given_up:
                self._give_up(part)
            _trim(self.folder, part.name)
        self._write_status()
        if not self.announced and all(part.ready or part in self.given_up for part in self.parts):
            self.announced = True
            self.announce(self)

    def _give_up(self, part: Part) -> None:
        """A part has never worked: there is no hub without it, or the hub goes on and tries it again."""
        message = "\n".join([f"{part.name} does not start. The end of its log:", *part.last_lines()])
        if part.recipe.essential:
            raise PartError(message)
        log.error("%s", message)
        self.given_up.append(part)

    def _write_status(self) -> None:
        status = {
            "url": self.url,
            "pid": os.getpid(),
            "ready": all(part.ready for part in self.parts),
            "parts": {
                part.name: {
                    "pid": part.process.pid if part.process else None,
                    "ready": part.ready,
                    "starts": part.starts,
                }
                for part in self.parts
            },
        }
        if status != self.told:
            # On a full disk it is written when there is room again.
            with contextlib.suppress(OSError):
                write(self.folder.path / "run" / "status.json", status)
                self.told = status

    def _check_port(self) -> None:
        port = self.folder.ports["public"]
        if not free(port, self.settings.host):
            raise PartError(
                f"Port {port} of {self.settings.host} is taken by another program. "
                "Set GEOLOOM_HUB_PORT to another, or to 0 for a free one."
            )

    def _end(self) -> None:
        """End what needs others before those; users' servers once nothing starts them any more."""
        (self.folder.path / "run" / "status.json").unlink(missing_ok=True)
        stores = [part for part in self.parts if part.name in ("chains", "tiles")]
        others = [part for part in self.parts if part not in stores]
        for group in (others, stores):
            for part in group:
                part.ask_to_end()
            if group is others and not self.keep_servers:
                end_users_servers(self.folder.secrets["mark"], 0.0 if self.hurry else SERVERS_SECONDS)
            for part in group:
                part.end(0.0 if self.hurry else 8.0)

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[None]:
        lock = self.folder.lock("supervisor")
        try:
            with hold(lock) as descriptor:
                name_holder(descriptor, os.getpid())
                yield
        except BlockingIOError:
            raise AlreadyRunning(
                f"A hub already runs in {self.folder.path} (process {holder(lock)}). "
                "End it with: python -m geoloom_hub stop"
            ) from None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.hurry = self.stopping
        self.stopping = True
        self.keep_servers = number == signal.SIGUSR1


def end_leftovers(folder: Folder, keep_servers: bool = False) -> None:
    """End what a supervisor that was killed has left.

    Raises
    ------
    PartError
        A part does not end.
    """
    for lock in sorted((folder.path / "run").glob("*.lock")):
        end_holder(lock)
    if not keep_servers:
        end_users_servers(folder.secrets["mark"])
    (folder.path / "run" / "status.json").unlink(missing_ok=True)


def end_users_servers(mark: str, seconds: float = SERVERS_SECONDS) -> None:
    """End all processes that carry the mark: users' servers, their kernels, what those have started.

    Servers are asked first, and end their kernels themselves; what is left is killed. What even that does not
    end, for it waits for a disk that is gone, is told and left.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + seconds
    while left := _marked(mark):
        late = time.monotonic() > deadline
        for process in left:
            with contextlib.suppress(psutil.Error):
                if late:
                    process.kill()
                elif process.pid not in asked:
                    asked.add(process.pid)
                    process.terminate()
        psutil.wait_procs(left, 0.1)
        if time.monotonic() > deadline + seconds:
            log.error("these processes do not end: %s", ", ".join(str(process.pid) for process in left))
            return


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get("GEOLOOM_HUB_MARK") == mark:
                found.append(process)
    return found


@contextlib.contextmanager
def _woken() -> Iterator[int]:
    """A descriptor that can be read when a signal came, that of a child's end too."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def _trim(folder: Folder, name: str) -> None:
    """Set a log that has grown too large aside; its part appends to what is left of it."""
    path = folder.log(name)
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
