from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from geoloom.errors import EngineUnreachable
from geoloom_engine.hub import Hub

if TYPE_CHECKING:
    from conftest import MadeUpHub


def identify(url: str, token: str) -> dict[str, Any] | None:
    async def ask() -> dict[str, Any] | None:
        hub = Hub(url)
        try:
            return await hub.identify(token)
        finally:
            hub.close()

    return asyncio.run(ask())


def test_the_hub_tells_whose_a_token_is(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna", "hydro")
    found = identify(made_up_hub.url + "/", token)
    assert found is not None
    assert (found["name"], found["groups"]) == ("anna", ["hydro"])
    assert identify(made_up_hub.url, "nobody's") is None


@pytest.mark.parametrize("token", ["a b", "a\r\nX-Header: b", "ä", "\0", "a\tb"])
def test_what_is_no_token_is_not_even_shown_to_the_hub(made_up_hub: MadeUpHub, token: str) -> None:
    assert identify(made_up_hub.url, token) is None
    assert made_up_hub.asked == []


@pytest.mark.parametrize("status", [500, 503, 404, 302])
def test_a_failing_hub_is_said_to_be_away(made_up_hub: MadeUpHub, status: int) -> None:
    token = made_up_hub.user("anna")
    made_up_hub.status = status
    with pytest.raises(EngineUnreachable, match=f"it says {status}"):
        identify(made_up_hub.url, token)


def test_a_hub_that_is_not_there(made_up_hub: MadeUpHub) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(EngineUnreachable, match="does not answer"):
            identify(f"http://127.0.0.1:{taken.getsockname()[1]}/hub/api", "token")


def test_another_server_is_no_hub(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna")
    made_up_hub.models[token] = {"kind": "user"}
    with pytest.raises(EngineUnreachable, match="no hub"):
        identify(made_up_hub.url, token)
