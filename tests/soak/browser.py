"""HTTP as a browser speaks it: few connections to one server, kept open, closed to cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 6
"""What browsers open to one server at most."""

PATIENCE = 60.0
"""Seconds after which an answer is taken not to come: longer than an engine queues and computes."""


class Lost(Exception):
    """No answer came; the message says in what way."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """Requests to one server.

    Parameters
    ----------
    base
        The server's address; paths are added to it.
    connections
        How many at most.
    """

    def __init__(self, base: str, connections: int = CONNECTIONS) -> None:
        parts = urlsplit(base)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._free = asyncio.Semaphore(connections)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(
        self, path: str, headers: Mapping[str, str] | None = None, patience: float = PATIENCE
    ) -> Answer:
        """Ask for a path; raises Lost."""
        return await self.ask("GET", path, None, headers, patience)

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None, patience: float = PATIENCE
    ) -> Answer:
        """Send a body; raises Lost."""
        return await self.ask("POST", path, body, headers, patience)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """One request, once more where an idle connection turns out to be closed; raises Lost.

        Who is cancelled meanwhile closes the connection, as a browser does with images that are out of sight.
        """
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        message = "\r\n".join([*lines, "", ""]).encode() + (body or b"")
        async with self._free:
            while True:
                reused = bool(self._idle)
                try:
                    async with asyncio.timeout(patience):
                        return await self._exchange(method, message)
                except TimeoutError:
                    raise Lost("no answer in time") from None
                except ConnectionRefusedError:
                    raise Lost("connection refused") from None
                except (OSError, EOFError) as error:
                    if not (reused and isinstance(error, _Closed)):
                        raise Lost("connection lost") from None

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop()[1].transport.abort()

    async def _exchange(self, method: str, message: bytes) -> Answer:
        kept = self._idle.pop() if self._idle else None
        reader, writer = kept or await asyncio.open_connection(self._host, self._port)
        whole = False
        try:
            writer.write(message)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError) as error:
                # Nothing of an answer on a connection that was idle: it had been closed before.
                nothing = not (isinstance(error, asyncio.IncompleteReadError) and error.partial)
                raise (_Closed() if kept and nothing else ConnectionResetError()) from None
            answer = await _read(reader, method, head)
            whole = answer.headers.get("connection", "").lower() != "close"
        finally:
            if not whole:
                writer.transport.abort()
        self._idle.append((reader, writer))
        return answer


class _Closed(OSError):
    """An idle connection turned out to be closed."""


async def _read(reader: asyncio.StreamReader, method: str, head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split()[1])
    headers = {}
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return Answer(status, headers, await reader.readexactly(int(headers.get("content-length", 0))))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return Answer(status, headers, b"".join(parts))
