"""Whether and how this engine runs users' functions: what its settings ask, and what the system has."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from geoloom_engine.sandbox.launch import Launcher
from geoloom_engine.sandbox.lock import LockLevel, available
from geoloom_engine.settings import Settings

if TYPE_CHECKING:
    from geoloom_engine.functions import Functions

log = logging.getLogger("geoloom_engine")

NONE_RUN = "This engine runs no functions of users."

UNLOCKED = (
    "This engine runs functions in ordinary processes, which are not locked in: they can do whatever the "
    "engine's user can."
)


class Sandboxing:
    """What the supervisor starts for users' functions, and hands to its workers.

    It imports neither numpy nor GDAL, so that forking workers after it is safe.

    Parameters
    ----------
    settings
        Which way functions run, and what they may take.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.problem = ""
        self._launcher: Launcher | None = None
        self._channel: socket.socket | None = None
        if settings.functions == "off":
            self.problem = NONE_RUN
            return
        level = LockLevel()
        if settings.functions == "sandbox":
            found = available()
            if not found.seccomp:
                self.problem = f"{NONE_RUN} Its system cannot lock them in. {found.reason}"
                log.warning("%s GEOLOOM_FUNCTIONS says what else there is.", self.problem)
                return
            level = LockLevel(landlock=found.landlock_abi > 0)
        else:
            level = LockLevel(seccomp=False, landlock=False, drop_uid=False)
            whose = "anybody's" if settings.functions == "unprotected" else "their own kernels'"
            log.warning(
                "GEOLOOM_FUNCTIONS=%s: users' functions (%s) run WITHOUT A SANDBOX, as uid %d",
                settings.functions,
                whose,
                os.getuid(),
            )
        self._launcher = Launcher(settings.workers, level, settings.function_modules)

    @property
    def pid(self) -> int | None:
        """Of the process that functions' processes are forked from."""
        return None if self._launcher is None else self._launcher.pid

    def start(self) -> None:
        """Start that process, or start it again after it ended."""
        if self._launcher is None:
            return
        if self._launcher.pid is None:
            self._launcher.start()
        else:
            self._launcher.restart()

    def claim(self, index: int) -> None:
        """Be the worker of this index from now on."""
        if self._launcher is not None:
            self._channel = self._launcher.claim(index)

    def forget(self, index: int) -> None:
        """End the functions of a worker that ended."""
        if self._launcher is not None:
            self._launcher.forget(index)

    def stop(self) -> None:
        """End everything."""
        if self._launcher is not None:
            self._launcher.stop()

    def functions(self) -> Functions:
        """What a worker runs functions with."""
        from geoloom.store import RedisStore
        from geoloom_engine.functions import Functions
        from geoloom_engine.sandbox.pool import Limits, Pool
        from geoloom_engine.sandbox.strikes import RedisStrikes, Strikes

        settings = self._settings
        store = RedisStore(settings.redis_url, ttl=settings.chain_ttl)
        pool = None
        if self._channel is not None:
            limits = Limits(
                seconds=settings.function_timeout,
                memory=settings.function_memory,
                workers=settings.function_workers,
            )
            pool = Pool(self._channel, limits, Strikes(RedisStrikes(settings.redis_url)))
        trusted = None
        if settings.functions == "trusted":
            trusted = lambda key: store.trusted(key, settings.nonce)  # noqa: E731 - one line of it
        return Functions(pool, settings.function_modules, store.get_blob, self.problem, trusted)
