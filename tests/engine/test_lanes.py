"""Who computes while others wait for another process."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from geoloom.errors import DemandError, EngineOverloaded
from geoloom_engine import lanes, work
from geoloom_engine.lanes import MOST_RUNAWAYS, Wanted
from geoloom_engine.unwanted import Unwanted
from geoloom_engine.work import WorkQueue

PATIENCE = 20.0


def with_queue(use: Callable[[WorkQueue], Awaitable[Any]], budget: float = 60.0, outside: int = 8) -> Any:
    """Run `use(queue)`; all of the queue's threads have ended afterwards."""
    before = set(threading.enumerate())

    async def run() -> Any:
        queue = WorkQueue(500, 60.0, budget, outside=outside)
        try:
            return await use(queue)
        finally:
            queue.close()

    answer = asyncio.run(asyncio.wait_for(run(), 60))
    for thread in set(threading.enumerate()) - before:
        if thread.name == "compute":
            thread.join(PATIENCE)
            assert not thread.is_alive()
    return answer


async def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


class Gate:
    """Something that lasts until it is opened: a computation, or the wait for another process."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Event(), threading.Event()

    def __call__(self, wanted: object = None) -> str:
        self.entered.set()
        assert self._open.wait(PATIENCE)
        return "through"

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)

    async def hold(self, queue: WorkQueue) -> asyncio.Task[str]:
        """Compute until it is opened."""
        held = asyncio.ensure_future(queue.run(self, "gate", self))
        await self.reached()
        return held


class Aside(Gate):
    """A task that goes aside until it is opened, and notes when it computes again."""

    def __init__(self, name: str = "aside", order: list[str] | None = None) -> None:
        super().__init__()
        self.name, self.order = name, [] if order is None else order
        self.raised: BaseException | None = None

    def __call__(self, wanted: Any = None) -> str:
        try:
            wanted.aside(lambda: self.wait(wanted))
        except BaseException as error:
            self.raised = error
            raise
        self.order.append(self.name)
        return self.name

    def wait(self, wanted: Wanted) -> str:
        return super().__call__()

    async def start(self, queue: WorkQueue, session: str = "a", layer: str = "") -> asyncio.Task[str]:
        """Have it begun and gone aside."""
        task = asyncio.ensure_future(queue.run(self, session, self, layer, outside="function"))
        await self.reached()
        return task


class Watchful(Aside):
    """It waits until nobody wants it any more."""

    def wait(self, wanted: Wanted) -> str:
        self.entered.set()
        end = time.monotonic() + PATIENCE
        while wanted():
            assert time.monotonic() < end
            threading.Event().wait(0.002)
        raise Unwanted


async def learn(queue: WorkQueue, *layers: str) -> None:
    """Have a quick answer of some layers computed, so that their cost is known."""
    for layer in layers:
        await queue.run(("first", layer), "a", lambda wanted: None, layer)


def test_others_compute_while_one_waits_for_another_process() -> None:
    async def use(queue: WorkQueue) -> None:
        aside = Aside()
        task = await aside.start(queue)
        assert await queue.run("other", "b", lambda wanted: 42) == 42
        assert await queue.run("own", "a", lambda wanted: 43) == 43
        assert not task.done()
        aside.open()
        assert await task == "aside"

    with_queue(use)


def test_who_comes_back_goes_before_what_has_not_begun_in_the_order_of_coming() -> None:
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        one, two, gate = Aside("one", order), Aside("two", order), Gate()
        tasks = [await one.start(queue, "a"), await two.start(queue, "b"), await gate.hold(queue)]
        for name in ("new", "newer"):
            job = queue.run(name, "c", lambda wanted, name=name: order.append(name))
            tasks.append(asyncio.ensure_future(job))
        await asyncio.sleep(0)
        for number, aside in enumerate((two, one), 1):
            aside.open()
            await until(lambda number=number: len(queue._lanes._returning) == number)
        assert order == []
        gate.open()
        await asyncio.gather(*tasks)

    with_queue(use)
    assert order == ["two", "one", "new", "newer"]


def test_an_error_of_the_wait_comes_when_it_may_compute_again() -> None:
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        wait, gate = Gate(), Gate()

        def fail() -> None:
            wait()
            raise DemandError("no process")

        def task(wanted: Wanted) -> None:
            try:
                wanted.aside(fail)
            except DemandError:
                order.append("raised")
                raise

        failing = asyncio.ensure_future(queue.run("failing", "a", task, outside="function"))
        await wait.reached()
        held = await gate.hold(queue)
        wait.open()
        await until(lambda: queue._lanes._returning)
        order.append("opened")
        gate.open()
        with pytest.raises(DemandError, match="no process"):
            await failing
        await held

    with_queue(use)
    assert order == ["opened", "raised"]


def test_who_waits_learns_that_nobody_wants_it_and_computes_no_more() -> None:
    async def use(queue: WorkQueue) -> None:
        aside, gate = Watchful(), Gate()
        task = await aside.start(queue)
        # Nobody needs to let go of the lane for that.
        held = await gate.hold(queue)
        task.cancel()
        await until(lambda: len(queue._lanes.begun) == 1)
        assert isinstance(aside.raised, Unwanted)
        gate.open()
        await held
        # Neither does one begin to wait, nor go on, that is unwanted.
        late, gone = Aside(), threading.Event()

        def task_of_nobody(wanted: Wanted) -> None:
            late.entered.set()
            assert gone.wait(PATIENCE)
            late(wanted)

        left = asyncio.ensure_future(queue.run("left", "a", task_of_nobody, outside="function"))
        await late.reached()
        left.cancel()
        await asyncio.wait([left])
        gone.set()
        await until(lambda: isinstance(late.raised, Unwanted))
        assert await queue.run("left", "a", lambda wanted: "anew") == "anew"
        back = Aside()
        left = await back.start(queue)
        gate = Gate()
        held = await gate.hold(queue)
        back.open()
        await until(lambda: queue._lanes._returning)
        left.cancel()
        await asyncio.wait([left])
        gate.open()
        await held
        await until(lambda: isinstance(back.raised, Unwanted))
        assert back.order == []

    with_queue(use)


def test_who_waits_beyond_the_budget_is_left_behind_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def use(queue: WorkQueue) -> None:
        stuck = threading.Event()
        queue._on_stuck = stuck.set
        asides = [Aside() for _ in range(MOST_RUNAWAYS + 3)]
        tasks = [await aside.start(queue, f"s{number}") for number, aside in enumerate(asides)]
        for task in tasks:
            with pytest.raises(DemandError, match="longer than"):
                await task
        assert await queue.run("next", "a", lambda wanted: "served") == "served"
        for aside in asides:
            aside.open()
        await until(lambda: not queue._lanes.begun)
        assert all(isinstance(aside.raised, Unwanted) for aside in asides)
        assert not any(aside.order for aside in asides)
        assert not stuck.is_set()
        # They are under way no longer: others may be.
        aside = Aside()
        aside.open()
        assert await (await aside.start(queue)) == "aside"

    with_queue(use, budget=1.0)


def test_a_budget_ends_also_for_who_has_come_back_and_cannot_go_on() -> None:
    async def use(queue: WorkQueue) -> None:
        aside, gate = Aside(), Gate()
        task = await aside.start(queue)
        held = await gate.hold(queue)
        aside.open()
        await until(lambda: queue._lanes._returning)
        with queue._lock:
            queue._abandon(queue._lanes._returning[0])
        with pytest.raises(DemandError):
            await task
        await until(lambda: isinstance(aside.raised, Unwanted))
        assert not held.done()
        gate.open()
        assert await held == "through"

    with_queue(use)


def test_closing_ends_who_waits_and_who_has_come_back() -> None:
    async def use(queue: WorkQueue) -> None:
        waiting, back, gate, last = Watchful(), Aside(), Gate(), Aside()
        tasks = [await waiting.start(queue, "a"), await back.start(queue, "b")]

        def first_gate(wanted: Wanted) -> str:
            gate()
            return last(wanted)

        held = asyncio.ensure_future(queue.run("held", "c", first_gate, outside="function"))
        await gate.reached()
        back.open()
        await until(lambda: queue._lanes._returning)
        queue.close()
        for task in tasks:
            with pytest.raises(EngineOverloaded, match="stopping"):
                await task
        # What computes comes to its end, also if it waits for another process once more.
        last.open()
        gate.open()
        assert await held == "aside"
        with pytest.raises(EngineOverloaded, match="stopping"):
            await queue.run("late", "a", lambda wanted: None)

    with_queue(use)


def test_a_quick_one_lets_go_of_the_express_lane_and_comes_back_to_it() -> None:
    async def use(queue: WorkQueue) -> None:
        await learn(queue, "own", "other")
        gate = Gate()
        held = await gate.hold(queue)
        express, begun = Aside(), Aside()
        tasks = [await express.start(queue, "a", "own")]
        # It has let go: another one passes.
        assert await queue.run("other", "b", lambda wanted: "quick", "other") == "quick"
        express.open()
        assert await tasks[0] == "aside"
        gate.open()
        await held
        # So does one that began in the ordinary lane.
        tasks = [await begun.start(queue, "a", "own")]
        gate = Gate()
        held = await gate.hold(queue)
        begun.open()
        assert await tasks[0] == "aside"
        assert not held.done()
        gate.open()
        await held

    with_queue(use)


def test_a_slow_one_that_has_come_back_does_not_overtake() -> None:
    async def use(queue: WorkQueue) -> None:
        await learn(queue, "quick")
        slow, gate = Aside(), Gate()
        task = await slow.start(queue, "a", "unknown")
        held = await gate.hold(queue)
        slow.open()
        await until(lambda: queue._lanes._returning)
        for number in range(3):
            await queue.run(number, "b", lambda wanted: None, "quick")
        assert queue._lanes._returning
        gate.open()
        await asyncio.gather(task, held)

    with_queue(use)


def test_nobody_overtakes_what_is_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(queue: WorkQueue) -> None:
        await learn(queue, "quick")
        long, overtaking, following, last = Gate(), Gate(), Gate(), Gate()
        held = [await long.hold(queue)]
        held.append(asyncio.ensure_future(queue.run("first", "a", overtaking, "quick")))
        await overtaking.reached()
        monkeypatch.setattr(lanes, "LONG", 60.0)
        long.open()
        held.append(await following.hold(queue))
        held.append(asyncio.ensure_future(queue.run("last", "a", last, "quick")))
        overtaking.open()
        await held[1]
        assert not last.entered.is_set()
        assert queue.waiting == 1
        following.open()
        last.open()
        await asyncio.gather(*held)

    with_queue(use)


def test_who_waits_does_not_pause_for_who_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE", 60.0)

    async def use(queue: WorkQueue) -> None:
        await learn(queue, "quick")
        asked = threading.Event()

        def wait(wanted: Wanted) -> None:
            entered.set()
            assert overtaken.entered.wait(PATIENCE)
            assert wanted()
            asked.set()

        entered, long, overtaken = threading.Event(), Gate(), Gate()
        task = asyncio.ensure_future(
            queue.run("a", "a", lambda wanted: wanted.aside(lambda: wait(wanted)), outside="function")
        )
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        held = await long.hold(queue)
        quick = asyncio.ensure_future(queue.run("q", "b", overtaken, "quick"))
        await overtaken.reached()
        assert await asyncio.to_thread(asked.wait, PATIENCE)
        long.open()
        overtaken.open()
        await asyncio.gather(task, held, quick)

    with_queue(use)


def test_only_so_many_are_under_way_and_others_pass() -> None:
    async def use(queue: WorkQueue) -> list[int]:
        asides = [Aside() for _ in range(8)]
        tasks = [
            asyncio.ensure_future(queue.run(aside, f"s{number}", aside, outside="function"))
            for number, aside in enumerate(asides)
        ]
        under_way = []
        for first in range(0, 8, 3):
            await until(
                lambda first=first: all(aside.entered.is_set() for aside in asides[first : first + 3])
            )
            for session in ("s7", "another"):
                assert await queue.run(session, session, lambda wanted: "passed") == "passed"
            under_way.append(sum(aside.entered.is_set() for aside in asides) - first)
            for aside in asides[first : first + 3]:
                aside.open()
        await asyncio.gather(*tasks)
        return under_way

    assert with_queue(use, outside=3) == [3, 3, 2]


def test_a_place_that_becomes_free_without_a_computation_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # At once, not when the queue looks the next time.
    monkeypatch.setattr(work, "TICK", 60.0)

    async def use(queue: WorkQueue) -> None:
        left, following = Watchful(), Aside()
        task = await left.start(queue)
        waiting = asyncio.ensure_future(queue.run(following, "b", following, outside="function"))
        await queue.run("passes", "b", lambda wanted: None)
        assert not following.entered.is_set()
        task.cancel()
        await following.reached()
        following.open()
        await waiting

    with_queue(use, outside=1)


def test_one_that_does_not_say_so_keeps_its_lane() -> None:
    order: list[str] = []

    async def use(queue: WorkQueue) -> None:
        aside = Aside("undeclared", order)
        task = asyncio.ensure_future(queue.run(aside, "a", aside))
        await aside.reached()
        other = asyncio.ensure_future(queue.run("other", "b", lambda wanted: order.append("other")))
        await asyncio.sleep(0)
        aside.open()
        await asyncio.gather(task, other)

    with_queue(use)
    assert order == ["undeclared", "other"]


def test_one_that_is_aside_already_may_say_so_again() -> None:
    async def use(queue: WorkQueue) -> Any:
        def task(wanted: Wanted) -> int:
            return wanted.aside(lambda: wanted.aside(lambda: 1)) + wanted.aside(lambda: 1)

        return await queue.run("nested", "a", task, outside="function")

    assert with_queue(use) == 2


def test_one_beyond_its_budget_ends_when_it_next_asks() -> None:
    async def use(queue: WorkQueue) -> bool:
        gate, said = Gate(), []

        def task(wanted: Wanted) -> None:
            gate()
            said.append(wanted())

        with pytest.raises(DemandError):
            await queue.run("long", "a", task)
        gate.open()
        await until(lambda: said)
        return said[0]

    assert with_queue(use, budget=0.1) is False


@dataclass
class Watch:
    """What random jobs saw."""

    in_lane: Counter[bool] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    waits: list[Gate] = field(default_factory=list)
    runs: Counter[int] = field(default_factory=Counter)

    def task(self, name: int, session: str, outside: bool, steps: list[str]) -> Callable[[Wanted], int]:
        """One that computes, waits, fails or asks as its steps say."""

        def carry_out(wanted: Any) -> int:
            self.runs[name] += 1
            self.under_way[session] += outside
            if self.under_way[session] > 2:
                self.wrong.append("too many of one session")
            try:
                for step in steps:
                    getattr(self, step)(wanted)
            finally:
                self.under_way[session] -= outside
            return name

        return carry_out

    def compute(self, wanted: Any) -> None:
        lane = wanted._job.lane
        if lane is None:
            return  # beyond its budget
        self.in_lane[lane.express] += 1
        for _ in range(3):
            # Another thread may go on here, as in the middle of a computation.
            time.sleep(0)
            if self.in_lane[lane.express] != 1 and wanted._job.lane is lane:
                self.wrong.append("two in one lane")
        self.in_lane[lane.express] -= 1

    def ask(self, wanted: Any) -> None:
        if not wanted():
            raise Unwanted

    def wait(self, wanted: Any) -> None:
        gate = Gate()

        def wait() -> None:
            self.waits.append(gate)
            end = time.monotonic() + PATIENCE
            while wanted() and not gate._open.wait(0.005):
                assert time.monotonic() < end

        wanted.aside(wait)

    def fail(self, wanted: Any) -> None:
        def wait() -> None:
            raise DemandError("on purpose")

        wanted.aside(wait)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_all_are_answered_once_and_two_never_compute_in_one_lane(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, watch = random.Random(seed), Watch()
    # With the express lane never, as ever, and whenever there is something quick.
    monkeypatch.setattr(lanes, "LONG", (60.0, lanes.LONG, 0.0)[seed % 3])

    async def use(queue: WorkQueue) -> list[Any]:
        asked: list[asyncio.Task[int]] = []
        names: list[int] = []

        def submit() -> None:
            name = len(names)
            session, outside = chance.choice("abc"), chance.random() < 0.6
            steps = chance.choices(["compute", "ask", "wait", "fail"], (8, 4, 4, 0.3), k=chance.randint(1, 6))
            task = watch.task(name, session, outside, steps)
            layer = f"layer {chance.randrange(4)}"
            for _ in range(chance.choice((1, 1, 1, 2))):
                names.append(name)
                asked.append(asyncio.ensure_future(queue.run(name, session, task, layer, outside=outside)))

        def let_go_on() -> None:
            if watch.waits:
                watch.waits.pop(chance.randrange(len(watch.waits))).open()

        def leave() -> None:
            asked[chance.randrange(len(asked))].cancel()

        submit()
        for _ in range(250):
            chance.choices([submit, let_go_on, leave], (4, 4, 1))[0]()
            if len(queue._jobs) > 40:
                let_go_on()
            await asyncio.sleep(0)
        end = time.monotonic() + PATIENCE
        while not all(task.done() for task in asked) or queue._lanes.begun:
            assert time.monotonic() < end
            let_go_on()
            await asyncio.sleep(0.001)
        with queue._lock:
            state = queue._lanes
            assert not state._returning
            assert state._ordinary.job is state._express.job is None
            assert not state._overtaking.locked()
            assert len(state._spare) <= 8 + 2
            assert len(queue._turns) == queue._turns._outside.total() == queue._turns._asking.total() == 0
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return list(zip(names, answers, strict=True))

    for name, answer in with_queue(use):
        assert answer == name or isinstance(answer, DemandError | asyncio.CancelledError), answer
        assert watch.runs[name] <= 1
    assert watch.wrong == []
