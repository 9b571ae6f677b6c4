"""The whole hub as users and operators meet it: servers find the engine, and what dies comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from geoloom.chain import Chain
from geoloom_hub.settings import SOURCE
from geoloom_hub.stack import Stack
from geoloom_hub.supervisor import _marked

SECONDS = 90.0


@pytest.fixture(scope="module")
def server(hub: Stack) -> psutil.Process:
    """Anna's server, as a process."""
    hub.user("anna")
    assert hub.start_server("anna") == "/user/anna/"
    found = [one for one in _marked(hub.folder.secrets["mark"]) if "jupyterhub.singleuser" in one.cmdline()]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def token(server: psutil.Process) -> str:
    """The token of anna's server, which her kernels have too."""
    return server.environ()["JUPYTERHUB_API_TOKEN"]


def chain_of(value: int) -> bytes:
    """A chain that reads nothing."""
    return Chain.extend("constant", 1, {"value": value}).to_json()


def post_chain(hub: Stack, token: str, value: int) -> str:
    reply = hub.ask("POST", "/services/tiles/chains", token, chain_of(value))
    assert reply.status in (200, 201), reply.body
    return str(reply.json["key"])


def has_chain(hub: Stack, token: str, key: str) -> bool:
    return hub.ask("GET", f"/services/tiles/chains/{key}", token).status == 200


def test_a_server_is_told_where_the_engine_is(hub: Stack, server: psutil.Process) -> None:
    told = server.environ()
    assert told["GEOLOOM_ENGINE_URL"] == hub.engine_url
    assert told["GEOLOOM_TILES_URL"] == "/services/tiles"
    assert told["GEOLOOM_TOKEN_FROM"] == "JUPYTERHUB_API_TOKEN"
    hidden = {hub.folder.secrets[name] for name in ("engine", "signing_key", "chains", "tiles", "supervisor")}
    assert hidden.isdisjoint(told.values())
    assert server.nice() == 5


def test_sample_notebooks_are_there(hub: Stack, server: psutil.Process) -> None:
    home = hub.folder.path / "users" / "anna"
    assert Path(server.environ()["HOME"]) == home
    assert (home / "geoloom-samples" / "01_first_map.ipynb").is_file()
    assert (home / "geoloom-samples" / "data").is_symlink()


def test_a_servers_own_token_opens_the_engine_and_nothing_more(hub: Stack, token: str) -> None:
    key = post_chain(hub, token, 1)
    assert has_chain(hub, token, key)
    assert hub.ask("GET", f"/services/tiles/chains/{key}").status == 401
    assert hub.ask("GET", "/services/tiles/usage", token).status == 403
    assert hub.ask("GET", "/hub/api/users", token).status == 403
    assert hub.ask("GET", "/services/usage/", token).status == 403


def test_a_users_folder_is_that_users_own(hub: Stack, token: str) -> None:
    path = hub.folder.path / "users" / "anna" / "mine.tif"
    shutil.copy(SOURCE.parent / "notebooks" / "data" / "co_elevation_roi.tif", path)
    asked = {"href": str(path)}
    assert hub.ask("POST", "/services/tiles/info", token, asked).status == 200
    refused = hub.ask("POST", "/services/tiles/info", hub.user("ben"), asked)
    assert refused.status == 403, refused.body


def test_admins_see_who_takes_how_much(hub: Stack, token: str) -> None:
    post_chain(hub, token, 2)
    admin = hub.user("admin")
    shown = hub.ask("GET", "/services/usage/?days=7", admin)
    assert shown.status == 200, shown.body
    assert b"user:anna" in shown.body
    assert "frame" not in shown.headers.get("content-security-policy", "none")
    assert hub.ask("GET", "/services/usage/", hub.user("ben")).status == 403
    # A browser is sent to log in.
    assert hub.ask("GET", "/services/usage/").status == 302


@pytest.mark.parametrize("part", ["engine", "chains", "tiles", "proxy", "hub", "usage"])
def test_a_killed_part_is_started_again(hub: Stack, server: psutil.Process, token: str, part: str) -> None:
    key = post_chain(hub, token, 3)
    old = hub.kill(part)
    hub.wait_for(part, SECONDS)
    assert hub.pid(part) != old
    # Nobody else was touched, the proxy knows its routes again, and no chain is lost.
    assert server.is_running()
    hub.wait_until(lambda: hub.ask("GET", "/user/anna/api").status == 200, "anna's server behind the proxy")
    hub.wait_until(lambda: has_chain(hub, token, key), "the chain")
    assert hub.ask("GET", "/services/usage/").status == 302


def test_a_second_hub_in_the_same_folder_is_refused(hub: Stack) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "geoloom_hub"], env=hub.environment, capture_output=True, text=True
    )
    assert second.returncode == 1
    assert second.stderr.startswith("geoloom: A hub already runs in ")
    assert "Traceback" not in second.stderr


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or would be if its new parent looked."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def parts_of(hub: Stack) -> list[psutil.Process]:
    return [psutil.Process(hub.pid(part)) for part in hub.folder.status()["parts"]]


def test_a_killed_supervisors_parts_serve_on_until_the_next_takes_over(
    hub: Stack, server: psutil.Process, token: str
) -> None:
    key = post_chain(hub, token, 4)
    old = parts_of(hub)
    assert hub.process is not None
    hub.process.kill()
    hub.process.wait()
    assert has_chain(hub, token, key)
    hub.start()
    assert all(ended(process) for process in old)
    hub.wait_until(lambda: hub.ask("GET", "/user/anna/api").status == 200, "anna's server")
    assert server.is_running()
    assert has_chain(hub, token, key)


def test_nothing_is_left_when_the_hub_ends(hub: Stack, server: psutil.Process) -> None:
    # Detached by a user, so in neither the server's session nor its group.
    environment = {**os.environ, "GEOLOOM_HUB_MARK": hub.folder.secrets["mark"]}
    detached = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    parts = parts_of(hub)
    try:
        assert hub.stop() == 0
        assert detached.wait(10) != 0
    finally:
        detached.kill()
        detached.wait()
    assert all(ended(process) for process in [server, *parts])
    assert _marked(hub.folder.secrets["mark"]) == []
