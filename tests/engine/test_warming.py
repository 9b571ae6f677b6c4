from __future__ import annotations

import fcntl
import threading
import time
from itertools import islice
from pathlib import Path

from geoloom.op import registry
from geoloom_engine import warming as module
from geoloom_engine.readers import Window
from geoloom_engine.warming import DTYPES, Specimen, Warming, later_steps, steps, try_out


def test_the_first_steps_warp_pixels() -> None:
    blocks = [step() for step in islice(steps(), 2 * len(DTYPES))]
    for block in blocks:
        assert block.valid.any()
        assert not block.valid.all()


def test_a_picture_is_encoded_next() -> None:
    assert next(islice(steps(), 2 * len(DTYPES), None))().startswith(b"\x89PNG")


def test_ops_that_take_one_band_are_tried_out() -> None:
    tried = {name for name, op in registry().items() if hasattr(op, "kernel") and try_out(op) is not None}
    assert {"focal_mean", "focal_min", "focal_median", "slope", "hillshade", "add", "sqrt"} <= tried
    assert try_out(registry()["blend"]) is None
    assert try_out(registry()["bit_and"]) is None
    assert try_out(registry()["bit_and"], "uint16") is not None
    assert sum(1 for _ in steps()) > 2 * len(DTYPES) + len(tried)


def test_the_specimen_reads_as_a_source_does() -> None:
    data, valid = Specimen("uint16").read(0, (0,), Window(0, 0, 5, 4))
    assert (data.shape, str(data.dtype), valid.shape, str(valid.dtype)) == (
        (1, 4, 5),
        "uint16",
        (1, 4, 5),
        "bool",
    )


def settled(warming: Warming) -> str | None:
    """Its problem once it is no longer at work."""
    end = time.monotonic() + 60
    while warming.problem == "The engine is warming up." and time.monotonic() < end:
        time.sleep(0.001)
    return warming.problem


def test_ready_once_all_is_done() -> None:
    done: list[int] = []
    assert settled(Warming(lambda: [lambda: done.append(1), lambda: done.append(2)])) is None
    assert done == [1, 2]


def test_what_went_wrong_is_told() -> None:
    assert (
        settled(Warming(lambda: [lambda: 1 // 0])) == "Warming up failed: integer division or modulo by zero."
    )


def test_the_rest_is_done_when_the_worker_is_ready_whatever_fails() -> None:
    ready, done = threading.Event(), threading.Event()
    warming = Warming(list, lambda: [lambda: ready.wait(60), lambda: {}[1], done.set])
    assert settled(warming) is None
    assert not done.is_set()
    ready.set()
    assert done.wait(60)


def test_processes_take_turns() -> None:
    done = threading.Event()
    with Path(module.__file__).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        warming = Warming(lambda: [done.set])
        assert not done.wait(0.1)
    assert done.wait(60)
    assert settled(warming) is None


def test_later_steps_run() -> None:
    for step in later_steps():
        step()
