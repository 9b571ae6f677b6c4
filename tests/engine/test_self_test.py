"""The self-test that a container runs before its engine: what it tells of each thing, and its exit status."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geoloom.store import connect
from geoloom_engine import self_test
from geoloom_engine.embedded.store import EVICTION
from geoloom_engine.sandbox import proof
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.settings import Settings, load

if TYPE_CHECKING:
    from conftest import RunningValkey

TOKEN, KEY = "t" * 32, "k" * 32


def settings(**given: str) -> Settings:
    return load([], {f"GEOLOOM_{name.upper()}": value for name, value in given.items()})


def told(name: str, **given: str) -> list[tuple[Any, str]]:
    return list(self_test.CHECKS[name](settings(**given)))


def one(name: str, **given: str) -> tuple[Any, str]:
    (finding,) = told(name, **given)
    return finding


def test_an_engine_that_works_here_is_told_so(own_valkey: RunningValkey, tmp_path: Path) -> None:
    """The whole of it, as a container starts it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEOLOOM_")}
    client = connect(own_valkey.url)
    client.config_set("appendonly", "yes")
    given = {
        "REDIS_URL": own_valkey.url,
        "TILE_REDIS_URL": "",
        "TOKEN": TOKEN,
        "SIGNING_KEY": KEY,
        "SOURCES": str(tmp_path),
        "FUNCTION_MODULES": "numpy,math",
    }
    answer = subprocess.run(
        [sys.executable, "-m", "geoloom_engine", "--workers", "1", "--self-test"],
        env=kept | {f"GEOLOOM_{name}": value for name, value in given.items()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = answer.stdout.splitlines()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert {line[:5] for line in lines} <= {"ok   ", "mind "}
    names = [line[7:20].strip() for line in lines]
    assert list(dict.fromkeys(names)) == ["settings", *self_test.CHECKS]
    assert "a process locked by" in answer.stdout
    assert "a function was run" in answer.stdout
    assert any(line.startswith("ok     compiled code  ready after") for line in lines), lines
    # Nothing stays in the store.
    assert client.dbsize() == 0


def test_what_is_wrong_decides_the_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(given: Settings) -> Iterator[self_test.Finding]:
        yield "ok", "so far"
        raise ZeroDivisionError("no more")

    def fine(given: Settings) -> Iterator[self_test.Finding]:
        yield "mind", "something"

    monkeypatch.setattr(self_test, "CHECKS", {"first": broken, "second": fine})
    assert self_test.main([], {"GEOLOOM_SOURCE": "x"}) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "Did you mean GEOLOOM_SOURCES?" in lines[1]
    assert lines[2:] == [
        "ok     first          so far.",
        "WRONG  first          could not be tried: ZeroDivisionError: no more.",
        "mind   second         something.",
    ]
    monkeypatch.setattr(self_test, "CHECKS", {"second": fine})
    assert self_test.main([], {}) == 0
    assert self_test.main(["--port", "x"], {}) == 2
    assert "WRONG  settings       --port: 'x' is not a whole number." in capsys.readouterr().out


HUB = {"hub_api_url": "http://127.0.0.1:1/hub/api"}


@pytest.mark.parametrize(
    ("given", "level", "words"),
    [
        ({"token": TOKEN, "signing_key": KEY}, "ok", "1 signing key;"),
        ({"token": TOKEN, "signing_key": f"{KEY},{KEY[1:]}"}, "ok", "2 signing keys;"),
        ({}, "mind", "whoever is on this machine"),
        ({"token": TOKEN, "host": "0.0.0.0"}, "WRONG", "no GEOLOOM_SIGNING_KEY"),
        ({"token": TOKEN, **HUB}, "WRONG", "no GEOLOOM_SIGNING_KEY"),
        ({"signing_key": KEY, **HUB}, "mind", "no GEOLOOM_TOKEN"),
        ({"token": TOKEN, "signing_key": f"{KEY},{TOKEN}"}, "WRONG", "are the same"),
        ({"token": "secret", "signing_key": KEY, **HUB}, "WRONG", "can be guessed"),
        ({"token": "secret", "signing_key": KEY}, "mind", "can be guessed"),
    ],
)
def test_secrets(given: dict[str, str], level: str, words: str) -> None:
    assert [found for found in told("secrets", **given) if found[0] == level and words in found[1]]
    secrets = [value for value in given.values() if value in (TOKEN, KEY, "secret")]
    assert not any(secret in said for secret in secrets for _, said in told("secrets", **given))


def test_memory() -> None:
    assert one("memory", workers="1", memory="384MB")[0] == "ok"
    level, words = one("memory", workers="200", memory="100GB")
    assert level == "WRONG"
    assert "200 processes of 102400 MB" in words


def test_a_store_that_is_away(tmp_path: Path) -> None:
    away = f"unix://:secret@{tmp_path}/none"
    level, words = one("chain store", redis_url=away)
    assert level == "WRONG"
    assert "secret" not in words
    assert one("tile store", tile_redis_url=away)[0] == "mind"


@pytest.mark.parametrize(
    ("check", "configuration", "shared", "level", "words"),
    [
        ("chain store", {"maxmemory-policy": "allkeys-lru"}, False, "WRONG", "lets go of chains"),
        ("chain store", {"maxmemory-policy": "noeviction"}, True, "mind", "keeps tiles too"),
        ("chain store", {"maxmemory-policy": "volatile-lfu"}, True, "mind", "and has no maxmemory"),
        ("chain store", {"maxmemory-policy": "volatile-lfu"}, False, "mind", "lfu-decay-time is 1,"),
        ("chain store", {"maxmemory-policy": "volatile-lfu"}, False, "mind", "maxmemory-samples is 5,"),
        ("chain store", {}, False, "mind", "a restart loses them"),
        ("chain store", {"maxmemory": "nearly"}, False, "mind", "nearly full"),
        ("tile store", {"maxmemory-policy": "noeviction"}, False, "mind", "takes no new tiles"),
        ("tile store", {}, False, "mind", "it has no maxmemory"),
        ("tile store", {"appendonly": "yes"}, False, "mind", "which is of no use"),
        ("tile store", {}, True, "ok", "with the chains"),
    ],
)
def test_what_a_store_lets_go_of(
    own_valkey: RunningValkey, check: str, configuration: dict[str, str], shared: bool, level: str, words: str
) -> None:
    client = connect(own_valkey.url)
    # So much that what a connection takes does not count.
    client.set("filling", bytes(8 << 20))
    used = int(client.info("memory")["used_memory"])  # type: ignore[index]
    for name, value in configuration.items():
        client.config_set(name, str(used * 106 // 100) if value == "nearly" else value)
    other = {} if shared else {"tile_redis_url": "" if check == "chain store" else f"{own_valkey.url}?db=1"}
    found = told(check, redis_url=own_valkey.url, **other)
    assert [one for one in found if one[0] == level and words in one[1]], found
    assert client.dbsize() == 1


def test_stores_as_they_should_be(own_valkey: RunningValkey) -> None:
    client = connect(own_valkey.url)
    for name, value in {
        "maxmemory": "256mb",
        **EVICTION,
        "appendonly": "yes",
    }.items():
        client.config_set(name, value)
    level, words = one("chain store", redis_url=own_valkey.url)
    assert level == "ok"
    assert "of 256 MB, volatile-lfu" in words
    # The same server under another name.
    found = told("tile store", redis_url=own_valkey.url, tile_redis_url=f"{own_valkey.url}?db=1")
    assert (
        "mind",
        "it is the server of the chains under another name: unset GEOLOOM_TILE_REDIS_URL",
    ) in found


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    indexes = str(tmp_path / "indexes")
    found = told(
        "sources",
        sources=f"{tmp_path}/there,{tmp_path}/away",
        catalogs=f"s2={tmp_path}/gone",
        indexes=indexes,
    )
    assert found == [
        ("ok", f"{tmp_path}/there can be read"),
        (
            "WRONG",
            f"{tmp_path}/away is not there. Mount it, or take it from GEOLOOM_SOURCES and GEOLOOM_CATALOGS",
        ),
        (
            "WRONG",
            f"{tmp_path}/gone is not there. Mount it, or take it from GEOLOOM_SOURCES and GEOLOOM_CATALOGS",
        ),
        ("ok", f"indexes are kept in {indexes}"),
    ]
    (tmp_path / "file").write_text("")
    assert told("sources", catalogs=f"s2={tmp_path}/there", indexes=f"{tmp_path}/file/x")[-1][0] == "WRONG"
    assert one("sources")[0] == "mind"


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"version": "5.5.0"}' if self.path == "/hub/api/" else b"login"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Something that answers as a hub does, below ``/hub/api``."""
    with socketserver.TCPServer(("127.0.0.1", 0), Hub) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def test_servers_of_files(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one("sources", sources=f"{server}/data") == ("ok", f"{server}/data: 127.0.0.1 answers")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert one("sources", sources="s3://bucket")[0] == "ok"
    assert one("sources", sources="https://") == ("ok", "https://: any server")
    level, words = one("sources", sources="http://127.0.0.1:1/data")
    assert (level, words[:50]) == ("mind", "http://127.0.0.1:1/data: 127.0.0.1 does not answer")


def test_hub(server: str) -> None:
    assert one("hub") == ("ok", "there is none")
    assert one("hub", hub_api_url=f"{server}/hub/api") == ("ok", "JupyterHub 5.5.0 answers")
    for url in (f"{server}/elsewhere", "http://127.0.0.1:1/hub/api"):
        level, words = one("hub", hub_api_url=url)
        assert level == "mind"
        assert "does not answer as a hub" in words


def test_a_sandbox_that_does_not_hold_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one("sandbox", functions="off")[0] == "ok"
    monkeypatch.setattr(proof, "prove", lambda: proof.Proof(LockLevel(), ("read a file",), ""))
    level, words = one("sandbox")
    assert (level, words[:37]) == ("WRONG", "a locked process could read a file. D")
    monkeypatch.setattr(proof, "prove", lambda: proof.Proof(proof.NONE, (), "No seccomp: it does not hold."))
    level, words = one("sandbox")
    assert level == "WRONG"
    assert "GEOLOOM_FUNCTIONS=off" in words


def test_a_function_that_cannot_be_run_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "prove", lambda: proof.Proof(LockLevel(), (), ""))
    monkeypatch.setattr(self_test, "FUNCTION", b"def twice(img):\n    return img[0] * 3\n")
    *_, (level, words) = told("sandbox", function_modules="numpy,math")
    assert (level, words[:45]) == ("WRONG", "a function could not be run: its result is wr")
