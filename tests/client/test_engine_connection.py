"""Connections below the client; `test_engine_client` has the rest, through the client."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from geoloom.engine_connection import EngineConnection
from geoloom.errors import EngineUnreachable
from geoloom.local import Endpoint


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_farewell_starts_no_engine_and_never_fails() -> None:
    def locate(verify: bool) -> Endpoint:
        raise AssertionError("looked for an engine")

    EngineConnection(locate, True, "me").farewell("DELETE", "/sessions/me", 1.0)
    gone = EngineConnection(locate, True, "me")
    gone._spoken_to = Endpoint(f"http://127.0.0.1:{closed_port()}", "t", 1, "n")
    gone.farewell("DELETE", "/sessions/me", 1.0)


def test_an_engine_that_stays_away_is_looked_for_once() -> None:
    looked: list[bool] = []

    def locate(verify: bool) -> Endpoint:
        looked.append(verify)
        return Endpoint(f"http://127.0.0.1:{closed_port()}", "t", 1, "n")

    with pytest.raises(EngineUnreachable):
        EngineConnection(locate, True, "me").request("GET", "/healthz")
    assert looked == [False, True]
    looked.clear()
    with pytest.raises(EngineUnreachable):
        EngineConnection(locate, False, "me").request("GET", "/healthz")
    assert looked == [False]


def test_a_restarted_engine_may_be_asked_something_else() -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        ports = {False: closed_port(), True: server.server_port}

        def locate(verify: bool) -> Endpoint:
            return Endpoint(f"http://127.0.0.1:{ports[verify]}", "t", 1, "n")

        connection = EngineConnection(locate, True, "me")
        assert connection.request("GET", "/events?timeout=10", if_moved="/events?timeout=0") == b"{}"
        thread.join(10)
        connection.close()
    assert asked == ["/events?timeout=0"]


def test_an_engine_that_was_there_is_waited_for() -> None:
    """It is started again, and so is its store."""
    away = json.dumps({"error": "EngineUnreachable", "message": "The store is away."}).encode()
    replies = [(200, b"{}"), (503, away), (503, away), (200, b"[1]"), (503, away)]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, content = replies.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        at = Endpoint(f"http://127.0.0.1:{server.server_port}", "t", 1, "n")
        connection = EngineConnection(lambda verify: at, False, "me")
        assert connection.request("POST", "/chains") == b"{}"
        assert connection.request("POST", "/chains") == b"[1]"
        with pytest.raises(EngineUnreachable, match="store is away"):
            connection.request("POST", "/chains", patient=False)
    finally:
        server.shutdown()
        server.server_close()
