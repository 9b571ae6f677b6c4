"""The caches get what nothing else takes, and give it back."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from geoloom_engine import memory as module
from geoloom_engine.cache import ENTRY_BYTES, Cache
from geoloom_engine.machine import Group, Machine, resident
from geoloom_engine.memory import MOST_EVALUATION, Memory
from geoloom_engine.settings import load

MB = 1 << 20
LIMIT = 800 * MB
TARGET = 700 * MB
"""What the process takes when the caches are full: an eighth is left for work."""
LEAST = 32 * MB

linux = pytest.mark.skipif(resident() is None, reason="needs /proc")


class Process:
    """A made-up process: what it takes is what its caches keep, and `other`."""

    def __init__(self) -> None:
        self.other = 0
        self.memory: Memory | None = None
        self.trimmed = 0
        self.freed = 0

    def resident(self) -> int:
        return self.other + self.freed + (0 if self.memory is None else self.memory.budget.bytes)


@dataclasses.dataclass(frozen=True, slots=True)
class Container(Machine):
    """A container that says what is left in it."""

    left: Callable[[], int | None] = lambda: None

    def free(self) -> int | None:
        return self.left()


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    made = Process()

    def trim() -> None:
        made.trimmed += 1
        made.freed = 0

    monkeypatch.setattr(module, "resident", made.resident)
    monkeypatch.setattr(module, "give_back", trim)
    return made


def start(process: Process, other: int, machine: Machine | None = None) -> tuple[Memory, Cache[int]]:
    process.other = other
    process.memory = Memory(LIMIT, machine or Machine(64 << 30, ()))
    return process.memory, Cache(process.memory.budget, "test")


def fill(cache: Cache[int], upto: int = 2 * LIMIT) -> None:
    for key in range(upto // MB):
        cache.put(key, key, MB - ENTRY_BYTES)


def test_the_caches_get_what_nothing_else_takes(process: Process) -> None:
    memory, cache = start(process, 200 * MB)
    fill(cache)
    assert process.resident() == TARGET
    assert process.trimmed == 0
    process.other = 250 * MB
    memory.check()
    assert memory.budget.bytes == 500 * MB  # within the room left for work: nothing goes
    fill(cache)
    assert memory.budget.bytes == 500 * MB  # and nothing more is kept
    process.other = 100 * MB
    memory.check()
    fill(cache)
    assert process.resident() == TARGET


def test_freed_memory_is_given_back_before_anything_goes_but_not_all_the_time(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    memory, cache = start(process, 200 * MB)
    fill(cache)
    for _ in range(3):
        process.freed = 150 * MB
        memory.check()
        assert (memory.budget.bytes, process.resident()) == (500 * MB, TARGET)
        now += 2 * module.TRIM_SECONDS
    assert process.trimmed == 3
    process.freed = 20 * MB
    memory.check()
    now += 0.1
    process.freed = 20 * MB
    memory.check()
    assert process.trimmed == 4


def test_they_shrink_when_the_process_takes_too_much(process: Process) -> None:
    memory, cache = start(process, 200 * MB)
    fill(cache)
    process.other = 400 * MB
    memory.check()
    assert process.resident() == LIMIT
    assert process.trimmed == 2  # before and after


def test_work_that_is_about_to_take_much_gets_its_room_before(process: Process) -> None:
    memory, cache = start(process, 200 * MB)
    fill(cache)
    memory.make_room(100 * MB)
    assert memory.budget.bytes == 500 * MB  # as much is always free
    memory.make_room(350 * MB)
    assert process.resident() == LIMIT - 350 * MB
    process.other += 350 * MB
    memory.check()
    fill(cache)
    assert process.resident() <= LIMIT
    process.other -= 350 * MB
    memory.check()
    fill(cache)
    assert process.resident() == TARGET


def test_a_process_too_large_keeps_a_little_and_is_told_once(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    memory, cache = start(process, 100 * MB)
    process.other = LIMIT + 50 * MB
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            memory.check()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "takes 50 MB more than GEOLOOM_MEMORY allows" in caplog.text
    fill(cache)
    assert memory.budget.bytes == LEAST


def test_they_shrink_when_the_container_is_nearly_full(process: Process) -> None:
    left = 10_000 * MB
    memory, cache = start(process, 200 * MB, Container(4000 * MB, (), left=lambda: left))
    fill(cache)
    assert memory.budget.bytes == 500 * MB
    left = 150 * MB  # of which 200 MB are to stay free
    memory.check()
    assert memory.budget.bytes == 450 * MB
    left = 220 * MB
    memory.check()
    fill(cache)
    assert memory.budget.bytes == 470 * MB


def test_a_group_that_limits_is_asked(process: Process, tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text(str(990 * MB))
    memory, cache = start(process, 200 * MB, Machine(1000 * MB, (Group(1000 * MB, tmp_path, 2),)))
    fill(cache)
    assert memory.budget.bytes == LEAST


def test_where_nobody_tells_what_is_taken_half_is_kept(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "resident", lambda: None)
    memory, _ = start(process, 0)
    memory.make_room(LIMIT)
    memory.check()
    assert memory.budget.limit == LIMIT // 2


def test_what_one_evaluation_may_hold_follows_the_memory(process: Process) -> None:
    assert start(process, 0)[0].evaluation == LIMIT // 2
    assert Memory(64 << 30, Machine(64 << 30, ())).evaluation == MOST_EVALUATION


def test_settings_say_how_much_and_by_default_it_is_a_share() -> None:
    assert Memory.of(load(["--memory", "400MB"], {})).limit == 400 * MB
    assert Memory.of(load(["--workers", "3"], {})).limit == Machine.here().per_worker(3)
    assert Memory.of(load([], {})).limit == Machine.here().per_worker(1)


@linux
def test_a_real_process_gives_memory_back() -> None:
    """In a process of its own: this one may have free memory from earlier tests."""
    found = subprocess.run([sys.executable, "-c", FILL], capture_output=True, text=True, check=True)
    taken, full, left = (int(word) for word in found.stdout.split())
    assert taken + 100 * MB < full < taken + 200 * MB
    assert left < taken + 30 * MB


FILL = """
import numpy as np
from geoloom_engine.cache import Cache
from geoloom_engine.machine import Machine, resident
from geoloom_engine.memory import Memory

MB = 1 << 20
taken = resident()
memory = Memory(taken + 200 * MB, Machine.here())
cache = Cache(memory.budget, "test")
for key in range(400):
    cache.put(key, np.ones(MB, np.uint8), MB)
full = resident()
memory.make_room(190 * MB)
print(taken, full, resident())
"""


@linux
def test_it_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    taken = resident()
    assert taken is not None
    memory = Memory(2 * taken + 64 * MB, Machine.here())
    memory.budget.resize(0)
    memory.watch()
    try:
        watcher = memory._watcher
        assert watcher is not None
        for _ in range(1000):
            if memory.budget.limit:
                break
            watcher.join(0.01)
        assert memory.budget.limit > 0
    finally:
        memory.close()
    assert not watcher.is_alive()
