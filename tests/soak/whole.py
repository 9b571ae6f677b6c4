"""The whole stack: hub, proxy, engine, stores, and the server of one user with a kernel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

import psutil
from tornado.httpclient import HTTPError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from geoloom_hub.stack import Stack
from soak.browser import Browser
from soak.deployment import CAPABILITY_SECONDS, Deployment
from soak.probes import NotServed, Probe, page

PARTS = {
    "Valkey tiles": "tiles",
    "Valkey chains": "chains",
    "engine": "engine",
    "proxy": "proxy",
    "hub": "hub",
}

KINDS = (
    "engine worker",
    "sandboxed function",
    "sandbox",
    "Valkey tiles",
    "Valkey chains",
    "engine",
    "proxy",
    "hub",
    "user's kernel",
)
"""What is killed."""

KERNEL_PAUSE = 0.3
"""Seconds between two questions to the kernel."""

KERNEL_PATIENCE = 2.0
"""Seconds after which it is asked again: what is sent to a kernel that is dead is never answered, and
notebooks ask anew when its server says that it is started again."""


class Whole(Deployment):
    """Everything that `make hub` starts, with users made beforehand.

    Parameters
    ----------
    folder
        For the state.
    sources
        What the engine may read.
    users
        How many; their names are ``soak-1`` and so on.
    """

    kinds = KINDS

    def __init__(self, folder: Path, sources: Path, users: int) -> None:
        self.stack = Stack(
            folder,
            environment={"GEOLOOM_SOURCES": str(sources), "GEOLOOM_CAPABILITY_TTL": CAPABILITY_SECONDS},
        )
        self.stack.start()
        try:
            port, password = self.stack.folder.ports["chains"], self.stack.folder.secrets["chains"]
            super().__init__(
                f"{self.stack.url}/services/tiles",
                self.stack.engine_url,
                f"redis://:{password}@127.0.0.1:{port}/0",
                self.stack.engine_token,
            )
            self._tokens = asyncio.run(self._make_users(users))
            self._server = self.stack.start_server(_name(1))
            made = self.stack.ask("POST", f"{self._server}api/kernels", self._tokens[1], {"name": "python3"})
            self._kernel = str(made.json["id"])
        except BaseException:
            self.stack.stop()
            raise

    def token(self, user: int) -> str:
        """A user's own; 0 stands for the operator, who has no limits."""
        return self._tokens[user] if user else self.secret

    def roots(self) -> dict[str, int]:
        """Process ids of the parts."""
        found = {name: self.stack.pid(part) for name, part in PARTS.items()}
        return {name: pid for name, pid in found.items() if pid is not None}

    def probes(self) -> list[Probe]:
        """Questions to what only the whole has."""
        server = page("the user's server", self.stack.url, f"{self._server}api/status", token=self._tokens[1])
        return [
            page("the hub", self.stack.url, "/hub/login", b"username"),
            server,
            Probe(
                "the user's kernel", Kernel(self.stack.url, self._server, self._kernel, self._tokens[1]).ask
            ),
        ]

    def stop(self) -> None:
        """End everything."""
        self.stack.stop()

    def _found(self, kind: str) -> list[psutil.Process]:
        if kind != "user's kernel":
            return super()._found(kind)
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(self._kernel in part for part in process.info["cmdline"] or ())
        ]

    async def _make_users(self, users: int) -> list[str]:
        hub = Browser(f"{self.stack.url}/hub/api")
        headers = {"Authorization": f"Bearer {self.stack.trial_token}"}
        names = [_name(number) for number in range(1, users + 1)]
        made = await hub.post("/users", json.dumps({"usernames": names}).encode(), headers)
        if made.status >= 400:
            raise RuntimeError(f"users cannot be made: {made.body!r}")

        async def token(name: str) -> str:
            for _ in range(10):
                answer = await hub.post(f"/users/{name}/tokens", b'{"note": "soak"}', headers)
                if answer.status < 300:
                    return str(answer.json["token"])
                await asyncio.sleep(1.0)
            raise RuntimeError(f"no token for {name}: {answer.status} {answer.body[:200]!r}")

        tokens = await asyncio.gather(*(token(name) for name in names))
        hub.close()
        return ["", *tokens]


class Kernel:
    """Asks a kernel whether it is there, as a notebook does: through the proxy, by a web socket."""

    def __init__(self, url: str, server: str, kernel: str, token: str) -> None:
        base = url.replace("http://", "ws://")
        self._url = f"{base}{server}api/kernels/{kernel}/channels"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._socket: WebSocketClientConnection | None = None

    async def ask(self) -> None:
        """Ask what it is; raises NotServed."""
        await asyncio.sleep(KERNEL_PAUSE)
        try:
            if self._socket is None:
                self._socket = await websocket_connect(
                    HTTPRequest(self._url, headers=self._headers, connect_timeout=5.0, request_timeout=5.0)
                )
            async with asyncio.timeout(KERNEL_PATIENCE):
                await self._answered(self._socket)
        except (OSError, HTTPError, asyncio.CancelledError, NotServed) as error:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            if isinstance(error, asyncio.CancelledError):
                raise
            raise NotServed(str(error)) from None

    async def _answered(self, connection: WebSocketClientConnection) -> None:
        identity = uuid.uuid4().hex
        header = {"msg_id": identity, "msg_type": "kernel_info_request", "username": "", "session": identity}
        header |= {"version": "5.3", "date": ""}
        asked: dict[str, Any] = {"header": header, "parent_header": {}, "metadata": {}, "content": {}}
        await connection.write_message(json.dumps({**asked, "channel": "shell", "buffers": []}))
        while True:
            message = await connection.read_message()
            if message is None:
                raise NotServed("the connection was closed")
            with contextlib.suppress(ValueError):
                if json.loads(message)["parent_header"].get("msg_id") == identity:
                    return


def _name(number: int) -> str:
    return f"soak-{number}"
