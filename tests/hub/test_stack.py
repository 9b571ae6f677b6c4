"""The whole hub as users and operators meet it: servers find the engine, and what dies comes back."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from urllib.parse import urlencode, urlsplit

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


def test_nobody_reaches_anothers_server(hub: Stack, server: psutil.Process, token: str) -> None:
    eve = hub.user("eve")
    kernel = "00000000-0000-4000-8000-000000000000"
    for path in (
        "api/contents",
        "files/mine.tif",
        "lab",
        "voila/render/x.ipynb",
        f"api/kernels/{kernel}/channels",
    ):
        assert hub.ask("GET", f"/user/anna/{path}", eve).status == 403, path
    for path in ("api/kernels", "api/terminals"):
        assert hub.ask("POST", f"/user/anna/{path}", eve, {}).status == 403, path
    # What runs in a notebook has its server's token, which opens no page of the services and no other part.
    for path in (
        "/services/apps/",
        "/services/usage/",
        "/hub/api/proxy",
        "/hub/api/users/eve",
        "/hub/metrics",
    ):
        assert hub.ask("GET", path, token).status in (403, 404), path
    for name in ("supervisor", "culler", "proxy"):
        secret = hub.folder.secrets[name]
        assert hub.ask("POST", "/services/tiles/chains", secret, chain_of(1)).status in (401, 403), name
        assert hub.ask("GET", "/user/anna/api/contents", secret).status == 403, name


@pytest.mark.parametrize(
    "path",
    [
        "/services/tilesX/usage",
        "/services/tiles//usage",
        "/services%2Ftiles/usage",
        "/services/tiles%2Fusage",
        "/services/tiles/..%2f..%2fusage",
        "/services/tiles/services/tiles/usage",
        "//services/tiles/usage",
        "/usage",
        "/api/routes",
    ],
)
def test_no_way_round_the_prefix(hub: Stack, path: str) -> None:
    # Even an admin's token finds something at the one address only.
    reply = hub.ask("GET", path, hub.folder.secrets["usage"])
    assert reply.status in (302, 403, 404)
    if reply.status == 302:
        assert urlsplit(reply.headers["location"]).path.startswith("/hub/")
        assert urlsplit(reply.headers["location"]).netloc in ("", urlsplit(hub.url).netloc)


class Browser:
    """Somebody with a cookie jar, who follows no redirects."""

    def __init__(self, url: str) -> None:
        self.place = urlsplit(url)
        self.jar: dict[str, Morsel[str]] = {}

    def ask(
        self, method: str, target: str, form: dict[str, str] | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        path = urlsplit(target).path
        own = [one for one in self.jar.values() if path.startswith(one["path"])]
        sent = {"Cookie": "; ".join(f"{one.key}={one.coded_value}" for one in own)} if own else {}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=30)
        try:
            connection.request(method, target, None if form is None else urlencode(form), sent | headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie") or ():
            self.jar.update(SimpleCookie(line))
        # An empty one is one that was taken back.
        self.jar = {name: cookie for name, cookie in self.jar.items() if cookie.value}
        return answer

    def log_in(self, name: str, to: str = "") -> http.client.HTTPResponse:
        self.ask("GET", "/hub/login")
        form = {"username": name, "password": "x", "_xsrf": self.jar["_xsrf"].value}
        return self.ask("POST", "/hub/login?" + urlencode({"next": to}), form)


def test_cookies_of_a_login(hub: Stack) -> None:
    browser = Browser(hub.url)
    assert browser.log_in("fay", "/services/apps/").headers["Location"] == "/services/apps/"
    target = "/services/apps/"
    for _ in range(4):
        answer = browser.ask("GET", target)
        if answer.status != 302:
            break
        target = answer.headers["Location"]
    assert (answer.status, target) == (200, "/services/apps/")
    for name, cookie in browser.jar.items():
        assert cookie["samesite"] == "Lax", name
        # The pages' own scripts send this one's value with what they ask; the other is only a name.
        assert cookie["httponly"] or name in ("_xsrf", "jupyterhub-session-id"), name
    own = {name: cookie["path"] for name, cookie in browser.jar.items() if cookie["httponly"]}
    assert own["jupyterhub-hub-login"] == "/hub/"
    assert own["service-apps"] == "/services/apps/"


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example/",
        "\\\\evil.example/",
        "/\\evil.example",
        "https:evil.example",
    ],
)
def test_a_login_leads_nowhere_else(hub: Stack, to: str) -> None:
    location = Browser(hub.url).log_in("fay", to).headers["Location"]
    assert location.startswith(("/", hub.url + "/")), location
    assert not location.startswith(("//", "/\\")), location


def test_another_site_asks_nothing_in_a_users_name(hub: Stack) -> None:
    browser = Browser(hub.url)
    browser.log_in("fay")
    evil = {
        "Origin": "https://evil.example",
        "Referer": "https://evil.example/",
        "Sec-Fetch-Site": "cross-site",
    }
    for method, path in (
        ("POST", "/hub/login"),
        ("POST", "/hub/spawn"),
        ("POST", "/hub/api/users/fay/tokens"),
        ("POST", "/hub/api/users/fay/server"),
        ("DELETE", "/hub/api/users/fay/server"),
    ):
        assert browser.ask(method, path, {"x": "y"}, **evil).status in (400, 403), path
    # No cookie opens the engine.
    assert browser.ask("POST", "/services/tiles/chains", {}, Origin=hub.url).status == 401
    answer = browser.ask("GET", "/hub/home", **evil)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_header_comes_from_an_address(hub: Stack) -> None:
    added = "%0d%0aSet-Cookie:%20stolen=1"
    for path in (
        f"/hub/login?next=/hub/{added}",
        f"/hub/{added}",
        f"/services/usage/{added}",
        f"/user/{added}/lab",
    ):
        browser = Browser(hub.url)
        answer = browser.ask("GET", path)
        assert answer.status < 500
        assert "stolen" not in browser.jar


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
