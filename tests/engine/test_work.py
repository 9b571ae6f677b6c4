from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from geoloom.errors import DemandError, EngineOverloaded
from geoloom_engine.work import MOST_RUNAWAYS, WorkQueue


def with_queue(
    use: Callable[[WorkQueue], Awaitable[Any]],
    length: int = 100,
    patience: float = 10.0,
    budget: float = 10.0,
) -> Any:
    async def run() -> Any:
        queue = WorkQueue(length, patience, budget)
        try:
            return await use(queue)
        finally:
            queue.close()

    return asyncio.run(asyncio.wait_for(run(), 30))


class Gate:
    """A task that keeps the compute thread busy until it is opened."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self._open.wait(20)
        return "through"

    def open(self) -> None:
        self._open.set()

    async def hold(self, queue: WorkQueue) -> asyncio.Task[str]:
        held = asyncio.ensure_future(queue.run(self, "gate", self))
        await asyncio.to_thread(self.entered.wait, 20)
        return held


def test_results_and_errors_come_back() -> None:
    def fail() -> None:
        raise DemandError("too much")

    async def use(queue: WorkQueue) -> None:
        assert await queue.run(1, "a", lambda: 42) == 42
        with pytest.raises(DemandError, match="too much"):
            await queue.run(2, "a", fail)

    with_queue(use)


def test_sessions_take_turns_and_the_newest_goes_first() -> None:
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        gate = Gate()
        held = await gate.hold(queue)
        waiting = []
        for session, number in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]:
            name = f"{session}{number}"
            waiting.append(
                asyncio.ensure_future(queue.run(name, session, lambda name=name: order.append(name)))
            )
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(held, *waiting)

    with_queue(use)
    assert order == ["a3", "b2", "a2", "b1", "a1"]


def test_equal_requests_are_computed_once() -> None:
    calls: list[int] = []

    async def use(queue: WorkQueue) -> Any:
        gate = Gate()
        held = await gate.hold(queue)
        asked = [asyncio.ensure_future(queue.run("same", s, lambda: calls.append(1) or "x")) for s in "abc"]
        await asyncio.sleep(0)
        gate.open()
        await held
        return await asyncio.gather(*asked)

    assert with_queue(use) == ["x", "x", "x"]
    assert calls == [1]


def test_nobody_waits_longer_than_the_patience() -> None:
    async def use(queue: WorkQueue) -> float:
        gate = Gate()
        held = await gate.hold(queue)
        begun = time.monotonic()
        with pytest.raises(EngineOverloaded, match="no turn within"):
            await queue.run("late", "a", lambda: None)
        waited = time.monotonic() - begun
        gate.open()
        await held
        return waited

    assert 0.15 < with_queue(use, patience=0.2) < 2


def test_a_full_queue_refuses_the_oldest_of_the_longest() -> None:
    async def use(queue: WorkQueue) -> list[Any]:
        gate = Gate()
        held = await gate.hold(queue)
        asked = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3), ("a", 3)]
        tasks = [asyncio.ensure_future(queue.run(name, name[0], lambda: "done")) for name in asked]
        await asyncio.sleep(0)
        gate.open()
        await held
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    answers = with_queue(use, length=4)
    refused = [isinstance(answer, EngineOverloaded) for answer in answers]
    assert refused == [True, False, True, False, False, False]


def test_what_nobody_waits_for_is_dropped() -> None:
    ran: list[str] = []

    async def use(queue: WorkQueue) -> None:
        gate = Gate()
        held = await gate.hold(queue)
        left = asyncio.ensure_future(queue.run("left", "a", lambda: ran.append("left")))
        shared = [asyncio.ensure_future(queue.run("kept", "a", lambda: ran.append("kept"))) for _ in range(2)]
        await asyncio.sleep(0)
        left.cancel()
        shared[0].cancel()
        await asyncio.sleep(0)
        assert queue.waiting == 1
        gate.open()
        await asyncio.gather(held, shared[1])

    with_queue(use)
    assert ran == ["kept"]


def test_a_computation_beyond_its_budget_is_left_behind() -> None:
    async def use(queue: WorkQueue) -> Any:
        gate = Gate()
        with pytest.raises(DemandError, match="longer than"):
            await queue.run("slow", "a", gate)
        answer = await queue.run("next", "a", lambda: "served")
        gate.open()
        return answer

    assert with_queue(use, budget=0.2) == "served"


def test_a_closed_queue_refuses_what_waits() -> None:
    async def use(queue: WorkQueue) -> None:
        gate = Gate()
        held = await gate.hold(queue)
        waiting = asyncio.ensure_future(queue.run("w", "a", lambda: None))
        await asyncio.sleep(0)
        queue.close()
        with pytest.raises(EngineOverloaded, match="stopping"):
            await waiting
        gate.open()
        assert await held == "through"

    with_queue(use)


def test_who_computed_least_goes_first() -> None:
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        gate = Gate()
        held = await gate.hold(queue)
        asked = [("heavy", i, 0.2) for i in range(3)] + [("light", i, 0.0) for i in range(6)]

        def task(name: str, seconds: float) -> None:
            order.append(name)
            threading.Event().wait(seconds)

        waiting = [
            asyncio.ensure_future(queue.run((name, i), name, lambda n=name, s=seconds: task(n, s)))
            for name, i, seconds in asked
        ]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(held, *waiting)

    with_queue(use)
    # One of 0.2 s weighs as much as four that count 0.05 s each.
    assert order[:5] == ["heavy", *["light"] * 4]


def test_nobody_saves_up_turns() -> None:
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        for i in range(10):
            await queue.run(i, "long here", lambda: None)
        gate = Gate()
        held = await gate.hold(queue)
        names = ["new"] * 3 + ["long here"] * 3
        waiting = [
            asyncio.ensure_future(queue.run((name, i), name, lambda n=name: order.append(n)))
            for i, name in enumerate(names)
        ]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(held, *waiting)

    with_queue(use)
    assert order[:4] != ["new"] * 3 + ["long here"]


def test_runaways_are_bounded() -> None:
    told = threading.Event()

    async def use() -> int:
        queue = WorkQueue(100, 0.3, 0.1, told.set)
        gates = [Gate() for _ in range(6)]
        for i, gate in enumerate(gates):
            with pytest.raises((DemandError, EngineOverloaded)):
                await queue.run(i, "a", gate)
        running = sum(gate.entered.is_set() for gate in gates)
        for gate in gates:
            gate.open()
        queue.close()
        return running

    assert asyncio.run(asyncio.wait_for(use(), 30)) == MOST_RUNAWAYS + 1
    assert told.is_set()
