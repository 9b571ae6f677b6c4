"""A sandbox worker: locks itself down for good, then calls one function on tile after tile.

It belongs to one function of one session. Whatever that function does to this process, the engine
takes nothing from here but a `Reply` of numbers, texts and pixels, and checks them.
"""

from __future__ import annotations

import contextvars
import decimal
import gc
import json
import mmap
import os
import resource
import socket
import sys
import warnings
from collections.abc import Callable

import numpy as np

from geoloom.block import Array, everywhere
from geoloom.errors import FunctionError, FunctionFailed, FunctionRefused
from geoloom.grid import Grid, Lattice
from geoloom.harness import Function, Given, Result
from geoloom_engine.sandbox import arena, wire
from geoloom_engine.sandbox.messages import JOB_SIZE, TEXTS, Job, Order, Outcome, Reply

NICENESS = 10
"""By how much a worker steps back behind the engine. Beside slow functions of somebody else plain tiles take
as long as with 15, and 1.4 × as long with 5. Where other programs keep all processors busy, functions get a
tenth of one each; with 15 nothing came of them for 12 s."""


def serve(
    order: Order, job: socket.socket, inside: int, outside: int, lock: Callable[[int, int], None]
) -> None:
    """Be the worker that was ordered, until the engine closes the job socket.

    Parameters
    ----------
    order
        How much memory, and how large input and output are.
    job
        The socket on which jobs come.
    inside, outside
        Descriptors of input and output.
    lock
        Called with the bytes of memory and the one descriptor to keep, before anything of the user is seen.
    """
    os.nice(NICENESS)
    packets = wire.has_packets(job)
    given = (arena.private if packets else arena.readable)(inside, order.inside)
    result = arena.shared(outside, order.outside)
    wire.close((inside, outside))
    worker = Worker(job, given, result, packets)
    try:
        lock(order.memory, job.fileno())
    except BaseException as error:
        worker.write({"message": f"{type(error).__name__}: {error}"})
        raise
    job.send(Reply(Outcome.READY, order.number).pack())
    worker.run()


class Worker:
    """The loop over jobs.

    Parameters
    ----------
    job
        The socket on which they come.
    given, result
        Input and output.
    private
        Whether the input may be written to: what is written there reaches nobody.
    """

    def __init__(self, job: socket.socket, given: mmap.mmap, result: mmap.mmap, private: bool) -> None:
        self._job = job
        self._given = given
        self._result = result
        self._private = private
        self._program: tuple[str, str, list[str]] | None = None
        self._function: Function | None = None
        self._words: tuple[bytes, tuple[str, ...], Lattice, str] = b"", (), Lattice("", 1, 1, 0, 0), ""
        self._faults: int | None = None
        self._manners = Manners()

    def run(self) -> None:
        """Answer jobs until there are no more."""
        while True:
            content = self._job.recv(JOB_SIZE)
            if not content:
                return
            job = Job.unpack(content)
            self._job.send(self._manners.apart(self._answer, job).pack())
            # Behind the answer, so that nobody waits for it. Namespaces refer to themselves: without this
            # their arrays would stay until Python thinks of it. (Older things do not: 10 µs, not 300.)
            gc.collect(1)
            if self._private:
                self._renew(job)

    def _renew(self, job: Job) -> None:
        """Make the input as the engine wrote it, unless nothing was written to it since the last time.

        Who writes to a page of a private map for the first time gets it copied, by a page fault.
        """
        if self._faults is not None and self._faults == _faults():
            return
        arena.renew(self._given)
        # Now rather than in the next job: a page fault for every 64 KB.
        size = job.bands * job.rows * job.cols * np.dtype(job.given).itemsize
        arena.view(self._given, job.data_at, (size,), np.uint8)[:: arena.PAGE].max()
        self._faults = _faults()

    def _answer(self, job: Job) -> Reply:
        try:
            result = self._call(job)
        except FunctionError as error:
            return self._failure(job, error)
        except BaseException as error:  # noqa: BLE001 - memory may run out anywhere
            name = type(error).__name__
            return self._failure(job, FunctionFailed(f"It failed: {name}.", exception=name))
        data, valid = result.data, result.valid
        target = arena.view(self._result, job.result_at, data.shape, np.dtype(job.result))
        np.copyto(target, data)
        valid_bands = 0
        if not everywhere(valid):
            valid_bands = valid.shape[0]
            np.copyto(arena.view(self._result, job.result_valid_at, valid.shape, np.bool_), valid)
        return Reply(Outcome.DONE, job.number, valid_bands, 0, self.write({"printed": result.printed}))

    def _call(self, job: Job) -> Result:
        if job.program:
            self._function = None
            source, name, modules = json.loads(self._given[: job.program])
            self._program = source, name, modules
        assert self._program is not None
        if self._function is None:
            self._function = Function(*self._program, alone=True)
        content = self._given[job.words_at : job.words_at + job.words]
        if content != self._words[0]:
            names, lattice, arguments = json.loads(content)
            self._words = content, tuple(names), Lattice(*lattice), arguments
        _, names, lattice, arguments = self._words
        args, kwargs = json.loads(arguments)
        around = 2 * job.margin
        grid = Grid(lattice, job.col, job.row, job.cols - around, job.rows - around)
        given = Given(*self._pixels(job), names, grid, job.margin)
        dtype = np.dtype(job.result).name
        return self._function.call(given, args, kwargs, dtype=dtype, bands=job.result_bands)

    def _pixels(self, job: Job) -> tuple[Array, Array]:
        data = arena.view(self._given, job.data_at, (job.bands, job.rows, job.cols), np.dtype(job.given))
        if job.valid_bands:
            valid = arena.view(self._given, job.valid_at, (job.valid_bands, job.rows, job.cols), np.bool_)
        else:
            valid = arena.all_valid(job.rows, job.cols)
        return (data, valid) if self._private else (data.copy(), valid)

    def _failure(self, job: Job, error: FunctionError) -> Reply:
        outcome = Outcome.REFUSED if isinstance(error, FunctionRefused) else Outcome.FAILED
        texts = {name: getattr(error, name, None) or "" for name in TEXTS}
        line = getattr(error, "line", None) or 0
        return Reply(outcome, job.number, 0, line, self.write(texts))

    def write(self, texts: dict[str, str]) -> tuple[int, ...]:
        """Write texts to the output; the bytes of each."""
        if not any(texts.values()):
            return (0,) * len(TEXTS)
        contents = [texts.get(name, "").encode("utf-8", "replace")[:most] for name, most in TEXTS.items()]
        joined = b"".join(contents)
        self._result[: len(joined)] = joined
        return tuple(len(content) for content in contents)


def _faults() -> int | None:
    """Page faults of this process so far; None where it may not ask."""
    try:
        usage = resource.getrusage(resource.RUSAGE_SELF)
    except OSError:
        return None
    return usage.ru_minflt + usage.ru_majflt


class Manners:
    """What Python is like at the start of each job, whatever the job before changed."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        # Nobody reads them, and each would be given once only.
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        self._warnings = list(warnings.filters)
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._decimal = decimal.DefaultContext.copy()
        self._recursion = sys.getrecursionlimit()
        self._collection = gc.get_threshold()

    def apart(self, run: Callable[[Job], Reply], job: Job) -> Reply:
        """Run a job with them.

        Context variables (numpy's error state and print options, decimal's precision) are a copy that
        is dropped.
        """
        sys.settrace(None)
        sys.setprofile(None)
        sys.stdin, sys.stdout, sys.stderr = self._streams
        sys.setrecursionlimit(self._recursion)
        gc.enable()
        gc.set_threshold(*self._collection)
        if list(warnings.filters) != self._warnings:
            warnings.resetwarnings()
            warnings.simplefilter("ignore")
        context = self._context.copy()
        # A context is shared by all copies of the variable that holds it.
        context.run(decimal.setcontext, self._decimal.copy())
        return context.run(run, job)
