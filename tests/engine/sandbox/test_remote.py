"""One worker as the engine sees it: whatever it answers, only right pixels and harmless texts come in."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.errors import FunctionFailed, FunctionRefused
from geoloom.grid import Grid, Lattice
from geoloom_engine.sandbox import arena, remote, wire
from geoloom_engine.sandbox.channel import Spawned
from geoloom_engine.sandbox.clock import Spent
from geoloom_engine.sandbox.messages import JOB_SIZE, TEXT_ROOM, TEXTS, Job, Order, Outcome, Reply
from geoloom_engine.sandbox.remote import End, NoReply, Remote
from geoloom_engine.sandbox.task import Answer, Call, Task

GRID = Grid(Lattice("EPSG:32633", 10.0, 10.0, 500000.0, 5000000.0), 3, 4, 5, 6)
CALL = Call("me", b"def f(img): ...", "f", "[[],{}]", ("a", "b"), ("numpy",), "float32", 1, 0)
BLOCK = Block(np.arange(60, dtype=np.uint8).reshape(2, 6, 5), np.ones((1, 6, 5), np.bool_))
DONE = Reply(Outcome.DONE, 0)


def yes() -> bool:
    return True


class FakeWorker:
    """Plays the zygote and the worker: what it answers is up to the test."""

    packets = True

    def __init__(self) -> None:
        self.ready = True
        self.buried = 0

    def spawn(self, order: Order, descriptors: Sequence[int], ask: Callable[[], None]) -> Spawned:
        self.job = socket.socket(fileno=os.dup(descriptors[0]))
        self.given = arena.shared(descriptors[1], order.inside)
        self.result = arena.shared(descriptors[2], order.outside)
        if self.ready:
            self.job.send(Reply(Outcome.READY, order.number).pack())
        return Spawned(os.getpid(), None)

    def end(self, number: int) -> None:
        self.buried += 1

    def next(self) -> Job:
        assert wire.wait(self.job, 10)
        return Job.unpack(self.job.recv(JOB_SIZE))

    def write(self, job: Job, data: Any, valid: Any = None, texts: bytes = b"") -> None:
        array = np.ascontiguousarray(data)
        arena.view(self.result, job.result_at, array.shape, array.dtype)[:] = array
        if valid is not None:
            arena.view(self.result, job.result_valid_at, np.shape(valid), "u1")[:] = valid
        self.result[: len(texts)] = texts


Play = Callable[[FakeWorker, Job], bytes | None]


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def worker() -> Iterator[FakeWorker]:
    found = FakeWorker()
    yield found
    found.job.close()


@pytest.fixture
def run(worker: FakeWorker) -> Iterator[Callable[..., Answer]]:
    """Has one tile computed by a worker that plays so; all tiles of a test by the same one."""
    known: list[Remote] = []

    def get(
        play: Play | None, call: Call = CALL, block: Block = BLOCK, seconds: float = 10.0, wanted: Any = yes
    ) -> Answer:
        task = Task.of(call, block, GRID)
        if play is None:  # it is not to be asked
            return known[0].run(task, seconds, wanted)
        if not known:
            known.append(Remote(worker, 1 << 20, task.layout, lambda: None))  # type: ignore[arg-type]

        def answer() -> None:
            content = play(worker, worker.next())
            if content is not None:
                worker.job.send(content)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            return known[0].run(task, seconds, wanted)
        finally:
            thread.join()

    yield get
    for one in known:
        one.bury()


def good(worker: FakeWorker, job: Job) -> bytes:
    worker.write(job, np.full((1, 6, 5), 7, np.float32))
    return DONE._replace(number=job.number).pack()


def reply(**changes: Any) -> Play:
    def play(worker: FakeWorker, job: Job) -> bytes:
        good(worker, job)
        return DONE._replace(**{"number": job.number, **changes}).pack()

    return play


class TestInput:
    def test_pixels_are_written_in_the_dtype_of_the_function(
        self, run: Callable[..., Answer], worker: FakeWorker
    ) -> None:
        def play(worker: FakeWorker, job: Job) -> bytes:
            assert job.given == "<i4"
            assert job.valid_bands == 0
            seen = arena.view(worker.given, job.data_at, (2, 6, 5), "<i4")
            np.testing.assert_array_equal(seen, BLOCK.data)
            assert b"def f(img)" in worker.given[: job.program]
            return good(worker, job)

        assert run(play).block.data[0, 0, 0] == 7

    def test_validity_is_written_where_there_are_gaps(self, run: Callable[..., Answer]) -> None:
        valid = np.ones((2, 6, 5), np.bool_)
        valid[1, 2, 3] = False

        def play(worker: FakeWorker, job: Job) -> bytes:
            np.testing.assert_array_equal(arena.view(worker.given, job.valid_at, (2, 6, 5), "?"), valid)
            return good(worker, job)

        run(play, block=Block(BLOCK.data, valid))

    def test_what_is_the_same_everywhere_is_written_out(self, run: Callable[..., Answer]) -> None:
        def play(worker: FakeWorker, job: Job) -> bytes:
            assert (arena.view(worker.given, job.data_at, (1, 6, 5), "<f8") == 2.5).all()
            return good(worker, job)

        run(play, block=Block(np.full((1, 1, 1), 2.5), np.ones((1, 1, 1), np.bool_)))

    def test_the_text_of_the_function_goes_once(self, run: Callable[..., Answer]) -> None:
        programs = []

        def play(worker: FakeWorker, job: Job) -> bytes:
            programs.append(job.program)
            return good(worker, job)

        for _ in range(3):
            run(play)
        assert programs[0] > 0
        assert programs[1:] == [0, 0]

    def test_jobs_have_numbers_that_cannot_be_guessed(self, run: Callable[..., Answer]) -> None:
        numbers = set()

        def play(worker: FakeWorker, job: Job) -> bytes:
            numbers.add(job.number)
            return good(worker, job)

        for _ in range(20):
            run(play)
        assert len(numbers) == 20
        assert max(numbers) > 2**56


class TestOutput:
    def test_pixels_are_copied(self, run: Callable[..., Answer], worker: FakeWorker) -> None:
        answer = run(good)
        worker.result[TEXT_ROOM:] = b"\xff" * (len(worker.result) - TEXT_ROOM)
        assert (answer.block.data == 7).all()
        assert answer.block.valid.shape == (1, 6, 5)
        assert answer.block.valid.all()

    def test_what_is_not_finite_is_invalid(self, run: Callable[..., Answer]) -> None:
        def play(worker: FakeWorker, job: Job) -> bytes:
            data = np.full((1, 6, 5), 7, np.float32)
            data[0, 0, :3] = np.nan, np.inf, -np.inf
            worker.write(job, data)
            return DONE._replace(number=job.number).pack()

        block = run(play).block
        assert block.valid[0, 0].tolist() == [False] * 3 + [True] * 2
        assert block.data[0, 0].tolist() == [0, 0, 0, 7, 7]

    def test_invalid_pixels_hold_0(self, run: Callable[..., Answer]) -> None:
        def play(worker: FakeWorker, job: Job) -> bytes:
            valid = np.ones((1, 6, 5), np.uint8)
            valid[0, 5] = 0
            worker.write(job, np.full((1, 6, 5), 7, np.float32), valid)
            return DONE._replace(number=job.number, valid_bands=1).pack()

        block = run(play).block
        assert (block.data[0, 5] == 0).all()
        assert not block.valid[0, 5].any()

    @pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float64"])
    def test_bytes_of_truth_are_0_or_1_whatever_is_written(
        self, run: Callable[..., Answer], dtype: str
    ) -> None:
        def play(worker: FakeWorker, job: Job) -> bytes:
            worker.result[job.result_at : job.result_at + 240] = b"\x05" * 240
            worker.result[job.result_valid_at : job.result_valid_at + 30] = b"\xff" * 30
            return DONE._replace(number=job.number, valid_bands=1).pack()

        block = run(play, replace(CALL, dtype=dtype)).block
        assert np.unique(block.valid.view(np.uint8)).tolist() == [1]
        if dtype == "bool":
            assert np.unique(block.data.view(np.uint8)).tolist() == [1]

    def test_texts_are_made_harmless(self, run: Callable[..., Answer]) -> None:
        texts = [b"printed\n\x1b[2J", b"me\xff\x00", b"", b"\xe2\x80\xaeg", b"img[0]", b"IndexError: <b>"]

        def play(worker: FakeWorker, job: Job) -> bytes:
            worker.write(job, np.zeros(1, np.float32), texts=b"".join(texts))
            lengths = tuple(len(text) for text in texts)
            return Reply(Outcome.FAILED, job.number, 0, 3, lengths).pack()

        with pytest.raises(FunctionFailed) as caught:
            run(play)
        error = caught.value
        assert (error.message, error.hint, error.function) == ("me\ufffd\ufffd", None, "\ufffdg")
        assert (error.line, error.text, error.exception) == (3, "img[0]", "IndexError: <b>")

    def test_a_refusal_is_passed_on(self, run: Callable[..., Answer]) -> None:
        with pytest.raises(FunctionRefused):
            run(reply(outcome=Outcome.REFUSED))

    def test_prints_are_cut_in_the_middle_of_a_character(self, run: Callable[..., Answer]) -> None:
        def play(worker: FakeWorker, job: Job) -> bytes:
            good(worker, job)
            worker.result[:4] = "aaé".encode()
            return DONE._replace(number=job.number, lengths=(3, 0, 0, 0, 0, 0)).pack()

        assert run(play).printed == "aa\ufffd"


LONGEST = tuple(TEXTS.values())


class TestLies:
    @pytest.mark.parametrize(
        "play",
        [
            reply(number=0),
            reply(outcome=Outcome.READY),
            reply(valid_bands=2),
            reply(valid_bands=2**32 - 1),
            reply(lengths=(LONGEST[0] + 1, 0, 0, 0, 0, 0)),
            reply(lengths=(2**32 - 1,) * 6),
            lambda worker, job: b"x",
            lambda worker, job: bytes(len(DONE.pack())),
            lambda worker, job: b"\xff" * len(DONE.pack()),
            lambda worker, job: DONE._replace(number=job.number).pack() + b"x",
            lambda worker, job: b"x" * 100_000,
        ],
    )
    def test_what_is_no_reply_is_refused(self, run: Callable[..., Answer], play: Play) -> None:
        with pytest.raises(NoReply) as caught:
            run(play)
        assert caught.value.end is End.WRONG

    def test_texts_of_full_length_stay_inside_their_room(self, run: Callable[..., Answer]) -> None:
        with pytest.raises(FunctionFailed) as caught:
            run(reply(outcome=Outcome.FAILED, lengths=LONGEST))
        assert len(caught.value.message) == TEXTS["message"]

    def test_descriptors_with_a_reply_are_closed(self, run: Callable[..., Answer]) -> None:
        def play(worker: FakeWorker, job: Job) -> None:
            socket.send_fds(worker.job, [good(worker, job)], [0, 1, 2])

        run(good)
        before = descriptors()
        run(play)
        assert descriptors() == before

    def test_a_reply_in_advance_is_taken_for_no_tile(self, run: Callable[..., Answer]) -> None:
        def twice(worker: FakeWorker, job: Job) -> bytes:
            worker.job.send(good(worker, job))
            return DONE._replace(number=job.number).pack()

        run(twice)
        with pytest.raises(NoReply) as caught:
            run(None)
        assert caught.value.end is End.WRONG

    def test_a_worker_that_ended_between_two_tiles_is_gone(
        self, run: Callable[..., Answer], worker: FakeWorker
    ) -> None:
        run(good)
        worker.job.shutdown(socket.SHUT_RDWR)
        with pytest.raises(NoReply) as caught:
            run(None)
        assert caught.value.end is End.GONE

    def test_closing_the_connection_is_its_end(self, run: Callable[..., Answer]) -> None:
        def play(worker: FakeWorker, job: Job) -> None:
            worker.job.shutdown(socket.SHUT_RDWR)

        with pytest.raises(NoReply) as caught:
            run(play)
        assert caught.value.end is End.DIED


def test_a_worker_that_cannot_be_locked_says_why(worker: FakeWorker, run: Callable[..., Answer]) -> None:
    worker.ready = False

    def play(worker: FakeWorker, job: Job) -> None:
        worker.result[:20] = b"OSError: no seccomp\0"
        worker.job.shutdown(socket.SHUT_RDWR)

    with pytest.raises(NoReply) as caught:
        run(play)
    assert caught.value.end is End.UNLOCKED
    assert caught.value.reason == "OSError: no seccomp"


def test_a_worker_that_does_not_get_to_its_lock_is_not_at_fault(
    worker: FakeWorker, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.ready = False
    monkeypatch.setattr(remote, "LOCK_SECONDS", 0.05)
    with pytest.raises(NoReply) as caught:
        run(lambda worker, job: None)
    assert caught.value.end is End.LATE
    assert caught.value.own == 0


class TestTime:
    def test_a_tile_that_takes_too_long_is_given_up(self, run: Callable[..., Answer]) -> None:
        start = time.monotonic()
        with pytest.raises(NoReply) as caught:
            run(lambda worker, job: None, seconds=0.1)
        assert caught.value.end is End.LATE
        assert time.monotonic() - start >= 0.1

    def test_waiting_for_a_processor_takes_nothing_of_its_time(
        self, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = []
        enough = threading.Event()

        def waiting(pid: int) -> Spent:
            looks.append(time.monotonic())
            if len(looks) == 5:  # the limit has passed some times
                enough.set()
            return Spent(looks[-1], 0.0, looks[-1])

        def play(worker: FakeWorker, job: Job) -> bytes:
            assert enough.wait(30)
            worker.write(job, np.zeros((1, *GRID.shape), np.float32))
            return DONE._replace(number=job.number).pack()

        monkeypatch.setattr(remote, "spent", waiting)
        monkeypatch.setattr(remote, "STRETCH", 1e6)
        assert run(play, seconds=0.1).block.data.shape == (1, *GRID.shape)
        assert looks[-1] - looks[0] > 0.1

    @pytest.mark.parametrize(("waited", "limits"), [(1.0, 4.0), (0.5, 2.0), (0.0, 1.0), (None, 1.0)])
    def test_what_it_waits_is_added_to_its_limit_up_to_four_times(
        self, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, waited: float | None, limits: float
    ) -> None:
        def spent(pid: int) -> Spent:
            now = time.monotonic()
            return Spent(now, None, None if waited is None else waited * now)

        monkeypatch.setattr(remote, "spent", spent)
        start = time.monotonic()
        with pytest.raises(NoReply) as caught:
            run(lambda worker, job: None, seconds=0.2)
        took = time.monotonic() - start
        assert caught.value.end is End.LATE
        # What it waited before the first look is not known.
        assert took >= 0.2 * limits - 0.05
        if waited is None or waited == 0.0:
            assert caught.value.own >= 0.15

    def test_a_tile_that_nobody_wants_is_given_up_after_a_grace(self, run: Callable[..., Answer]) -> None:
        asked = []

        def wanted() -> bool:
            asked.append(time.monotonic())
            return len(asked) < 3

        with pytest.raises(NoReply) as caught:
            run(lambda worker, job: None, wanted=wanted)
        assert caught.value.end is End.UNWANTED
        assert len(asked) == 3
        assert time.monotonic() - asked[-1] >= remote.GRACE

    def test_a_tile_that_is_done_within_the_grace_is_kept(self, run: Callable[..., Answer]) -> None:
        unwanted = threading.Event()

        def wanted() -> bool:
            unwanted.set()
            return False

        def play(worker: FakeWorker, job: Job) -> bytes:
            assert unwanted.wait(10)
            return good(worker, job)

        assert (run(play, wanted=wanted).block.data == 7).all()
