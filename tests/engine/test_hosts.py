from __future__ import annotations

import pytest

from geoloom_engine.hosts import Hosts
from geoloom_engine.settings import load

LOOPBACK = Hosts(load([], {}))
NAMED = Hosts(
    load(["--allowed-hosts", "maps.example, .lab.example", "--allowed-origins", "https://lab.example/"], {})
)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:80", "a.localhost"]
)
def test_loopback_names_are_answered(host: str) -> None:
    assert LOOPBACK.trusts_host(host)
    assert NAMED.trusts_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil", "[bad", "@localhost:x@y"]
)
def test_other_names_are_not(host: str) -> None:
    assert not LOOPBACK.trusts_host(host)
    assert not NAMED.trusts_host(host)


def test_names_may_be_added() -> None:
    assert NAMED.trusts_host("maps.example:443")
    assert NAMED.trusts_host("a.lab.example")
    assert not NAMED.trusts_host("lab.example.evil")
    assert Hosts(load(["--allowed-hosts", "*"], {})).trusts_host("any.example")


def test_an_engine_for_other_machines_has_a_token_instead() -> None:
    assert Hosts(load(["--host", "0.0.0.0", "--token", "t"], {})).trusts_host("any.example")


def test_behind_a_hub_the_name_is_the_hubs_and_pages_are_still_refused() -> None:
    hosts = Hosts(load(["--hub-api-url", "http://127.0.0.1:8081/hub/api"], {}))
    assert hosts.trusts_host("hub.example")
    assert not hosts.trusts_origin("https://hub.example")


def test_origins() -> None:
    assert LOOPBACK.trusts_origin("http://localhost:8888")
    assert NAMED.trusts_origin("https://lab.example")
    strange = (
        "http://evil.example\\@localhost",
        "http://localhost/x",
        "file://localhost",
        "http://x@localhost",
    )
    for origin in ("null", "https://evil.example", "https://lab.example.evil", "", "http://[", *strange):
        assert not NAMED.trusts_origin(origin)
