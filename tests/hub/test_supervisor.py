"""The supervisor, with small programs in place of the real parts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from geoloom_hub.folder import Folder, holder
from geoloom_hub.stack import Stack
from geoloom_hub.supervisor import _marked, end_leftovers

SECONDS = 20.0
PROGRAM = """
import os, sys
from geoloom_hub import __main__, part, supervisor
from geoloom_hub.part import Recipe
part.LAST_PAUSE = 0.05
def recipes(settings, folder, environ):
    def recipe(name, code, works=True, **more):
        environment = {**os.environ, "GEOLOOM_HUB_MARK": ""}
        return Recipe(name, [sys.executable, "-c", code], environment, lambda: works, **more)
    return [eval(one, {"recipe": recipe}) for one in sys.argv[1:]]
supervisor.recipes = recipes
sys.exit(__main__.main(["start"]))
"""
SLEEPS = "recipe('chains', 'import time; time.sleep(600)')"
AFTER = "recipe('hub', 'import time; time.sleep(600)', needs=('chains',))"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a supervisor with some parts; its folder is `tmp_path`."""
    started: list[subprocess.Popen[str]] = []

    def start(*parts: str, **environment: str) -> subprocess.Popen[str]:
        told = {**os.environ, "GEOLOOM_HUB_HOME": str(tmp_path), "GEOLOOM_HUB_PORT": "0", **environment}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *parts],
                env=told,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()
    end_leftovers(Folder.open(tmp_path, 0))


def until(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def works(folder: Path) -> bool:
    return bool(Folder.open(folder, 0).status().get("ready"))


def test_it_says_where_the_hub_is_once_all_works(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, proxy_program: Path
) -> None:
    supervisor = start(AFTER, SLEEPS)
    assert supervisor.stdout is not None
    folder = Folder.open(tmp_path, 0)
    assert supervisor.stdout.readline().startswith(
        f"geoloom: the hub is at http://127.0.0.1:{folder.ports['public']}/"
    )
    assert folder.secrets["password"] in supervisor.stdout.readline()
    status = folder.status()
    assert status["pid"] == supervisor.pid
    assert all(part["ready"] for part in status["parts"].values())
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(SECONDS) == 0
    assert folder.status() == {}
    assert holder(folder.lock("chains")) is None


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGTERM, True), (signal.SIGUSR1, False)])
def test_users_servers_end_with_the_hub_unless_they_are_to_go_on(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, proxy_program: Path, number: int, ends: bool
) -> None:
    supervisor = start(SLEEPS)
    until(lambda: works(tmp_path))
    mark = Folder.open(tmp_path, 0).secrets["mark"]
    environment = {**os.environ, "GEOLOOM_HUB_MARK": mark}
    server = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    try:
        until(lambda: _marked(mark))
        supervisor.send_signal(number)
        assert supervisor.wait(SECONDS) == 0
        assert (server.poll() is not None) is ends
    finally:
        server.kill()
        server.wait()


def test_a_part_that_fails_is_told_with_the_end_of_its_log(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, proxy_program: Path
) -> None:
    supervisor = start(SLEEPS, "recipe('engine', 'print(1 / 0)', works=False)")
    _, said = supervisor.communicate(timeout=SECONDS)
    assert supervisor.returncode == 1
    assert "geoloom: engine does not start. The end of its log:" in said
    assert "ZeroDivisionError" in said
    assert holder(Folder.open(tmp_path, 0).lock("chains")) is None


def test_a_part_that_can_be_missed_is_missed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, proxy_program: Path
) -> None:
    supervisor = start(SLEEPS, "recipe('apps', 'print(1 / 0)', works=False, essential=False)")
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline().startswith("geoloom: the hub is at")
    assert Folder.open(tmp_path, 0).status()["parts"]["chains"]["ready"]


def test_what_cannot_be_started_for_a_while_takes_nothing_down(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, proxy_program: Path
) -> None:
    supervisor = start(SLEEPS, AFTER)
    until(lambda: works(tmp_path))
    folder = Folder.open(tmp_path, 0)
    chains, hub = (folder.status()["parts"][name]["pid"] for name in ("chains", "hub"))
    # As where the machine has no descriptor or process left.
    log = folder.log("hub")
    log.unlink()
    log.mkdir()
    os.kill(hub, signal.SIGKILL)
    until(lambda: folder.status()["parts"]["hub"]["starts"] > 2)
    log.rmdir()
    until(lambda: works(tmp_path))
    # As where the disk is full.
    told = tmp_path / "run" / "status.json"
    hub = holder(folder.lock("hub"))
    told.unlink()
    told.mkdir()
    assert hub is not None
    os.kill(hub, signal.SIGKILL)
    until(lambda: holder(folder.lock("hub")) not in (None, hub))
    told.rmdir()
    until(lambda: works(tmp_path))
    assert supervisor.poll() is None
    assert folder.status()["parts"]["chains"]["pid"] == chains


def test_a_port_that_is_taken_is_told(
    start: Callable[..., subprocess.Popen[str]], proxy_program: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _, said = start(SLEEPS, GEOLOOM_HUB_PORT=str(port)).communicate(timeout=SECONDS)
    assert said.startswith(
        f"geoloom: Port {port} of 127.0.0.1 is taken by another program. Set GEOLOOM_HUB_PORT"
    )


def test_a_stack_tells_why_it_did_not_start(tmp_path: Path) -> None:
    stack = Stack(tmp_path, environment={"GEOLOOM_HUB_PROXY": "/nowhere"})
    with pytest.raises(RuntimeError, match="GEOLOOM_HUB_PROXY is '/nowhere': there is no such program"):
        stack.start()
    assert stack.process is None
