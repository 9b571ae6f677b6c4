"""What the handlers of one worker process share, wired once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from geoloom._version import __version__
from geoloom.errors import EngineOverloaded
from geoloom.store import RedisStore
from geoloom_engine.allowances import BODIES, POLLS, AtOnce, limit
from geoloom_engine.auth import Signer
from geoloom_engine.callers import GRACE, Caller, Callers
from geoloom_engine.chain_directory import ChainDirectory
from geoloom_engine.events import EventLog
from geoloom_engine.hosts import Hosts
from geoloom_engine.hub import Hub
from geoloom_engine.lanes import Wanted
from geoloom_engine.machine import Machine
from geoloom_engine.metrics import Metrics
from geoloom_engine.peers import Mesh
from geoloom_engine.quotas import Limits, Quotas
from geoloom_engine.rehearsal import first_steps, later_steps
from geoloom_engine.revocations import Revocations
from geoloom_engine.settings import Settings
from geoloom_engine.tiles import Tiles
from geoloom_engine.usage import Usage
from geoloom_engine.warming import Warming
from geoloom_engine.words import Words
from geoloom_engine.work import WorkQueue

if TYPE_CHECKING:
    from geoloom.chain import Chain
    from geoloom.grid import Tile
    from geoloom_engine.pipeline import Pipeline

LOCAL_THREADS = 4
"""Threads that look at files of this machine."""

STORE_TIMEOUT = 2.0
"""Seconds to wait for Redis."""


class Services:
    """Everything a worker has; made inside its event loop.

    Parameters
    ----------
    settings
        With nonce and signing key filled in.
    metrics
        Shared by all workers.
    pipeline
        Computes.
    mesh
        Leads to the other workers, if there are any.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, pipeline: Pipeline, mesh: Mesh | None = None
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.pipeline = pipeline
        self.version = __version__
        self.started = time.time()
        self.signer = Signer([part.strip() for part in settings.signing_key.split(",") if part.strip()])
        self.hosts = Hosts(settings)
        self.threads = ThreadPoolExecutor(settings.io_threads, "io")
        # Servers that do not answer hold up only those who ask for them.
        self.local_threads = ThreadPoolExecutor(LOCAL_THREADS, "local")
        self.store_threads = ThreadPoolExecutor(4, "store")
        self.stopping = asyncio.Event()
        self.quotas = Quotas(
            settings.redis_url,
            Limits(*(int(limit(settings, name)) for name in ("chains", "blobs", "bytes"))),
            settings.chain_ttl,
            settings.capability_ttl,
        )
        self.usage = Usage(settings.redis_url, limit(settings, "function_time"))
        most = int(limit(settings, "requests"))
        self.requests = AtOnce(most, "requests", self.usage.is_service)
        self.polls = AtOnce(min(most, POLLS), "polls for events", self.usage.is_service)
        self.bodies = AtOnce(min(most, BODIES), "long requests on their way", self.usage.is_service)
        pipeline.functions.charge_to(self.usage)
        # The supervisor puts a new worker in the place of one that stops by itself.
        self.queue = WorkQueue(
            settings.queue_length,
            settings.queue_timeout,
            settings.tile_timeout,
            self.stopping.set,
            settings.function_workers,
            math.ceil(Machine.here().cores / max(1, settings.workers)),
            self.usage.computed,
            self.usage.whose,
        )
        self.rights = pipeline.rights
        self.hub = Hub(settings.hub_api_url) if settings.hub_api_url else None
        self.words = Words(settings.redis_url, GRACE)
        self.callers = Callers(
            settings.token, self.hub, settings.hub_service, settings.hub_recheck, self._meet, self.words
        )
        self.chains = ChainDirectory(
            RedisStore(settings.redis_url, ttl=settings.chain_ttl, timeout=STORE_TIMEOUT),
            self.store_threads,
            lambda chain: self._threads(chain is not None and pipeline.remote(chain)),
            pipeline.check,
            pipeline.version,
            pipeline.keep,
            pipeline.unfold,
            self.rights.of_chain,
        )
        self.events = EventLog(settings.redis_url, settings.event_ttl, STORE_TIMEOUT)
        self.revocations = Revocations(settings.redis_url, settings.capability_ttl)
        if settings.tile_owners == "off":
            mesh = None
        self.tiles = Tiles(self, mesh)
        self._owners = mesh.owners if mesh is not None else None
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._warming = Warming(first_steps, later_steps, busy=lambda: self.queue.waiting > 0)

    async def compute[T](self, name: object, session: str, task: Callable[[], T], layer: str = "") -> T:
        """Run a task in the compute thread, in its turn."""
        return await self.compute_while_wanted(name, session, lambda wanted: task(), layer)

    async def compute_while_wanted[T](
        self,
        name: object,
        session: str,
        task: Callable[[Wanted], T],
        layer: str = "",
        tile: Tile | None = None,
        outside: str = "",
    ) -> T:
        """Run a task in the compute thread, in its turn; see `WorkQueue.run`."""
        self._note_load()
        try:
            return await self.queue.run(name, session, task, layer, tile, outside)
        finally:
            self.metrics.waiting(self.queue.waiting)
            self._note_load()

    def _note_load(self) -> None:
        if self._owners is not None:
            self._owners.note(self.queue.load)

    async def wait_for[T](self, task: Callable[[], T], *, remote: bool) -> T:
        """Run a task that mostly waits, for other machines if `remote`, beside the compute thread."""
        threads = self._threads(remote)
        return await asyncio.get_running_loop().run_in_executor(threads, self.usage.metered(task))

    async def look_at[T](self, chain: Chain, task: Callable[[], T]) -> T:
        """Run a task that opens the sources of a chain, where it does not hold up those of others."""
        return await self.wait_for(task, remote=self.pipeline.remote(chain))

    def _meet(self, caller: Caller) -> None:
        """Note whose an owner's digits are, for those who look at usage."""
        self.events.meet(caller.owner, caller.label)

    def _threads(self, remote: bool) -> ThreadPoolExecutor:
        return self.threads if remote else self.local_threads

    async def until_stopped[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Await work, but not beyond the engine's stop."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise EngineOverloaded("The engine is stopping.", hint="Ask again.")
            return task.result()
        finally:
            task.cancel()
            stop.cancel()

    def begin(self) -> None:
        """Count a request that is being answered."""
        self._active += 1
        self._idle.clear()

    def end(self) -> None:
        """Count a request as answered."""
        self._active -= 1
        if not self._active:
            self._idle.set()

    async def drained(self) -> None:
        """Wait until all requests are answered."""
        await self._idle.wait()

    async def problem(self) -> str | None:
        """Why the engine is not ready, if it is not."""
        return self._warming.problem or await self.revocations.problem()

    async def close(self) -> None:
        """Let everything go."""
        self._warming.close()
        self.queue.close()
        if self.hub is not None:
            self.hub.close()
        await asyncio.gather(
            self.events.close(),
            self.tiles.close(),
            self.revocations.close(),
            self.quotas.close(),
            self.usage.close(),
            self.words.close(),
            return_exceptions=True,
        )
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.local_threads.shutdown(wait=False, cancel_futures=True)
        self.store_threads.shutdown(wait=False, cancel_futures=True)
