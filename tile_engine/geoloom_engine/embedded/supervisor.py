"""Keeps store and engine alive for as long as kernels hold leases."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from geoloom_engine.embedded.child import Child
from geoloom_engine.embedded.engine import Engine
from geoloom_engine.embedded.store import Store, end_leftover

POLL_SECONDS = 1.0
CLAIM_SECONDS = 6.0
LOG_BYTES = 5_000_000

log = logging.getLogger("geoloom.embedded")


class Supervisor:
    """Keeps store and engine alive for as long as kernels want them."""

    def __init__(self, runtime: Path, data: Path, linger: float) -> None:
        self.runtime, self.linger = runtime, linger
        self.stopping = False
        self.wake_reading, self.wake_writing = os.pipe()
        os.set_blocking(self.wake_writing, False)
        os.set_blocking(self.wake_reading, False)
        signal.set_wakeup_fd(self.wake_writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.data_folder = data
        self.children: list[Child] = []
        self.lock_file = (runtime / "supervisor").stat()

    def run(self) -> None:
        """Start everything, watch over it, end it.

        Raises
        ------
        StartError
            Store or engine cannot be started.
        """
        end_leftover(self.runtime / "valkey.sock")
        try:
            while not self.stopping and self._wanted():
                if self.children:
                    self._watch()
                else:
                    self._start()
        finally:
            with _lock(self.runtime, 0.0) as mine:
                self._end(remove=mine)

    def _start(self) -> None:
        data, claim = _claim(self.data_folder, self.runtime)
        redis_url = None
        if not os.environ.get("GEOLOOM_REDIS_URL"):
            os.environ.pop("GEOLOOM_REDIS_URL", None)
            store = Store(self.runtime, data, claim)
            self.children.append(store)
            store.start()
            redis_url = f"unix://{store.socket}"
        successor = ["-P", "-m", "geoloom_engine.embedded", "--runtime", str(self.runtime)]
        successor += ["--data", str(self.data_folder), "--linger", str(self.linger)]
        engine = Engine(self.runtime, data, claim, successor, redis_url)
        self.children.append(engine)
        engine.start()
        log.info("The engine listens on port %d; data are in %s", engine.port, data)

    def _watch(self) -> None:
        """Keep the children alive until no kernel has held a lease for the time of `linger`."""
        last_use = time.monotonic()
        while not self.stopping and time.monotonic() - last_use <= self.linger:
            steady = all(child.ready for child in self.children)
            select.select([self.wake_reading], [], [], min(POLL_SECONDS, self.linger / 4) if steady else 0.05)
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake_reading, 1000)
            if not self._at_home():
                log.warning("The runtime folder was removed; ending")
                self.stopping = True
                return
            for child in self.children:
                child.tend()
            _trim_log(self.runtime)
            if _leased(self.runtime):
                last_use = time.monotonic()

    def _wanted(self) -> bool:
        """Whether a kernel holds a lease or is about to; if not, everything is ended.

        Decided under the lock under which kernels take their leases: one that comes later finds no engine.
        """
        with _lock(self.runtime, 0.0) as mine:
            if not mine or _leased(self.runtime):
                return True
            self._end(remove=True)
            return False

    def _end(self, remove: bool) -> None:
        """End the children; remove our own files, and the folder too unless kernels hold leases in it."""
        at_home = self._at_home()
        if at_home:
            (self.runtime / "engine.json").unlink(missing_ok=True)
        for child in reversed(self.children):
            child.end()
        self.children.clear()
        if at_home:
            (self.runtime / "valkey.sock").unlink(missing_ok=True)
            if remove and not _leased(self.runtime):
                shutil.rmtree(self.runtime, ignore_errors=True)

    def _at_home(self) -> bool:
        """Whether the runtime folder is still the one this supervisor was started in."""
        try:
            return os.path.samestat(self.lock_file, (self.runtime / "supervisor").stat())
        except OSError:
            return False

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def _leased(runtime: Path) -> bool:
    """Whether a living kernel holds a lease."""
    try:
        leases = list((runtime / "leases").iterdir())
    except OSError:
        return False
    for lease in leases:
        with contextlib.suppress(OSError):
            descriptor = os.open(lease, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
    return False


@contextlib.contextmanager
def _lock(runtime: Path, seconds: float) -> Iterator[bool]:
    """Try for `seconds` to hold the lock under which kernels look for an engine; whether it succeeded."""
    try:
        descriptor = os.open(runtime / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        deadline = time.monotonic() + seconds
        while not (mine := try_lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield mine
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the file's advisory lock unless another process holds it; whether it is ours."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _claim(wanted: Path, runtime: Path) -> tuple[Path, int]:
    """A data folder nobody else uses, with the descriptor that keeps it ours.

    The processes of a killed supervisor end within moments and are waited for. An engine of another version,
    or on another machine that shares the home folder, keeps its claim: then a second folder is used, and
    where none can be written one that ends with the engine.
    """
    for folder in (wanted, *(wanted.with_name(f"{wanted.name}-{number}") for number in range(2, 10))):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder / "claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("Saved chains will not outlive this engine: %s: %s", error.filename, error.strerror)
            break
        deadline = time.monotonic() + CLAIM_SECONDS
        while not (mine := try_lock(descriptor)) and time.monotonic() < deadline:
            if _supervised(Path(os.fsdecode(os.pread(descriptor, 1000, 0))), runtime):
                break
            time.sleep(0.02)
        if mine:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, os.fsencode(runtime), 0)
            return folder, descriptor
        os.close(descriptor)
        log.warning("%s is used by another engine; chains saved there are not seen here", folder)
    fallback = runtime / "data"
    fallback.mkdir(mode=0o700, exist_ok=True)
    return fallback, os.open(fallback / "claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _supervised(owner: Path, runtime: Path) -> bool:
    """Whether the engine of another runtime folder on this machine is alive."""
    if owner == runtime:
        return False
    try:
        descriptor = os.open(owner / "supervisor", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def _trim_log(runtime: Path) -> None:
    """Set a log that has grown too large aside; all who write to it append."""
    path = runtime / "engine.log"
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            shutil.copyfile(path, runtime / "engine.log.1")
            os.truncate(path, 0)
