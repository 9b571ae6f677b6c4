"""The client against small servers of its own; the engine's tests use it against a real engine."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from geoloom import engine_client, errors
from geoloom.chain import Chain
from geoloom.engine_client import EngineClient, connect, engine
from geoloom.local import Endpoint

CHAIN = Chain.extend("constant", 1, {"value": 1})
Reply = Callable[[str, str, bytes], tuple[int, bytes]]


class Server:
    """Answers with `reply(method, path, body)` and notes what it was asked."""

    def __init__(self) -> None:
        self.reply: Reply = lambda method, path, body: (200, b"{}")
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.connections = 0
        self.hang_up = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                owner.connections += 1
                super().setup()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                owner.asked.append((self.command, self.path, dict(self.headers)))
                status, content = owner.reply(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                # Closing without saying so is what an idle timeout or a restart looks like.
                self.close_connection = owner.hang_up

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - the base class's names

            def log_message(self, *args: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture(autouse=True)
def _closing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes every client a test makes."""
    made: list[EngineClient] = []
    first = EngineClient.__init__

    def noted(self: EngineClient, *args: Any, **kwargs: Any) -> None:
        first(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(EngineClient, "__init__", noted)
    yield
    for client in made:
        client.close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_requests_carry_token_and_session(server: Server) -> None:
    server.reply = lambda method, path, body: (
        200,
        json.dumps({"key": "k", "data": "d", "tiles": "/tiles/k", "expires": 5}).encode(),
    )
    client = EngineClient(server.url + "/prefix/", "secret", "me")
    registered = client.register(CHAIN)
    assert (registered.key, registered.data, registered.expires) == ("k", "d", 5)
    ((method, path, headers),) = server.asked
    assert (method, path) == ("POST", "/prefix/chains")
    assert headers["Authorization"] == "Bearer secret"
    assert headers["X-Geoloom-Session"] == "me"
    assert "tiles/k" not in repr(registered)
    assert "secret" not in repr(client)


def test_one_connection_serves_many_requests_and_a_closed_one_is_replaced(server: Server) -> None:
    client = EngineClient(server.url)
    for _ in range(3):
        client.health()
    assert server.connections == 1
    server.hang_up = True
    for _ in range(3):
        client.health()
    assert server.connections > 1


def test_threads_share_a_client(server: Server) -> None:
    server.reply = lambda method, path, body: (200, json.dumps({"path": path}).encode())
    client = EngineClient(server.url)
    wrong: list[str] = []

    def ask(number: int) -> None:
        for turn in range(20):
            key = f"{number}-{turn}"
            if client.legend(key)["path"] != f"/legend/{key}":
                wrong.append(key)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_errors_come_back_as_they_were(server: Server) -> None:
    thrown = errors.BandError("No band x.", hint="Bands: a.", node="n", op="select")
    server.reply = lambda method, path, body: (422, json.dumps(thrown.to_json()).encode())
    with pytest.raises(errors.BandError) as caught:
        EngineClient(server.url).describe(CHAIN)
    assert caught.value.to_json() == thrown.to_json()


@pytest.mark.parametrize("content", [b"<html>login</html>", b"[1]", b"\xff"])
@pytest.mark.parametrize("status", [200, 302, 502])
def test_what_is_no_engine_is_said(server: Server, content: bytes, status: int) -> None:
    server.reply = lambda method, path, body: (status, content)
    with pytest.raises(errors.EngineUnreachable, match="Geoloom engine"):
        EngineClient(server.url).health()


def test_no_engine_at_all() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(errors.EngineUnreachable, match=url):
        EngineClient(url).info("/a.tif")


def test_an_engine_that_hangs_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = EngineClient(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(errors.EngineUnreachable, match="in time"):
            client._connection.request("GET", "/healthz", timeout=0.2)


def test_an_engine_that_moved_is_found_again(server: Server) -> None:
    looked: list[bool] = []

    def locate(verify: bool) -> Endpoint:
        looked.append(verify)
        url = server.url if verify else f"http://127.0.0.1:{closed_port()}"
        return Endpoint(url, "t", 1, "n")

    assert EngineClient(locate=locate).health() == {}
    assert looked == [False, True]


def test_a_new_secret_is_fetched(server: Server) -> None:
    refusal = errors.AccessError("token").to_json()
    server.reply = lambda method, path, body: (
        (200, b"{}")
        if server.asked[-1][2]["Authorization"] == "Bearer new"
        else (401, json.dumps(refusal).encode())
    )
    client = EngineClient(locate=lambda verify: Endpoint(server.url, "new" if verify else "old", 1, "n"))
    assert client.legend("k") == {}


@pytest.mark.parametrize("url", ["", "localhost:80", "ftp://x", "http://", "http://[", "http://x:99999"])
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(errors.RequestError, match="GEOLOOM_ENGINE_URL"):
        EngineClient(url)


def test_values_json_cannot_hold_are_refused_here(server: Server) -> None:
    client = EngineClient(server.url)
    for lon in (float("nan"), object()):
        with pytest.raises(errors.RequestError):
            client.point("k", lon, 0.0)  # type: ignore[arg-type]
    assert server.asked == []


def test_the_environment_chooses_the_engine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_client, "_default", None)
    monkeypatch.setenv("GEOLOOM_ENGINE_URL", server.url)
    monkeypatch.setenv("GEOLOOM_TOKEN", "t")
    assert connect() is connect()
    assert connect().endpoint.url == server.url
    first = connect()
    monkeypatch.setenv("GEOLOOM_TOKEN", "other")
    assert connect() is not first


def test_the_token_may_stand_in_another_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_client, "_default", None)
    monkeypatch.setenv("GEOLOOM_ENGINE_URL", server.url)
    monkeypatch.setenv("GEOLOOM_TOKEN_FROM", "HUBS_TOKEN")
    monkeypatch.delenv("GEOLOOM_TOKEN", raising=False)
    assert connect().endpoint.token == ""
    monkeypatch.setenv("HUBS_TOKEN", "of-the-hub")
    assert connect().endpoint.token == "of-the-hub"
    monkeypatch.setenv("GEOLOOM_TOKEN", "own")
    assert connect().endpoint.token == "own"


def test_engine_says_how_it_is(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_client, "_default", None)
    monkeypatch.setenv("GEOLOOM_ENGINE_URL", server.url)
    monkeypatch.setenv("GEOLOOM_TOKEN", "hush")
    health = {"engine": "n", "version": "<1>", "pid": 7, "uptime": 3.0}
    server.reply = lambda method, path, body: (200, json.dumps(health).encode())
    status = engine()
    assert status.healthy
    assert not status.embedded
    asked = len(server.asked)
    shown = status._repr_html_() + str(status) + repr(status)
    assert len(server.asked) == asked
    assert "&lt;1&gt;" in shown
    assert "hush" not in shown


def test_engine_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_client, "_default", None)
    monkeypatch.setenv("GEOLOOM_ENGINE_URL", f"http://127.0.0.1:{closed_port()}")
    status = engine()
    assert not status.healthy
    assert "does not answer" in status._repr_html_()


def test_a_forked_child_takes_its_own_connections(server: Server) -> None:
    client = EngineClient(server.url)
    client.health()
    client._connection._owner = os.getpid() + 1
    client.health()
    assert server.connections == 2
