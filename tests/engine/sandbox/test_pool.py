"""The pool: users' functions in processes of their own, whatever becomes of those."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from geoloom.errors import (
    DemandError,
    EngineOverloaded,
    FunctionFailed,
    FunctionRefused,
    FunctionStopped,
)
from geoloom_engine.sandbox import pool
from geoloom_engine.sandbox.launch import Launcher
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.messages import Notice
from geoloom_engine.sandbox.remote import GRACE, End, NoReply, Remote
from geoloom_engine.sandbox.strikes import Strikes
from geoloom_engine.sandbox.task import Call
from geoloom_engine.sandbox.verdict import Verdicts
from geoloom_engine.unwanted import Unwanted

if TYPE_CHECKING:
    from conftest import Sandbox, StartSandbox

FIRST = "def f(img):\n    return img[0]"
FOREVER = "def f(img):\n    while True:\n        pass"
CRASH = "def f(img):\n    numpy.ctypeslib.ctypes.string_at(0)"
EXIT = "def f(img):\n    numpy.ctypeslib.ctypes.CDLL(None)._exit(3)"
KILL = "def f(img):\n    getattr(numpy.ctypeslib.ctypes.CDLL(None), 'raise')(9)"
COUNT = "def f(img):\n    numpy.count = getattr(numpy, 'count', 0) + 1\n    return img[0] * 0 + numpy.count"
UNLOCKED = LockLevel(seccomp=False, landlock=False, drop_uid=False)
RAMP = np.arange(20).reshape(1, 4, 5)


@pytest.fixture(
    params=[(LockLevel(), True), (UNLOCKED, True), (UNLOCKED, False)], ids=["locked", "unlocked", "elsewhere"]
)
def sandbox(start: StartSandbox, request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox that is locked, one that is not, and one that does without all that only Linux has."""
    lock, packets = request.param
    return start(lock=lock, packets=packets)


def value(answer: Any) -> float:
    """The one value of all pixels."""
    (found,) = np.unique(answer.block.data)
    return float(found)


def alive(sandbox: Sandbox) -> list[psutil.Process]:
    """The zygote's children, dead ones that nobody buried included."""
    return psutil.Process(sandbox.launcher.pid).children()


class TestCalls:
    def test_pixels_come_in_a_wider_dtype_and_prints_come_back(self, sandbox: Sandbox) -> None:
        answer = sandbox.run("def f(img, a):\n    print(img.dtype)\n    return img[0] - img[1] * a", 3)
        np.testing.assert_array_equal(answer.block.data, RAMP - 3.0 * (RAMP + 20))
        assert answer.block.valid.all()
        assert answer.printed == "int32"

    def test_the_image_may_be_changed_and_is_right_for_the_next_tile(self, sandbox: Sandbox) -> None:
        for _ in range(3):
            answer = sandbox.run("def f(img):\n    img += 1", dtype="int32", bands=2)
            np.testing.assert_array_equal(answer.block.data[:1], RAMP + 1)

    def test_the_older_style_works(self, sandbox: Sandbox) -> None:
        source = (
            "def f(limit=3):\n    global img\n    img = numpy.ones_like(band0)\n    img[band0 > limit] = 0"
        )
        assert sandbox.run(source, 10, dtype="int32").block.data.sum() == 11

    def test_gaps_go_in_and_come_out(self, sandbox: Sandbox) -> None:
        valid = np.ones((2, 4, 5), np.bool_)
        valid[0, 1, 1] = valid[1, 2, 2] = False
        block = sandbox.run(FIRST, valid=valid).block
        assert np.argwhere(~block.valid[0]).tolist() == [[1, 1], [2, 2]]
        assert block.data[0, 1, 1] == 0

    def test_a_margin_is_given_and_cut_off(self, sandbox: Sandbox) -> None:
        image = np.arange(2 * 6 * 7, dtype=np.float32).reshape(2, 6, 7)
        source = "def f(img, grid):\n    assert img.shape == (2, 6, 7)\n    return img[0] + grid.margin"
        answer = sandbox.run(source, image=image, margin=1, dtype="float32")
        np.testing.assert_array_equal(answer.block.data, image[:1, 1:-1, 1:-1] + 1)

    @pytest.mark.parametrize(
        "dtype",
        ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"],
    )
    def test_all_dtypes_go_both_ways(self, start: StartSandbox, dtype: str) -> None:
        image = (np.arange(40).reshape(2, 4, 5) % 2).astype(dtype)
        answer = start().run(FIRST, image=image, dtype=dtype)
        assert answer.block.data.dtype == dtype
        np.testing.assert_array_equal(answer.block.data, image[:1])

    def test_a_failure_names_its_line(self, sandbox: Sandbox) -> None:
        with pytest.raises(FunctionFailed) as caught:
            sandbox.run("import numpy as np\n\ndef f(img):\n    a = 1\n    return img[7]")
        error = caught.value
        assert (error.function, error.line, error.text) == ("f", 3, "return img[7]")
        assert error.exception is not None
        assert error.exception.startswith("IndexError: ")
        assert value(sandbox.run("def f(img):\n    return img[0] * 0 + 5")) == 5

    def test_a_large_tile_after_a_small_one_gets_a_larger_worker(self, sandbox: Sandbox) -> None:
        assert sandbox.run(FIRST).block.data.shape == (1, 4, 5)
        large = np.full((2, 700, 800), 9, np.float64)
        assert value(sandbox.run(FIRST, image=large)) == 9
        assert sandbox.run(FIRST).block.data.shape == (1, 4, 5)
        assert sandbox.pool.state()["spawned"] == 2

    def test_a_crash_is_told_and_the_next_tile_is_right(self, sandbox: Sandbox) -> None:
        with pytest.raises(FunctionStopped, match=r"f was stopped: it crashed \(segmentation fault\)\."):
            sandbox.run(CRASH)
        assert value(sandbox.run("def f(img):\n    return img[0] * 0 + 5")) == 5


class TestWorkers:
    def test_one_stays_for_the_next_tile_of_its_function(self, start: StartSandbox) -> None:
        sandbox = start()
        assert [value(sandbox.run(COUNT)) for _ in range(3)] == [1, 2, 3]
        assert sandbox.pool.state()["spawned"] == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"session": "another"},
            {"source": COUNT + " "},
            {"source": COUNT + "\ng = f", "name": "g"},
        ],
    )
    def test_one_is_never_handed_to_another(self, start: StartSandbox, other: dict[str, str]) -> None:
        sandbox = start()
        sandbox.run(COUNT)
        assert value(sandbox.run(**{"source": COUNT, **other})) == 1

    def test_two_tiles_at_once_have_a_worker_each(
        self, start: StartSandbox, wait_until: Callable[..., Any]
    ) -> None:
        sandbox = start()
        let_go = threading.Event()
        with ThreadPoolExecutor(2) as threads:
            both = [
                threads.submit(sandbox.run, FOREVER, wanted=lambda: not let_go.is_set()) for _ in range(2)
            ]
            wait_until(lambda: sandbox.pool.state()["spawned"] == 2)
            let_go.set()
            for one in both:
                with pytest.raises(Unwanted):
                    one.result()

    def test_many_threads_get_their_own_answers(self, start: StartSandbox) -> None:
        sandbox = start(seconds=60.0, workers=3)

        def tile(number: int) -> float:
            source = "def f(img, number):\n    return img[0] * 0 + number"
            return value(sandbox.run(source, number, session=str(number % 5)))

        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(tile, range(60))) == list(range(60))

    def test_what_a_function_did_with_other_arguments_reaches_nobody(self, start: StartSandbox) -> None:
        sandbox = start()
        source = COUNT.replace("def f(img)", "def f(img, which)")
        assert [value(sandbox.run(source, which)) for which in (1, 1, 2, 1, 2)] == [1, 2, 1, 3, 2]

    def test_the_longest_unused_makes_room(self, start: StartSandbox) -> None:
        sandbox = start(workers=2)
        for session in ("a", "b", "a", "c"):
            sandbox.run(COUNT, session=session)
        assert sandbox.pool.state()["live"] == 2
        assert value(sandbox.run(COUNT, session="a")) == 3
        assert value(sandbox.run(COUNT, session="b")) == 1

    def test_there_are_never_more_than_allowed(
        self, start: StartSandbox, wait_until: Callable[..., Any]
    ) -> None:
        sandbox = start(workers=1)
        let_go = threading.Event()
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(sandbox.run, FOREVER, wanted=lambda: not let_go.is_set())
            wait_until(lambda: sandbox.pool.state()["live"] == 1)
            asked = []

            def wanted() -> bool:
                asked.append(sandbox.pool.state()["live"])
                if len(asked) == 5:
                    let_go.set()
                return True

            assert value(sandbox.run(COUNT, session="b", wanted=wanted)) == 1
            assert set(asked[:5]) == {1}
            with pytest.raises(Unwanted):
                running.result()

    def test_who_waits_for_a_worker_may_leave(
        self, start: StartSandbox, wait_until: Callable[..., Any]
    ) -> None:
        sandbox = start(workers=1)
        let_go = threading.Event()
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(sandbox.run, FOREVER, wanted=lambda: not let_go.is_set())
            wait_until(lambda: sandbox.pool.state()["live"] == 1)
            answers = iter([True, True, False])
            with pytest.raises(Unwanted):
                sandbox.run(COUNT, session="b", wanted=lambda: next(answers))
            let_go.set()
            with pytest.raises(Unwanted):
                running.result()

    def test_nobody_waits_for_a_worker_without_end(
        self, start: StartSandbox, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool, "PATIENCE", 0.05)
        sandbox = start(workers=1)
        let_go = threading.Event()
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(sandbox.run, FOREVER, wanted=lambda: not let_go.is_set())
            wait_until(lambda: sandbox.pool.state()["live"] == 1)
            with pytest.raises(EngineOverloaded):
                sandbox.run(COUNT, session="b")
            let_go.set()
            with pytest.raises(Unwanted):
                running.result()

    def test_one_that_idles_is_ended(self, start: StartSandbox, wait_until: Callable[..., Any]) -> None:
        sandbox = start(idle=0.05)
        sandbox.run(COUNT)
        wait_until(lambda: sandbox.pool.state()["live"] == 0)
        wait_until(lambda: not alive(sandbox))
        assert value(sandbox.run(COUNT)) == 1

    def test_one_with_much_memory_does_not_stay(
        self, start: StartSandbox, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool, "KEPT", 1 << 20)
        sandbox = start()
        sandbox.run(COUNT)
        assert sandbox.pool.state()["live"] == 0
        wait_until(lambda: not alive(sandbox))
        assert value(sandbox.run(COUNT)) == 1

    def test_one_that_ended_between_two_tiles_is_replaced(
        self, start: StartSandbox, wait_until: Callable[..., Any]
    ) -> None:
        sandbox = start()
        sandbox.run(COUNT)
        (worker,) = alive(sandbox)
        worker.kill()
        wait_until(lambda: not alive(sandbox))
        assert value(sandbox.run(COUNT)) == 1

    def test_state_counts(self, start: StartSandbox) -> None:
        sandbox = start()
        charged: list[float] = []
        sandbox.pool.charge = lambda session, seconds: charged.append(seconds)
        sandbox.run(COUNT)
        with pytest.raises(Unwanted):
            sandbox.run(FOREVER, wanted=lambda: sandbox.pool.state()["spawned"] == 1)
        state = sandbox.pool.state()
        assert {name: state[name] for name in ("calls", "spawned", "killed", "live", "quarantined")} == {
            "calls": 2,
            "spawned": 2,
            "killed": 1,
            "live": 1,
            "quarantined": 0,
        }
        assert state["seconds"] > GRACE
        # What was ended is charged as well.
        assert len(charged) == 2
        assert sum(charged) == pytest.approx(state["seconds"])


class TestSpare:
    """A worker that is kept ready for whoever comes next."""

    @staticmethod
    def ready(sandbox: Sandbox, wait_until: Callable[..., Any]) -> int:
        """The spare worker's process, once there is one."""
        wait_until(lambda: sandbox.pool._spare is not None)
        assert sandbox.pool._spare is not None
        return sandbox.pool._spare.pid

    def begun(self, start: StartSandbox, wait_until: Callable[..., Any]) -> tuple[Sandbox, int]:
        """A sandbox in which a function has run, and its spare worker's process."""
        sandbox = start(spare=True)
        sandbox.run(FIRST)
        return sandbox, self.ready(sandbox, wait_until)

    @pytest.mark.parametrize("packets", [True, False])
    def test_the_next_function_gets_it_and_another_is_made(
        self, start: StartSandbox, wait_until: Callable[..., Any], packets: bool
    ) -> None:
        sandbox = start(spare=True, packets=packets, lock=LockLevel() if packets else UNLOCKED)
        assert sandbox.pool._spare is None
        seen = set()
        for session in range(3):
            assert value(sandbox.run(COUNT, session=str(session))) == 1
            assert value(sandbox.run(COUNT, session=str(session))) == 2
            spare = self.ready(sandbox, wait_until)
            assert spare not in seen
            seen.add(spare)
            assert len(alive(sandbox)) == sandbox.pool.state()["live"] == session + 2
        owned = {remote.pid for remote in sandbox.pool._owners}
        assert owned >= {pid for pid in seen if pid != spare}

    def test_it_has_seen_no_function_but_its_own(
        self, start: StartSandbox, wait_until: Callable[..., Any]
    ) -> None:
        sandbox = start(spare=True)
        sandbox.run("def f(img):\n    numpy.secret = 1\n    return img[0]", session="a")
        self.ready(sandbox, wait_until)
        look = "def f(img):\n    return img[0] * 0 + hasattr(numpy, 'secret') + ('rehearse' in globals())"
        assert value(sandbox.run(look, session="b")) == 0

    def test_one_that_is_too_small_is_ended_and_a_larger_one_made(
        self, start: StartSandbox, wait_until: Callable[..., Any]
    ) -> None:
        sandbox, small = self.begun(start, wait_until)
        image = np.ones((1, 1024, 1024), np.int32)
        assert value(sandbox.run(FIRST, session="b", image=image)) == 1
        wait_until(lambda: small not in [process.pid for process in alive(sandbox)])
        large = self.ready(sandbox, wait_until)
        assert value(sandbox.run(FIRST, session="c", image=image)) == 1
        assert large in {remote.pid for remote in sandbox.pool._owners}

    @pytest.mark.parametrize(("modules", "taken"), [(("numpy", "math"), True), (("scipy",), False)])
    def test_one_that_lacks_modules_is_not_for_who_needs_them(
        self, start: StartSandbox, wait_until: Callable[..., Any], modules: tuple[str, ...], taken: bool
    ) -> None:
        sandbox, light = self.begun(start, wait_until)
        assert sandbox.pool._spare is not None
        sandbox.pool._spare.whole = False
        sandbox.run(COUNT, session="b", modules=modules)
        assert (light in {remote.pid for remote in sandbox.pool._owners}) is taken
        assert self.ready(sandbox, wait_until) != light
        assert all(remote.whole for remote in sandbox.pool._owners) is not taken

    def test_one_that_died_is_not_missed(self, start: StartSandbox, wait_until: Callable[..., Any]) -> None:
        sandbox, spare = self.begun(start, wait_until)
        os.kill(spare, signal.SIGKILL)
        wait_until(lambda: spare not in [process.pid for process in alive(sandbox)])
        assert value(sandbox.run(COUNT, session="b")) == 1

    def test_it_ends_when_no_function_is_used(
        self, start: StartSandbox, wait_until: Callable[..., Any]
    ) -> None:
        sandbox, _ = self.begun(start, wait_until)
        sandbox.pool._limits = replace(sandbox.pool._limits, idle=0.05)
        wait_until(lambda: sandbox.pool.state()["live"] == 0)
        wait_until(lambda: not alive(sandbox))
        assert value(sandbox.run(COUNT)) == 1

    def test_closing_ends_it_also_while_it_is_made(
        self, start: StartSandbox, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        making = threading.Event()
        rehearse = Remote.rehearse

        def slowly(self: Remote, wanted: Callable[[], bool]) -> None:
            making.set()
            wait_until(lambda: not wanted())
            rehearse(self, wanted)

        monkeypatch.setattr(Remote, "rehearse", slowly)
        sandbox = start(spare=True)
        sandbox.run(FIRST)
        assert making.wait(60)
        sandbox.pool.close()
        wait_until(lambda: not alive(sandbox))
        assert sandbox.pool.state()["live"] == 0

    def test_functions_run_where_none_can_be_made(
        self, start: StartSandbox, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = []

        def fail(self: Remote, wanted: Callable[[], bool]) -> None:
            tried.append(self.pid)
            raise NoReply(End.LATE)

        monkeypatch.setattr(Remote, "rehearse", fail)
        sandbox = start(spare=True)
        for times, session in enumerate("ab", 1):
            assert value(sandbox.run(COUNT, session=session)) == 1
            wait_until(lambda times=times: len(tried) == times)
        wait_until(lambda: len(alive(sandbox)) == 2)
        assert sandbox.pool._spare is None

    def test_workers_are_looked_after_where_none_can_be_made(
        self, start: StartSandbox, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sandbox = start(spare=True)
        made: Any = sandbox.pool._made

        def none(*_: Any) -> Remote:
            if threading.current_thread().name == "sandbox":
                raise OSError(24, "Too many open files")
            return made(*_)

        monkeypatch.setattr(sandbox.pool, "_made", none)
        sandbox.run(FIRST)
        wait_until(lambda: sandbox.pool._spare_for is None)
        sandbox.pool._limits = replace(sandbox.pool._limits, idle=0.05)
        wait_until(lambda: sandbox.pool.state()["live"] == 0)
        wait_until(lambda: not alive(sandbox))


def charge(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Have so much of the limit be a late function's own doing, whatever else this machine does."""
    judge = Verdicts.stopped

    def stopped(self: Verdicts, call: Call, key: str, lost: NoReply, notice: Notice | None) -> Exception:
        lost.own = share * self._limits.seconds
        return judge(self, call, key, lost, notice)

    monkeypatch.setattr(Verdicts, "stopped", stopped)


class TestStops:
    def test_a_tile_that_takes_too_long_is_stopped(
        self, start: StartSandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charge(monkeypatch, 1.0)
        sandbox = start(seconds=0.2)
        with pytest.raises(FunctionStopped, match=r"longer than 0\.2 s.*GEOLOOM_FUNCTION_TIMEOUT") as caught:
            sandbox.run(FOREVER)
        assert "GEOLOOM_FUNCTION_TIMEOUT" in str(caught.value)
        assert alive(sandbox) == []

    def test_a_machine_that_is_busy_is_nobodys_fault(
        self, start: StartSandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charge(monkeypatch, 0.0)
        sandbox = start(seconds=1.0)
        for _ in range(3):
            with pytest.raises(EngineOverloaded):
                sandbox.run(FOREVER)

    def test_one_that_never_ends_is_told_on_a_busy_machine_too(
        self, start: StartSandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charge(monkeypatch, 0.3)
        sandbox = start(seconds=1.0)
        for kind in (EngineOverloaded, FunctionStopped, EngineOverloaded):
            with pytest.raises(kind):
                sandbox.run(FOREVER)

    def test_three_times_is_the_end(self, start: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        charge(monkeypatch, 1.0)
        sandbox = start(seconds=0.1, strikes=Strikes())
        for _ in range(3):
            with pytest.raises(FunctionStopped):
                sandbox.run(FOREVER)
        with pytest.raises(FunctionRefused, match=r"not run any more: it took longer than 0\.1 s"):
            sandbox.run(FOREVER)
        assert sandbox.pool.state()["quarantined"] == 1
        with pytest.raises(FunctionStopped):
            sandbox.run(FOREVER, session="another")
        with pytest.raises(FunctionStopped):
            sandbox.run(FOREVER + "\n    # changed")

    def test_quarantine_is_of_these_arguments(self, start: StartSandbox) -> None:
        sandbox = start()
        source = (
            "def f(img, bad):\n    if bad:\n        numpy.ctypeslib.ctypes.string_at(0)\n    return img[0]"
        )
        for _ in range(3):
            with pytest.raises(FunctionStopped):
                sandbox.run(source, True)
        with pytest.raises(FunctionRefused):
            sandbox.run(source, True)
        sandbox.run(source, False)

    def test_failures_are_no_strikes(self, start: StartSandbox) -> None:
        sandbox = start()
        for _ in range(5):
            with pytest.raises(FunctionFailed):
                sandbox.run("def f(img):\n    return img[9]")
        assert sandbox.pool.state()["spawned"] == 1

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            (EXIT, r"it ended its process \(status 3\)"),
            (KILL, "it was killed, perhaps because the machine ran out of memory"),
            (CRASH, "segmentation fault"),
        ],
    )
    def test_its_end_is_told_in_words(self, start: StartSandbox, source: str, reason: str) -> None:
        with pytest.raises(FunctionStopped, match=reason):
            start(lock=UNLOCKED).run(source)

    def test_one_that_is_killed_from_outside_is_tried_once_more(self, start: StartSandbox) -> None:
        sandbox = start(spare=False)
        killed: list[int] = []

        def wanted() -> bool:
            for process in alive(sandbox):
                if len(killed) < 2 and process.pid not in killed and process.cpu_times().user > 0.05:
                    killed.append(process.pid)
                    process.kill()
            return True

        with pytest.raises(FunctionStopped, match="it was killed"):
            sandbox.run(FOREVER, wanted=wanted)
        assert len(killed) == 2
        assert sandbox.pool.state()["spawned"] == 2

    def test_too_much_memory_is_a_failure_with_the_limit(self, start: StartSandbox) -> None:
        sandbox = start(memory=200 << 20)
        with pytest.raises(FunctionFailed, match="MemoryError") as caught:
            sandbox.run("def f(img):\n    return numpy.ones((1 << 20, 100))")
        assert caught.value.hint is not None
        assert "200 MB" in caught.value.hint
        assert "GEOLOOM_FUNCTION_MEMORY" in caught.value.hint
        answer = sandbox.run("def f(img):\n    numpy.ones((1 << 20, 10))\n    return img[0]")
        np.testing.assert_array_equal(answer.block.data, RAMP)

    def test_a_tile_beyond_the_limits_is_refused(self, start: StartSandbox) -> None:
        sandbox = start(input=1 << 20, output=1 << 20)
        image = np.zeros((2, 300, 300), np.int64)
        with pytest.raises(DemandError, match="pixels of this tile"):
            sandbox.run(FIRST, image=image)
        with pytest.raises(DemandError, match="result of this tile"):
            sandbox.run(FIRST, bands=10_000)
        assert sandbox.pool.state()["spawned"] == 0

    def test_what_nobody_wants_is_not_begun(self, start: StartSandbox) -> None:
        sandbox = start()
        with pytest.raises(Unwanted):
            sandbox.run(FIRST, wanted=lambda: False)
        assert sandbox.pool.state()["spawned"] == 0

    def test_what_nobody_wants_any_more_is_killed_without_a_strike(self, start: StartSandbox) -> None:
        sandbox = start()
        for number in range(4):
            with pytest.raises(Unwanted):
                sandbox.run(FOREVER, wanted=lambda n=number: sandbox.pool.state()["spawned"] == n)
        assert sandbox.pool.state()["killed"] == 4
        assert alive(sandbox) == []

    def test_what_is_asked_to_be_wanted_may_fail(self, start: StartSandbox) -> None:
        sandbox = start(workers=1)

        def fails() -> bool:
            raise RuntimeError("no more")

        answers = iter([lambda: True, lambda: True, fails])
        with pytest.raises(RuntimeError):
            sandbox.run(FOREVER, wanted=lambda: next(answers)())
        # Its worker still computes that tile: it cannot be given to the next.
        np.testing.assert_array_equal(sandbox.run(FIRST).block.data, RAMP)


class TestZygotes:
    @pytest.fixture
    def launcher(self) -> Any:
        found = Launcher(1, LockLevel(), ("numpy",))
        found.start()
        yield found
        found.stop()

    def test_a_new_one_is_noticed_by_nobody(
        self, start: StartSandbox, launcher: Launcher, wait_until: Callable[..., Any]
    ) -> None:
        sandbox = start(launcher=launcher)
        sandbox.run(COUNT)
        (worker,) = alive(sandbox)
        for _ in range(2):
            assert launcher.pid is not None
            os.kill(launcher.pid, signal.SIGKILL)
            launcher.restart()
            assert value(sandbox.run(COUNT)) == 1
        wait_until(lambda: not worker.is_running(), what="the end of the first zygote's worker")

    def test_one_that_dies_during_a_tile_costs_a_try(self, start: StartSandbox, launcher: Launcher) -> None:
        sandbox = start(launcher=launcher)
        tries = []

        def wanted() -> bool:
            spawned = sandbox.pool.state()["spawned"]
            if not tries and spawned == 1:
                tries.append(launcher.pid)
                os.kill(launcher.pid or 0, signal.SIGKILL)
                launcher.restart()
            return spawned < 2

        with pytest.raises(Unwanted):
            sandbox.run(FOREVER, wanted=wanted)
        assert len(tries) == 1
        assert sandbox.pool.state()["spawned"] == 2

    def test_without_one_a_call_ends(
        self, start: StartSandbox, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from geoloom_engine.sandbox import channel

        sandbox = start(launcher=launcher)
        os.kill(launcher.pid or 0, signal.SIGKILL)
        monkeypatch.setattr(channel, "FIRST_PATIENCE", 0.1)
        with pytest.raises(EngineOverloaded, match="too busy to start"):
            sandbox.run(FIRST)


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("packets", [True, False])
def test_nothing_is_left_behind(
    start: StartSandbox, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, packets: bool
) -> None:
    charge(monkeypatch, 1.0)
    start(lock=UNLOCKED, packets=packets).run(FIRST)  # the zygote is warm
    before, threads = descriptors(), threading.active_count()
    sandbox = start(lock=UNLOCKED, packets=packets, workers=3)
    theirs = len(list(Path(f"/proc/{sandbox.launcher.pid}/fd").iterdir()))
    for number in range(4):
        sandbox.run(COUNT, session=str(number))
        for source in (CRASH, EXIT, "def f(img):\n    return img[9]", "def f(img:"):
            with pytest.raises((FunctionStopped, FunctionFailed)):
                sandbox.run(source, number)
        spawned = sandbox.pool.state()["spawned"]
        with pytest.raises(Unwanted):
            sandbox.run(FOREVER, wanted=lambda n=spawned: sandbox.pool.state()["spawned"] == n)
    sandbox.pool.close()
    impatient = start(lock=UNLOCKED, packets=packets, seconds=0.1)
    with pytest.raises(FunctionStopped):
        impatient.run(FOREVER)
    impatient.pool.close()
    wait_until(lambda: len(alive(sandbox)) <= 1, what="the burial of all")  # the first pool's
    assert descriptors() == before
    assert len(list(Path(f"/proc/{sandbox.launcher.pid}/fd").iterdir())) == theirs
    assert threading.active_count() == threads


def test_closing_ends_what_waits(start: StartSandbox, wait_until: Callable[..., Any]) -> None:
    sandbox = start()
    sandbox.run(FIRST)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(sandbox.run, FOREVER)
        wait_until(lambda: sandbox.pool.state()["live"] == 2)
        sandbox.pool.close()
        with pytest.raises(Unwanted):
            running.result()
    # One that was just being made ends by itself.
    wait_until(lambda: not alive(sandbox))
    with pytest.raises(Unwanted):
        sandbox.run(FIRST)
    sandbox.pool.close()
