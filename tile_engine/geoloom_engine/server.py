"""One worker: wires the services, serves until told to stop, finishes what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Sequence

import tornado.web

from geoloom.errors import EngineOverloaded, GeoloomError, QuotaExceeded
from geoloom_engine import logs
from geoloom_engine.accepting import BalancedServer
from geoloom_engine.gauges import Gauges
from geoloom_engine.metrics import Metrics
from geoloom_engine.peers import Mesh
from geoloom_engine.routes import routes
from geoloom_engine.routes.base import Handler, Unknown
from geoloom_engine.routes.front import Front
from geoloom_engine.sandboxing import Sandboxing
from geoloom_engine.services import Services
from geoloom_engine.settings import Settings
from geoloom_engine.usage import Usage

log = logging.getLogger(__name__)

HEADER_BYTES = 64 << 10
BODY_BYTES = 4 << 20
"""Longest body that is read before anybody looks at it; blobs are streamed."""
IDLE_SECONDS = 120.0
OPEN_FILES = 16384
NO_QUESTIONS = ("tiles", "events", "health", "usage")
"""Routes that ask nothing of the engine, or are counted apart."""
BODY_SECONDS = 30.0
"""Time a client has for sending a body."""


def application(services: Services) -> tornado.web.Application:
    """The engine's routes as a tornado application."""

    def count(handler: tornado.web.RequestHandler) -> None:
        assert isinstance(handler, Handler)
        request, status = handler.request, handler.get_status()
        seconds, failure = request.request_time(), handler.failure
        services.metrics.request(handler.route, status, seconds)
        if handler.asker is not None:
            count_request(services.usage, handler.asker, handler.route, status, failure)
        logs.request(
            request.method,
            request.path,
            handler.route,
            status,
            seconds,
            handler.asker,
            None if failure is None else type(failure).__name__,
            None if failure is None else failure.incident,
        )

    return tornado.web.Application(
        routes(services),
        default_handler_class=Unknown,
        default_handler_args={"services": services},
        log_function=count,
        websocket_ping_interval=None,
    )


def count_request(usage: Usage, session: str, route: str, status: int, failure: GeoloomError | None) -> None:
    """Count an answered request as its user's; tiles that were served are counted where that is done."""
    if isinstance(failure, EngineOverloaded | QuotaExceeded):
        usage.request(session, "refused")
    elif status >= 400:
        usage.request(session, "failed")
    elif route not in NO_QUESTIONS:
        usage.request(session, "questions")


def work(
    settings: Settings,
    sockets: Sequence[socket.socket],
    metrics: Metrics,
    lifeline: int,
    mesh: Mesh | None = None,
    sandboxing: Sandboxing | None = None,
) -> None:
    """Serve in this process until SIGTERM or until the supervisor is gone.

    Parameters
    ----------
    sockets
        Bound, listening.
    lifeline
        Reading end of a pipe that only the supervisor can write to.
    mesh
        Leads to the other workers, if there are any.
    sandboxing
        Runs users' functions.
    """
    import uvloop

    _raise_open_files()
    # GDAL reads its configuration when it is imported.
    os.environ.setdefault("GDAL_CACHEMAX", str(max(1, settings.gdal_cache >> 20)))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, sockets, metrics, lifeline, mesh, sandboxing))


def _raise_open_files() -> None:
    """Allow as many open files as the system does: many sources and connections need many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    # macOS may allow fewer than it says.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _serve(
    settings: Settings,
    sockets: Sequence[socket.socket],
    metrics: Metrics,
    lifeline: int,
    mesh: Mesh | None,
    sandboxing: Sandboxing | None,
) -> None:
    from geoloom.store import RedisStore
    from geoloom_engine.pipeline import Pipeline

    loop = asyncio.get_running_loop()
    functions = sandboxing.functions() if sandboxing is not None else None
    store = RedisStore(settings.redis_url, ttl=settings.chain_ttl)
    pipeline = Pipeline(settings, functions, store.get_blob)
    pipeline.memory.watch()
    services = Services(settings, metrics, pipeline, mesh)
    Gauges(metrics, pipeline, lambda: services.usage.recent)
    server = BalancedServer(
        Front(services, application(services)),
        xheaders=False,
        max_body_size=BODY_BYTES,
        max_header_size=HEADER_BYTES,
        idle_connection_timeout=IDLE_SECONDS,
        body_timeout=BODY_SECONDS,
    )
    server.shares = mesh.shares if mesh is not None else None
    loop.add_signal_handler(signal.SIGTERM, services.stopping.set)
    loop.add_reader(lifeline, services.stopping.set)
    server.add_sockets(list(sockets))
    await services.stopping.wait()
    loop.remove_reader(lifeline)
    server.stop()
    try:
        async with asyncio.timeout(settings.drain_timeout):
            await services.drained()
    except TimeoutError:
        log.warning("stopped with requests unanswered")
    await services.close()
    try:
        async with asyncio.timeout(1.0):
            await server.close_all_connections()
    except TimeoutError:
        pass
