"""Start, supervision and end of a real engine process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from geoloom.store import connect

if TYPE_CHECKING:
    from conftest import RunningEngine, RunningValkey, StartEngine


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEOLOOM_")}
    return subprocess.run(
        [sys.executable, "-m", "geoloom_engine", *arguments],
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "x"], "--port: 'x' is not a whole number."),
        (["--host", "0.0.0.0"], "GEOLOOM_TOKEN"),
        (["--port", "0", "--sources", "relative/folder"], "GEOLOOM_SOURCES"),
        (["--port", "0", "--redis-url", "http://x"], "redis://"),
        (["--port", "0", "--host", "no-such-host.invalid", "--token", "t"], "Cannot listen on"),
        (["--port", "0", "--redis-url", "unix:///nowhere/s"], "chain store at unix:///nowhere/s"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments: list[str], words: str) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert answer.stderr.startswith("geoloom-engine: ")
    assert len(answer.stderr.splitlines()) == 1, answer.stderr


def test_a_port_in_use_is_said(valkey: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = run("--port", str(taken.getsockname()[1]), "--redis-url", valkey)
    assert answer.returncode == 2
    assert "the port is in use" in answer.stderr


def test_an_unknown_variable_is_warned_about() -> None:
    answer = run("--redis-url", "unix:///nowhere/s", "--port", "0", GEOLOOM_SOURCE="/x")
    assert "Did you mean GEOLOOM_SOURCES?" in answer.stderr


def test_life_and_end_of_workers(
    start_engine: StartEngine, own_valkey: RunningValkey, tmp_path: Path
) -> None:
    engine = start_engine(own_valkey.url, tmp_path, workers=2, nonce="mine", log_format="json")
    assert engine.ask("GET", "/healthz").json["engine"] == "mine"

    # A worker that dies is replaced, and the other one serves meanwhile; a kernel that listens hears of it.
    with ThreadPoolExecutor(1) as aside:
        poll = aside.submit(engine.ask, "GET", "/events?timeout=50", None, {"X-Geoloom-Session": "listens"})
        engine.wait_until(lambda: _streams(own_valkey.url) > 0, what="the poll")
        second, first = sorted(engine.workers(), key=lambda pid: _clients(pid, engine), reverse=True)
        os.kill(first, signal.SIGKILL)
        assert poll.result(20).json["lives"]["starts"] == 3
    engine.wait_until(
        lambda: len(engine.workers()) == 2 and first not in engine.workers(), what="a new worker"
    )
    assert second in engine.workers()
    seen = set[int]()
    engine.wait_until(lambda: seen.add(_pid(engine)) or set(engine.workers()) <= seen, what="answers of both")

    # A poll that is open when the engine is told to stop is answered, and all ends soon.
    workers = engine.workers()
    with ThreadPoolExecutor(1) as aside:
        # In a session of its own: events that others left would be answered at once.
        poll = aside.submit(
            engine.ask, "GET", "/events?timeout=50", None, {"X-Geoloom-Session": "life-and-end"}
        )
        engine.wait_until(lambda: _streams(own_valkey.url) > 0, what="the poll")
        engine.process.send_signal(signal.SIGINT)
        assert poll.result(20).status == 503
    assert engine.process.wait(20) == 0
    assert not any(lives(pid) for pid in workers)
    for line in engine.log.read_text().splitlines():
        assert json.loads(line)["level"]


def _pid(engine: RunningEngine) -> int:
    return int(engine.ask("GET", "/healthz").json["pid"])


def _clients(worker: int, engine: RunningEngine) -> int:
    """Connections that a worker serves."""
    port = urlsplit(engine.url).port
    open_ones = psutil.Process(worker).net_connections("tcp")
    return sum(one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in open_ones)


def _streams(valkey: str) -> int:
    """Connections that block on a stream."""
    return int(connect(valkey).info("clients")["blocked_clients"])  # type: ignore[index]


def test_workers_end_with_their_supervisor(start_engine: StartEngine, valkey: str, tmp_path: Path) -> None:
    engine = start_engine(valkey, tmp_path)
    (worker,) = engine.workers()
    engine.process.kill()
    engine.process.wait(10)
    engine.wait_until(lambda: not lives(worker), what="the end of the worker")


def test_workers_that_keep_dying_end_the_engine(
    start_engine: StartEngine, valkey: str, tmp_path: Path
) -> None:
    engine = start_engine(valkey, tmp_path)

    def kill_and_look() -> bool:
        if engine.process.poll() is not None:
            return True
        for pid in engine.workers():
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGKILL)
        return False

    engine.wait_until(kill_and_look, what="the end")
    assert engine.process.returncode == 1
    assert "keep ending" in engine.log.read_text()
