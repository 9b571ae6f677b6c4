"""What a process had of the processors."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from geoloom_engine.sandbox import clock
from geoloom_engine.sandbox.clock import Spent, spent


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_running_is_its_own_doing() -> None:
    before = spent(os.getpid())
    burn(0.05)
    assert spent(os.getpid()).own_since(before) > 0.04


def test_without_the_schedulers_figures_the_clock_of_the_process_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hidden(path: Path) -> bytes:
        raise PermissionError(path)

    monkeypatch.setattr(clock.Path, "read_bytes", hidden)
    before = spent(os.getpid())
    assert before.waited is None
    burn(0.05)
    assert spent(os.getpid()).own_since(before) > 0.04


def test_of_a_process_that_is_gone_only_the_wall_is_known() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    found = spent(pid)
    assert found.ran is None
    assert found.waited is None


def test_waiting_counts_where_it_is_known() -> None:
    assert Spent(15, 1.5, 6).waited_since(Spent(10, 1, 2)) == 4
    assert Spent(15, 1.5, None).waited_since(Spent(10, 1, 2)) == 0
    assert Spent(15, 1.5, 6).waited_since(Spent(10, 1, None)) == 0


@pytest.mark.parametrize(
    ("before", "after", "own"),
    [
        (Spent(10, 1, 2), Spent(15, 1.5, 6), 1.0),  # of 5 s it waited for 4
        (Spent(10, 1, 2), Spent(15, 1, 2), 5.0),  # it slept
        (Spent(10, 1, None), Spent(15, 1.5, None), 0.5),
        (Spent(10, None, None), Spent(15, None, None), 5.0),
        (Spent(10, 1, 2), Spent(15, None, None), 5.0),
        (Spent(10, 1, 2), Spent(15, 1, 9), 0.0),
    ],
)
def test_waiting_is_not_its_own_doing(before: Spent, after: Spent, own: float) -> None:
    assert after.own_since(before) == pytest.approx(own)
