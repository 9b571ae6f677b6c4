"""The whole hub as something that a program starts, asks and stops: for tests and for trials under load.

>>> stack = Stack(Path("/tmp/trial"))  # doctest: +SKIP
>>> with stack:  # doctest: +SKIP
...     token = stack.user("anna")  # anna's own token
...     stack.start_server("anna")
...     stack.kill("engine")
...     stack.wait_for("engine")
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from geoloom_hub.folder import Folder
from geoloom_hub.supervisor import end_leftovers

__all__ = ["Reply", "Stack"]

START_SECONDS = 120.0
STOP_SECONDS = 40.0
CONFIG = """
c.JupyterHub.services.append({"name": "trial", "api_token": "%s", "display": False})
c.JupyterHub.load_roles.append({"name": "admin", "services": ["trial"]})
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, headers with names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is empty."""
        return json.loads(self.body) if self.body else None


class Stack:
    """A hub with all its parts, in a folder of its own, on free ports of 127.0.0.1.

    Anybody may log in with any password, unless `environment` says otherwise; ``admin`` is an admin.

    Parameters
    ----------
    folder
        Where its state is, or will be. What runs in it goes on where it was.
    port
        Where browsers come in; 0 takes a free one.
    environment
        Variables beside those of this process: ``GEOLOOM_HUB_…`` and the engine's ``GEOLOOM_…``.
    """

    def __init__(self, folder: Path, port: int = 0, environment: Mapping[str, str] | None = None) -> None:
        self.folder = Folder.open(folder.absolute(), port)
        self.trial_token = secrets.token_hex(32)
        self.environment = {
            **os.environ,
            "GEOLOOM_HUB_LOGIN": "dummy",
            **(environment or {}),
            "GEOLOOM_HUB_HOME": str(self.folder.path),
            "GEOLOOM_HUB_PORT": str(self.folder.ports["public"]),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.config = self.folder.path / "jupyterhub_config.d" / "90_trial.py"
        self.output = self.folder.path / "log" / "supervisor.log"

    @property
    def url(self) -> str:
        """What a browser opens, without a final slash."""
        return f"http://127.0.0.1:{self.folder.ports['public']}"

    @property
    def engine_url(self) -> str:
        """What kernels reach the engine by."""
        return self.folder.url("engine")

    @property
    def engine_token(self) -> str:
        """The operator's secret of the engine, which may everything."""
        return self.folder.secrets["engine"]

    def start(self) -> Self:
        """Start it and wait until everything answers through the proxy."""
        self.config.write_text(CONFIG % self.trial_token, encoding="utf-8")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "geoloom_hub"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                start_new_session=True,
            )
        try:
            self.wait_until(self.ready, "the hub to start", START_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def ready(self) -> bool:
        """Whether all parts work and the proxy leads to the engine."""
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the hub ended; see {self.output}:\n{self.output.read_text()[-4000:]}")
        try:
            status = self.folder.status()
            return (
                # Not what a supervisor that was killed has left.
                status.get("pid") == getattr(self.process, "pid", status.get("pid"))
                and bool(status.get("ready"))
                and self.ask("GET", "/hub/api/").status == 200
                and self.ask("GET", "/services/tiles/healthz").status == 200
            )
        except (OSError, http.client.HTTPException):
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it, and what a killed supervisor left; with SIGUSR1 users' servers go on."""
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.returncode < 0:
                end_leftovers(self.folder)
            # A hub that is started here otherwise has no such admin.
            self.config.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def pid(self, part: str) -> int | None:
        """The process of a part: chains, tiles, engine, proxy, hub, apps, usage or culler."""
        found = self.folder.status().get("parts", {}).get(part, {}).get("pid")
        return int(found) if found else None

    def starts(self, part: str) -> int:
        """How often a part was started."""
        return int(self.folder.status().get("parts", {}).get(part, {}).get("starts", 0))

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a part a signal, and wait until the supervisor has seen its end; gives its process."""
        pid, starts = self.pid(part), self.starts(part)
        assert pid is not None, f"{part} does not run"
        os.kill(pid, number)
        self.wait_until(lambda: self.starts(part) > starts, f"{part} to be started again")
        return pid

    def wait_for(self, part: str, seconds: float = 60.0) -> None:
        """Wait until a part works."""

        def works() -> bool:
            return bool(self.folder.status().get("parts", {}).get(part, {}).get("ready"))

        self.wait_until(works, f"{part} to work", seconds)

    def wait_until(self, holds: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Wait until something holds, and give it."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"gave up waiting for {what}; logs are in {self.folder.path / 'log'}")
            time.sleep(0.02)
        return found

    def ask(
        self,
        method: str,
        path: str,
        token: str = "",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30.0,
        base: str = "",
    ) -> Reply:
        """Ask through the proxy (or `base`), with a token of the hub if one is given; follows no redirect."""
        parts = urlsplit(base or self.url)
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        if host := self.host_of(path):
            sent["Host"] = host
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
        try:
            connection.request(method, path, content, {**sent, **(headers or {})})
            got = connection.getresponse()
            return Reply(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def host_of(self, path: str) -> str:
        """Where users have subdomains: the host that a path is at. Empty otherwise: any will do."""
        domain = urlsplit(self.environment.get("GEOLOOM_HUB_SUBDOMAINS", "")).netloc
        kind, _, name = path.strip("/").partition("/")
        below = {"services": "hub--services.", "user": f"{name.partition('/')[0]}."}.get(kind, "")
        return below + domain if domain else ""

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the hub's API as an admin; gives the JSON it answers with."""
        reply = self.ask(method, f"/hub/api{path}", self.trial_token, body)
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body.decode(errors='replace')[:500]}")
        return reply.json

    def user(self, name: str) -> str:
        """Make a user unless there is one; gives a token with all the user's rights."""
        if self.ask("GET", f"/hub/api/users/{name}", self.trial_token).status == 404:
            self.api("POST", f"/users/{name}")
        return str(self.api("POST", f"/users/{name}/tokens", {"note": "trial"})["token"])

    def start_server(self, name: str, seconds: float = 90.0) -> str:
        """Start a user's server and wait for it; gives its path, such as ``/user/anna/``."""
        self.api("POST", f"/users/{name}/server")

        def runs() -> str:
            server = self.api("GET", f"/users/{name}?include_stopped_servers")["servers"].get("", {})
            return str(server["url"]) if server.get("ready") else ""

        return str(self.wait_until(runs, f"{name}'s server", seconds))

    def stop_server(self, name: str) -> None:
        """Stop a user's server and wait for its end."""
        self.api("DELETE", f"/users/{name}/server")
        self.wait_until(
            lambda: not self.api("GET", f"/users/{name}")["servers"], f"the end of {name}'s server"
        )
