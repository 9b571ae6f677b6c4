from __future__ import annotations

import threading
from typing import Any

from geoloom import newest
from geoloom.newest import Newest


def test_many_wishes_are_carried_out_once(eventually: Any) -> None:
    done = []
    wish = Newest(lambda: done.append(1), "wish")
    for _ in range(100):
        wish.ask()
    assert wish.busy
    eventually(lambda: not wish.busy)
    assert 1 <= len(done) < 10


def test_what_is_wished_meanwhile_is_done_afterwards_and_nobody_waits(
    eventually: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(newest, "QUIET_SECONDS", 0.0)
    begun, gate, done = threading.Event(), threading.Event(), []

    def act() -> None:
        begun.set()
        assert gate.wait(30)
        done.append(1)

    wish = Newest(act, "wish")
    wish.ask()
    assert begun.wait(30)
    for _ in range(100):
        wish.ask()
    assert done == []
    gate.set()
    eventually(lambda: not wish.busy)
    assert len(done) == 2


def test_after_a_rest_or_a_failure_it_begins_anew(eventually: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(newest, "QUIET_SECONDS", 0.0)
    failures: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    done: list[int] = []
    wish = Newest(lambda: done.append(1 // len(failures)), "wish")
    wish.ask()
    eventually(lambda: not wish.busy)
    assert done == []
    assert failures[0].exc_type is ZeroDivisionError
    for times in (1, 2):
        wish.ask()
        eventually(lambda: not wish.busy)
        assert done == [1] * times
