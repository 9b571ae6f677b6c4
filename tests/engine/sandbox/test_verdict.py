"""What is said of a tile that a function did not compute, and what counts against the function."""

from __future__ import annotations

import signal

import pytest

from geoloom.errors import EngineFault, EngineOverloaded, FunctionFailed, FunctionRefused, FunctionStopped
from geoloom_engine.sandbox import verdict
from geoloom_engine.sandbox.limits import Limits
from geoloom_engine.sandbox.messages import Notice, What
from geoloom_engine.sandbox.remote import End, NoReply
from geoloom_engine.sandbox.strikes import Strikes
from geoloom_engine.sandbox.task import Call
from geoloom_engine.sandbox.verdict import Verdicts
from geoloom_engine.unwanted import Unwanted

CALL = Call("me", b"", "f", "[[],{}]", (), (), "float32", 1, 0)


class Court:
    """Verdicts, and the strikes they lead to."""

    def __init__(self) -> None:
        self.strikes = Strikes()
        self.verdicts = Verdicts(Limits(seconds=5.0, memory=512 << 20, workers=1), self.strikes)

    def stopped(self, end: End, own: float = 0.0, status: int = 0) -> Exception:
        notice = Notice(What.END, 1, 77, status)
        return self.verdicts.stopped(CALL, "key", NoReply(end, own, "no seccomp"), notice)

    @property
    def out(self) -> bool:
        try:
            self.strikes.check("key", "f")
        except FunctionRefused:
            return True
        return False


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-signal.SIGSEGV, "it crashed (segmentation fault)"),
        (-signal.SIGKILL, "it was killed, perhaps because the machine ran out of memory"),
        (-signal.SIGSYS, "it asked the system for what a function may not have"),
        (-signal.SIGUSR1, f"it ended its process (signal {signal.SIGUSR1:d})"),
        (0, "it ended its process (status 0)"),
        (3, "it ended its process (status 3)"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(court: Court, status: int, words: str) -> None:
    error = court.stopped(End.DIED, status=status)
    assert isinstance(error, FunctionStopped)
    assert error.message == f"f was stopped: {words}."


@pytest.mark.parametrize("end", [End.DIED, End.WRONG])
def test_three_ends_are_enough(court: Court, end: End) -> None:
    for _ in range(2):
        assert isinstance(court.stopped(end), FunctionStopped)
        assert not court.out
    court.stopped(end)
    assert court.out


def test_a_whole_limit_counts_whole(court: Court) -> None:
    for _ in range(3):
        error = court.stopped(End.LATE, own=7.0)
        assert isinstance(error, FunctionStopped)
        assert "longer than 5 s" in error.message
        assert "GEOLOOM_FUNCTION_TIMEOUT" in str(error.hint)
    assert court.out


def test_half_a_limit_counts_half(court: Court) -> None:
    for _ in range(5):
        assert isinstance(court.stopped(End.LATE, own=2.6), FunctionStopped)
        assert not court.out
    court.stopped(End.LATE, own=2.6)
    assert court.out


def test_a_busy_machine_is_nobodys_fault(court: Court) -> None:
    for _ in range(20):
        assert isinstance(court.stopped(End.LATE, own=2.0), EngineOverloaded)
        court.verdicts.done("key")  # another tile of it is done in between
    assert not court.out


def test_a_function_that_never_ends_is_found_on_a_busy_machine_too(court: Court) -> None:
    errors = [court.stopped(End.LATE, own=1.0) for _ in range(18)]
    assert [isinstance(error, FunctionStopped) for error in errors] == [False, False, True] * 6
    assert court.out


def test_functions_that_never_ended_are_not_remembered_for_ever(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "MOST", 2)
    for key in ("a", "b", "c", "a"):
        lost = court.verdicts.stopped(CALL, key, NoReply(End.LATE, own=2.0), None)
        assert isinstance(lost, EngineOverloaded), key
    assert isinstance(court.verdicts.stopped(CALL, "c", NoReply(End.LATE, own=2.0), None), FunctionStopped)


def test_what_is_not_its_doing_does_not_count(court: Court) -> None:
    for _ in range(5):
        assert isinstance(court.stopped(End.UNWANTED), Unwanted)
        assert isinstance(court.stopped(End.UNLOCKED), EngineFault)
    assert not court.out


def test_why_a_process_could_not_be_locked_is_logged_only(
    court: Court, caplog: pytest.LogCaptureFixture
) -> None:
    assert "seccomp" not in str(court.stopped(End.UNLOCKED))
    assert "no seccomp" in caplog.text


@pytest.mark.parametrize("exception", ["MemoryError", "MemoryError: Unable", "_ArrayMemoryError: Unable"])
def test_want_of_memory_is_explained(court: Court, exception: str) -> None:
    error = court.verdicts.explained(FunctionFailed("f failed.", exception=exception))
    assert "512 MB" in str(error.hint)
    assert "GEOLOOM_FUNCTION_MEMORY" in str(error.hint)


def test_other_failures_are_left_alone(court: Court) -> None:
    error = court.verdicts.explained(
        FunctionFailed("f failed.", hint="so", exception="IndexError: MemoryError")
    )
    assert error.hint == "so"
