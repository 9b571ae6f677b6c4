"""Connections: kept and shared, never waited for beyond a deadline."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from geoloom_engine.readers import connections as module
from geoloom_engine.readers.connections import Connections
from geoloom_engine.readers.wire import AddressRefused, Deadline


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections()
    yield made
    made.close()


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline(time.monotonic() + seconds, seconds)


def anywhere(host: str, address: str) -> bool:
    return True


def body(connections: Connections, url: str) -> bytes:
    answer = connections.get(url, {}, soon(), anywhere)
    try:
        return answer.read(1 << 20)
    finally:
        answer.close()


def test_one_after_another_share_one(server: Any, connections: Connections) -> None:
    url = server.put("/a", b"content")
    assert [body(connections, url) for _ in range(5)] == [b"content"] * 5
    assert server.connections == 1


def test_as_many_as_are_needed_at_once(server: Any, connections: Connections) -> None:
    url = server.put("/a", b"content" * 1000)
    with ThreadPoolExecutor(8) as threads:
        assert all(len(found) == 7000 for found in threads.map(lambda _: body(connections, url), range(80)))
    assert server.connections <= 8


def test_a_body_left_unread_is_read_if_it_is_small(server: Any, connections: Connections) -> None:
    small, large = server.put("/small", b"x" * 1000), server.put("/large", b"x" * (1 << 20))
    for url, together in ((small, 1), (large, 3)):
        for _ in range(3):
            answer = connections.get(url, {}, soon(), anywhere)
            answer.read(10)
            answer.close()
        assert server.connections == together


def test_closed_by_the_server_after_each_answer(server: Any, connections: Connections) -> None:
    def last(handler: Any) -> None:
        handler.plain(200, b"content", Connection="close")

    url = server.put("/a", b"", last, lasting=True)
    assert [body(connections, url) for _ in range(3)] == [b"content"] * 3


def test_idle_ones_are_closed(server: Any, connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.put("/a", b"content")
    body(connections, url)
    monkeypatch.setattr(module, "_IDLE_SECONDS", -1.0)
    body(connections, url)
    assert server.connections == 2
    connections.close()
    body(connections, url)
    assert not connections._idle, "what is given back after the end is closed"


def test_no_more_are_kept_than_is_good(
    server: Any, other_server: Any, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_ALL", 1)
    for of in (server, other_server, server):
        body(connections, of.put("/a", b"content"))
        assert len(connections._idle) == 1
    assert server.connections == 2


def test_the_time_is_up(server: Any, connections: Connections) -> None:
    url = server.put("/a", b"content", server.silence(), lasting=True)
    for deadline in (soon(0.1), Deadline(time.monotonic() + 20, 0.1), Deadline(time.monotonic() - 1, 1)):
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            connections.get(url, {}, deadline, anywhere)
        assert time.monotonic() - before < 10
    assert not connections._idle


def test_a_search_for_a_name_that_does_not_end(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) and [])
    with pytest.raises(TimeoutError):
        connections.get("http://data.example/a", {}, soon(0.1), anywhere)
    over.set()


def test_an_address_is_checked_before_it_is_connected_to(server: Any, connections: Connections) -> None:
    asked = []

    def nowhere(host: str, address: str) -> bool:
        asked.append((host, address))
        return False

    with pytest.raises(AddressRefused):
        connections.get(server.put("/a", b""), {}, soon(), nowhere)
    assert asked == [("127.0.0.1", "127.0.0.1")]
    assert server.connections == 0


def test_an_open_connection_is_no_way_around_that(server: Any, connections: Connections) -> None:
    """As one to a store is, which the engine's operator named, for somebody's plain address."""
    url = server.put("/a", b"content")
    body(connections, url)
    with pytest.raises(AddressRefused):
        connections.get(url, {}, soon(), lambda *_: False)
    assert len(server.asked) == 1


# Through a proxy -----------------------------------------------------------------------------------------


@pytest.fixture
def proxied(other_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    """Connections of somebody who reaches the world through the other server alone."""
    monkeypatch.setenv("http_proxy", other_server.base.replace("://", "://user:p%40ss@"))
    monkeypatch.setenv("https_proxy", other_server.base)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Connections()
    yield made
    made.close()


def test_a_proxy_is_asked_for_whole_addresses(other_server: Any, proxied: Connections) -> None:
    url = "http://data.example/a"
    other_server.put(url, b"content")
    assert [body(proxied, url + "?b=c") for _ in range(2)] == [b"content"] * 2
    assert other_server.sent_headers[0]["Host"] == "data.example"
    assert other_server.sent_headers[0]["Proxy-Authorization"] == "Basic dXNlcjpwQHNz"
    assert other_server.connections == 1


def test_no_proxy_for_what_is_near(server: Any, other_server: Any, proxied: Connections) -> None:
    assert body(proxied, server.put("/a", b"content")) == b"content"
    assert other_server.connections == 0
    assert "Proxy-Authorization" not in server.sent_headers[0]


def test_a_proxy_lets_tls_through(
    tls_server: Any, other_server: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", other_server.base)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    made = Connections()
    url = tls_server.put("/a", b"content")
    assert [body(made, url) for _ in range(3)] == [b"content"] * 3
    assert other_server.asked == [("CONNECT 127.0.0.1", None)]
    made.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 No\r\n\r\n", b"", b"what?\r\n\r\n", b"x" * 20_000])
def test_a_proxy_that_does_not_connect(
    other_server: Any, proxied: Connections, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    def refuse(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(answer)

    monkeypatch.setattr(other_server.handler, "do_CONNECT", refuse)
    with pytest.raises(ConnectionError):
        proxied.get("https://data.example/a", {}, soon(), anywhere)


# TLS -----------------------------------------------------------------------------------------------------


def test_tls_with_a_certificate_that_is_trusted(
    tls_server: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    made = Connections()
    url = tls_server.put("/a", b"content" * 10_000)
    assert [len(body(made, url)) for _ in range(3)] == [70_000] * 3
    assert tls_server.connections == 1
    made.close()


def test_tls_with_one_that_is_not(tls_server: Any, connections: Connections) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        body(connections, tls_server.put("/a", b"content"))
    assert not tls_server.asked


def test_a_handshake_that_stalls(connections: Connections) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/a"
        with pytest.raises(TimeoutError):
            connections.get(url, {}, soon(0.2), anywhere)
