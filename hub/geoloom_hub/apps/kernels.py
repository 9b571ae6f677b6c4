"""A kernel for each open app: whose it is, how many there may be, and when it ends."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from jupyter_core.utils import ensure_async
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError
from traitlets import Float, Integer, Unicode

__all__ = ["AppKernels", "Full", "Visit", "kernel_environment"]

SECRETS = ("JUPYTERHUB_", "CONFIGPROXY_", "GEOLOOM_APPS_")
"""How names of variables begin that an app's kernel has no use for."""

SURELY_GONE = 5.0
"""Seconds after which a page that went away is not thought to be reloading."""

log = logging.getLogger(__name__)

_arriving: ContextVar[tuple[str, list[str]]] = ContextVar("arriving")


class Full(Exception):
    """There is no room for one more app.

    Parameters
    ----------
    own
        Whether it is the visitor's own apps that are too many.
    limit
        How many there may be.
    """

    def __init__(self, own: bool, limit: int) -> None:
        super().__init__(f"{limit} apps are open{' by this visitor' if own else ''}")
        self.own = own
        self.limit = limit


@dataclass(slots=True)
class Visit:
    """One open app; times are the monotonic clock's.

    Parameters
    ----------
    visitor
        Who opened it: a user of the hub, or a guest's random name.
    since
        When it was opened.
    touched
        When its page last said something.
    left
        When its page went away; ``None`` while it is being made or connected.
    """

    visitor: str
    since: float
    touched: float
    left: float | None = None


class AppKernels(AsyncMappingKernelManager):
    """Kernels that each belong to one visitor's page; none is started beyond the limits."""

    limit = Integer(20, help="How many kernels there may be.").tag(config=True)
    limit_each = Integer(4, help="How many kernels one visitor may have.").tag(config=True)
    idle = Float(1800, help="Seconds without a word of its page after which a kernel ends.").tag(config=True)
    life = Float(28800, help="Seconds after which a kernel ends in any case.").tag(config=True)
    left = Float(60, help="Seconds for which a kernel waits for a page that went away.").tag(config=True)
    token_name = Unicode("JUPYTERHUB_API_TOKEN", help="The variable with the engine's token.").tag(
        config=True
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.visits: dict[str, Visit] = {}
        self._sweeper: PeriodicCallback | None = None

    @contextlib.contextmanager
    def arrival(self, visitor: str, started: list[str]) -> Iterator[None]:
        """Within it, kernels that are started belong to this visitor, and are noted in a list."""
        before = _arriving.set((visitor, started))
        try:
            yield
        finally:
            _arriving.reset(before)

    def belongs(self, kernel_id: str, visitor: str) -> bool:
        """Whether a kernel is there and is this visitor's."""
        visit = self.visits.get(kernel_id)
        return visit is not None and visit.visitor == visitor and kernel_id in self

    def room(self, visitor: str) -> str | None:
        """See that one more may be started; gives the kernel that has to end for it, if one has to.

        Raises
        ------
        Full
            It may not: all are in use.
        """
        own = {kernel_id: visit for kernel_id, visit in self.visits.items() if visit.visitor == visitor}
        if len(own) >= self.limit_each:
            full, deserted = Full(True, self.limit_each), _deserted(own)
        elif len(self.visits) >= self.limit:
            full, deserted = Full(False, self.limit), _deserted(self.visits)
        else:
            return None
        if deserted is None:
            raise full
        return deserted

    async def start_kernel(self, **kwargs: Any) -> str:  # type: ignore[override]
        """Start a kernel for the visitor who is arriving; its place is taken before the first wait."""
        (visitor, noted), now = _arriving.get(), time.monotonic()
        instead_of = self.room(visitor)
        kernel_id = str(uuid4())
        self.visits[kernel_id] = Visit(visitor, now, now)
        if self._sweeper is None:
            self._sweeper = PeriodicCallback(self.sweep, 1000 * min(5.0, self.left / 4))
            self._sweeper.start()
        kwargs["env"] = kernel_environment(kwargs.get("env") or {}, self.token_name)
        try:
            if instead_of is not None:
                del self.visits[instead_of]
                await self.end(instead_of, "its page is gone and its place is wanted")
            started = await super().start_kernel(kernel_id=kernel_id, **kwargs)
        except BaseException:
            self.visits.pop(kernel_id, None)
            raise
        noted.append(kernel_id)
        return str(started)

    def remove_kernel(self, kernel_id: str) -> Any:
        """Forget a kernel that has ended."""
        self.visits.pop(kernel_id, None)
        return super().remove_kernel(kernel_id)

    def touch(self, kernel_id: str) -> None:
        """The page said something."""
        if kernel_id in self.visits:
            self.visits[kernel_id].touched = time.monotonic()

    def page_made(self, kernel_id: str) -> None:
        """The page is made: from now on the kernel waits for its connection."""
        visit = self.visits.get(kernel_id)
        if visit is not None and not self._kernel_connections.get(kernel_id):
            visit.left = time.monotonic()

    def notify_connect(self, kernel_id: str) -> None:
        """A page is connected."""
        super().notify_connect(kernel_id)
        if kernel_id in self.visits:
            self.visits[kernel_id].left = None

    def notify_disconnect(self, kernel_id: str) -> None:
        """A page went away."""
        super().notify_disconnect(kernel_id)
        self.page_made(kernel_id)

    async def sweep(self) -> None:
        """End the kernels whose time is over or whose process has gone."""
        for kernel_id, visit in list(self.visits.items()):
            if kernel_id in self and (why := await self._over(kernel_id, visit)):
                await self.end(kernel_id, why)
        for kernel_id in set(self.list_kernel_ids()) - set(self.visits):
            await self.end(kernel_id, "who asked for it went away while it started")

    async def _over(self, kernel_id: str, visit: Visit) -> str:
        now = time.monotonic()
        if now - visit.since > self.life:
            return "it has run for as long as apps may"
        if visit.left is not None and now - visit.left > self.left:
            return "its page went away"
        if now - visit.touched > self.idle:
            return "nobody touched it"
        return "" if await ensure_async(self.get_kernel(kernel_id).is_alive()) else "its process has gone"

    async def end(self, kernel_id: str, why: str) -> None:
        """End one kernel, if it is still there."""
        log.info("an app's kernel ends: %s", why)
        # It may have ended by itself meanwhile, or by its page's word.
        with contextlib.suppress(KeyError, HTTPError):
            await self.shutdown_kernel(kernel_id)

    async def end_all(self) -> None:
        """End every kernel at once."""
        if self._sweeper is not None:
            self._sweeper.stop()
        await self.shutdown_all(now=True)


def kernel_environment(environ: Mapping[str, str], token_name: str) -> dict[str, str]:
    """What an app's kernel may know of the service's environment: no secret but the token for the engine.

    Parameters
    ----------
    environ
        The service's environment, and what is known of the visitor's request.
    token_name
        Name of the one variable that is given though it is secret.
    """
    return {
        name: value for name, value in environ.items() if name == token_name or not name.startswith(SECRETS)
    }


def _deserted(visits: Mapping[str, Visit]) -> str | None:
    """The kernel whose page is gone for longest, if it is surely gone."""
    gone = {kernel_id: visit.left for kernel_id, visit in visits.items() if visit.left is not None}
    if not gone:
        return None
    first = min(gone, key=lambda kernel_id: gone[kernel_id])
    return first if time.monotonic() - gone[first] > SURELY_GONE else None
