"""The launcher: what the zygote is started with, and when it ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from geoloom.harness import DEFAULT_MODULES
from geoloom_engine.sandbox import wire
from geoloom_engine.sandbox.launch import ENVIRONMENT, Launcher
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.pool import Limits, Pool
from geoloom_engine.settings import load

if TYPE_CHECKING:
    from conftest import StartSandbox

WaitUntil = Callable[..., Any]
LIMITS = Limits(seconds=5.0, memory=512 << 20, workers=8, spare=False)
COUNT = "def f(img):\n    numpy.count = getattr(numpy, 'count', 0) + 1\n    return img[0] * 0 + numpy.count"


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    """One with two channels and a zygote that loads little."""
    found = Launcher(2, LockLevel(), ("numpy",))
    found.start()
    yield found
    found.stop()


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


def test_modules_are_those_of_the_harness() -> None:
    assert load([], {}).function_modules == DEFAULT_MODULES


def test_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; import geoloom_engine.sandbox.launch;"
        "print(sorted({'numpy', 'osgeo', 'numba', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


class TestStart:
    def test_the_environment_holds_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GEOLOOM_TOKEN", "secret")
        monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}:/nowhere")
        launcher = Launcher(1, LockLevel(), ("numpy",))
        launcher.start()
        assert wire.wait(launcher.channel(0), 60)  # it is up
        found = psutil.Process(launcher.pid).environ()
        launcher.stop()
        # The C library cuts up the string of its own variable.
        expected = {name: text.partition(":")[0] for name, text in ENVIRONMENT.items()}
        assert {name: found.get(name, "").partition(":")[0] for name in ENVIRONMENT} == expected
        assert found["PYTHONPATH"].endswith(":/nowhere")
        assert "GEOLOOM_TOKEN" not in found
        assert "HOME" not in found

    def test_it_has_only_the_descriptors_it_needs(self, launcher: Launcher) -> None:
        assert wire.wait(launcher.channel(0), 60)  # it is up
        kinds = [str(path.readlink()) for path in Path(f"/proc/{launcher.pid}/fd").iterdir()]
        assert sum(kind.startswith("socket:") for kind in kinds) == 3
        # Standard input, output and errors; the pipe that wakes it.
        assert len(kinds) == 3 + 3 + 2

    def test_it_is_the_first_to_go_when_memory_runs_out(self, launcher: Launcher) -> None:
        assert wire.wait(launcher.channel(0), 60)
        assert Path(f"/proc/{launcher.pid}/oom_score_adj").read_text().strip() == "1000"


class TestEnd:
    def test_stop_ends_it_and_its_workers_and_closes_all(
        self, start: StartSandbox, wait_until: WaitUntil
    ) -> None:
        before = descriptors()
        launcher = Launcher(1, LockLevel(), ("numpy",))
        launcher.start()
        pool = Pool(launcher.channel(0), LIMITS)
        start_with = start(launcher=launcher)
        start_with.run(COUNT)
        zygote = psutil.Process(launcher.pid)
        (worker,) = zygote.children()
        start_with.pool.close()
        pool.close()
        launcher.stop()
        assert not zygote.is_running()
        wait_until(lambda: not worker.is_running(), what="the worker's end")
        assert launcher.pid is None
        del start_with, pool
        assert descriptors() == before

    def test_stop_ends_it_while_it_starts(self) -> None:
        launcher = Launcher(1, LockLevel(), DEFAULT_MODULES)
        launcher.start()
        zygote = psutil.Process(launcher.pid)
        launcher.stop()
        assert not zygote.is_running()

    def test_the_end_of_the_supervisor_is_its_end(self, wait_until: WaitUntil) -> None:
        code = (
            "from geoloom_engine.sandbox.launch import *; from geoloom_engine.sandbox import wire;"
            "launcher = Launcher(1, LockLevel(), ('numpy',)); launcher.start();"
            "wire.wait(launcher.channel(0), 60); print(launcher.pid, flush=True); input()"
        )
        supervisor = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert supervisor.stdout is not None
        zygote = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
        supervisor.communicate()
        wait_until(lambda: not zygote.is_running() or zygote.status() == psutil.STATUS_ZOMBIE, what="its end")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
    def test_signals_to_all_processes_of_a_service_end_neither_it_nor_workers(
        self, launcher: Launcher, start: StartSandbox, number: int
    ) -> None:
        assert wire.wait(launcher.channel(0), 60)
        os.kill(launcher.pid or 0, number)
        sandbox = start(launcher=launcher)
        sandbox.run(COUNT)
        (worker,) = psutil.Process(launcher.pid).children()
        worker.send_signal(number)
        assert sandbox.run(COUNT).block.data.max() == 2


class TestChannels:
    def test_forgetting_one_ends_its_workers_and_no_others(
        self, launcher: Launcher, start: StartSandbox, wait_until: WaitUntil
    ) -> None:
        first = start(launcher=launcher)
        first.run(COUNT)
        (kept,) = psutil.Process(launcher.pid).children()
        second = Pool(launcher.channel(1), LIMITS)
        first.pool, pool = second, first.pool
        first.run(COUNT)
        assert len(psutil.Process(launcher.pid).children()) == 2
        launcher.forget(1)
        wait_until(lambda: psutil.Process(launcher.pid).children() == [kept], what="the end of the other")
        first.run(COUNT)  # a new one on the same channel
        second.close()
        first.pool = pool
        assert first.run(COUNT).block.data.max() == 2

    def test_who_claims_one_has_no_other(self) -> None:
        launcher = Launcher(3, LockLevel(), ("numpy",))
        launcher.start()
        pid = os.fork()
        if pid == 0:
            before = {descriptor for descriptor in range(3, 4096) if is_open(descriptor)}
            own = launcher.claim(1)
            after = {descriptor for descriptor in range(3, 4096) if is_open(descriptor)}
            os._exit(0 if len(before - after) == 6 and own.fileno() in after else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        launcher.stop()

    def test_a_supervisor_may_reap_the_zygote_itself(self, launcher: Launcher, start: StartSandbox) -> None:
        pid = launcher.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[0] == pid
        launcher.restart()
        assert launcher.pid != pid
        start(launcher=launcher).run(COUNT)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
