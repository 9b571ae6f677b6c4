from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from geoloom.local import Endpoint
from geoloom.tiles_url import FOREIGN_PAGES, tiles_base

NONCE = "the-engine-itself"
TOKEN = "jupyter-secret"


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """A web server on a free port of 127.0.0.1, and the paths it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            status, body = answer(self.path, dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1], paths
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def engine() -> Iterator[Endpoint]:
    with serving(lambda path, headers: (200, json.dumps({"engine": NONCE}))) as (port, _):
        yield Endpoint(f"http://127.0.0.1:{port}", "secret", os.getpid(), NONCE)


def port_of(endpoint: Endpoint) -> str:
    return endpoint.url.rpartition(":")[2]


def jupyter_file(folder: Path, port: int, **more: object) -> dict[str, str]:
    """The file a Jupyter server leaves, and the environment of a kernel it starts."""
    server = {"url": f"http://127.0.0.1:{port}/lab/", "hostname": "127.0.0.1", "port": port}
    server |= {"base_url": "/lab/", "token": TOKEN, "secure": False, "sock": ""} | more
    (folder / "jpserver-77.json").write_text(json.dumps(server))
    return {"JPY_PARENT_PID": "77", "JUPYTER_RUNTIME_DIR": str(folder)}


def test_what_the_user_chose_comes_first(engine: Endpoint) -> None:
    environ = {"GEOLOOM_TILES_URL": "https://eo.example/tiles/", "JUPYTERHUB_SERVICE_PREFIX": "/user/anna/"}
    assert tiles_base(engine, environ) == "https://eo.example/tiles"


def test_port_can_stand_in_the_chosen_url(engine: Endpoint) -> None:
    chosen = tiles_base(engine, {"GEOLOOM_TILES_URL": "https://eo.example/proxy/{port}"})
    assert chosen == f"https://eo.example/proxy/{port_of(engine)}"


def test_engine_elsewhere_is_reached_directly() -> None:
    endpoint = Endpoint("https://engine.example/geoloom/", "t", 0, "")
    assert tiles_base(endpoint, {"JUPYTERHUB_SERVICE_PREFIX": "/user/a/"}) == "https://engine.example/geoloom"


@pytest.mark.parametrize("prefix", ["/user/anna/", "/hub2/user/anna%40x/lab2/"])
def test_hub(engine: Endpoint, prefix: str) -> None:
    expected = f"{prefix}proxy/{port_of(engine)}"
    assert tiles_base(engine, {"JUPYTERHUB_SERVICE_PREFIX": prefix}) == expected


def test_loopback_without_any_host(engine: Endpoint) -> None:
    assert tiles_base(engine, {}) == engine.url
    assert tiles_base(engine, {"JPY_PARENT_PID": "nonsense"}) == engine.url
    assert tiles_base(engine, {"VOILA_BASE_URL": "/voila/", "JPY_PARENT_PID": "1"}) == engine.url


@pytest.mark.parametrize("variable", ["VSCODE_PID", "PYCHARM_HOSTED"])
def test_editor_pages_use_loopback(engine: Endpoint, tmp_path: Path, variable: str) -> None:
    with serving(lambda path, headers: (200, json.dumps({"engine": NONCE}))) as (port, paths):
        environ = jupyter_file(tmp_path, port) | {variable: "1"}
        assert tiles_base(engine, environ) == engine.url
    assert paths == []


def test_login_page_with_status_200_is_not_a_proxy(engine: Endpoint, tmp_path: Path) -> None:
    with serving(lambda path, headers: (200, "<html>Please log in</html>")) as (port, paths):
        assert tiles_base(engine, jupyter_file(tmp_path, port)) == engine.url
    assert len(paths) == 1


def test_another_program_behind_the_proxy_is_not_the_engine(engine: Endpoint, tmp_path: Path) -> None:
    with serving(lambda path, headers: (200, json.dumps({"engine": "somebody else"}))) as (port, _):
        assert tiles_base(engine, jupyter_file(tmp_path, port)) == engine.url


def test_token_travels_in_the_header_only(engine: Endpoint, tmp_path: Path) -> None:
    seen: list[str | None] = []

    def answer(path: str, headers: dict[str, str]) -> tuple[int, str]:
        seen.append(headers.get("Authorization"))
        return 200, json.dumps({"engine": NONCE})

    with serving(answer) as (port, paths):
        base = tiles_base(engine, jupyter_file(tmp_path, port))
    assert base == f"/lab/proxy/{port_of(engine)}"
    assert seen == [f"token {TOKEN}"]
    assert TOKEN not in "".join(paths) + base


def test_server_on_all_addresses_is_asked_on_loopback(engine: Endpoint, tmp_path: Path) -> None:
    with serving(lambda path, headers: (200, json.dumps({"engine": NONCE}))) as (port, _):
        url = f"http://a-name-that-does-not-resolve.invalid:{port}/lab/"
        environ = jupyter_file(tmp_path, port, hostname="0.0.0.0", url=url)
        assert tiles_base(engine, environ) == f"/lab/proxy/{port_of(engine)}"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"url": 5}', '{"url": "http://[", "token": null}'])
def test_damaged_server_file(engine: Endpoint, tmp_path: Path, text: str) -> None:
    environ = jupyter_file(tmp_path, 1)
    (tmp_path / "jpserver-77.json").write_text(text)
    assert tiles_base(engine, environ) == engine.url


def test_silent_server_does_not_hold_up_the_map(engine: Endpoint, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        assert tiles_base(engine, jupyter_file(tmp_path, silent.getsockname()[1])) == engine.url
        assert time.monotonic() - begun < 10


def test_confirmed_answer_is_remembered(
    engine: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda path, headers: (200, json.dumps({"engine": NONCE}))) as (port, paths):
        for name in ("JUPYTERHUB_SERVICE_PREFIX", "GEOLOOM_TILES_URL", "VSCODE_PID", "PYCHARM_HOSTED"):
            monkeypatch.delenv(name, raising=False)
        for name, value in jupyter_file(tmp_path, port).items():
            monkeypatch.setenv(name, value)
        assert tiles_base(engine) == tiles_base(engine) == f"/lab/proxy/{port_of(engine)}"
    assert len(paths) == 1


@contextmanager
def jupyter_server(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """A real Jupyter server below a prefix; the environment its kernels would have, and its URL."""
    pytest.importorskip("jupyter_server_proxy")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = os.environ | {
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={port}"]
    command += [
        "--ServerApp.base_url=/some/prefix/",
        "--ServerApp.port_retries=0",
        f"--notebook-dir={folder}",
    ]
    command += [f"--{name.replace('__', '.')}={value}" for name, value in settings.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/some/prefix/api", timeout=2):
                    break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
        yield {
            "JPY_PARENT_PID": str(process.pid),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "URL": f"http://127.0.0.1:{port}",
        }
    finally:
        process.terminate()
        process.wait(15)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with jupyter_server(tmp_path_factory.mktemp("jupyter"), IdentityProvider__token=TOKEN) as server:
        yield server


def test_real_jupyter_server_below_a_prefix(engine: Endpoint, jupyter: dict[str, str]) -> None:
    base = tiles_base(engine, jupyter)
    assert base == f"/some/prefix/proxy/{port_of(engine)}"
    request = urllib.request.Request(
        f"{jupyter['URL']}{base}/healthz", headers={"Authorization": f"token {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert json.loads(answer.read())["engine"] == NONCE


def test_real_jupyter_server_and_an_engine_that_is_gone(jupyter: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}", "secret", 1, NONCE)
    assert tiles_base(endpoint, jupyter) == endpoint.url


def test_kernels_of_a_real_jupyter_server_find_the_way_by_themselves(
    engine: Endpoint, jupyter: dict[str, str]
) -> None:
    request = urllib.request.Request(
        f"{jupyter['URL']}/some/prefix/api/kernels",
        data=b"{}",
        headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        kernel = json.loads(answer.read())["id"]
    (process,) = (
        child
        for child in psutil.Process(int(jupyter["JPY_PARENT_PID"])).children(recursive=True)
        if kernel in " ".join(child.cmdline())
    )
    environ = {name: value for name, value in process.environ().items() if name not in FOREIGN_PAGES}
    assert tiles_base(engine, environ) == f"/some/prefix/proxy/{port_of(engine)}"


def test_real_jupyter_server_with_a_password(engine: Endpoint, tmp_path: Path) -> None:
    hashed = "sha1:0123456789ab:" + "0" * 40
    with jupyter_server(tmp_path, PasswordIdentityProvider__hashed_password=hashed) as server:
        assert tiles_base(engine, server) == f"/some/prefix/proxy/{port_of(engine)}"


def test_server_with_a_password_and_no_proxy(engine: Endpoint, tmp_path: Path) -> None:
    with serving(lambda path, headers: (404, "")) as (port, _):
        assert tiles_base(engine, jupyter_file(tmp_path, port, token="")) == engine.url


def test_wall_that_asks_everybody_for_a_password_is_not_a_proxy(engine: Endpoint, tmp_path: Path) -> None:
    with serving(lambda path, headers: (302, "")) as (port, _):
        assert tiles_base(engine, jupyter_file(tmp_path, port, token="")) == engine.url
