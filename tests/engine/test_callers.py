from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from geoloom.errors import AccessError, EngineUnreachable
from geoloom_engine import callers
from geoloom_engine.callers import ADMIN_SCOPE, SECRET, Caller, Callers, Forbidden
from geoloom_engine.hub import Hub

if TYPE_CHECKING:
    from conftest import MadeUpHub


def with_callers[T](
    hub: MadeUpHub | None, use: Callable[[Callers], Awaitable[T]], secret: str = "secret", **more: Any
) -> T:
    async def run() -> T:
        asked = Hub(hub.url) if hub is not None else None
        try:
            return await use(Callers(secret, asked, "tiles", more.pop("recheck", 60.0), **more))
        finally:
            if asked is not None:
                asked.close()

    return asyncio.run(run())


def test_the_secret_is_told_without_the_hub(made_up_hub: MadeUpHub) -> None:
    assert with_callers(made_up_hub, lambda them: them.identify("Bearer secret")) is SECRET
    assert made_up_hub.asked == []
    assert with_callers(None, lambda them: them.identify(""), secret="") is SECRET


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic secret", "secret", "Bearer secre"])
def test_nobody_is_refused(header: str) -> None:
    with pytest.raises(AccessError, match="needs the engine's token"):
        with_callers(None, lambda them: them.identify(header))


def test_without_a_secret_a_hub_still_guards(made_up_hub: MadeUpHub) -> None:
    for header in ("", "Bearer ", "Bearer x"):
        with pytest.raises(AccessError):
            with_callers(made_up_hub, lambda them, header=header: them.identify(header), secret="")


def test_users_and_services_of_the_hub(made_up_hub: MadeUpHub) -> None:
    met: list[Caller] = []
    anna = made_up_hub.user("anna", "hydro", "alps")
    service = made_up_hub.user("anna", scopes=("access:services", ADMIN_SCOPE), kind="service")

    async def use(them: Callers) -> list[Caller]:
        return [
            await them.identify(f"{scheme} {token}")
            for token in (anna, service)
            for scheme in ("token", "Bearer")
        ]

    first, again, other, _ = with_callers(made_up_hub, use, meet=met.append)
    assert first == again
    assert (first.kind, first.name, first.admin) == ("user", "anna", False)
    assert first.groups == {"hydro", "alps", "user:anna"}
    assert (other.label, other.admin) == ("service:anna", True)
    assert first.owner != other.owner
    assert len(made_up_hub.asked) == 2
    assert [one.label for one in met] == ["user:anna", "service:anna"]


def test_a_group_of_an_odd_name_makes_nobody_another(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("ben", "alps", "user:anna", "service:usage")
    caller = with_callers(made_up_hub, lambda them: them.identify(f"Bearer {token}"))
    assert caller.groups == {"alps", "user:ben"}


def test_a_token_without_the_scope_is_forbidden(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna", scopes=("self", "access:services!service=other"))
    with pytest.raises(Forbidden, match="user:anna may not use this engine") as caught:
        with_callers(made_up_hub, lambda them: them.identify(f"token {token}"))
    assert "access:services!service=tiles" in str(caught.value.hint)
    assert caught.value.to_json()["error"] == "AccessError"


def test_many_at_once_ask_the_hub_once(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna")

    async def use(them: Callers) -> int:
        return len(
            {one.owner for one in await asyncio.gather(*(them.identify(f"token {token}") for _ in range(50)))}
        )

    assert with_callers(made_up_hub, use) == 1
    assert len(made_up_hub.asked) == 1


def test_a_revoked_token_is_noticed(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna")

    async def use(them: Callers) -> None:
        await them.identify(f"token {token}")
        del made_up_hub.models[token]
        with pytest.raises(AccessError, match="does not know this token"):
            await them.identify(f"token {token}")

    with_callers(made_up_hub, use, recheck=0.0)


def test_a_wrong_token_is_asked_for_once(made_up_hub: MadeUpHub) -> None:
    async def use(them: Callers) -> None:
        for _ in range(5):
            with pytest.raises(AccessError, match="does not know this token"):
                await them.identify("token wrong")

    with_callers(made_up_hub, use)
    assert len(made_up_hub.asked) == 1


def test_while_the_hub_is_away_those_known_go_on_for_a_while(
    made_up_hub: MadeUpHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, ben = made_up_hub.user("anna"), made_up_hub.user("ben")

    async def use(them: Callers) -> None:
        await them.identify(f"token {anna}")
        made_up_hub.status = 503
        asked = len(made_up_hub.asked)
        for _ in range(3):
            assert (await them.identify(f"token {anna}")).name == "anna"
        # Not each request waits for a hub that may be silent.
        assert len(made_up_hub.asked) == asked + 1
        with pytest.raises(EngineUnreachable, match="it says 503"):
            await them.identify(f"token {ben}")
        real = time.monotonic
        monkeypatch.setattr(callers.time, "monotonic", lambda: real() + callers.GRACE + 1)
        with pytest.raises(EngineUnreachable):
            await them.identify(f"token {anna}")

    with_callers(made_up_hub, use, recheck=0.0)


def test_who_tries_many_tokens_has_no_good_one_forgotten(
    made_up_hub: MadeUpHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "MOST_TOKENS", 3)
    token = made_up_hub.user("anna")

    async def use(them: Callers) -> str:
        await them.identify(f"Bearer {token}")
        for i in range(8):
            with pytest.raises(AccessError, match="does not know"):
                await them.identify(f"Bearer made-up-{i}")
        made_up_hub.status = 503
        return (await them.identify(f"Bearer {token}")).name

    assert with_callers(made_up_hub, use, recheck=0.0) == "anna"


def test_one_who_goes_away_takes_nobody_along(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna")

    async def use(them: Callers) -> str:
        leaving = asyncio.ensure_future(them.identify(f"token {token}"))
        staying = asyncio.ensure_future(them.identify(f"token {token}"))
        await asyncio.sleep(0)
        leaving.cancel()
        return (await staying).name

    assert with_callers(made_up_hub, use) == "anna"


def test_tokens_are_not_kept(made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna")

    async def use(them: Callers) -> str:
        await them.identify(f"token {token}")
        return repr(vars(them))

    assert token not in with_callers(made_up_hub, use)
