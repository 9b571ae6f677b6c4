"""Workers that ask each other; here they live in one event loop, and one in another process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from geoloom.errors import DemandError, EngineFault, EngineOverloaded, GeoloomError
from geoloom.grid import Tile
from geoloom_engine.peers import Ask, Mesh, Peers, Reply, Unreached

ASK = Ask("k" * 32, "d" * 16, Tile(13, 4500, 2900), 2, "somebody-1")
REPLY = Reply(bytes(range(256)) * 4000, "e" * 16, "computed", {"read": 0.25, "compute": 0.5}, 0.875)


def run(use: Coroutine[Any, Any, None]) -> None:
    """In the event loop that workers have."""
    asyncio.run(asyncio.wait_for(use, 60), loop_factory=uvloop.new_event_loop)


async def refuse(ask: Ask) -> Reply:
    raise Unreached


async def until(true: Callable[[], Any]) -> None:
    while not true():
        await asyncio.sleep(0.005)


async def ask_when_connected(peers: Peers, worker: int, ask: Ask = ASK) -> Reply:
    """Ask again until the connection stands."""
    while True:
        try:
            return await peers.ask(worker, ask)
        except Unreached:
            await asyncio.sleep(0.005)


def test_what_goes_over_comes_out() -> None:
    assert Ask.unpack(ASK.pack()) == ASK
    assert Reply.unpack(REPLY.pack()) == REPLY


def with_pair(
    answer: Callable[[Ask], Awaitable[Reply]], use: Callable[[Peers], Awaitable[None]], patience: float = 20.0
) -> None:
    """Worker 0 asks, worker 1 answers."""

    async def both() -> None:
        mesh = Mesh(2)
        first, second = (
            Peers(0, mesh.doors, refuse, patience),
            Peers(1, mesh.doors, answer, patience),
        )
        try:
            await use(first)
        finally:
            first.close()
            second.close()
            mesh.close()

    run(both())


def test_answers_find_their_questions() -> None:
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Reply:
        asked.append(ask)
        await asyncio.sleep(0.002 * (ask.tile.x % 3))
        return Reply(ask.pack() * 5000, ask.data, "computed", {}, 0.0)

    async def use(peers: Peers) -> None:
        await ask_when_connected(peers, 1)
        asks = [Ask("k", "d", Tile(10, x, 3), 1, "s") for x in range(50)]
        replies = await asyncio.gather(*(peers.ask(1, ask) for ask in asks))
        assert [reply.png for reply in replies] == [ask.pack() * 5000 for ask in asks]

    with_pair(answer, use)
    assert asked[0] == ASK


@pytest.mark.parametrize(
    "error",
    [
        DemandError("too much", hint="zoom in", node="n" * 32, op="slope"),
        EngineOverloaded("busy", hint="later"),
        EngineFault("broken", incident="abc123"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive_with_all_they_say(error: GeoloomError) -> None:
    async def answer(ask: Ask) -> Reply:
        raise error

    async def use(peers: Peers) -> None:
        with pytest.raises(type(error)) as caught:
            await ask_when_connected(peers, 1)
        assert caught.value.to_json() == error.to_json()

    with_pair(answer, use)


def test_a_defect_there_is_an_incident_here(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(ask: Ask) -> Reply:
        raise ZeroDivisionError("internal detail")

    async def use(peers: Peers) -> None:
        with pytest.raises(EngineFault) as caught:
            await ask_when_connected(peers, 1)
        assert caught.value.incident in caplog.text
        assert "internal detail" in caplog.text
        assert "internal detail" not in str(caught.value)

    with_pair(answer, use)


def test_who_asks_no_more_is_not_waited_for() -> None:
    events: list[str] = []

    async def answer(ask: Ask) -> Reply:
        if ask.tile.z == 1:
            return REPLY
        events.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("dropped")
            raise
        raise AssertionError

    async def use(peers: Peers) -> None:
        quick = Ask("k", "d", Tile(1, 0, 0), 1, "s")
        await ask_when_connected(peers, 1, quick)
        left = asyncio.ensure_future(peers.ask(1, ASK))
        await until(lambda: events == ["begun"])
        left.cancel()
        await until(lambda: events == ["begun", "dropped"])
        assert await peers.ask(1, quick) == REPLY

    with_pair(answer, use)


def test_a_worker_that_leaves_a_question_unanswered_is_given_up() -> None:
    async def answer(ask: Ask) -> Reply:
        if ask.tile.z != 1:
            await asyncio.Event().wait()
        return REPLY

    async def use(peers: Peers) -> None:
        quick = Ask("k", "d", Tile(1, 0, 0), 1, "s")
        await ask_when_connected(peers, 1, quick)
        with pytest.raises(Unreached):
            await peers.ask(1, ASK)
        # And asked again.
        assert await ask_when_connected(peers, 1, quick) == REPLY

    with_pair(answer, use, patience=0.1)


def _serve_in_child(mesh: Mesh) -> int:
    """A worker 1 in a process of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:

        async def answer(ask: Ask) -> Reply:
            if ask.tile.z == 0:
                await asyncio.Event().wait()
            return Reply(b"png", str(os.getpid()), "computed", {}, 0.0)

        async def serve() -> None:
            Peers(1, mesh.doors, answer, 10)
            await asyncio.sleep(60)

        asyncio.run(serve(), loop_factory=uvloop.new_event_loop)
    finally:
        os._exit(0)


def test_a_worker_that_died_fails_at_once_and_its_successor_is_reached() -> None:
    mesh = Mesh(2)
    children = [_serve_in_child(mesh)]

    async def use() -> None:
        peers = Peers(0, mesh.doors, refuse, 20)
        assert (await ask_when_connected(peers, 1)).data == str(children[0])
        waiting = asyncio.ensure_future(peers.ask(1, Ask("k", "d", Tile(0, 0, 0), 1, "s")))
        await asyncio.sleep(0)
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
        with pytest.raises(Unreached):
            await asyncio.wait_for(waiting, 10)
        # Meanwhile nobody is there, however often it is asked.
        for _ in range(1000):
            with pytest.raises(Unreached):
                await peers.ask(1, ASK)
        peers.close()

    try:
        run(use())
        children.append(_serve_in_child(mesh))

        async def again() -> None:
            peers = Peers(0, mesh.doors, refuse, 20)
            assert (await ask_when_connected(peers, 1)).data == str(children[1])
            peers.close()

        run(again())
    finally:
        os.kill(children[-1], signal.SIGKILL)
        os.waitpid(children[-1], 0)
        mesh.close()
