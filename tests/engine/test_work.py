from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from geoloom.errors import DemandError, EngineOverloaded
from geoloom_engine import lanes
from geoloom_engine.fairness import QUICK
from geoloom_engine.lanes import MOST_RUNAWAYS, Wanted
from geoloom_engine.work import WorkQueue


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

    def __call__(self, wanted: Wanted) -> str:
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
    def fail(wanted: Wanted) -> None:
        raise DemandError("too much")

    async def use(queue: WorkQueue) -> None:
        assert await queue.run(1, "a", lambda wanted: 42) == 42
        with pytest.raises(DemandError, match="too much"):
            await queue.run(2, "a", fail)

    with_queue(use)


def test_sessions_take_turns() -> None:
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        gate = Gate()
        held = await gate.hold(queue)
        waiting = []
        for session, number in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]:
            name = f"{session}{number}"
            waiting.append(
                asyncio.ensure_future(queue.run(name, session, lambda wanted, name=name: order.append(name)))
            )
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(held, *waiting)

    with_queue(use)
    assert order == ["a1", "b1", "a2", "b2", "a3"]


def test_equal_requests_are_computed_once() -> None:
    calls: list[int] = []

    async def use(queue: WorkQueue) -> Any:
        gate = Gate()
        held = await gate.hold(queue)
        asked = [
            asyncio.ensure_future(queue.run("same", s, lambda wanted: calls.append(1) or "x")) for s in "abc"
        ]
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
            await queue.run("late", "a", lambda wanted: None)
        waited = time.monotonic() - begun
        gate.open()
        await held
        return waited

    assert 0.15 < with_queue(use, patience=0.2) < 8


def test_a_full_queue_refuses_the_oldest_of_the_longest() -> None:
    async def use(queue: WorkQueue) -> list[Any]:
        gate = Gate()
        held = await gate.hold(queue)
        asked = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3), ("a", 3)]
        tasks = [asyncio.ensure_future(queue.run(name, name[0], lambda wanted: "done")) for name in asked]
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
        left = asyncio.ensure_future(queue.run("left", "a", lambda wanted: ran.append("left")))
        shared = [
            asyncio.ensure_future(queue.run("kept", "a", lambda wanted: ran.append("kept"))) for _ in range(2)
        ]
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
        answer = await queue.run("next", "a", lambda wanted: "served")
        gate.open()
        return answer

    assert with_queue(use, budget=0.2) == "served"


def test_a_closed_queue_refuses_what_waits() -> None:
    async def use(queue: WorkQueue) -> None:
        gate = Gate()
        held = await gate.hold(queue)
        waiting = asyncio.ensure_future(queue.run("w", "a", lambda wanted: None))
        await asyncio.sleep(0)
        queue.close()
        with pytest.raises(EngineOverloaded, match="stopping"):
            await waiting
        gate.open()
        assert await held == "through"

    with_queue(use)


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


def test_a_running_task_learns_that_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    said: list[bool] = []

    async def use(queue: WorkQueue) -> str:
        entered, gone, asked = threading.Event(), threading.Event(), threading.Event()

        def task(wanted: Wanted) -> None:
            said.append(wanted())
            entered.set()
            assert gone.wait(20)
            said.append(wanted())
            asked.set()
            raise RuntimeError("given up")

        left = asyncio.ensure_future(queue.run("same", "a", task))
        await asyncio.to_thread(entered.wait, 20)
        left.cancel()
        await asyncio.wait([left])
        gone.set()
        await asyncio.to_thread(asked.wait, 20)
        # Who comes after it was given up starts it anew.
        return await queue.run("same", "a", lambda wanted: "anew")

    assert with_queue(use) == "anew"
    assert said == [True, False]
    assert "given up" not in caplog.text


def test_who_joins_in_time_keeps_it_running() -> None:
    async def use(queue: WorkQueue) -> tuple[str, bool]:
        entered, joined = threading.Event(), threading.Event()

        def task(wanted: Wanted) -> bool:
            entered.set()
            assert joined.wait(20)
            return wanted()

        left = asyncio.ensure_future(queue.run("same", "a", task))
        await asyncio.to_thread(entered.wait, 20)
        left.cancel()
        await asyncio.wait([left])
        second = asyncio.ensure_future(queue.run("same", "b", lambda wanted: "another"))
        await asyncio.sleep(0)
        joined.set()
        return await second

    assert with_queue(use) is True


async def learn(queue: WorkQueue, layer: str) -> None:
    """Have a quick answer of a layer computed, so that its cost is known."""
    await queue.run(("first", layer), "a", lambda wanted: None, layer)


def test_quick_answers_overtake_a_long_computation_which_pauses_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However late the quick one's thread is woken.
    monkeypatch.setattr(lanes, "PAUSE", 20.0)
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        await learn(queue, "fast")
        gate, go_on = Gate(), threading.Event()

        def long(wanted: Wanted) -> None:
            gate(wanted)
            # The quick one is at work now, and lets go when the long one waits for it.
            assert wanted()
            order.append("long")

        def quick(wanted: Wanted) -> None:
            gate.open()
            go_on.wait(QUICK)
            order.append("quick")

        held = asyncio.ensure_future(queue.run("long", "a", long))
        await asyncio.to_thread(gate.entered.wait, 20)
        unknown = asyncio.ensure_future(queue.run("unknown", "b", lambda wanted: order.append("unknown")))
        await asyncio.sleep(0)
        await queue.run("quick", "c", quick, "fast")
        await asyncio.gather(held, unknown)

    with_queue(use)
    assert order == ["quick", "long", "unknown"]


def test_one_computation_at_a_time_unless_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    # None is long here, even if the processor is given away in the middle of it.
    monkeypatch.setattr(lanes, "LONG", 60.0)

    async def use(queue: WorkQueue) -> int:
        running, most = 0, 0
        lock = threading.Lock()

        def task(wanted: Wanted) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.thread_time()
            with lock:
                running -= 1

        await learn(queue, "fast")
        await asyncio.gather(*(queue.run(i, f"s{i % 3}", task, "fast") for i in range(90)))
        return most

    assert with_queue(use) == 1


def test_processor_time_is_told_by_session_and_waiting_is_none() -> None:
    spent: list[tuple[str, float]] = []

    def busy(wanted: Wanted) -> None:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    def fail(wanted: Wanted) -> None:
        raise DemandError("too much")

    async def run() -> None:
        queue = WorkQueue(10, 10.0, 10.0, spent=lambda session, seconds: spent.append((session, seconds)))
        await queue.run(1, "0123456789ab~busy", busy)
        await queue.run(2, "idle", lambda wanted: time.sleep(0.2))
        with pytest.raises(DemandError):
            await queue.run(3, "failing", fail)
        queue.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert [session for session, _ in spent] == ["0123456789ab~busy", "idle", "failing"]
    assert spent[0][1] >= 0.05
    assert spent[1][1] < 0.1


def test_whose_turn_it_is_can_be_told() -> None:
    order: list[str] = []

    async def run() -> None:
        queue = WorkQueue(100, 10.0, 10.0, whose=lambda session: session)
        gate = Gate()
        held = await gate.hold(queue)
        asked = [
            asyncio.ensure_future(
                queue.run((session, i), session, lambda wanted, session=session: order.append(session))
            )
            for session in ("0123456789ab~a", "0123456789ab~b", "c")
            for i in range(2)
        ]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(held, *asked)
        queue.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert [session[-1] for session in order] == ["a", "b", "c"] * 2
