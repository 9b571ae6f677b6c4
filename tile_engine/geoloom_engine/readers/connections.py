"""Connections to HTTP servers, kept open and used again; no exchange outlasts its deadline.

What the standard library's own time-outs do not bound: a server that sends one byte now and then, in
its headers too. So every single receive is given no longer than what is left.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from geoloom._version import __version__

_IDLE_SECONDS = 30.0
_IDLE_EACH = 16
_IDLE_ALL = 64
_LITTLE = 1 << 16
"""Bytes of a body that are rather read than a new connection made."""

_SHORT = 0.2
"""Seconds that may take."""

_AGENT = f"geoloom/{__version__}"

type _Server = tuple[str, str, int]


@cache
def _tls() -> ssl.SSLContext:
    """Loading the trusted certificates takes a while."""
    return ssl.create_default_context()


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


class _Wire:
    """A socket, as `http.client` uses it, on which each receive is given what is left of the deadline."""

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.raw = raw
        self.deadline = deadline
        self._readers = 0
        self._closed = False

    def sendall(self, data: bytes) -> None:
        self.raw.settimeout(self.deadline.left())
        self.raw.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Received(self), 1 << 16)

    def close(self) -> None:
        # `http.client` closes before the body is read where it is the last one.
        self._closed = True
        if self._readers == 0:
            self.raw.close()

    def let_go(self) -> None:
        self._readers -= 1
        if self._closed:
            self.close()


class _Received(io.RawIOBase):
    def __init__(self, wire: _Wire) -> None:
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
class _Proxy:
    """Where all requests of a scheme go instead; its own name and address are the operator's choice."""

    host: str
    port: int
    headers: dict[str, str] = field(repr=False)

    @staticmethod
    def of(url: str) -> _Proxy:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        headers = {}
        if parts.username is not None:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return _Proxy(parts.hostname or "", parts.port or 80, headers)


class _Connection(http.client.HTTPConnection):
    """One connection to one server."""

    sock: Any

    def __init__(
        self,
        server: _Server,
        tls: ssl.SSLContext | None,
        allowed: Callable[[str], bool],
        proxy: _Proxy | None,
    ) -> None:
        super().__init__(server[1], server[2])
        self.server = server
        self.used = 0.0
        self._tls = tls
        self._allowed = allowed
        self._proxy = proxy

    def reach(self, deadline: Deadline) -> None:
        """Be connected, and bound by a deadline."""
        if self.sock is None:
            self.sock = _Wire(self._connected(deadline), deadline)
        self.sock.deadline = deadline

    def _connected(self, deadline: Deadline) -> socket.socket:
        """A socket to the first of the host's addresses that answers, each checked before it is asked."""
        failure: OSError = AddressRefused("no address that may be read")
        host, port = (self.host, self.port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if self._proxy is None and not self._allowed(str(address[0])):
                continue
            raw = socket.socket(family, kind, protocol)
            try:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.settimeout(deadline.left())
                raw.connect(address)
                if self._tls is None:
                    return raw
                if self._proxy is not None:
                    self._tunnel_through(self._proxy, raw, deadline)
                return self._tls.wrap_socket(raw, server_hostname=self.host)
            except BaseException as error:
                raw.close()
                if not isinstance(error, OSError):
                    raise
                failure = error
        raise failure

    def _tunnel_through(self, proxy: _Proxy, raw: socket.socket, deadline: Deadline) -> None:
        """Have the proxy connect: what follows is between us and the server."""
        at = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"CONNECT {at}:{self.port} HTTP/1.1", f"Host: {at}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
        wire = _Wire(raw, deadline)
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


class Answer:
    """What a server answers; its body is read by `read`, once, and `close` must follow."""

    def __init__(
        self,
        response: http.client.HTTPResponse,
        connection: _Connection,
        give_back: Callable[[_Connection], None],
    ) -> None:
        self.status = response.status
        self.headers: http.client.HTTPMessage = response.headers
        self._response = response
        self._connection = connection
        self._give_back = give_back
        self._sound = True

    def read(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes."""
        self._sound = False
        content = self._response.read(limit)
        self._sound = True
        return content

    @property
    def complete(self) -> bool:
        """Whether all of the body has been read."""
        return self._response.isclosed()

    def close(self) -> None:
        """Let the connection go: to the next, if there is little of the body that has not been read."""
        left, wire = self._response.length, self._connection.sock
        unread = left is not None and left <= _LITTLE and not self._response.isclosed()
        if self._sound and unread and left is not None and wire is not None:
            wire.deadline = Deadline(time.monotonic() + _SHORT, _SHORT)
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._response.read(left + 1)
        if self._response.isclosed() and not self._response.will_close:
            self._give_back(self._connection)
        else:
            self._response.close()
            self._connection.close()


class Connections:
    """Idle connections by server; safe to use from many threads, none of which waits for another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._proxies = urllib.request.getproxies_environment()
        self._closed = False

    def get(
        self, url: str, headers: Mapping[str, str], deadline: Deadline, allowed: Callable[[str, str], bool]
    ) -> Answer:
        """Ask for a URL; redirects are the caller's to follow.

        Parameters
        ----------
        allowed
            Whether a host (its name) may be read at a network address.

        Raises
        ------
        OSError, http.client.HTTPException
            If there is no answer: `AddressRefused` for an address that is not allowed, `TimeoutError`
            when the deadline has passed.
        """
        parts = urllib.parse.urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        server = (parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))
        # What is percent-encoded already stays as it is.
        target = urllib.parse.quote(parts.path or "/", safe="%/:@!$&'()*+,;=~-._")
        if parts.query:
            target += "?" + urllib.parse.quote(parts.query, safe="%/:@!$&'()*+,;=~-._?")
        proxy = None
        if parts.scheme in self._proxies and not urllib.request.proxy_bypass(f"{host}:{server[2]}"):
            proxy = _Proxy.of(self._proxies[parts.scheme])
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        if proxy is not None and parts.scheme == "http":
            target = f"http://{parts.netloc}{target}"
            sent |= proxy.headers
        while True:
            connection = self._taken(server)
            fresh = connection is None
            if connection is None:
                tls = _tls() if parts.scheme == "https" else None
                connection = _Connection(server, tls, lambda address: allowed(host, address), proxy)
            try:
                connection.reach(deadline)
                connection.request("GET", target, headers=sent)
                return Answer(connection.getresponse(), connection, self._give_back)
            except (ConnectionError, http.client.BadStatusLine):
                # Servers close idle connections when they like; one that was open says nothing of them.
                connection.close()
                if fresh:
                    raise
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Close the idle connections; those in use close when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _taken(self, server: _Server) -> _Connection | None:
        """An idle connection to a server; those that were idle for long are closed."""
        late = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            old = [connection for connection in self._idle if connection.used < late]
            self._idle = [connection for connection in self._idle if connection.used >= late]
            found = next((c for c in reversed(self._idle) if c.server == server), None)
            if found is not None:
                self._idle.remove(found)
        for connection in old:
            connection.close()
        return found

    def _give_back(self, connection: _Connection) -> None:
        connection.used = time.monotonic()
        with self._lock:
            mine = [c for c in self._idle if c.server == connection.server]
            full = self._closed or len(mine) >= _IDLE_EACH
            closing = [connection] if full else []
            if not full:
                self._idle.append(connection)
                if len(self._idle) > _IDLE_ALL:
                    closing.append(self._idle.pop(0))
        for old in closing:
            old.close()
