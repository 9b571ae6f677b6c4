"""A part of the hub, with small programs in place of the real ones."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from geoloom_hub.folder import Folder, holder
from geoloom_hub.part import Part, PartError, Recipe, end_holder

SECONDS = 20.0
SLEEPS = "import sys, time; print('told', sys.stdin.read(), flush=True); time.sleep(600)"
WITH_A_CHILD = (
    "import subprocess, sys; child = subprocess.Popen(['sleep', '600'], close_fds=False);"
    "print(child.pid, flush=True); child.wait()"
)
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(600)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.open(tmp_path, 0)


@pytest.fixture
def make(folder: Folder) -> Iterator[Callable[..., Part]]:
    """Make parts; all are ended."""
    made: list[Part] = []

    def make(code: str, **more: Any) -> Part:
        settings: dict[str, Any] = {"works": lambda: True, **more}
        recipe = Recipe("part", [sys.executable, "-c", code], dict(os.environ), **settings)
        made.append(Part(recipe, folder))
        return made[-1]

    yield make
    for part in made:
        part.end(0)


def tend_until(part: Part, holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        part.tend(startable=True)
        time.sleep(0.01)


def test_it_is_told_its_secrets_where_nobody_sees_them(make: Callable[..., Part], folder: Folder) -> None:
    part = make(SLEEPS, told="requirepass hush")
    tend_until(part, lambda: part.ready and "hush" in folder.log("part").read_text())
    assert part.process is not None
    assert "hush" not in " ".join(psutil.Process(part.process.pid).cmdline())
    assert holder(folder.lock("part")) == part.process.pid
    assert os.getsid(part.process.pid) == part.process.pid


def test_it_is_started_again_after_a_pause_that_grows(make: Callable[..., Part]) -> None:
    restored: list[int] = []
    part = make(SLEEPS, restored=lambda: restored.append(1))
    pauses = []
    for starts in (1, 2, 3):
        tend_until(part, lambda starts=starts: part.ready and part.starts == starts)
        assert part.process is not None
        pauses.append(part.pause)
        part.process.kill()
        part.process.wait()
        part.tend(startable=True)
        assert not part.ready
    assert pauses[0] < pauses[1] < pauses[2]
    assert restored == [1, 1]


def test_it_waits_for_what_it_needs(make: Callable[..., Part]) -> None:
    part = make(SLEEPS)
    part.tend(startable=False)
    assert part.process is None


def test_its_children_end_with_it(make: Callable[..., Part], folder: Folder) -> None:
    part = make(WITH_A_CHILD)
    tend_until(part, lambda: part.ready and folder.log("part").read_text().endswith("\n"))
    child = psutil.Process(int(folder.log("part").read_text()))
    assert part.process is not None
    # Killed alone: what it started holds the lock, and is ended before the next start.
    part.process.kill()
    part.process.wait()
    tend_until(part, lambda: part.starts == 2)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_one_that_hangs_is_ended(make: Callable[..., Part], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [True]
    part = make(SLEEPS, works=lambda: answers[0])
    tend_until(part, lambda: part.ready)
    monkeypatch.setattr("geoloom_hub.part.CHECK_SECONDS", 0.0)
    monkeypatch.setattr("geoloom_hub.part.SILENT_SECONDS", 0.05)
    answers[0] = False
    tend_until(part, lambda: part.starts == 2 or not part.ready)
    answers[0] = True
    tend_until(part, lambda: part.ready and part.starts == 2)


def test_one_that_does_not_listen_is_killed(make: Callable[..., Part], folder: Folder) -> None:
    part = make(DEAF)
    tend_until(part, lambda: part.ready and "deaf" in folder.log("part").read_text())
    process = part.process
    assert process is not None
    part.end(0.1)
    assert process.returncode == -signal.SIGKILL
    assert part.last_lines() == ["deaf"]


def test_a_program_that_is_not_there_is_told(folder: Folder) -> None:
    part = Part(Recipe("part", ["/nowhere/valkey-server"], {}, lambda: True), folder)
    with pytest.raises(PartError, match=r"part cannot be started: .*No such file"):
        part.tend(startable=True)
    assert holder(folder.lock("part")) is None


def test_what_another_supervisor_left_is_ended(make: Callable[..., Part], folder: Folder) -> None:
    left = make(SLEEPS)
    tend_until(left, lambda: left.ready)
    assert left.process is not None
    end_holder(folder.lock("part"))
    assert holder(folder.lock("part")) is None
    assert left.process.wait(SECONDS) == -signal.SIGTERM
    end_holder(folder.lock("part"))
