from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from tornado.web import Application, RequestHandler

from geoloom_hub import listening


class Echo(RequestHandler):
    """Answers with what is sent, and with what one knows of the sender."""

    def get(self) -> None:
        self.finish({"ip": self.request.remote_ip, "protocol": self.request.protocol})

    def post(self) -> None:
        self.finish(self.request.body)


def talk(*parts: bytes) -> bytes:
    """What is answered, up to the end of the connection, to parts sent to a service."""

    async def run() -> bytes:
        server = listening.listen(Application([("/", Echo)]), 0, "127.0.0.1")
        (listener,) = server._sockets.values()
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        try:
            for part in parts:
                writer.write(part)
            return await within(reader.read())
        except ConnectionError:
            return b""
        finally:
            writer.close()
            server.stop()
            await server.close_all_connections()

    return asyncio.run(run())


async def within[T](work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(20):
        return await work


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"


def test_a_short_body_is_taken() -> None:
    assert talk(HEAD + b"Content-Length: 5\r\n\r\nhello").endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 65537\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n10001\r\n" + b"x" * 65537 + b"\r\n0\r\n\r\n",
    ],
)
def test_a_long_one_is_not(sent: bytes) -> None:
    answer = talk(HEAD + sent)
    assert not answer or answer.split()[1] in (b"400", b"413")


@pytest.mark.parametrize("sent", [HEAD[:-5], HEAD + b"Content-Length: 5\r\n\r\nhel"])
def test_a_client_that_does_not_go_on_is_left(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(listening, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(listening, "HEAD_SECONDS", 0.1)
    assert b"hel" not in talk(sent)


def test_the_proxy_tells_who_asks() -> None:
    said = b"X-Forwarded-For: 127.0.0.9\r\nX-Forwarded-Proto: https\r\n"
    answer = talk(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + said + b"\r\n")
    assert b"127.0.0.9" in answer
    assert b"https" in answer
