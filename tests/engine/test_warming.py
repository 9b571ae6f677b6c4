from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from geoloom_engine import warming as module
from geoloom_engine.warming import Warming


def settled(warming: Warming) -> str | None:
    """Its problem once it is no longer at work."""
    end = time.monotonic() + 60
    while warming.problem == "The engine is warming up." and time.monotonic() < end:
        time.sleep(0.001)
    return warming.problem


def test_ready_once_all_is_done() -> None:
    done: list[int] = []
    assert settled(Warming(lambda: [lambda: done.append(1), lambda: done.append(2)], tuple)) is None
    assert done == [1, 2]


def test_what_went_wrong_is_told() -> None:
    problem = settled(Warming(lambda: [lambda: 1 // 0], tuple))
    assert problem == "Warming up failed: integer division or modulo by zero."


def test_the_rest_is_done_when_the_worker_is_ready_whatever_fails() -> None:
    ready, done = threading.Event(), threading.Event()
    warming = Warming(list, lambda: [lambda: ready.wait(60), lambda: {}[1], done.set])
    assert settled(warming) is None
    assert not done.is_set()
    ready.set()
    assert done.wait(60)


def test_steps_make_way_for_requests_that_wait_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    free, done = threading.Event(), threading.Event()
    looks: list[None] = []

    def busy() -> bool:
        looks.append(None)
        return not free.is_set()

    warming = Warming(lambda: [done.set], tuple, busy=busy)
    while len(looks) < 3:
        time.sleep(0.001)
    assert not done.is_set()
    free.set()
    assert settled(warming) is None
    assert done.is_set()
    monkeypatch.setattr(module, "WAY", 0.05)
    assert settled(Warming(lambda: [lambda: None] * 100, tuple, busy=lambda: True)) is None


LOOPS = """
    import numpy as np
    from geoloom.loops import array, compiled

    def twice(values, out):
        for i in range(len(values)):
            out[i] = values[i] + values[i]

    def steps():
        def step():
            values, out = np.arange(3.0), np.zeros(3)
            types = lambda: (array("float64", 1), array("float64", 1, written=True))
            compiled(twice, "float64", types)(values, out)
            assert list(out) == [0, 2, 4]
        return [step]
"""
WORKER = """
    import json, sys, threading
    from numba.core import event
    from geoloom_engine import warming as module
    from geoloom_engine.warming import Warming
    from loops import steps

    # Turns are taken at a file of the test's own: engines of other tests may be compiling for minutes.
    module.__file__ = __file__
    with event.install_recorder("numba:run_pass") as recorder:
        warming = Warming(steps, tuple, sys.argv[1:])
        for thread in threading.enumerate():
            if thread.name == "warming":
                thread.join()
    print(json.dumps([warming.problem, len(recorder.buffer) > 0]))
"""
COMPILES = "from loops import steps; steps()[0]()"


def run_worker(folder: Path, program: str, kept: bool = True) -> tuple[str | None, bool, str]:
    """What is wrong with a warmed worker, whether it compiled itself, and its log.

    Parameters
    ----------
    program
        Compiles for it.
    kept
        Whether there is a folder for compiled code.
    """
    for name, text in (("loops", LOOPS), ("worker", WORKER), ("program", program)):
        (folder / f"{name}.py").write_text(dedent(text))
    code = {"NUMBA_CACHE_DIR": str(folder / "code")}
    if not kept:
        code = {"NUMBA_CACHE_DIR": "/proc/nowhere", "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    told = subprocess.run(
        [sys.executable, "worker.py", "program.py"],
        cwd=folder,
        env={**os.environ, **code},
        capture_output=True,
        check=True,
        timeout=120,
        text=True,
    )
    problem, compiled = json.loads(told.stdout)
    return problem, compiled, told.stderr


def test_another_process_compiles(tmp_path: Path) -> None:
    program = f"{COMPILES}; open('ran', 'a').write(sys.argv[1])"
    for _ in range(2):
        assert run_worker(tmp_path, f"import sys; {program}") == (None, False, "")
    assert (tmp_path / "ran").read_text() == "first"  # once: the second worker finds the code


def test_a_worker_compiles_what_nobody_keeps(tmp_path: Path) -> None:
    assert run_worker(tmp_path, "open('ran', 'w')", kept=False) == (None, True, "")
    assert not (tmp_path / "ran").exists()


def test_a_worker_compiles_what_the_other_process_cannot(tmp_path: Path) -> None:
    problem, compiled, log = run_worker(tmp_path, "import sys; sys.exit(3)")
    assert (problem, compiled) == (None, True)
    assert "compiling beforehand ended with 3" in log


def test_closing_ends_the_process_that_compiles(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import signal; open('started', 'w'); signal.pause()")
    command = """
        import threading, time
        from pathlib import Path
        from geoloom_engine import warming as module
        from geoloom_engine.warming import Warming
        from loops import steps
        module.__file__ = "program.py"
        warming = Warming(steps, tuple, ["program.py"])
        while not Path("started").exists():
            time.sleep(0.01)
        warming.close()
        for thread in threading.enumerate():
            if thread.name == "warming":
                thread.join()
        print(warming.problem)
    """
    (tmp_path / "loops.py").write_text(dedent(LOOPS))
    told = subprocess.run(
        [sys.executable, "-c", dedent(command)],
        cwd=tmp_path,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "code"), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=60,
        text=True,
    )
    assert told.stdout == "The engine is warming up.\n"


def test_workers_take_turns(tmp_path: Path) -> None:
    turns = tmp_path / "worker.py"
    turns.touch()
    with turns.open("rb") as file, ThreadPoolExecutor(1) as thread:
        fcntl.flock(file, fcntl.LOCK_EX)
        worker = thread.submit(run_worker, tmp_path, f"open('ran', 'w'); {COMPILES}")
        with pytest.raises(TimeoutError):
            worker.result(1.5)
        assert not (tmp_path / "ran").exists()
        fcntl.flock(file, fcntl.LOCK_UN)
        assert worker.result(60) == (None, False, "")
