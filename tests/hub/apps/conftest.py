"""The apps service as a process, with small apps that need no engine."""

from __future__ import annotations

import contextlib
import http.client
import http.cookies
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest

SECONDS = 60.0
PREFIX = "/services/apps/"
TOKEN = "the-services-own-token"


@dataclass
class Answer:
    """An answer to a visitor."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Visitor:
    """Somebody with a cookie jar, who follows no redirects."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "") -> Answer:
        """Ask below the service's prefix, or anywhere if the path begins with a slash."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=SECONDS)
        try:
            path = path if path.startswith("/") else PREFIX + path
            connection.request(method, path, body, {**self.headers(), **(headers or {})})
            answer = connection.getresponse()
            for _, value in (one for one in answer.getheaders() if one[0].lower() == "set-cookie"):
                for name, morsel in http.cookies.SimpleCookie(value).items():
                    self.cookies[name] = morsel.coded_value
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace"))
        finally:
            connection.close()

    def headers(self) -> dict[str, str]:
        """What this visitor's browser sends along."""
        return (
            {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            if self.cookies
            else {}
        )

    def open(self, app: str = "small") -> str:
        """Open an app; gives its kernel."""
        answer = self.ask("GET", f"voila/render/{app}.ipynb")
        assert answer.status == 200, answer.text
        return self.kernel_of(answer)

    def kernel_of(self, answer: Answer) -> str:
        """The kernel of a page."""
        config = answer.text.split('id="jupyter-config-data"')[1].split(">", 1)[1].split("</script>")[0]
        return str(json.loads(config)["kernelId"])

    def close(self, kernel_id: str) -> Answer:
        """Say that the page is closed, as it does itself."""
        return self.ask(
            "POST", f"voila/api/shutdown/{kernel_id}", {"X-XSRFToken": self.cookies.get("_xsrf", "")}
        )


@dataclass
class Service:
    """A running apps service."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path

    def visitor(self) -> Visitor:
        """Somebody who was never here."""
        return Visitor(self.url)

    def open_apps(self) -> int:
        """How many apps are open."""
        return int(json.loads(self.visitor().ask("GET", "health").text)["apps"])


def wait_for(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds, and give it."""
    deadline = time.monotonic() + SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.05)
    return found


def write_app(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


@contextlib.contextmanager
def running(home: Path, **environment: str) -> Iterator[Service]:
    """The service as a process; it is asked to stop, and must."""
    folder = home / "apps"
    folder.mkdir(parents=True)
    write_app(folder / "small.ipynb", "1 + 1")
    write_app(folder / "told.ipynb", "import os, json; print(json.dumps(dict(os.environ)))")
    write_app(folder / "endless.ipynb", "import time; time.sleep(1000)")
    (folder / "secret.png").write_text("beside the apps")
    (folder / "secret.txt").write_text("beside the apps")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "GEOLOOM_", "JPY_"))
    }
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "geoloom_hub.apps"],
            stdout=output,
            stderr=output,
            cwd=home,
            start_new_session=True,
            env={
                **inherited,
                "HOME": str(home),
                "GEOLOOM_APPS_FOLDER": str(folder),
                "JUPYTERHUB_SERVICE_URL": url,
                "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
                "JUPYTERHUB_API_TOKEN": TOKEN,
                **environment,
            },
        )
    service = Service(url, folder, process, log)
    try:
        wait_for(lambda: answers(service), "the apps service")
        yield service
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(service: Service) -> bool:
    assert service.process.poll() is None, service.log.read_text()
    with contextlib.suppress(OSError):
        return service.visitor().ask("GET", "health").status == 200
    return False


@pytest.fixture(scope="session")
def start_service(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., contextlib.AbstractContextManager[Service]]:
    """Run the service, with variables of its environment, for a `with` statement."""

    def start(**environment: str) -> contextlib.AbstractContextManager[Service]:
        return running(tmp_path_factory.mktemp("apps-service"), **environment)

    return start


@pytest.fixture(scope="session")
def service(start_service: Callable[..., Any]) -> Iterator[Service]:
    """A service open to guests, with few places."""
    with start_service(
        GEOLOOM_APPS_GUESTS="1", GEOLOOM_APPS_KERNELS="3", GEOLOOM_APPS_KERNELS_EACH="2"
    ) as one:
        yield one
