"""Users' functions in a real engine: from the chain to the tile, and what becomes of the processes."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from PIL import Image

from geoloom import blobs
from geoloom.chain import Chain, key_of
from geoloom.errors import FunctionFailed, FunctionRefused, NotFound
from geoloom.grid import Tile
from geoloom.ops.execute import Execute
from geoloom.ops.open import Open
from geoloom.ops.scale import Scale
from geoloom.store import RedisStore
from geoloom_engine import sandboxing
from geoloom_engine.embedded import engine as engine_module
from geoloom_engine.sandbox.lock import Available, LockLevel
from geoloom_engine.settings import load

if TYPE_CHECKING:
    from conftest import RunningEngine, StartEngine

TILE = Tile.at(15.05, 45.1, 11)
PLACE = (TILE.z, TILE.x, TILE.y)


def chain_of(
    engine: RunningEngine, body: str, path: Path | None = None, keep: bool = True, **params: Any
) -> Chain:
    """A drawable chain of a function, whose text this process knows."""
    text = f"def f(img):\n    {body}".encode()
    key = blobs.keep(text) if keep else key_of(text)
    scene = Open(href=str(path or engine.raster())).chain()
    step = Execute(**{"text": key, "main": "f", "dtype": "int32", **params}).chain(scene)
    return Scale(limits=(0.0, 100.0)).chain(step)


def sandboxed(engine: RunningEngine) -> list[psutil.Process]:
    """The processes of users' functions."""
    zygote = engine.zygote()
    try:
        return psutil.Process(zygote).children() if zygote is not None else []
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="module")
def engine(start_engine: StartEngine, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> RunningEngine:
    return start_engine(valkey, tmp_path_factory.mktemp("functions"), workers=2)


def test_a_function_becomes_a_tile(engine: RunningEngine) -> None:
    path = engine.raster()
    client = engine.client()
    constant = client.tile(chain_of(engine, "return img[0] * 0 + 50", path), *PLACE)
    shade = np.array(Image.open(io.BytesIO(constant)).convert("LA"))
    assert set(np.unique(shade[..., 0][shade[..., 1] > 0])) == {128}


def test_a_failure_tells_the_line_and_is_an_event(engine: RunningEngine) -> None:
    client = engine.client("failing")
    chain = chain_of(engine, "return img[0] + no_such_name")
    with pytest.raises(FunctionFailed) as caught:
        client.tile(chain, *PLACE)
    error = caught.value
    assert (error.function, error.line, error.text) == ("f", 2, "return img[0] + no_such_name")
    assert error.exception == "NameError: name 'no_such_name' is not defined"
    layer = client.register(chain)
    path = layer.tiles.format(z=PLACE[0], x=PLACE[1], y=PLACE[2])
    assert engine.ask("GET", path, token=False).status == 422
    assert engine.ask("GET", path, token=False).headers["content-type"] == "image/png"
    events = [one for one in client.events(timeout=5)["events"] if one["type"] == "error"]
    assert [(one["error"], one["line"], one["tile"]) for one in events] == [
        ("FunctionFailed", 2, list(PLACE))
    ]


def test_what_a_function_prints_is_an_event_once(engine: RunningEngine) -> None:
    client = engine.client("printing")
    chain = chain_of(engine, "print('mean', img.shape); return img[0]")
    client.tile(chain, *PLACE)
    client.tile(chain, TILE.z, TILE.x, TILE.y + 1)
    told = engine.wait_until(
        lambda: [one for one in client.events(timeout=1)["events"] if one["type"] == "print"],
        what="the print",
    )
    assert [one["message"] for one in told] == ["mean (1, 256, 256)"]


def test_what_it_printed_before_it_failed_is_an_event_too(engine: RunningEngine) -> None:
    client = engine.client("printing-and-failing")
    with pytest.raises(FunctionFailed):
        client.tile(chain_of(engine, "print('before'); return img[9]"), *PLACE)

    def kinds() -> set[str]:
        return {one["type"] for one in client.events(timeout=1)["events"]}

    engine.wait_until(lambda: "print" in kinds(), what="the print")


def test_the_window_of_a_function_and_its_result(engine: RunningEngine) -> None:
    client = engine.client()
    chain = chain_of(engine, "return img[0] * 3", around=2)
    step = chain.node.inputs[0]
    client.register(chain)
    given = client.window(chain.root, step, *PLACE)
    assert given.data.shape == (1, 260, 260)
    assert given.data.dtype == np.int32
    assert given.margin == 2
    below = chain.at(step)
    client.register(below)
    plain = client.window(below.root, below.node.inputs[0], *PLACE)
    assert np.array_equal(plain.data, given.data[:, 2:-2, 2:-2])
    with pytest.raises(NotFound, match="no step"):
        client.window(chain.root, "0" * 32, *PLACE)


def test_a_text_that_is_not_stored_is_told_and_one_that_is_lost_is_sent_again(
    engine: RunningEngine, valkey: str
) -> None:
    with pytest.raises(NotFound, match="No blob"):
        engine.client().register(chain_of(engine, "return img[0] * 11", keep=False))
    client = engine.client()
    chain = chain_of(engine, "return img[0] * 12")
    client.register(chain)
    text = str(chain.nodes[chain.node.inputs[0]].params["text"])
    import redis

    server = redis.Redis.from_url(valkey)
    assert server.delete(f"geoloom:blob:{text}") == 1
    client.register(chain)
    assert server.exists(f"geoloom:blob:{text}")


def test_points_and_statistics_run_functions_too(engine: RunningEngine) -> None:
    client = engine.client()
    step = chain_of(engine, "return img[0] * 0 + 7")
    chain = step.at(step.node.inputs[0])
    client.register(chain)
    assert client.point(chain.root, 15.05, 45.1)["values"] == {"result": 7}
    summary = client.statistics(chain.root)["bands"]["result"]
    assert (summary["min"], summary["max"]) == (7, 7)


def test_processes_come_back_and_none_is_left(start_engine: StartEngine, valkey: str, tmp_path: Path) -> None:
    engine = start_engine(valkey, tmp_path, workers=1)
    client = engine.client()
    path = engine.raster()
    client.tile(chain_of(engine, "return img[0] * 21", path), *PLACE)
    before = sandboxed(engine)
    assert before
    # The parent of all functions' processes dies: they go with it, and functions run again.
    zygote = engine.zygote()
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    engine.wait_until(lambda: not any(one.is_running() for one in before), what="the end of the processes")
    engine.wait_until(lambda: engine.zygote() not in (None, zygote), what="another parent")
    client.tile(chain_of(engine, "return img[0] * 22", path), *PLACE)
    # A worker of the engine dies: its functions' processes go with it.
    before = sandboxed(engine)
    assert before
    (worker,) = engine.workers()
    os.kill(worker, signal.SIGKILL)
    engine.wait_until(lambda: not any(one.is_running() for one in before), what="the end of its processes")
    engine.wait_until(lambda: len(engine.workers()) == 1, what="another worker")
    client.tile(chain_of(engine, "return img[0] * 23", path), *PLACE)
    everything = [psutil.Process(pid) for pid in engine.children()] + sandboxed(engine)
    assert engine.stop() == 0
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in everything)


def test_an_engine_may_run_no_functions(start_engine: StartEngine, valkey: str, tmp_path: Path) -> None:
    engine = start_engine(valkey, tmp_path, functions="off")
    assert engine.zygote() is None
    with pytest.raises(FunctionRefused, match="runs no functions of users"):
        engine.client().register(chain_of(engine, "return img[0]"))


def test_an_unlocked_engine_says_so_and_runs_what_is_trusted(
    start_engine: StartEngine, valkey: str, tmp_path: Path
) -> None:
    engine = start_engine(valkey, tmp_path, functions="trusted")
    assert "WITHOUT A SANDBOX" in engine.log.read_text()
    foreign = chain_of(engine, "return img[0] * 31", keep=False)
    RedisStore(valkey).put_blob(b"def f(img):\n    return img[0] * 31")
    client = engine.client()
    with pytest.raises(FunctionRefused, match="was not written in a notebook of this session") as caught:
        client.register(foreign)
    assert "geoloom.trust(image)" in str(caught.value.hint)
    with pytest.warns(UserWarning, match="not locked in"):
        client.tile(chain_of(engine, "return img[0] * 32"), *PLACE)
    with pytest.warns(UserWarning, match="not locked in"):
        client.put_blob(b"def f(img):\n    return img[0] * 31")
    client.tile(foreign, *PLACE)
    # What came along with a chain's JSON is sent, but nobody here wrote it.
    text = b"def f(img):\n    return img[0] * 33"
    chain = chain_of(engine, "return img[0] * 33", keep=False)
    assert blobs.from_json(blobs.to_json(chain, lambda key: text)) == chain
    with (
        pytest.warns(UserWarning, match="not locked in"),
        pytest.raises(FunctionRefused, match="was not written in a notebook of this session"),
    ):
        client.register(chain)
    # Until somebody does write it.
    blobs.keep(text)
    with pytest.warns(UserWarning, match="not locked in"):
        client.tile(chain, *PLACE)


def test_a_system_that_cannot_lock_refuses_functions_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sandboxing, "available", lambda: Available(False, 0, "No seccomp: a test says so."))
    op = Execute(text="0" * 32, main="f")
    settings = ["--workers", "1", "--nonce", "n"]
    refusing = sandboxing.Sandboxing(load(settings, {}))
    refusing.start()
    assert refusing.pid is None
    assert "No seccomp: a test says so. GEOLOOM_FUNCTIONS" in caplog.text
    with pytest.raises(FunctionRefused, match=r"cannot lock them in\. No seccomp: a test says so"):
        refusing.functions().check(op)
    caplog.clear()
    told = sandboxing.Sandboxing(load([*settings, "--functions", "unprotected"], {}))
    assert "GEOLOOM_FUNCTIONS=unprotected" in caplog.text
    assert "WITHOUT A SANDBOX" in caplog.text
    told.claim(0)
    found = told.functions()
    found.check(op)
    found.close()
    told.stop()


def test_a_kernel_without_landlock_runs_functions_by_seccomp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxing, "available", lambda: Available(True, 0, "No Landlock."))
    levels = []
    monkeypatch.setattr(sandboxing, "Launcher", lambda channels, level, modules: levels.append(level))
    sandboxing.Sandboxing(load(["--workers", "1"], {}))
    assert levels == [LockLevel(seccomp=True, landlock=False)]


@pytest.mark.parametrize(("system", "chosen"), [("linux", None), ("darwin", "trusted")])
def test_an_embedded_engine_without_seccomp_runs_what_its_own_kernels_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, chosen: str | None
) -> None:
    monkeypatch.delenv("GEOLOOM_FUNCTIONS", raising=False)
    monkeypatch.setattr(engine_module.sys, "platform", system)
    made = engine_module.Engine(tmp_path, tmp_path, 0, [], None)
    assert made.added.get("GEOLOOM_FUNCTIONS") == chosen
