from __future__ import annotations

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import redis

from geoloom.ops.constant import Constant
from geoloom.store import RedisStore
from geoloom_engine.embedded import child
from geoloom_engine.embedded.store import EVICTION

if TYPE_CHECKING:
    from conftest import RunningValkey

LINGER = 0.3


def eventually(condition: Callable[[], Any], what: str, seconds: float = 45.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return result


@dataclass
class Home:
    """A runtime and a data folder, the leases a test holds, and all processes that belong to them."""

    base: Path
    environ: dict[str, str]
    leases: list[int] = field(default_factory=list)

    @property
    def runtime(self) -> Path:
        return self.base / "run"

    @property
    def data(self) -> Path:
        return self.base / "data" / "one"

    def lease(self) -> int:
        (self.runtime / "leases").mkdir(mode=0o700, exist_ok=True)
        path = self.runtime / "leases" / f"test-{len(self.leases)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.leases.append(descriptor)
        return descriptor

    def release(self) -> None:
        while self.leases:
            os.close(self.leases.pop())

    def launch(self, **environ: str) -> None:
        """Start a supervisor; its first process returns at once."""
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        command = [sys.executable, "-P", "-m", "geoloom_engine.embedded", "--linger", str(LINGER)]
        command += ["--runtime", str(self.runtime), "--data", str(self.data)]
        with (self.runtime / "engine.log").open("ab") as log:
            subprocess.run(
                command,
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                timeout=20,
                check=True,
            )

    def start(self, **environ: str) -> dict[str, Any]:
        """Start a supervisor under a lease; the engine's address once it answers."""
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        self.lease()
        self.launch(**environ)
        return self.answering()

    def announced(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.runtime / "engine.json").read_text())  # type: ignore[no-any-return]
        except (OSError, ValueError):
            return None

    def healthy(self) -> dict[str, Any] | None:
        found = self.announced()
        if found is None:
            return None
        try:
            with urllib.request.urlopen(found["url"] + "/healthz", timeout=2) as answer:
                health = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return None
        return found | {"worker": health["pid"]} if health["engine"] == found["nonce"] else None

    def answering(self) -> dict[str, Any]:
        try:
            return eventually(self.healthy, "engine answers")  # type: ignore[no-any-return]
        except AssertionError:
            raise AssertionError(self.log()) from None

    def log(self) -> str:
        try:
            return (self.runtime / "engine.log").read_text()
        except OSError:
            return "(no log)"

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                ours = str(self.runtime) in " ".join(process.cmdline())
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def valkey(self) -> psutil.Process:
        return next(p for p in self.processes() if "valkey" in p.name())

    def engines(self) -> list[psutil.Process]:
        """The first process of the engine, whose children are the workers; none between two of them."""
        supervisor = self.announced()["pid"]  # type: ignore[index]
        return [p for p in psutil.Process(supervisor).children() if "valkey" not in p.name()]

    def engine(self) -> psutil.Process:
        (found,) = self.engines()
        return found

    def store(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.runtime / "valkey.sock"))

    def all_gone(self) -> None:
        eventually(lambda: not self.processes(), "no process left")
        eventually(lambda: not self.runtime.exists(), "no runtime folder left")


@contextmanager
def new_home() -> Iterator[Home]:
    base = Path(tempfile.mkdtemp(prefix="gl-", dir="/tmp"))
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GEOLOOM_") or name == "GEOLOOM_TEST_RUN"
    }
    home = Home(base, environ | {"GEOLOOM_WORKERS": "1"})
    home.data.mkdir(parents=True)
    # A port of its own for each test, since tests run side by side.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        (home.data / "port").write_text(str(probe.getsockname()[1]))
    try:
        yield home
    finally:
        home.release()
        try:
            if home.runtime.exists() or home.processes():
                eventually(lambda: not home.processes(), "everything ended by itself after the test")
        finally:
            for process in home.processes():
                process.kill()
            shutil.rmtree(base)


@pytest.fixture
def home() -> Iterator[Home]:
    with new_home() as home:
        yield home


@pytest.fixture(scope="module")
def lasting() -> Iterator[Home]:
    """One supervisor that survives what is done to its children."""
    with new_home() as home:
        home.start(GEOLOOM_WORKERS="2")
        yield home


def test_starts_and_ends_after_the_last_lease(home: Home) -> None:
    found = home.start()
    assert found["url"].startswith("http://127.0.0.1:")
    for name in ("engine.json", "valkey.sock"):
        assert stat.S_IMODE((home.runtime / name).stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((home.data / "signing.key").stat().st_mode) == 0o600
    secrets = {found["token"], (home.data / "signing.key").read_text().strip()}
    for process in home.processes():
        assert not any(secret in part for part in process.cmdline() for secret in secrets)
    listening = [c for p in home.processes() for c in p.net_connections("tcp") if c.status == "LISTEN"]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    second = home.lease()
    os.close(home.leases.pop(0))
    assert home.healthy()
    assert os.fstat(second)
    home.release()
    home.all_gone()
    assert sorted(path.name for path in home.data.iterdir()) == ["claim", "port", "signing.key", "valkey"]


def test_without_any_lease_nothing_is_started(home: Home) -> None:
    home.launch()
    home.all_gone()


def test_second_supervisor_leaves_the_first_alone(lasting: Home) -> None:
    lasting.answering()
    before = lasting.announced()
    lasting.launch()
    lasting.answering()
    assert lasting.announced() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_engine_comes_back_on_the_same_port(lasting: Home, number: signal.Signals) -> None:
    before = lasting.answering()
    engine = lasting.engine()
    workers = engine.children()
    os.kill(engine.pid, number)
    eventually(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, "engine ended")
    # A worker that is left of the old one may answer once more.
    eventually(lambda: lasting.healthy() and lasting.engines() not in ([], [engine]), "another engine")
    after = lasting.answering()
    assert {name: after[name] for name in ("url", "token", "nonce", "pid")} == {
        name: before[name] for name in ("url", "token", "nonce", "pid")
    }
    eventually(lambda: not any(worker.is_running() for worker in workers), "old workers gone")


def test_killed_worker_is_replaced(lasting: Home) -> None:
    before = lasting.answering()
    engine = lasting.engine()
    worker = psutil.Process(before["worker"])
    worker.kill()
    eventually(lambda: not worker.is_running(), "worker gone")
    eventually(lambda: len(engine.children()) == 3, "two workers and the functions' parent again")
    assert lasting.answering()["nonce"] == before["nonce"]


def test_killed_store_comes_back_with_what_was_saved(lasting: Home) -> None:
    found = lasting.answering()
    lasting.store().set("geoloom:chain:saved", "text")
    old = lasting.valkey()
    old.kill()

    def back() -> bool:
        try:
            return bool(lasting.store().get("geoloom:chain:saved") == b"text") and lasting.valkey() != old
        except redis.ConnectionError:
            return False

    eventually(back, "store is back")
    assert lasting.answering()["nonce"] == found["nonce"]


def test_saved_is_there_tomorrow(home: Home) -> None:
    first = home.start()
    key = (home.data / "signing.key").read_text()
    home.store().set("geoloom:chain:saved", "text")
    home.release()
    home.all_gone()
    second = home.start()
    assert home.store().get("geoloom:chain:saved") == b"text"
    assert second["url"] == first["url"]
    assert (home.data / "signing.key").read_text() == key
    assert second["token"] != first["token"]
    assert second["nonce"] != first["nonce"]


def test_killed_supervisor_is_succeeded(home: Home) -> None:
    before = home.start(GEOLOOM_WORKERS="2")
    home.store().set("geoloom:chain:saved", "text")
    old = home.processes()
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: (home.announced() or before)["pid"] != before["pid"], "another supervisor")
    after = home.answering()
    assert after["url"] == before["url"]
    assert after["token"] != before["token"]
    assert home.store().get("geoloom:chain:saved") == b"text"
    # The old engine's first process has become the supervisor's parent and ended.
    eventually(lambda: not any(process.is_running() for process in old), "no old process left")
    assert (home.data / "port").exists()
    assert not (home.data.parent / "one-2").exists()


def test_killed_supervisor_without_lease_leaves_nothing(home: Home) -> None:
    found = home.start()
    os.kill(found["pid"], signal.SIGSTOP)
    home.release()
    os.kill(found["pid"], signal.SIGKILL)
    home.all_gone()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends a Valkey left alone")
def test_supervisor_and_engine_killed_at_once(home: Home) -> None:
    before = home.start()
    engine = home.engine()
    os.kill(before["pid"], signal.SIGSTOP)
    os.kill(engine.pid, signal.SIGKILL)
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: not home.processes(), "no process left")
    after = home.start()
    assert after["url"] == before["url"]


def test_terminated_supervisor_leaves_nothing(home: Home) -> None:
    found = home.start()
    os.kill(found["pid"], signal.SIGTERM)
    eventually(lambda: not home.processes(), "no process left")
    assert not {"engine.json", "valkey.sock"} & {path.name for path in home.runtime.iterdir()}


def test_interrupt_and_hangup_do_not_reach_it(lasting: Home) -> None:
    before = lasting.answering()
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(before["pid"], number)
    lasting.store().ping()
    assert lasting.answering()["pid"] == before["pid"]


def test_removed_runtime_folder_ends_it(home: Home) -> None:
    home.start()
    shutil.rmtree(home.runtime)
    eventually(lambda: not home.processes(), "no process left")


def test_port_taken_by_a_stranger(home: Home) -> None:
    first = home.start()
    home.release()
    home.all_gone()
    port = int(first["url"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        second = home.start()
        assert second["url"] != first["url"]
        assert (home.data / "port").read_text().strip() == second["url"].rpartition(":")[2]


def append_only_file(data: Path) -> Path:
    return max((data / "valkey" / "appendonlydir").glob("*.incr.aof"))


def test_truncated_store_is_loaded(home: Home) -> None:
    home.start()
    home.store().set("geoloom:chain:one", "text")
    home.store().set("geoloom:chain:two", "text")
    home.release()
    home.all_gone()
    path = append_only_file(home.data)
    os.truncate(path, path.stat().st_size - 3)
    home.start()
    assert home.store().get("geoloom:chain:one") == b"text"
    assert home.store().get("geoloom:chain:two") is None


def test_damaged_store_is_set_aside(home: Home) -> None:
    home.start()
    home.store().set("geoloom:chain:one", "text")
    home.release()
    home.all_gone()
    append_only_file(home.data).write_bytes(b"nonsense\r\n" * 100)
    home.start()
    assert home.store().dbsize() == 0
    (aside,) = home.data.glob("valkey-damaged-*")
    assert b"nonsense" in append_only_file_bytes(aside)
    assert str(aside) in home.log()


def append_only_file_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "appendonlydir").iterdir())


def test_two_versions_do_not_share_a_store(home: Home) -> None:
    first = home.start()
    other = Home(home.base / "other", home.environ)
    other.base.mkdir()
    (other.base / "data").symlink_to(home.base / "data")
    try:
        second = other.start()
        assert second["url"] != first["url"]
        assert (home.data.parent / "one-2" / "valkey").is_dir()
        assert "used by another engine" in other.log()
    finally:
        other.release()
        other.all_gone()


def test_data_folder_that_cannot_be_written(home: Home) -> None:
    shutil.rmtree(home.base / "data")
    (home.base / "data").write_text("a file where a folder should be")
    home.start()
    assert "will not outlive this engine" in home.log()
    home.release()
    home.all_gone()


def test_redis_of_the_user_is_used(lasting: Home, home: Home) -> None:
    home.start(GEOLOOM_REDIS_URL=f"unix://{lasting.runtime}/valkey.sock")
    assert not (home.runtime / "valkey.sock").exists()
    assert not (home.data / "valkey").exists()


class Sleeper(child.Child):
    name = "the sleeper"
    answers = True

    def launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], process_group=0)

    def works(self) -> bool:
        return self.answers


def test_child_that_hangs_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "CHECK_SECONDS", 0.0)
    sleeper = Sleeper()
    sleeper.start()
    first = sleeper.process
    for _ in range(child.MOST_SILENCES * 2):
        sleeper.tend()
    assert sleeper.process is first
    sleeper.answers = False

    def another() -> bool:
        sleeper.tend()
        return sleeper.process is not None and sleeper.process is not first

    eventually(another, "another process")
    assert first.poll() == -signal.SIGKILL
    sleeper.answers = True
    eventually(lambda: sleeper.tend() or sleeper.ready, "it is ready")
    sleeper.end()
    assert sleeper.process is None


def test_child_that_keeps_ending_is_started_ever_more_slowly() -> None:
    sleeper = Sleeper()
    for _ in range(20):
        sleeper.tend()
        if sleeper.process:
            sleeper.process.kill()
            sleeper.process.wait()
            sleeper.due = 0.0
            sleeper.tend()
            sleeper.due = 0.0
    assert sleeper.pause == child.LAST_PAUSE
    sleeper.end()


def test_wrong_setting_ends_at_once_and_says_why(home: Home) -> None:
    home.runtime.mkdir(mode=0o700)
    home.lease()
    home.launch(GEOLOOM_TILE_TTL="soon")
    eventually(lambda: not home.processes(), "no process left")
    assert "GEOLOOM_TILE_TTL" in home.log()
    assert "The engine does not start" in home.log()


def test_a_full_store_lets_go_of_tiles_and_not_of_chains(own_valkey: RunningValkey) -> None:
    store = RedisStore(own_valkey.url)
    with redis.Redis.from_url(own_valkey.url) as raw:
        for name, value in EVICTION.items():
            raw.config_set(name, value)
        raw.config_set("maxmemory", str(raw.info("memory")["used_memory"] + (8 << 20)))
        keys = []
        for number in range(2000):
            keys.append(store.put_chain(Constant(value=float(number)).chain()))
            for one in range(3):
                raw.set(f"geoloom:tile:{number}:{one}", bytes(30_000), ex=600)
        assert raw.info("stats")["evicted_keys"] > 1000
        # It looks at 64 of them, which once in a while are all chains.
        assert raw.exists(*(f"geoloom:chain:{key}" for key in keys)) >= 0.99 * len(keys)
    store.close()
