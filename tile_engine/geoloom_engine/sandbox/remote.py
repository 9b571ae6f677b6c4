"""One sandbox worker, as the engine sees it: what is written to it, read from it, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from geoloom.block import Array, Block, everywhere
from geoloom.errors import FunctionFailed, FunctionRefused
from geoloom_engine.sandbox import arena, wire
from geoloom_engine.sandbox.arena import Layout
from geoloom_engine.sandbox.channel import SLICE, Channel
from geoloom_engine.sandbox.clock import Spent, spent
from geoloom_engine.sandbox.messages import (
    REPLY_SIZE,
    TEXTS,
    Job,
    Malformed,
    Notice,
    Order,
    Outcome,
    Reply,
    What,
    plain,
)
from geoloom_engine.sandbox.task import Answer, Task, rehearsal

LOCK_SECONDS = 10.0
"""Seconds that a new worker has to lock itself down (it takes 4 ms), and to rehearse."""

END_SECONDS = 5.0
"""Seconds to wait for the end of a worker that was killed."""

STRETCH = 4.0
"""Time limits on the wall, for a worker that waits for a processor all the while."""

GRACE = 0.2
"""Seconds that a worker has to end a tile that nobody wants any more, and stay."""


class End(Enum):
    """Why there is no reply."""

    GONE = "it was gone before it got the tile"
    DIED = "it died"
    LATE = "it took too long"
    UNWANTED = "nobody waits any more"
    WRONG = "it answered what is no reply"
    UNLOCKED = "it could not be locked down"


class NoReply(Exception):
    """A worker gave no reply, and is of no further use.

    Parameters
    ----------
    end
        Why.
    own
        Seconds that were the function's own doing, if it took too long.
    reason
        More of why.
    """

    def __init__(self, end: End, own: float = 0.0, reason: str = "") -> None:
        super().__init__(end.value)
        self.end = end
        self.own = own
        self.reason = reason


_NO_TEXTS = dict.fromkeys(TEXTS, "")


class Remote:
    """A worker of one function; used by one thread at a time.

    Parameters
    ----------
    channel
        To the zygote.
    memory
        Bytes the function may take.
    layout
        Of the first tile: input and output are made so large that it fits.
    ask
        Called again and again while waiting for the zygote.
    whole
        Whether its function imports more than is loaded first.

    Raises
    ------
    EngineOverloaded, NewZygote
        See `Channel.spawn`.
    """

    def __init__(
        self, channel: Channel, memory: int, layout: Layout, ask: Callable[[], None], whole: bool = True
    ) -> None:
        self._channel = channel
        self.inside, self.outside = arena.fitting(layout.inside), arena.fitting(layout.outside)
        self.number = secrets.randbits(64)
        self.used = time.monotonic()
        """When it was last given back."""
        self.key = ""
        """Under which strikes of its last tile are counted."""
        self._awake = 0.0
        self._knows_program = False
        self._is_ready = False
        ours, theirs = wire.pair(channel.packets)
        self._job = wire.Line(ours, REPLY_SIZE)
        descriptors: list[int] = []
        try:
            descriptors.append(arena.reserve(self.inside, channel.packets))
            descriptors.append(arena.reserve(self.outside, channel.packets))
            order = Order(What.SPAWN, self.number, memory, self.inside, self.outside, whole)
            self.pid, self._handle, self.whole = channel.spawn(order, (theirs.fileno(), *descriptors), ask)
            self._given = arena.shared(descriptors[0], self.inside)
            self._result = arena.shared(descriptors[1], self.outside)
        except BaseException:
            self._job.close()
            raise
        finally:
            theirs.close()
            wire.close(descriptors)

    def awake(self) -> float:
        """Seconds it was on a processor, or waited for one, since this was asked last."""
        found = spent(self.pid)
        before, self._awake = self._awake, (found.ran or 0.0) + (found.waited or 0.0)
        return self._awake - before

    def fits(self, layout: Layout) -> bool:
        """Whether there is room for a tile."""
        return layout.inside <= self.inside and layout.outside <= self.outside

    def rehearse(self, wanted: Callable[[], bool]) -> None:
        """Have it lock itself down and compute what is nobody's; raises NoReply.

        A forked process copies each piece of memory when it first writes there: that takes as long as
        fork and lock together, and is done for its first tile then.
        """
        self.run(rehearsal(), LOCK_SECONDS, wanted)
        self._knows_program = False

    def run(self, task: Task, seconds: float, wanted: Callable[[], bool]) -> Answer:
        """Have a tile computed within some seconds; waiting for a processor does not count, see `STRETCH`.

        Raises
        ------
        NoReply
            There is none. The worker has to be ended, unless nobody waited any more and it replied.
        FunctionFailed, FunctionRefused
            What the function's failure was.
        """
        job = self._write(task)
        try:
            if self._is_ready and self._job.wait(0):
                # A reply to nothing, or its end.
                raise NoReply(End.WRONG if self._job.next() else End.GONE)
            self._job.send(job.pack())
        except Malformed:
            raise NoReply(End.WRONG) from None
        except OSError:
            if self._is_ready:
                raise NoReply(End.GONE) from None
        if not self._is_ready:
            self._await_lock(wanted)
        reply = self._reply(job.number, seconds, wanted)
        self._knows_program = True
        return self._read(task, reply)

    def _await_lock(self, wanted: Callable[[], bool]) -> None:
        """Have it say that it is locked down; nothing of the user has run before."""
        try:
            reply = self._reply(self.number, LOCK_SECONDS, wanted)
        except NoReply as lost:
            if lost.end is End.LATE:
                raise NoReply(End.LATE) from None
            if lost.end is not End.DIED:
                raise
            reason = plain(self._result[: TEXTS["message"]]).rstrip("\0\ufffd")
            raise NoReply(End.UNLOCKED, reason=reason) from None
        if reply.outcome is not Outcome.READY:
            raise NoReply(End.WRONG)
        self._is_ready = True

    def _write(self, task: Task) -> Job:
        """Put a tile into the input."""
        call, layout, block = task.call, task.layout, task.block
        program = b"" if self._knows_program else task.program
        self._given[: len(program)] = program
        self._given[layout.words_at : layout.words_at + len(task.words)] = task.words
        grid = task.grid
        rows, cols = grid.rows + 2 * call.margin, grid.cols + 2 * call.margin
        data = arena.view(self._given, layout.data_at, (block.bands, rows, cols), task.given)
        np.copyto(data, block.data, casting="safe")
        valid_bands = 0 if everywhere(block.valid) else block.valid.shape[0]
        if valid_bands:
            valid = arena.view(self._given, layout.valid_at, (valid_bands, rows, cols), np.bool_)
            np.copyto(valid, block.valid)
        return Job(
            number=secrets.randbits(64),
            given=task.given.str,
            result=task.result.str,
            program=len(program),
            words_at=layout.words_at,
            words=len(task.words),
            data_at=layout.data_at,
            bands=block.bands,
            rows=rows,
            cols=cols,
            valid_at=layout.valid_at,
            valid_bands=valid_bands,
            margin=call.margin,
            result_at=layout.result_at,
            result_bands=call.bands,
            result_valid_at=layout.result_valid_at,
            col=grid.col,
            row=grid.row,
        )

    def _reply(self, number: int, seconds: float, wanted: Callable[[], bool]) -> Reply:
        start = time.monotonic()
        deadline = start + seconds
        before: Spent | None = None
        unwanted = False
        while not self._job.wait(min(SLICE, seconds)):
            now = time.monotonic()
            # Tiles that take no longer than one look are not charged for the reading.
            before = before or spent(self.pid)
            if now >= deadline:
                if unwanted:
                    raise NoReply(End.UNWANTED)
                found = spent(self.pid)
                # Begun anew, a tile would take what it had once more, from a machine that is busy already.
                deadline = start + min(seconds + found.waited_since(before), STRETCH * seconds)
                if now < deadline:
                    continue
                # A first look that took long is this process's own waiting.
                raise NoReply(End.LATE, min(before.wall - start, SLICE) + found.own_since(before))
            if not unwanted and not wanted():
                unwanted = True
                deadline = min(deadline, now + GRACE)
        try:
            content = self._job.next()
            if not content:
                raise NoReply(End.DIED)
            reply = Reply.unpack(content)
            if reply.number != number:
                raise Malformed("it is the reply to another job")
        except Malformed:
            raise NoReply(End.WRONG) from None
        return reply

    def _read(self, task: Task, reply: Reply) -> Answer:
        """What the output holds."""
        texts = self._texts(reply)
        if reply.outcome is Outcome.READY:
            raise NoReply(End.WRONG)
        if reply.outcome is Outcome.REFUSED:
            raise FunctionRefused(texts["message"], hint=texts["hint"] or None)
        if reply.outcome is Outcome.FAILED:
            raise FunctionFailed(
                texts["message"] or f"{task.call.function} failed.",
                hint=texts["hint"] or None,
                function=texts["function"] or None,
                line=reply.line or None,
                text=texts["text"] or None,
                exception=texts["exception"] or None,
                printed=texts["printed"],
            )
        shape = task.call.bands, *task.grid.shape
        data = self._copied(task.layout.result_at, shape, task.result)
        if reply.valid_bands == 0:
            valid: Array = arena.all_valid(*task.grid.shape)
        elif reply.valid_bands in (1, task.call.bands):
            at = task.layout.result_valid_at
            valid = self._copied(at, (reply.valid_bands, *task.grid.shape), np.dtype(np.bool_))
        else:
            raise NoReply(End.WRONG)
        return Answer(Block.of(data, valid), texts["printed"])

    def _texts(self, reply: Reply) -> dict[str, str]:
        if not any(reply.lengths):
            return _NO_TEXTS
        content = self._result[: sum(reply.lengths)]
        texts: dict[str, str] = {}
        for name, length in zip(TEXTS, reply.lengths, strict=True):
            texts[name] = plain(content[:length])
            content = content[length:]
        return texts

    def _copied(self, at: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A copy of an array of the output. Bools have bytes of 0 and 1 only, whatever stands there."""
        if dtype.kind == "b":
            flags: Array = arena.view(self._result, at, shape, np.uint8) != 0
            return flags
        return arena.view(self._result, at, shape, dtype).copy()

    def kill(self) -> None:
        """Kill it, and close what leads to it."""
        self._job.close()
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def bury(self) -> Notice | None:
        """End it, if it has not ended by itself; how it did, if the zygote knows."""
        self.kill()
        handle, self._handle = self._handle, None
        if handle is not None:
            # Its memory is given back in milliseconds, in which the zygote would wait, and others for that.
            wire.wait(handle, END_SECONDS)
            os.close(handle)
        return self._channel.end(self.number)
