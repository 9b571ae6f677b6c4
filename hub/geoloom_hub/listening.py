"""How the hub's services listen: clients that dawdle or send too much are not waited for."""

from __future__ import annotations

from tornado.httpserver import HTTPServer
from tornado.web import Application

__all__ = ["listen"]

MAX_BODY = 65536
"""Bytes of a request's body: pages have next to nothing to send."""

BODY_SECONDS = 30.0
"""Time a client has for sending a body."""

HEAD_SECONDS = 120.0
"""Time it has for sending what comes before, and between two requests."""


def listen(application: Application, port: int, host: str) -> HTTPServer:
    """Serve an application behind the hub's proxy.

    Raises
    ------
    OSError
        The port is taken.
    """
    server = HTTPServer(
        application,
        xheaders=True,
        max_body_size=MAX_BODY,
        body_timeout=BODY_SECONDS,
        idle_connection_timeout=HEAD_SECONDS,
    )
    server.listen(port, host)
    return server
