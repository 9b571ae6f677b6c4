"""What stands before tornado's handlers: answers tiles itself, and passes on everything else.

Nearly all requests are for tiles, by the URL that the engine gave out for a layer. Tornado takes
0.1 ms of processor time to read such a request and to write an answer; its routing, a handler
object and parsing that expects anything take another 0.1 ms, which this spares. What is out of the
ordinary in a request (its method, its query, its right to ask) is not judged here: the application
answers it. So is what fails, so that errors are answered in one place.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import tornado.web
from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    format_timestamp,
)

from geoloom.errors import GeoloomError
from geoloom.grid import Tile
from geoloom_engine import logs, sending
from geoloom_engine.routes.base import Refused
from geoloom_engine.routes.tile_reply import TileReply, TileRequest, reply_to
from geoloom_engine.routes.tiles import ChainTile

if TYPE_CHECKING:
    from geoloom_engine.auth import Capability
    from geoloom_engine.services import Services

log = logging.getLogger("geoloom_engine")

_PATH = re.compile(r"/tiles/([0-9a-f]{32})/([0-9]{1,2})/([0-9]{1,10})/([0-9]{1,10})(@[24]x)?\.png")
_QUERY = re.compile(r"c=([A-Za-z0-9_-]+)(?:&d=([0-9a-f]+))?(?:&v=[0-9]+)?")
"""As `/chains` and maps write them."""

WITH_BODY = ("POST", "PUT", "PATCH")
"""Methods whose requests may have a body that is read."""

_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]+")

_STATUS_LINES = {
    200: ResponseStartLine("HTTP/1.1", 200, "OK"),
    304: ResponseStartLine("HTTP/1.1", 304, "Not Modified"),
}


class Front(HTTPServerConnectionDelegate):
    """Gives each request of a server its delegate.

    Parameters
    ----------
    application
        Answers what is not answered here.
    """

    def __init__(self, services: Services, application: tornado.web.Application) -> None:
        self.services = services
        self.application = application
        self.prefix = f"{services.settings.prefix}/" if services.settings.prefix else ""
        self._second = 0
        self._date = ""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Tornado's hook: a request begins."""
        return _Exchange(self, server_conn, request_conn)

    def date(self) -> str:
        """The header `Date`."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, format_timestamp(now)
        return self._date


class _Exchange(HTTPMessageDelegate):
    """One request and its answer."""

    def __init__(self, front: Front, server_conn: object, connection: HTTPConnection) -> None:
        self._front = front
        self._server_conn = server_conn
        self._connection = connection
        self._begun = 0.0
        self._other: HTTPMessageDelegate | None = None
        self._task: asyncio.Task[None] | None = None
        self._left = False
        self._sender: str | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Tornado's hook: decides who answers."""
        assert isinstance(start_line, RequestStartLine)
        self._begun = time.perf_counter()
        prefix = self._front.prefix
        if prefix and start_line.path.startswith(prefix):
            start_line = start_line._replace(path="/" + start_line.path[len(prefix) :])
        self._start_line, self._headers = start_line, headers
        found = _tile_of(start_line, headers)
        if found is None:
            other = self._front.application.start_request(self._server_conn, self._connection)
            long = start_line.method in WITH_BODY and _has_long_body(headers)
            return self._pass_on_if_known(other) if long else self._pass_on(other)
        self._place, self._asked = found
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Tornado's hook: a part of the body, which only some methods have."""
        if self._other is None or self._start_line.method not in WITH_BODY:
            return None
        return self._other.data_received(chunk)

    def finish(self) -> None:
        """Tornado's hook: the request is complete."""
        self._body_is_over()
        if self._other is not None:
            self._other.finish()
            return
        services = self._front.services
        key, z, x, y, ratio = self._place.groups()
        token, data = self._asked.groups()
        try:
            capability = services.signer.verify(token, key)
            tile = Tile(int(z), int(x), int(y))
        except GeoloomError as error:
            self._fail(error)
            return
        asked = TileRequest(
            key,
            tile,
            1 if ratio is None else int(ratio[1]),
            data,
            self._headers.get("If-None-Match"),
            capability.session,
        )
        services.begin()
        # Begun here and now: what is in memory is answered before this returns.
        loop = asyncio.get_running_loop()
        self._task = asyncio.Task(self._answer(asked, capability), loop=loop, eager_start=True)
        if not self._task.done():
            assert isinstance(self._connection, HTTP1Connection)
            self._connection.set_close_callback(self.on_connection_close)

    def on_connection_close(self) -> None:
        """Tornado's hook: nobody waits for the answer any more."""
        self._body_is_over()
        if self._other is not None:
            self._other.on_connection_close()
        self._left = True
        if self._task is not None:
            self._task.cancel()

    async def _answer(self, asked: TileRequest, capability: Capability) -> None:
        services = self._front.services
        try:
            await services.revocations.check(capability)
            services.events.seen(asked.session, asked.key)
            reply = await reply_to(services, asked)
        except asyncio.CancelledError:
            if not self._left:
                raise
        except Exception as error:  # noqa: BLE001 - the handler answers it, whatever it is
            self._fail(error)
        else:
            self._write(reply, asked.session)
        finally:
            services.end()

    def _write(self, reply: TileReply, session: str) -> None:
        headers = reply.headers
        headers["Server"] = "geoloom"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Date"] = self._front.date()
        services = self._front.services
        origin = self._headers.get("Origin")
        if origin is not None and services.hosts.trusts_origin(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Vary"] = "Origin"
        if reply.status == 200:
            headers["Content-Length"] = str(len(reply.body))
        written = self._connection.write_headers(_STATUS_LINES[reply.status], headers, reply.body)
        self._connection.finish()
        if not written.done() and isinstance(self._connection, HTTP1Connection):
            sending.limit(written, self._connection.stream, len(reply.body))
        seconds = time.perf_counter() - self._begun
        services.metrics.request(ChainTile.route, reply.status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            path = self._start_line.path.partition("?")[0]
            logs.request("GET", path, ChainTile.route, reply.status, seconds, session)

    def _fail(self, error: Exception) -> None:
        """Let the handler of tiles answer an error."""
        # A group that took no part in the match is None, as tornado's own routing passes it on.
        other = self._failing(ChainTile, error, *self._place.groups())
        self._pass_on(other)
        other.finish()

    def _failing(
        self, handler: type[tornado.web.RequestHandler], error: Exception, *parts: str | None
    ) -> HTTPMessageDelegate:
        request = HTTPServerRequest(
            connection=self._connection,
            server_connection=self._server_conn,
            start_line=self._start_line,
            headers=self._headers,
        )
        return self._front.application.get_handler_delegate(
            request,
            handler,
            {"services": self._front.services, "failure": error},
            [part if part is None else part.encode() for part in parts],  # type: ignore[misc]
        )

    async def _pass_on_if_known(self, other: HTTPMessageDelegate) -> None:
        """Pass on a request with a long body; strangers' bodies are not even kept."""
        services = self._front.services
        try:
            caller = await services.callers.identify(self._headers.get("Authorization", ""))
            if caller.owner:
                self._sender = services.bodies.enter(caller.owner)
        except GeoloomError as error:
            other = self._failing(Refused, error)
        waiting = self._pass_on(other)
        if waiting is not None:
            await waiting

    def _body_is_over(self) -> None:
        if self._sender is not None:
            self._front.services.bodies.leave(self._sender)
            self._sender = None

    def _pass_on(self, other: HTTPMessageDelegate) -> Awaitable[None] | None:
        self._other = other
        return other.headers_received(self._start_line, self._headers)


def _has_long_body(headers: HTTPHeaders) -> bool:
    """Whether a body has 10 kB or more, or may have."""
    return "Transfer-Encoding" in headers or len(headers.get("Content-Length", "")) > 4


def _tile_of(
    start_line: RequestStartLine, headers: HTTPHeaders
) -> tuple[re.Match[str], re.Match[str]] | None:
    """Path and query of an ordinary request for a tile; None if it is another."""
    if start_line.method != "GET" or not start_line.path.startswith("/tiles/"):
        return None
    path, _, query = start_line.path.partition("?")
    place, asked, host = _PATH.fullmatch(path), _QUERY.fullmatch(query), headers.get("Host")
    if place is None or asked is None or host is None or not _HOST.fullmatch(host):
        return None
    return place, asked
