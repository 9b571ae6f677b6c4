"""Whose a kernel is, how many there may be, and when one ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from geoloom_hub.apps.kernels import AppKernels, Full, Visit, kernel_environment


class Kernel:
    """A kernel whose process is or is not there."""

    def __init__(self, alive: bool = True) -> None:
        self.alive = alive

    async def is_alive(self) -> bool:
        return self.alive


class Kernels(AppKernels):
    """The real limits without processes; times are told as seconds ago."""

    def open(self, kernel_id: str, visitor: str, **ago: float) -> None:
        now = time.monotonic()
        times: dict[str, Any] = {
            "since": now,
            "touched": now,
            **{name: now - value for name, value in ago.items()},
        }
        self.visits[kernel_id] = Visit(visitor, **times)
        self._kernels[kernel_id] = Kernel()

    async def shutdown_kernel(self, kernel_id: str, **_: Any) -> None:
        self.remove_kernel(kernel_id)


@pytest.fixture
def kernels() -> Kernels:
    return Kernels(limit=3, limit_each=2, idle=100, life=1000, left=10)


def test_a_kernel_is_its_visitors_only(kernels: Kernels) -> None:
    kernels.open("one", "anna")
    assert kernels.belongs("one", "anna")
    assert not kernels.belongs("one", "bert")
    assert not kernels.belongs("none", "anna")
    kernels.remove_kernel("one")
    assert not kernels.belongs("one", "anna")


def test_a_kernel_that_nobody_waited_for_is_ended(kernels: Kernels) -> None:
    kernels.open("kept", "anna")
    kernels.open("lost", "bert")
    del kernels.visits["lost"]
    asyncio.run(kernels.sweep())
    assert list(kernels.list_kernel_ids()) == ["kept"]


def test_there_is_room_up_to_the_limits(kernels: Kernels) -> None:
    kernels.open("one", "anna")
    assert kernels.room("anna") is None
    kernels.open("two", "anna")
    with pytest.raises(Full) as refused:
        kernels.room("anna")
    assert (refused.value.own, refused.value.limit) == (True, 2)
    assert kernels.room("bert") is None
    kernels.open("three", "bert")
    with pytest.raises(Full) as refused:
        kernels.room("carl")
    assert (refused.value.own, refused.value.limit) == (False, 3)


def test_a_page_that_is_surely_gone_makes_room_the_longest_gone_first(kernels: Kernels) -> None:
    kernels.open("one", "anna", left=7)
    kernels.open("two", "anna", left=8)
    kernels.open("three", "bert", left=1)
    assert kernels.room("anna") == "two"
    assert kernels.room("bert") == "two"
    kernels.visits["one"].left = kernels.visits["two"].left = None
    with pytest.raises(Full):
        # Somebody's page may be loading anew just now.
        kernels.room("bert")


@pytest.mark.parametrize(
    ("ago", "alive", "ends"),
    [
        ({}, True, False),
        ({"left": 5}, True, False),
        ({"left": 11}, True, True),
        ({"since": 999}, True, False),
        ({"since": 1001}, True, True),
        ({"touched": 99}, True, False),
        ({"touched": 101}, True, True),
        ({}, False, True),
    ],
)
def test_a_kernel_ends_in_time(kernels: Kernels, ago: dict[str, float], alive: bool, ends: bool) -> None:
    kernels.open("one", "anna", **ago)
    kernels.get_kernel("one").alive = alive
    asyncio.run(kernels.sweep())
    assert ("one" not in kernels) == ends
    assert ("one" not in kernels.visits) == ends


def test_a_page_that_comes_and_goes(kernels: Kernels) -> None:
    kernels.open("one", "anna")
    kernels._kernel_connections["one"] = 0
    kernels.page_made("one")
    assert kernels.visits["one"].left is not None
    kernels.notify_connect("one")
    assert kernels.visits["one"].left is None
    kernels.notify_connect("one")
    kernels.notify_disconnect("one")
    assert kernels.visits["one"].left is None
    kernels.notify_disconnect("one")
    assert kernels.visits["one"].left is not None


def test_a_kernel_that_cannot_be_started_takes_no_place(kernels: Kernels) -> None:
    started: list[str] = []

    async def start() -> None:
        with kernels.arrival("anna", started):
            await kernels.start_kernel(kernel_name="there is no such kernel")

    with pytest.raises(Exception, match="No such kernel"):
        asyncio.run(start())
    assert kernels.visits == {}
    assert started == []


def test_a_kernel_is_told_no_secret_but_the_engines_token() -> None:
    told = {
        "PATH": "/bin",
        "GEOLOOM_ENGINE_URL": "http://127.0.0.1:8080",
        "JUPYTERHUB_API_TOKEN": "for the engine",
        "JUPYTERHUB_CLIENT_ID": "service-apps",
        "CONFIGPROXY_AUTH_TOKEN": "secret",
        "GEOLOOM_APPS_GUESTS": "1",
    }
    assert kernel_environment(told, "JUPYTERHUB_API_TOKEN") == {
        "PATH": "/bin",
        "GEOLOOM_ENGINE_URL": "http://127.0.0.1:8080",
        "JUPYTERHUB_API_TOKEN": "for the engine",
    }
    assert "JUPYTERHUB_API_TOKEN" not in kernel_environment(told, "OTHER")
