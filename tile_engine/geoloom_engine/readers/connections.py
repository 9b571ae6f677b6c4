"""Connections to HTTP servers, kept open and used again; no exchange outlasts its deadline."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from geoloom._version import __version__
from geoloom_engine.readers.wire import AddressRefused, Deadline, Proxy, Wire, connected

_IDLE_SECONDS = 30.0
_IDLE_EACH = 16
_IDLE_ALL = 64
_LITTLE = 1 << 16
"""Bytes of a body that are rather read than a new connection made."""

_SHORT = 0.2
"""Seconds that may take."""

_AGENT = f"geoloom/{__version__}"

type _Server = tuple[str, str, int]


class _Connection(http.client.HTTPConnection):
    """One connection to one server."""

    sock: Any

    def __init__(self, server: _Server, proxy: Proxy | None) -> None:
        super().__init__(server[1], server[2])
        self.server = server
        self.used = 0.0
        self._proxy = proxy
        self._address = ""

    def reach(self, deadline: Deadline, allowed: Callable[[str], bool]) -> None:
        """Be connected to an address that is allowed, and bound by a deadline."""
        if self.sock is None:
            tls = self.server[0] == "https"
            raw, self._address = connected(self.host, self.port, tls, deadline, allowed, self._proxy)
            self.sock = Wire(raw, deadline)
        elif self._proxy is None and not allowed(self._address):
            raise AddressRefused("an address that may not be read")
        self.sock.deadline = deadline


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
            proxy = Proxy.of(self._proxies[parts.scheme])
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        if proxy is not None and parts.scheme == "http":
            target = f"http://{parts.netloc}{target}"
            sent |= proxy.headers
        while True:
            connection = self._taken(server)
            fresh = connection is None
            if connection is None:
                connection = _Connection(server, proxy)
            try:
                connection.reach(deadline, lambda address: allowed(host, address))
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
        """An idle connection to a server; those that were idle for long or are closed are let go."""
        late = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            old = [connection for connection in self._idle if connection.used < late]
            self._idle = [connection for connection in self._idle if connection.used >= late]
            mine = [connection for connection in reversed(self._idle) if connection.server == server]
            found = next((connection for connection in mine if connection.sock.quiet), None)
            for connection in mine:
                self._idle.remove(connection)
                if connection is found:
                    break
                old.append(connection)
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
