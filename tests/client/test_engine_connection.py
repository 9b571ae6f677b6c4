"""Connections below the client; `test_engine_client` has the rest, through the client."""

from __future__ import annotations

import socket

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
