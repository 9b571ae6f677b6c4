"""A wire to a server on which nothing waits for longer than a deadline allows.

What the standard library's own time-outs do not bound: a server that sends one byte now and then, in
its headers too, and the search for a name. So every single receive is given no longer than what is left.
"""

from __future__ import annotations

import base64
import io
import select
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any


class AddressRefused(OSError):
    """A name stands for an address that may not be read."""


@dataclass(slots=True)
class Deadline:
    """When an exchange has to be over.

    Parameters
    ----------
    at
        By `time.monotonic`.
    stall
        Seconds that may pass without a byte.
    """

    at: float
    stall: float

    def left(self) -> float:
        """Seconds that the next step may take.

        Raises
        ------
        TimeoutError
            If there are none.
        """
        left = min(self.at - time.monotonic(), self.stall)
        if left <= 0:
            raise TimeoutError("the time is up")
        return left


class Wire:
    """A socket, as `http.client` uses it, on which each receive is given what is left of the deadline."""

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.raw = raw
        self.deadline = deadline
        self._readers = 0
        self._closed = False

    @property
    def quiet(self) -> bool:
        """Whether nothing has come, as it should be between two exchanges: else it is closed, or odd."""
        poll = select.poll()
        poll.register(self.raw, select.POLLIN)
        return not poll.poll(0)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self.raw.settimeout(self.deadline.left())
        self.raw.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What is received, as a file."""
        self._readers += 1
        return io.BufferedReader(_Received(self), 1 << 16)

    def close(self) -> None:
        """Close it when nobody reads from it any more."""
        # `http.client` closes before the body is read where it is the last one.
        self._closed = True
        if self._readers == 0:
            self.raw.close()

    def let_go(self) -> None:
        """One that reads is done."""
        self._readers -= 1
        if self._closed:
            self.close()


class _Received(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._wire.raw.settimeout(self._wire.deadline.left())
        return self._wire.raw.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._wire.let_go()


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where all requests of a scheme go instead; its own name and address are the operator's choice."""

    host: str
    port: int
    headers: dict[str, str] = field(repr=False)

    @staticmethod
    def of(url: str) -> Proxy:
        """The proxy that a URL means, as in ``http_proxy``."""
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        headers = {}
        if parts.username is not None:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return Proxy(parts.hostname or "", parts.port or 80, headers)


def connected(
    host: str,
    port: int,
    tls: bool,
    deadline: Deadline,
    allowed: Callable[[str], bool],
    proxy: Proxy | None = None,
) -> tuple[socket.socket, str]:
    """A socket to the first of a host's addresses that answers, and that address.

    Parameters
    ----------
    allowed
        Whether an address may be read; asked before it is connected to. Behind a proxy nobody knows.

    Raises
    ------
    OSError
        If there is none: `AddressRefused` if none is allowed, `TimeoutError` when the deadline has passed.
    """
    failure: OSError = AddressRefused("no address that may be read")
    nearest = (host, port) if proxy is None else (proxy.host, proxy.port)
    for family, kind, protocol, _, address in _addresses(*nearest, deadline):
        if proxy is None and not allowed(str(address[0])):
            continue
        raw = socket.socket(family, kind, protocol)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(deadline.left())
            raw.connect(address)
            if tls:
                if proxy is not None:
                    _tunnel(proxy, raw, host, port, deadline)
                raw = trusted().wrap_socket(raw, server_hostname=host)
            return raw, str(address[0])
        except BaseException as error:
            raw.close()
            if not isinstance(error, OSError):
                raise
            failure = error
    raise failure


@cache
def trusted() -> ssl.SSLContext:
    """The system's trusted certificates; loading them takes a while."""
    return ssl.create_default_context()


def _tunnel(proxy: Proxy, raw: socket.socket, host: str, port: int, deadline: Deadline) -> None:
    """Have the proxy connect: what follows is between us and the server."""
    at = f"[{host}]" if ":" in host else host
    lines = [f"CONNECT {at}:{port} HTTP/1.1", f"Host: {at}:{port}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
    wire = Wire(raw, deadline)
    wire.sendall("\r\n".join([*lines, "", ""]).encode())
    # One byte at a time: what comes behind the answer is the server's.
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        raw.settimeout(deadline.left())
        byte = raw.recv(1)
        if not byte or len(answer) > 1 << 14:
            raise ConnectionError("the proxy gives no answer")
        answer += byte
    if answer.split(b" ", 2)[1:2] != [b"200"]:
        raise ConnectionError("the proxy does not connect")


def _addresses(host: str, port: int, deadline: Deadline) -> list[Any]:
    """What a name stands for now; the system's own search for it knows no deadline."""
    found: list[Any] = []
    over = threading.Event()

    def search() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)
        over.set()

    threading.Thread(target=search, name="name-search", daemon=True).start()
    if not over.wait(deadline.left()):
        raise TimeoutError("the name is not found in time")
    if found and isinstance(found[0], Exception):
        raise found[0]
    return found
