"""A hub where each user has a domain of their own: names below localhost, which lead to this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from geoloom.ops.constant import Constant
from geoloom.ops.scale import Scale
from geoloom_hub.stack import Stack
from geoloom_hub.supervisor import _marked


@pytest.fixture(scope="module")
def hub(proxy_program: Path) -> Iterator[Stack]:
    """A hub at ``hub.localhost`` and below."""
    folder = Path(tempfile.mkdtemp(prefix="gl-sub-", dir="/tmp"))
    stack = Stack(folder)
    stack.environment["GEOLOOM_HUB_SUBDOMAINS"] = f"http://hub.localhost:{stack.folder.ports['public']}"
    try:
        with stack:
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_users_server_is_at_a_domain_of_its_own(hub: Stack) -> None:
    token = hub.user("anna")
    assert hub.start_server("anna").startswith(f"http://{hub.host_of('/user/anna/')}/user/anna/")
    asked = ("GET", "/user/anna/api/status", token)
    assert hub.ask(*asked).status == 200
    elsewhere = [hub.host_of("/"), hub.host_of("/services/"), hub.host_of("/user/ben/")]
    assert [hub.ask(*asked, headers={"Host": host}).status == 200 for host in elsewhere] == [False] * 3


def test_tiles_are_at_the_services_domain_and_kernels_are_told(hub: Stack) -> None:
    token = hub.user("ben")
    hub.start_server("ben")
    # What a server starts for a moment has its environment.
    environments = [one.environ() for one in _marked(hub.folder.secrets["mark"])]
    told = {one["GEOLOOM_TILES_URL"] for one in environments if one.get("JUPYTERHUB_USER") == "ben"}
    assert told == {f"http://{hub.host_of('/services/')}/services/tiles"}
    chain = Scale(limits=(0.0, 2.0)).chain(Constant(value=1.0).chain()).to_json()
    tiles = hub.ask("POST", "/services/tiles/chains", token, chain).json["tiles"]
    tile = hub.ask("GET", "/services/tiles" + tiles.format(z=1, x=0, y=0))
    assert (tile.status, tile.body[:4]) == (200, b"\x89PNG")


@pytest.mark.parametrize("service", ["apps", "usage"])
def test_a_login_comes_back_to_the_services_domain(hub: Stack, service: str) -> None:
    sent = hub.ask("GET", f"/services/{service}/")
    assert sent.status == 302
    to = urlsplit(sent.headers["location"])
    assert to.netloc == hub.host_of("/hub/")
    (back,) = parse_qs(to.query)["redirect_uri"]
    assert urlsplit(back).netloc == hub.host_of("/services/")
