"""The zygote: forks what is ordered, buries what ended, and takes nonsense calmly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from geoloom_engine.sandbox import arena, wire
from geoloom_engine.sandbox.launch import Launcher
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.messages import (
    NOTICE_SIZE,
    REPLY_SIZE,
    Notice,
    Order,
    Outcome,
    Reply,
    What,
    forget,
)
from geoloom_engine.sandbox.worker import NICENESS

WaitUntil = Callable[..., Any]
SIZE = 1 << 20


class Line:
    """One end of a channel, by hand."""

    def __init__(self, launcher: Launcher) -> None:
        self.connection = launcher.channel(0)
        self.zygote = psutil.Process(launcher.pid)

    def next(self) -> tuple[Notice, list[int]]:
        assert wire.wait(self.connection, 60)
        content, handles = wire.receive(self.connection, NOTICE_SIZE, 1) or (b"", [])
        return Notice.unpack(content), handles

    def spawn(self, number: int) -> tuple[Notice, list[int], socket.socket]:
        job, theirs = wire.pair(wire.has_packets(self.connection))
        descriptors = [arena.reserve(SIZE), arena.reserve(SIZE)]
        order = Order(What.SPAWN, number, 64 << 20, SIZE, SIZE, whole=True)
        wire.send(self.connection, order.pack(), (theirs.fileno(), *descriptors))
        wire.close(descriptors)
        theirs.close()
        notice, handles = self.next()
        assert wire.wait(job, 60)
        assert Reply.unpack(job.recv(REPLY_SIZE)) == Reply(Outcome.READY, number)
        return notice, handles, job

    def end(self, number: int) -> Notice:
        wire.send(self.connection, Order(What.END, number).pack())
        return self.next()[0]


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    found = Launcher(1, LockLevel(seccomp=False, landlock=False, drop_uid=False), ("math",))
    found.start()
    yield found
    found.stop()


@pytest.fixture
def line(launcher: Launcher) -> Line:
    found = Line(launcher)
    assert found.next() == (Notice(What.HELLO, 0), [])
    return found


def test_a_worker_is_forked_and_its_handle_is_its_own(line: Line) -> None:
    notice, handles, job = line.spawn(1)
    (worker,) = line.zygote.children()
    assert notice == Notice(What.SPAWN, 1, worker.pid, 1)
    signal.pidfd_send_signal(handles[0], signal.SIGKILL)
    assert line.end(1).status == -signal.SIGKILL
    wire.close(handles)
    job.close()


def test_a_worker_ends_when_its_socket_is_closed_and_is_buried(line: Line, wait_until: WaitUntil) -> None:
    _, handles, job = line.spawn(1)
    job.close()
    wait_until(lambda: not line.zygote.children())
    assert line.end(1).status == 0
    assert line.end(1).what is What.UNKNOWN
    wire.close(handles)


def test_a_worker_is_ended_when_it_is_ordered(line: Line) -> None:
    notice, handles, job = line.spawn(7)
    found = line.end(7)
    assert (found.what, found.number, found.pid, found.status) == (What.END, 7, notice.pid, -9)
    assert found.processor > 0
    assert line.zygote.children() == []
    wire.close(handles)
    job.close()


def test_workers_step_back_and_go_first_when_memory_runs_out(line: Line) -> None:
    _, handles, job = line.spawn(1)
    (worker,) = line.zygote.children()
    assert worker.nice() == line.zygote.nice() + NICENESS
    assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"
    wire.close(handles)
    job.close()


def test_descriptors_do_not_pile_up(line: Line) -> None:
    def count() -> int:
        return len(list(Path(f"/proc/{line.zygote.pid}/fd").iterdir()))

    before = count()
    for number in range(10):
        _, handles, job = line.spawn(number)
        line.end(number)
        wire.close(handles)
        job.close()
    for _ in range(10):  # too few descriptors for a worker
        wire.send(line.connection, Order(What.SPAWN, 1, 1, 1, 1).pack(), (0,))
    assert line.end(0).what is What.UNKNOWN
    assert count() == before


def test_a_greeting_is_answered_behind_what_was_asked_before(line: Line) -> None:
    wire.send(line.connection, Order(What.END, 4).pack())
    wire.send(line.connection, Order(What.HELLO, 5).pack())
    assert line.next()[0] == Notice(What.UNKNOWN, 4)
    assert line.next()[0] == Notice(What.HELLO, 5)


@pytest.mark.parametrize("nonsense", [b"x", b"x" * 44, b"x" * 10_000])
def test_nonsense_is_passed_over(line: Line, nonsense: bytes) -> None:
    wire.send(line.connection, nonsense)
    _, handles, job = line.spawn(2)
    wire.close(handles)
    job.close()


def test_the_ends_of_workers_that_nobody_asks_for_are_forgotten(line: Line, wait_until: WaitUntil) -> None:
    _, handles, job = line.spawn(1)
    job.close()
    wire.close(handles)
    wait_until(lambda: not line.zygote.children())
    assert line.end(2).what is What.UNKNOWN


SCRIPT = """
import os, sys
from geoloom_engine.sandbox import zygote
control, channel, told, go = (int(one) for one in sys.argv[2:])
zygote.WAIT = float(sys.argv[1])
def first():
    os.write(told, b"first")
    return lambda memory, keep: None
def steps():
    for number in b"123":
        os.write(told, bytes([number]))
        os.read(go, 1)
        yield
def ready():
    os.write(told, b"rest")
    return lambda memory, keep: None
import socket
zygote.Zygote(socket.socket(fileno=control), [socket.socket(fileno=channel)], first, steps(), ready).run()
"""


class TestWarmUp:
    @pytest.fixture
    def begin(self) -> Iterator[Callable[..., tuple[socket.socket, socket.socket, int]]]:
        """Starts a zygote that says when it loads its modules."""
        processes: list[subprocess.Popen[bytes]] = []
        opened: list[Any] = []

        def get(wait: float, steps: int = 3) -> tuple[socket.socket, socket.socket, int]:
            control, their_control = wire.pair()
            channel, their_channel = wire.pair()
            told, tell = os.pipe()
            go, self.going = os.pipe()
            os.write(self.going, b"." * steps)
            passed = [their_control.fileno(), their_channel.fileno(), tell, go]
            arguments = [str(wait), *(str(one) for one in passed)]
            processes.append(subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], pass_fds=passed))
            their_control.close()
            their_channel.close()
            os.close(tell)
            os.close(go)
            opened.extend([control, channel])
            assert wire.wait(channel, 60)
            assert wire.receive(channel, NOTICE_SIZE) == (Notice(What.HELLO, 0).pack(), [])
            return control, channel, told

        yield get
        for one in opened:
            one.close()
        os.close(self.going)
        for process in processes:
            assert process.wait(60) == 0

    def test_modules_wait_for_an_order_that_needs_them(
        self, begin: Callable[..., tuple[socket.socket, socket.socket, int]]
    ) -> None:
        control, channel, told = begin(1e6)
        os.set_blocking(told, False)
        wire.send(control, forget(0))
        with pytest.raises(BlockingIOError):
            os.read(told, 100)
        wire.send(channel, Order(What.END, 1).pack())
        assert wire.wait(channel, 60)
        assert Notice.unpack(channel.recv(NOTICE_SIZE)).what is What.UNKNOWN
        with pytest.raises(BlockingIOError):
            os.read(told, 100)
        for number, whole, is_whole, loads in (
            (1, False, 0, b"first"),
            (2, False, 0, b""),
            (3, True, 1, b"123rest"),
            (4, False, 1, b""),
        ):
            wire.send(channel, Order(What.SPAWN, number, whole=whole).pack(), (channel.fileno(),) * 3)
            assert wire.wait(channel, 60)
            content, handles = wire.receive(channel, NOTICE_SIZE, 1) or (b"", [])
            notice = Notice.unpack(content)
            assert (notice.what, notice.number, notice.status) == (What.SPAWN, number, is_whole)
            wire.close(handles)
            with nullcontext() if loads else pytest.raises(BlockingIOError):
                assert os.read(told, 100) == loads
        os.close(told)

    def test_modules_are_loaded_after_a_while_in_any_case(
        self, begin: Callable[..., tuple[socket.socket, socket.socket, int]]
    ) -> None:
        _, _, told = begin(0.05)
        assert self.read(told, 12) == b"first123rest"
        os.close(told)

    def test_an_order_does_not_wait_for_modules_that_it_does_not_need(
        self, begin: Callable[..., tuple[socket.socket, socket.socket, int]]
    ) -> None:
        _, channel, told = begin(0.0, steps=0)
        assert self.read(told, 6) == b"first1"
        wire.send(channel, Order(What.SPAWN, 1).pack(), (channel.fileno(),) * 3)
        os.write(self.going, b".")
        assert wire.wait(channel, 60)
        content, handles = wire.receive(channel, NOTICE_SIZE, 1) or (b"", [])
        assert Notice.unpack(content).status == 0
        wire.close(handles)
        assert self.read(told, 1) == b"2"
        os.write(self.going, b"..")
        assert self.read(told, 5) == b"3rest"
        os.close(told)

    def read(self, pipe: int, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = os.read(pipe, size - len(found))
            assert part, found
            found += part
        return found
