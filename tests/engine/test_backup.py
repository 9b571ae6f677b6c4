"""Backup and restore of the chain store, with real Valkeys and real interruptions."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from geoloom.chain import Chain, key_of
from geoloom.store import RedisStore, connect
from geoloom_engine import backup
from geoloom_engine.backup_file import Damaged, Record, Writer, read

if TYPE_CHECKING:
    from conftest import RunningValkey

HOUR = 3600


class Filled:
    """A store with something of everything."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.client = connect(url)
        self.store = RedisStore(url, ttl=HOUR)
        self.saved = self.store.put_chain(chain(1))
        self.blob = self.store.put_blob(bytes(range(256)) * 40)
        self.store.save(self.saved, [self.blob])
        self.passing = self.store.put_chain(chain(2))
        self.client.hset("geoloom:users", mapping={"0123456789ab": "user:anna", b"\xff": b"\x00"})
        self.client.sadd("geoloom:made:some", "a", "b")
        self.client.rpush("geoloom:made:row", "b", "a")
        self.client.zadd("geoloom:revoked", {"0123456789ab~s": 1.5e9})
        self.client.set(f"geoloom:tile:{self.saved}:d:1:2:3:1", b"picture", ex=HOUR)
        self.client.xadd("geoloom:log:s", {"a": "b"})
        self.client.set("somebody:else", "1")


def chain(number: int) -> Chain:
    return Chain.extend("constant", 1, {"value": number})


@pytest.fixture
def stores(own_valkey: RunningValkey, tmp_path: Path) -> Filled:
    """A filled store; see `empty` for a second one."""
    return Filled(own_valkey.url, tmp_path)


def empty(filled: Filled) -> str:
    """URL of an empty store in the same server."""
    return f"{filled.url}?db=1"


@dataclass
class Told:
    """What the program said, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Told]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the program in this process."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object, url: str = "") -> Told:
        monkeypatch.setenv("GEOLOOM_REDIS_URL", url)
        status = backup.main([*map(str, arguments)])
        return Told(status, *capsys.readouterr())

    yield call
    signal.signal(signal.SIGTERM, before)


def everything(url: str) -> dict[bytes, bytes]:
    client = connect(url)
    return {name: client.dump(name) for name in client.scan_iter()}  # type: ignore[misc]


def test_what_was_saved_comes_back_and_nothing_else(stores: Filled, run: Run) -> None:
    path = stores.folder / "backup.gz"
    answer = run("save", path, url=stores.url)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"{path}: 2 chains, 1 blobs, 4 others" in answer.stdout
    assert path.stat().st_mode & 0o777 == 0o600
    assert run("check", path).returncode == 0
    answer = run("restore", path, url=empty(stores))
    assert answer.stdout == "Restored: 2 chains, 1 blobs, 4 others. There already: 0.\n"

    kept = everything(stores.url)
    for name in list(kept):
        if name.startswith((b"geoloom:tile:", b"geoloom:log:", b"somebody:")):
            del kept[name]
    assert everything(empty(stores)) == kept
    there = connect(empty(stores))
    assert there.ttl(f"geoloom:chain:{stores.saved}") == there.ttl(f"geoloom:blob:{stores.blob}") == -1
    assert HOUR - 120 < there.ttl(f"geoloom:chain:{stores.passing}") <= HOUR  # type: ignore[operator]
    assert RedisStore(empty(stores)).get_chain(stores.saved) == chain(1)


def test_a_restore_may_be_done_again_and_takes_nothing_away(stores: Filled) -> None:
    path = stores.folder / "backup.gz"
    backup.save(stores.url, path)
    there = connect(empty(stores))
    backup.restore(empty(stores), path)
    # Meanwhile: one is damaged, one was only kept for a while, others were changed or made.
    there.set(f"geoloom:blob:{stores.blob}", b"other")
    there.expire(f"geoloom:chain:{stores.saved}", 5)
    there.persist(f"geoloom:chain:{stores.passing}")
    there.hset("geoloom:users", "0123456789ab", "user:bert")
    made = RedisStore(empty(stores)).put_chain(chain(3))
    told = backup.restore(empty(stores), path)
    assert told == ["Restored: 0 chains, 1 blobs, 0 others. There already: 6."]
    assert there.ttl(f"geoloom:chain:{stores.saved}") == -1
    assert there.ttl(f"geoloom:chain:{stores.passing}") == -1
    assert there.hget("geoloom:users", "0123456789ab") == b"user:bert"
    assert RedisStore(empty(stores)).get_blob(stores.blob) == RedisStore(stores.url).get_blob(stores.blob)
    assert there.exists(f"geoloom:chain:{made}")


def test_accounts_of_a_store_in_use_get_what_they_lack(stores: Filled) -> None:
    """A store was lost, people went on in an empty one, and then the backup came."""
    path = stores.folder / "backup.gz"
    account = "geoloom:account:0123456789ab"
    lost = {"chain:a": "100 7s", "chain:b": "50 7s", "blob:c": "10 7", "chains": 2, "blobs": 1, "bytes": 160}
    stores.client.hset(account, mapping=lost)  # type: ignore[arg-type]
    backup.save(stores.url, path)
    there = connect(empty(stores))
    meanwhile = {"chain:b": "50 9", "chain:d": "5 9", "chains": 2, "bytes": 55, "looked": 9}
    there.hset(account, mapping=meanwhile)  # type: ignore[arg-type]
    there.hset("geoloom:users", "ffffffffffff", "user:carla")
    for _ in range(2):
        backup.restore(empty(stores), path)
        found = {name.decode(): value.decode() for name, value in there.hgetall(account).items()}  # type: ignore[union-attr]
        assert found == {
            "chain:a": "100 7s",
            "chain:b": "50 9s",
            "chain:d": "5 9",
            "blob:c": "10 7",
            "chains": "3",
            "blobs": "1",
            "bytes": "165",
            "looked": "9",
        }
        assert there.hget("geoloom:users", "ffffffffffff") == b"user:carla"
        assert there.hget("geoloom:users", "0123456789ab") == b"user:anna"


def test_what_does_not_hash_to_its_name_is_left_out_and_told(stores: Filled, run: Run) -> None:
    path = stores.folder / "backup.gz"
    stores.client.set(f"geoloom:blob:{stores.blob}", b"other")
    answer = run("save", path, url=stores.url)
    assert answer.returncode == 0
    assert f"geoloom:blob:{stores.blob} is left out" in answer.stdout
    assert "2 chains, 0 blobs" in answer.stdout


def test_blobs_of_chains_that_come_meanwhile_are_there(
    stores: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a walk over the store goes on, notebooks register chains, their blobs first."""
    made: list[tuple[str, str]] = []
    names = backup._names

    def meanwhile(*arguments: object) -> Iterator[list[str]]:
        for found in names(*arguments):  # type: ignore[arg-type]
            for _ in range(10 if len(made) < 200 else 0):
                blob = stores.store.put_blob(f"def f{len(made)}(img): return img".encode())
                made.append((stores.store.put_chain(chain(100 + len(made))), blob))
            yield found

    monkeypatch.setattr(backup, "_names", meanwhile)
    monkeypatch.setattr(backup, "BATCH", 1)
    path = stores.folder / "backup.gz"
    backup.save(stores.url, path)
    taken = {record.key for record in read(path)}
    assert made
    assert all(blob in taken for key, blob in made if key in taken)
    assert any(key in taken for key, _ in made)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_backup_leaves_the_last_one(stores: Filled, how: signal.Signals) -> None:
    path = stores.folder / "backup.gz"
    backup.save(stores.url, path)
    before = path.read_bytes()
    for number in range(40):
        stores.store.put_blob(os.urandom(1 << 12) + bytes([number]))
    # It stops by itself between two records and waits for the signal: so it is hit in the middle.
    slow = (
        "import os, signal, sys\n"
        "from geoloom_engine import backup\n"
        "class Slow(backup.Writer):\n"
        "    def add(self, record):\n"
        "        super().add(record)\n"
        "        if sum(self.counts.values()) == 30:\n"
        "            print('half', flush=True)\n"
        "            while True: signal.pause()\n"
        "backup.Writer = Slow\n"
        "sys.exit(backup.main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", slow, "--redis-url", stores.url, "save", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(how)
        said = process.stderr.read().decode()
    assert process.returncode != 0
    assert path.read_bytes() == before
    if how != signal.SIGKILL:
        assert said == "geoloom_engine.backup: Interrupted.\n"
        assert sorted(stores.folder.glob("*.part")) == []
    # The next one is not in its way.
    backup.save(stores.url, path)
    assert "41 blobs" in backup.check(path)[0]
    assert sorted(stores.folder.glob("*.part")) == []


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def rewritten(content: bytes) -> bytes:
    """A whole file of its own kind, in which one value was changed."""
    return gzip.compress(gzip.decompress(content).replace(rb"\"value\":2", rb"\"value\":3"))


def endless(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content).rpartition(b'{"end"')[0])


def of_tomorrow(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content).replace(b'"geoloom_backup":1', b'"geoloom_backup":2'))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (torn, "it cannot be unpacked to its end"),
        (flipped, " "),
        (rewritten, "does not hash to its name"),
        (endless, "it breaks off after 7 records"),
        (of_tomorrow, "its format 2 is not known here"),
        (lambda content: b"", "it breaks off after 0 records"),
        (lambda content: b"notes\n", "it cannot be unpacked"),
        (lambda content: gzip.compress(b'{"a": 1}\n'), "it is no backup of a chain store"),
    ],
    ids=["torn", "flipped", "rewritten", "endless", "of_tomorrow", "empty", "text", "other"],
)
def test_nothing_is_restored_of_a_damaged_file(
    stores: Filled, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = stores.folder / "backup.gz"
    backup.save(stores.url, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Damaged, match=words):
        backup.check(path)
    with pytest.raises(Damaged, match=words):
        backup.restore(empty(stores), path)
    assert everything(empty(stores)) == {}


def test_what_is_whole_of_a_damaged_file_can_be_had(stores: Filled, run: Run) -> None:
    path = stores.folder / "backup.gz"
    backup.save(stores.url, path)
    path.write_bytes(rewritten(path.read_bytes()))
    answer = run("restore", path, url=empty(stores))
    assert answer.returncode == 1
    assert "restore --damaged" in answer.stderr
    answer = run("restore", "--damaged", path, url=empty(stores))
    assert answer.returncode == 0, answer.stderr
    assert "1 records do not hash to their names" in answer.stdout
    assert "Restored: 1 chains, 1 blobs" in answer.stdout
    assert RedisStore(empty(stores)).get_chain(stores.saved) == chain(1)


def test_a_folder_keeps_its_newest_and_no_emptied_store_displaces_them(stores: Filled) -> None:
    folder = stores.folder / "backups"
    folder.mkdir()
    for day in range(1, 5):
        (folder / f"geoloom-2020010{day}T000000Z.jsonl.gz").write_bytes(b"")
    (folder / "geoloom-notes.txt").write_text("mine")
    with Writer(folder / "geoloom-20200105T000000Z.jsonl.gz") as writer:
        for number in range(5):
            made = chain(number)
            writer.add(Record(f"geoloom:chain:{made.root}", "string", None, made.to_json()))
        writer.finish()
    leftover = folder / "geoloom-20200101T000000Z.jsonl.gz.part"
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))

    told = backup.save(stores.url, folder, keep=3)
    assert told[-1].startswith("Older backups are all kept: this one has 2 chains, the last had 5.")
    assert len(list(folder.iterdir())) == 7
    stores.store.put_chain(chain(3))
    newest = max(folder.glob(backup.FOUND))
    newest.unlink()
    assert backup.save(stores.url, folder, keep=3)[-1] == "3 older backups are removed."
    names = sorted(path.name for path in folder.iterdir())
    assert names[:2] == ["geoloom-20200104T000000Z.jsonl.gz", "geoloom-20200105T000000Z.jsonl.gz"]
    assert len(names) == 4


@pytest.mark.parametrize(
    ("arguments", "url", "words"),
    [
        (["save", "x.gz"], "", "Set GEOLOOM_REDIS_URL"),
        (["save", "/nowhere/x.gz"], "unix:///nowhere/s", "/nowhere/x.gz.part: No such file"),
        (["save", "{folder}/x.gz"], "unix:///nowhere/s", "The store at unix:///nowhere/s does not answer"),
        (["save", "{folder}/x.gz", "--keep", "3"], "unix:///nowhere/s", "--keep is for folders"),
        (["restore", "/nowhere/x.gz"], "unix:///nowhere/s", "/nowhere/x.gz: No such file"),
        (["save", "{folder}/x.gz"], "http://x", "redis://, rediss:// or unix://"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, run: Run, arguments: list[str], url: str, words: str
) -> None:
    answer = run(*(one.format(folder=tmp_path) for one in arguments), url=url)
    assert answer.returncode == 1
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_full_is_told(own_valkey: RunningValkey, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "backup.gz"
    content = os.urandom(1 << 20)
    with Writer(path) as writer:
        writer.add(Record(f"geoloom:blob:{key_of(content)}", "string", None, content))
        writer.finish()
    connect(own_valkey.url).config_set("maxmemory", "1mb")
    answer = run("restore", path, url=own_valkey.url)
    assert answer.returncode == 1
    assert "Raise its maxmemory" in answer.stderr


def test_people_can_read_a_backup(stores: Filled) -> None:
    path = stores.folder / "backup.gz"
    backup.save(stores.url, path)
    head, *lines, end = gzip.decompress(path.read_bytes()).splitlines()
    assert json.loads(head)["geoloom_backup"] == 1
    assert json.loads(end)["end"] == len(lines) == 7
    saved = next(json.loads(line) for line in lines if stores.saved.encode() in line)
    assert json.loads(saved["value"])["root"] == stores.saved
