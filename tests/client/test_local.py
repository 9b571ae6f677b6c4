from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import geoloom
from geoloom import engine_client, local, runtime_folder
from geoloom.errors import EngineUnreachable

KERNEL = """
import json, os, signal, subprocess, sys, time
from geoloom import local
signal.signal(signal.SIGINT, lambda *_: None)

def ensured(**options):
    found = local.ensure(**options)
    return {"url": found.url, "token": found.token, "pid": found.pid, "nonce": found.nonce}

def forked(work):
    pid = os.fork()
    if pid == 0:
        work()
        while True:
            time.sleep(60)
    return {"pid": pid}

commands = {
    "ensure": ensured,
    "verify": lambda: ensured(verify=True),
    "release": lambda: local.release(),
    "fork": lambda: forked(lambda: None),
    "fork and ensure": lambda: forked(lambda: sys.stderr.write(json.dumps(ensured()) + "\\n")),
    "program": lambda: {"pid": subprocess.Popen(["sleep", "60"], start_new_session=True).pid},
}
for line in sys.stdin:
    try:
        answer = commands[line.strip()]()
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""


def eventually(condition: Callable[[], Any], what: str, seconds: float = 45.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return result


class Kernel:
    """A process like a notebook's kernel, with a process group of its own."""

    def __init__(self, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", KERNEL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environ,
            start_new_session=True,
        )

    def ask(self, command: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read()
        return json.loads(line)  # type: ignore[no-any-return]

    def run(self, command: str) -> dict[str, Any]:
        self.ask(command)
        return self.answer()

    def signal_group(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.signal_group(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Let it end as a program does."""
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream
            stream.close()
        self.process.wait(20)


def processes() -> list[psutil.Process]:
    """All processes of the embedded engine in this test's runtime folder."""
    folder, found = str(runtime_folder.runtime_path()), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if folder in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def all_gone() -> None:
    eventually(lambda: not processes(), "no process left")
    eventually(lambda: not runtime_folder.runtime_path().exists(), "no runtime folder left")


def healthy(endpoint: dict[str, Any]) -> bool:
    with urllib.request.urlopen(endpoint["url"] + "/healthz", timeout=5) as answer:
        return bool(json.loads(answer.read())["engine"] == endpoint["nonce"])


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="gl-", dir="/tmp"))
    for name in os.environ:
        if name.startswith("GEOLOOM_") and name != "GEOLOOM_TEST_RUN":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.setenv("XDG_DATA_HOME", str(base / "data"))
    monkeypatch.setenv("GEOLOOM_LINGER", "0.3")
    monkeypatch.setenv("GEOLOOM_WORKERS", "1")
    try:
        yield base
        local.release()
        all_gone()
    finally:
        for process in processes():
            process.kill()
        shutil.rmtree(base)


@pytest.fixture
def kernel() -> Iterator[Callable[..., Kernel]]:
    made: list[Kernel] = []

    def make(**environ: str) -> Kernel:
        made.append(Kernel(**environ))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def test_kernels_at_once_start_one_engine(kernel: Callable[..., Kernel]) -> None:
    kernels = [kernel() for _ in range(4)]
    for one in kernels:
        one.ask("ensure")
    answers = [one.answer() for one in kernels]
    assert healthy(answers[0])
    assert all(answer == answers[0] for answer in answers)
    for one in kernels[1:]:
        one.kill()
    assert kernels[0].run("verify") == answers[0]
    kernels[0].close()
    all_gone()


def test_ensure_is_cheap_while_the_engine_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = local.ensure()
    asked: list[object] = []
    monkeypatch.setattr(local, "_answers", lambda endpoint: bool(asked.append(endpoint)) or True)
    # The fastest call counts: the processor may be given away in any of them.
    fastest = 1.0
    for _ in range(100):
        begun = time.perf_counter()
        assert local.ensure() is found
        fastest = min(fastest, time.perf_counter() - begun)
    assert fastest < 0.001
    assert not asked
    assert local.ensure(verify=True) is found
    assert asked == [found]
    assert found.token not in repr(found)


def test_interrupt_does_not_reach_the_engine(kernel: Callable[..., Kernel]) -> None:
    one = kernel()
    found = one.run("ensure")
    one.signal_group(signal.SIGINT)
    assert one.run("verify") == found
    assert healthy(found)


def test_killed_kernel_restarts_with_the_same_engine(kernel: Callable[..., Kernel]) -> None:
    # Longer than any machine takes to start Python; the engine is ended below.
    first = kernel(GEOLOOM_LINGER="60")
    found = first.run("ensure")
    first.kill()
    second = kernel()
    assert second.run("ensure") == found
    os.kill(found["pid"], signal.SIGTERM)


def test_killed_kernel_leaves_nothing(kernel: Callable[..., Kernel]) -> None:
    one = kernel()
    one.run("ensure")
    one.kill()
    all_gone()


def test_kernel_killed_while_it_starts_the_engine(kernel: Callable[..., Kernel]) -> None:
    one = kernel()
    one.ask("ensure")
    eventually(lambda: runtime_folder.held(runtime_folder.runtime_path() / "supervisor"), "supervisor starts")
    one.kill()
    second = kernel()
    assert healthy(second.run("ensure"))
    second.kill()
    all_gone()


def test_children_of_a_killed_kernel_keep_no_lease(kernel: Callable[..., Kernel]) -> None:
    one = kernel()
    one.run("ensure")
    children = [one.run("fork")["pid"], one.run("program")["pid"]]
    os.kill(one.process.pid, signal.SIGKILL)
    try:
        all_gone()
        assert all(psutil.pid_exists(pid) for pid in children)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def test_forked_child_takes_a_lease_of_its_own(kernel: Callable[..., Kernel]) -> None:
    one = kernel()
    found = one.run("ensure")
    child = one.run("fork and ensure")["pid"]
    assert one.process.stderr
    assert json.loads(one.process.stderr.readline()) == found
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.wait(20)
    leases = runtime_folder.runtime_path() / "leases"
    held = [lease for lease in leases.iterdir() if runtime_folder.held(lease)]
    assert [lease.name.partition("-")[0] for lease in held] == [str(child)]
    assert healthy(found)
    os.kill(child, signal.SIGKILL)


def test_next_ensure_starts_an_engine_where_none_is_left(kernel: Callable[..., Kernel]) -> None:
    one = kernel()
    before = one.run("ensure")
    os.kill(before["pid"], signal.SIGSTOP)
    for process in processes():
        process.kill()
    after = one.run("verify")
    assert healthy(after)
    assert after["url"] == before["url"]
    assert after["token"] != before["token"]
    assert one.run("ensure") == after


def test_last_kernel_removes_what_a_killed_engine_left(kernel: Callable[..., Kernel]) -> None:
    one = kernel()
    found = one.run("ensure")
    os.kill(found["pid"], signal.SIGSTOP)
    folder = runtime_folder.runtime_path()

    def killed() -> bool:
        # Again and again: an engine replaces a worker as long as it lives itself.
        for process in processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return not processes() and not runtime_folder.held(folder / "supervisor")

    eventually(killed, "all killed")
    assert folder.exists()
    one.close()
    assert not folder.exists()


def test_kernel_that_comes_as_the_engine_ends_gets_a_living_one() -> None:
    for delay in (0.0, 0.30, 0.37):
        found = local.ensure()
        local.release()
        until = time.monotonic() + delay
        while time.monotonic() < until:
            time.sleep(0.005)
        found = local.ensure()
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            assert local.ensure(verify=True) == found
            time.sleep(0.05)


def write_picture(path: Path) -> Path:
    """A georeferenced GeoTIFF of one band around 13° E, 45° N."""
    from osgeo import gdal

    gdal.UseExceptions()
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 64, 64, 1, gdal.GDT_Byte)
    dataset.SetGeoTransform((13.0, 0.01, 0.0, 45.0, 0.0, -0.01))
    dataset.SetProjection("EPSG:4326")
    dataset.GetRasterBand(1).Fill(200)
    dataset.Close()
    return path


def test_open_map_recovers_whatever_is_killed(tmp_path: Path) -> None:
    image = geoloom.open(str(write_picture(tmp_path / "picture.tif")))
    url = local.ensure().url
    client = engine_client.connect()
    url += client.register(image.chain).tiles.format(z=10, x=549, y=368)
    client.close()

    def tile() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(*names: str) -> None:
        supervisor = psutil.Process(local.ensure().pid)
        family = {"supervisor": supervisor}
        family |= {"store" if "valkey" in one.name() else "engine": one for one in supervisor.children()}
        victims = [family[name] for name in names]
        for victim in victims:
            victim.suspend()
        for victim in victims:
            victim.kill()
        eventually(lambda: not any(is_running(victim) for victim in victims), "all killed")

    assert tile()
    kill("engine")
    eventually(tile, "after the engine was killed")
    kill("store")
    eventually(tile, "after the store was killed")
    kill("supervisor")
    eventually(tile, "after the supervisor was killed")
    local.ensure(verify=True)
    kill("supervisor", "engine", "store")
    # Nobody is left to notice: a kernel's next request starts an engine.
    local.ensure(verify=True)
    eventually(tile, "after all were killed")


def is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def test_secrets_of_one_kernel_do_not_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hub-secret")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    local.ensure()
    for process in processes():
        assert not {"JUPYTERHUB_API_TOKEN", "JPY_PARENT_PID"} & set(process.environ())


def test_settings_that_come_too_late_are_named(
    kernel: Callable[..., Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOOM_QUEUE_LENGTH", "99")
    found = kernel().run("ensure")
    monkeypatch.setenv("GEOLOOM_SOURCES", "/data")
    with pytest.warns(UserWarning, match="without your GEOLOOM_SOURCES"):
        assert local.ensure().nonce == found["nonce"]


def test_start_that_fails_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOOM_TILE_TTL", "soon")
    with pytest.raises(EngineUnreachable, match=r"(?s)ended while it was starting.*GEOLOOM_TILE_TTL"):
        local.ensure()
    all_gone()


def test_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnreachable, match=r"not installed.*pip install"):
        local.ensure()


def folder_open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o750)


def folder_of_another(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 4711, 4711)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (folder_open_to_others, r"is open to other users \(mode 750\)"),
        (lambda folder: folder.symlink_to("/etc"), "is a symbolic link"),
        (lambda folder: folder.write_text(""), "is not a folder"),
        (folder_of_another, "belongs to another user"),
    ],
    ids=["mode", "link", "file", "owner"],
)
def test_unsafe_runtime_folder_is_refused(prepare: Callable[[Path], None], message: str) -> None:
    folder = runtime_folder.runtime_path()
    try:
        prepare(folder)
    except PermissionError:
        pytest.skip("only root can give a folder to another user")
    with pytest.raises(EngineUnreachable, match=message):
        local.ensure()
    if folder.is_dir() and not folder.is_symlink():
        assert not list(folder.iterdir())
        folder.rmdir()
    else:
        folder.unlink()
