"""One engine's connections: kept open, replaced when they were closed, moved when the engine moved."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from geoloom.errors import EngineUnreachable, from_json
from geoloom.local import Endpoint

TIMEOUT = 60.0
"""Seconds to wait for an answer: longer than the engine queues and computes."""

IDLE_CONNECTIONS = 4
LONGEST_ANSWER = 64 << 20

RESTART_SECONDS = 8.0
"""How long an engine that was there is waited for: whoever keeps it and its store alive starts them again."""

RESTART_PAUSE = 0.25
"""Seconds between two attempts."""

Locate = Callable[[bool], Endpoint]
"""Finds the engine; True asks to look whether it is still there."""


class EngineConnection:
    """Requests to one engine, from any thread.

    Parameters
    ----------
    locate
        Finds the engine.
    moves
        Whether `locate` may find it elsewhere after a failure.
    session
        Sent with each request.
    """

    def __init__(self, locate: Locate, moves: bool, session: str) -> None:
        self.locate = locate
        self.moves = moves
        self.session = session
        self._spoken_to: Endpoint | None = None
        self._idle: list[tuple[str, http.client.HTTPConnection]] = []
        self._owner = os.getpid()
        self._guard = threading.Lock()

    def close(self) -> None:
        """Close the idle connections; the next request opens new ones."""
        with self._guard:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        timeout: float = TIMEOUT,
        if_moved: str | None = None,
        patient: bool = True,
    ) -> bytes:
        """The body of a successful answer.

        Parameters
        ----------
        timeout
            Seconds to wait for the answer.
        if_moved
            Path to ask a restarted engine for instead.
        patient
            Whether to wait for an engine that was spoken to before and is away, or says that its store is:
            a cell that is run need not fail for a restart. One that moves is looked for anyway.

        Raises
        ------
        EngineUnreachable
            No engine answers.
        GeoloomError
            What the engine answered instead.
        """
        known = patient and not self.moves and self._spoken_to is not None
        deadline = time.monotonic() + (RESTART_SECONDS if known else 0.0)
        while True:
            try:
                return self._request(method, path, body, timeout, if_moved)
            except EngineUnreachable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(RESTART_PAUSE)

    def _request(
        self, method: str, path: str, body: bytes | None, timeout: float, if_moved: str | None
    ) -> bytes:
        endpoint = self.locate(False)
        try:
            status, content = self._exchange(endpoint, method, path, body, timeout)
        except (OSError, http.client.HTTPException) as error:
            if not self.moves:
                raise _unreachable(endpoint, error) from None
            # A restarted embedded engine has another secret and maybe another port.
            endpoint = self.locate(True)
            status, content = self._again(endpoint, method, if_moved or path, body, timeout)
        if status == 401 and self.moves:
            endpoint = self.locate(True)
            status, content = self._again(endpoint, method, if_moved or path, body, timeout)
        if 200 <= status < 300:
            return content
        raise _refused(endpoint, status, content)

    def farewell(self, method: str, path: str, timeout: float) -> None:
        """A last request: only to an engine that was spoken to; starts none, and whatever fails is let be."""
        endpoint = self._spoken_to
        if endpoint is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._exchange(endpoint, method, path, None, timeout)

    def _again(
        self, endpoint: Endpoint, method: str, path: str, body: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        try:
            return self._exchange(endpoint, method, path, body, timeout)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(endpoint, error) from None

    def _exchange(
        self, endpoint: Endpoint, method: str, path: str, body: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        """Status and body; once more if the engine had closed an idle connection.

        All requests may be repeated: what they store is named by its content.
        """
        headers = {"X-Geoloom-Session": self.session, "Content-Type": "application/json"}
        if endpoint.token:
            headers["Authorization"] = f"Bearer {endpoint.token}"
        url = endpoint.url.rstrip("/")
        target = urlsplit(url).path + path
        while True:
            connection, reused = self._take(url, timeout)
            try:
                connection.request(method, target, body=body, headers=headers)
                answer = connection.getresponse()
                content = answer.read(LONGEST_ANSWER)
            except TimeoutError:
                connection.close()
                raise
            except (OSError, http.client.HTTPException):
                connection.close()
                if reused:
                    continue
                raise
            except BaseException:
                # An interrupted kernel leaves half an answer behind.
                connection.close()
                raise
            self._spoken_to = endpoint
            self._give_back(url, connection, keep=not answer.will_close and answer.isclosed())
            return answer.status, content

    def _take(self, url: str, timeout: float) -> tuple[http.client.HTTPConnection, bool]:
        with self._guard:
            if self._owner != os.getpid():
                # A forked child must not speak on its parent's connections; closing its copies harms none.
                self._owner, inherited, self._idle = os.getpid(), self._idle, []
                for _, connection in inherited:
                    connection.close()
            for index, (where, connection) in enumerate(self._idle):
                if where == url:
                    del self._idle[index]
                    connection.timeout = timeout
                    if connection.sock is not None:
                        connection.sock.settimeout(timeout)
                    return connection, True
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=timeout), False

    def _give_back(self, url: str, connection: http.client.HTTPConnection, keep: bool) -> None:
        with self._guard:
            if keep and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append((url, connection))
                return
        connection.close()


def _unreachable(endpoint: Endpoint, error: Exception) -> EngineUnreachable:
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return EngineUnreachable(
        f"The tile engine at {endpoint.url} does not answer ({reason}).",
        hint="geoloom.engine() says which engine is used.",
    )


def _refused(endpoint: Endpoint, status: int, content: bytes) -> Exception:
    try:
        payload = json.loads(content)
    except ValueError:
        payload = None
    if isinstance(payload, dict) and "error" in payload:
        return from_json(payload)
    return EngineUnreachable(
        f"What answers at {endpoint.url} says {status}, not as a Geoloom engine would.",
        hint="Check GEOLOOM_ENGINE_URL, and proxies in between.",
    )
