"""The engine over HTTP: a real process, a real Valkey, real pixels."""

from __future__ import annotations

import io
import json
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import redis
from PIL import Image

from geoloom.chain import Chain
from geoloom.engine_client import EngineClient, Registered
from geoloom.errors import (
    AccessError,
    CorruptChain,
    NotFound,
    ParameterError,
    RequestError,
    SourceNotFound,
    SourceRefused,
    UnknownOp,
)
from geoloom.grid import Tile
from geoloom.local import Endpoint
from geoloom.ops.constant import Constant
from geoloom.ops.convolve import Convolve
from geoloom.ops.open import Open
from geoloom.ops.scale import Scale
from geoloom_engine.auth import Signer
from geoloom_engine.server import OPEN_FILES

if TYPE_CHECKING:
    from conftest import RunningEngine, RunningValkey, StartEngine

TILE = Tile.at(15.05, 45.1, 11)


def path_of(registered: Registered, tile: Tile = TILE, ratio: str = "") -> str:
    return registered.tiles.replace("{z}/{x}/{y}", f"{tile.z}/{tile.x}/{tile.y}{ratio}")


def capability_of(registered: Registered) -> str:
    return registered.tiles.split("?")[1].split("&")[0]


def picture(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


def fresh(engine: RunningEngine, phase: float = 0.0) -> tuple[Path, Chain]:
    path = engine.raster(phase)
    return path, Open(href=str(path)).chain()


# Tiles


def test_a_tile_is_a_picture_with_its_facts(engine: RunningEngine, chain: Chain) -> None:
    registered = engine.client().register(chain)
    answer = engine.ask("GET", path_of(registered), token=False)
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["etag"].startswith('"')
    assert "cache;desc=" in answer.headers["server-timing"]
    tile = picture(answer.body).convert("RGBA")
    assert tile.size == (256, 256)
    assert np.asarray(tile)[..., 3].max() == 255
    assert len(np.unique(np.asarray(tile)[..., 0])) > 50


def test_double_pixels(engine: RunningEngine, chain: Chain) -> None:
    registered = engine.client().register(chain)
    answer = engine.ask("GET", path_of(registered, ratio="@2x"), token=False)
    assert picture(answer.body).size == (512, 512)
    for ratio in ("@3x", "@9x", "@x", "@2"):
        assert engine.ask("GET", path_of(registered, ratio=ratio), token=False).status == 400


def test_a_second_request_comes_from_the_cache_and_a_third_is_304(engine: RunningEngine) -> None:
    _, chain = fresh(engine)
    registered = engine.client().register(chain)
    first = engine.ask("GET", path_of(registered), token=False)
    assert "cache;desc=computed" in first.headers["server-timing"]
    assert all(stage in first.headers["server-timing"] for stage in ("read;", "compute;", "encode;"))
    second = engine.wait_until(lambda: _cached(engine, registered), what="a cached tile")
    assert second.body == first.body
    third = engine.ask(
        "GET", path_of(registered), headers={"If-None-Match": first.headers["etag"]}, token=False
    )
    assert (third.status, third.body) == (304, b"")


def _cached(engine: RunningEngine, registered: Registered) -> Any:
    answer = engine.ask("GET", path_of(registered), token=False)
    return None if "computed" in answer.headers["server-timing"] else answer


def test_only_the_current_data_version_is_immutable(engine: RunningEngine, chain: Chain) -> None:
    path = path_of(engine.client().register(chain))
    old = engine.ask("GET", path.rsplit("d=", 1)[0] + "d=0", token=False)
    assert (old.status, old.headers["cache-control"]) == (200, "private, no-cache")


def test_a_changed_file_changes_tiles_and_data_version(engine: RunningEngine) -> None:
    path, chain = fresh(engine)
    before = engine.client().register(chain)
    first = engine.ask("GET", path_of(before), token=False)
    engine.raster(1.5, path)
    os.utime(path, ns=(1, 1))
    after = engine.wait_until(lambda: _differs(engine, chain, before), what="another data version")
    assert after.key == before.key
    # A worker that looked a moment ago shows what it knows, and says that it may change.
    second = engine.wait_until(lambda: _kept(engine, after), what="a tile of that version")
    assert second.status == 200
    assert second.body != first.body
    assert second.headers["etag"] != first.headers["etag"]
    # The old URL still works, shows the new pixels, and is not kept by browsers.
    old = engine.wait_until(lambda: _not_kept(engine, before), what="a tile that is not kept")
    assert old.body == second.body


def test_a_layer_of_an_old_data_version_is_told_of(engine: RunningEngine, chain: Chain) -> None:
    client = engine.client("looks-at-old")
    path = path_of(client.register(chain))
    engine.ask("GET", path.rsplit("d=", 1)[0] + "d=0", token=False)
    events = engine.wait_until(
        lambda: [one for one in client.events(None, 0.1)["events"] if one["type"] == "changed"],
        what="the event",
    )
    assert [one["key"] for one in events] == [chain.root]


def _not_kept(engine: RunningEngine, registered: Registered) -> Any:
    answer = engine.ask("GET", path_of(registered), token=False)
    return answer if answer.headers["cache-control"] == "private, no-cache" else None


def _kept(engine: RunningEngine, registered: Registered) -> Any:
    answer = engine.ask("GET", path_of(registered), token=False)
    return answer if "immutable" in answer.headers["cache-control"] else None


def _differs(engine: RunningEngine, chain: Chain, before: Registered) -> Registered | None:
    now = engine.client().register(chain)
    return now if now.data != before.data else None


# Capabilities


def test_a_tile_needs_a_capability_for_its_chain(engine: RunningEngine, chain: Chain) -> None:
    _, other = fresh(engine)
    registered = engine.client().register(chain)
    foreign = capability_of(engine.client().register(other))
    good = path_of(registered)
    bare = good.split("?")[0]
    for path, status in (
        (bare, 401),
        (f"{bare}?c=", 403),
        (f"{bare}?c=forged", 403),
        (f"{bare}?{foreign}", 403),
        (good.replace("?c=A", "?c=B"), 403) if "?c=A" in good else (f"{bare}?c=AAAA", 403),
        (f"{bare}?c=%FF", 400),
    ):
        answer = engine.ask("GET", path, token=False)
        assert answer.status == status, path
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "no-store"
        assert picture(answer.body).size == (256, 256)


def test_a_capability_opens_nothing_but_the_layer(engine: RunningEngine, chain: Chain) -> None:
    query = capability_of(engine.client().register(chain))
    for path, status in (
        (f"/legend/{chain.root}?{query}", 200),
        (f"/legend/{chain.root}.png?{query}", 200),
        (f"/legend/{chain.root}@2x.png?{query}", 200),
        (f"/tilejson/{chain.root}?{query}", 200),
        (f"/chains/{chain.root}?{query}", 401),
        (f"/events?{query}", 401),
    ):
        assert engine.ask("GET", path, token=False).status == status, path


def test_capabilities_expire_and_signing_keys_rotate(engine: RunningEngine, chain: Chain) -> None:
    engine.client().register(chain)
    for secret, lifetime, status, words in (
        ("new", 60, 200, ""),
        ("old", 60, 200, ""),
        ("older", 60, 403, "another engine"),
        ("new", -60, 403, "expired"),
    ):
        token, _ = Signer([secret]).sign(chain.root, "me", lifetime)
        answer = engine.ask("GET", f"/legend/{chain.root}?c={token}", token=False)
        assert answer.status == status
        if words:
            assert answer.json["error"] == "CapabilityError"
            assert words in answer.json["message"]


def test_a_session_can_be_revoked(engine: RunningEngine, chain: Chain) -> None:
    mine, other = uuid.uuid4().hex, uuid.uuid4().hex
    path = path_of(engine.client(mine).register(chain))
    assert engine.ask("GET", path, token=False).status == 200
    assert engine.ask("DELETE", f"/sessions/{mine}", token=False).status == 401
    assert engine.ask("DELETE", f"/sessions/{mine}").status == 200
    engine.wait_until(
        lambda: engine.ask("GET", path, token=False).status == 403, what="the revocation everywhere"
    )
    assert engine.ask("GET", path_of(engine.client(other).register(chain)), token=False).status == 200


# Chains


def test_chains_come_back_as_they_were(engine: RunningEngine, chain: Chain) -> None:
    client = engine.client()
    assert client.register(chain).key == chain.root
    assert client.chain(chain.root).to_json() == chain.to_json()
    client.save(chain.root)


def test_what_is_not_there_or_no_key(engine: RunningEngine) -> None:
    client = engine.client()
    for ask in (client.chain, client.save, client.blob):
        with pytest.raises(NotFound):
            ask("0" * 32)
        with pytest.raises(RequestError):
            ask("nonsense")


def test_a_corrupt_chain_is_refused_and_repaired(engine: RunningEngine, valkey: str) -> None:
    from geoloom.store import connect

    _, chain = fresh(engine)
    connect(valkey).set(f"geoloom:chain:{chain.root}", b'{"geoloom":1}')
    with pytest.raises(CorruptChain):
        engine.client().chain(chain.root)
    engine.client().register(chain)
    assert engine.client().chain(chain.root) == chain


def test_wrong_chains_are_refused_where_they_are_registered(engine: RunningEngine, tmp_path: Path) -> None:
    client = engine.client()
    for chain, kind in (
        (Chain.extend("nosuchop", 1, {}), UnknownOp),
        (Chain.extend("open", 99, {"href": "/x", "fingerprint": None}), UnknownOp),
        (Chain.extend("open", 1, {"href": 5, "fingerprint": None}), ParameterError),
        (Open(href=str(engine.folder / "missing.tif")).chain(), SourceNotFound),
        (Open(href=str(tmp_path / "outside.tif")).chain(), SourceRefused),
    ):
        with pytest.raises(kind):
            client.register(chain)
    answer = engine.ask("POST", "/chains", b"{}")
    assert (answer.status, answer.json["error"]) == (422, "CorruptChain")
    answer = engine.ask("POST", "/chains", b"x" * (1 << 21))
    assert (answer.status, answer.json["error"]) == (413, "ChainTooLarge")


def test_blobs(engine: RunningEngine) -> None:
    client = engine.client()
    content = os.urandom(100_000)
    assert client.blob(client.put_blob(content)) == content
    assert engine.ask("POST", "/blobs", b"").status == 400
    large = os.urandom(8 << 20)
    assert client.blob(client.put_blob(large)) == large
    too_large = engine.ask("POST", "/blobs", headers={"Content-Length": str(1 << 40)})
    assert (too_large.status, too_large.json["error"]) == (400, "RequestError")


# Questions


def test_info_of_a_file_and_of_a_chain(engine: RunningEngine, raster: Path, chain: Chain) -> None:
    client = engine.client()
    info = client.info(str(raster))
    assert (info["width"], info["height"], info["dtype"]) == (512, 512, "uint8")
    described = client.describe(chain)
    assert described["bands"] == ["b1"]
    west, south, east, north = described["bounds"]
    assert 14.9 < west < east < 15.3
    assert 44.9 < south < north < 45.2
    client.register(chain)
    assert engine.ask("POST", "/info", json.dumps({"key": chain.root}).encode()).json == described
    with pytest.raises(SourceNotFound):
        client.info(str(engine.folder / "missing.tif"))


def test_values_at_a_point(engine: RunningEngine, chain: Chain) -> None:
    client = engine.client()
    client.register(chain)
    native = client.point(chain.root, 15.05, 45.1)
    assert 0 <= native["values"]["b1"] <= 255
    assert (native["zoom"], native["resolution_m"]) == (None, 30.0)
    assert client.point(chain.root, 15.05, 45.1, 9)["zoom"] == 9
    assert client.point(chain.root, 0.0, 0.0)["values"] == {"b1": None}


def test_statistics(engine: RunningEngine, chain: Chain) -> None:
    client = engine.client()
    client.register(chain)
    whole = client.statistics(chain.root)["bands"]["b1"]
    assert 0 <= whole["min"] < whole["mean"] < whole["max"] <= 240
    assert whole["percentiles"]["2"] < whole["percentiles"]["50"] < whole["percentiles"]["98"]
    part = client.statistics(chain.root, (15.02, 45.05, 15.06, 45.1))
    assert 0 < part["bands"]["b1"]["count"]
    assert max(part["grid"]) <= 512
    assert client.statistics(chain.root, (0, 0, 1, 1))["bands"]["b1"]["count"] == 0


def test_explain(engine: RunningEngine, chain: Chain, raster: Path) -> None:
    client = engine.client()
    client.register(chain)
    plan = client.explain(chain.root, tile=(TILE.z, TILE.x, TILE.y))
    assert plan["tile"] == [TILE.z, TILE.x, TILE.y]
    assert [step["href"] for step in plan["steps"] if step["op"] == "read"] == [str(raster)]
    assert plan["pixels"] > 0
    assert client.explain(chain.root, zoom=8)["tile"][0] == 8
    assert client.explain(chain.root)["tile"][0] > 8


def test_legend_and_tilejson(engine: RunningEngine, chain: Chain) -> None:
    client = engine.client()
    registered = client.register(chain)
    assert client.legend(chain.root)["kind"] in ("none", "grey")
    tilejson = engine.ask("GET", f"/tilejson/{chain.root}?{capability_of(registered)}", token=False).json
    assert tilejson["tilejson"] == "3.0.0"
    template = tilejson["tiles"][0].removeprefix(engine.url)
    assert engine.ask("GET", path_of(Registered("", "", template, 0)), token=False).status == 200


def test_the_base_map_is_open(engine: RunningEngine) -> None:
    answer = engine.ask("GET", "/basemap/1/0/0.png", token=False)
    assert (answer.status, picture(answer.body).size) == (200, (256, 256))
    assert engine.ask("GET", "/basemap/1/2/0.png", token=False).status == 400


# Events


def test_a_failed_tile_is_a_picture_and_an_event_told_once(engine: RunningEngine) -> None:
    path, chain = fresh(engine)
    client = engine.client()
    registered = client.register(chain)
    path.write_bytes(b"II*\0 no image any more")
    failing = [Tile(9, 277 + i, 183) for i in range(3)]
    answers = engine.wait_until(lambda: _all_fail(engine, registered, failing), 30, "the failure")
    for answer in answers:
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
    # Both workers may have drawn, each tells what it has to in its own time.
    events = engine.wait_until(lambda: _told(client), what="both events")
    assert sorted(events) == ["error", "seen"]
    assert events["error"]["key"] == chain.root
    assert path.name in events["error"]["message"]


def _told(client: EngineClient) -> dict[str, Any] | None:
    """What was told of a chain, by kind, once it is two kinds; a kind is told once."""
    told = [event for event in client.events(None, 1)["events"] if event["type"] != "changed"]
    events = {event["type"]: event for event in told}
    assert len(events) == len(told)
    return events if len(events) > 1 else None


def _all_fail(engine: RunningEngine, registered: Registered, tiles: list[Tile]) -> Any:
    answers = [engine.ask("GET", path_of(registered, tile), token=False) for tile in tiles]
    return answers if all(answer.status == 422 for answer in answers) else None


def test_addresses_that_are_no_tiles_tell_the_owner_nothing(engine: RunningEngine, chain: Chain) -> None:
    client = engine.client()
    registered = client.register(chain)
    query = registered.tiles.split("?")[1]
    for place in ("3/9/0", "99/0/0", "3/4/hello", "3/4/2@9x"):
        answer = engine.ask("GET", f"/tiles/{registered.key}/{place}.png?{query}", token=False)
        assert (answer.status, answer.body[:4]) == (400, b"\x89PNG")
    engine.ask("GET", path_of(registered), token=False)
    # What happened before is told before.
    assert [event["type"] for event in client.events(None, 20)["events"]] == ["seen"]


def test_a_poll_waits_and_ends(engine: RunningEngine, chain: Chain) -> None:
    client = engine.client()
    told = client.events(None, 0)
    assert (told["events"], told["last"]) == ([], "0-0")
    registered = client.register(chain)
    engine.ask("GET", path_of(registered), token=False)
    answer = client.events(None, 20)
    assert [event["type"] for event in answer["events"]] == ["seen"]
    begun = time.monotonic()
    assert client.events(answer["last"], 0.2)["events"] == []
    assert 0.1 < time.monotonic() - begun < 5


def test_the_client_is_told_in_words_why_a_tile_fails(engine: RunningEngine, chain: Chain) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        engine.client().tile(chain, 3, 9, 0)
    assert engine.client().tile(chain, TILE.z, TILE.x, TILE.y)[:4] == b"\x89PNG"


# Who may ask


def test_json_needs_the_token(engine: RunningEngine) -> None:
    for method, path in (
        ("POST", "/chains"),
        ("GET", f"/chains/{'0' * 32}"),
        ("PUT", f"/chains/{'0' * 32}/saved"),
        ("POST", "/blobs"),
        ("GET", f"/blobs/{'0' * 32}"),
        ("POST", "/info"),
        ("POST", "/point"),
        ("POST", "/statistics"),
        ("POST", "/explain"),
        ("GET", "/events"),
    ):
        body = b"{}" if method != "GET" else None
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
            answer = engine.ask(method, path, body, headers, token=False)
            assert (answer.status, answer.json["error"]) == (401, "AccessError"), path
    stranger = engine.client()
    stranger._connection.locate = lambda verify: Endpoint(engine.url, "wrong", 0, "")
    with pytest.raises(AccessError):
        stranger.info("/x")


def test_a_wrong_method_is_answered_as_such(engine: RunningEngine, chain: Chain) -> None:
    path = path_of(engine.client().register(chain))
    for method in ("HEAD", "PUT", "OPTIONS", "PURGE"):
        answer = engine.ask(method, path, token=False)
        assert (answer.status, answer.headers["cache-control"]) == (405, "no-store")
        assert answer.headers["content-type"] == "image/png"


def test_foreign_names_and_pages_are_refused(engine: RunningEngine, chain: Chain) -> None:
    for headers, status in (
        ({"Host": "localhost:1"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://localhost:8888"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ):
        answer = engine.ask(
            "POST", "/info", json.dumps({"chain": json.loads(chain.to_json())}).encode(), headers
        )
        assert answer.status == status, headers
    path = path_of(engine.client().register(chain))
    # With a capability any name will do: a proxy passes on that of its own server.
    answer = engine.ask(
        "GET", path, headers={"Host": "hub.example", "Origin": "https://evil.example"}, token=False
    )
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
    answer = engine.ask("GET", path, headers={"Origin": "http://localhost:8888"}, token=False)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:8888"


def test_health_is_open_and_the_same_in_all_workers(engine: RunningEngine) -> None:
    answers = [
        engine.ask("GET", "/healthz", headers={"Host": "any.example"}, token=False).json for _ in range(30)
    ]
    assert len({answer["engine"] for answer in answers}) == 1
    assert {answer["pid"] for answer in answers} <= set(engine.workers())


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="limits cannot be read here")
def test_workers_may_open_many_files(engine: RunningEngine) -> None:
    for pid in engine.workers():
        limits = Path(f"/proc/{pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
        soft, hard = line.split()[3:5]
        assert soft == str(OPEN_FILES if hard == "unlimited" else min(OPEN_FILES, int(hard)))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_workers_load_what_they_use(engine: RunningEngine, chain: Chain) -> None:
    engine.ask("GET", path_of(engine.client().register(chain)), token=False)
    for pid in engine.workers():
        loaded = Path(f"/proc/{pid}/maps").read_text()
        assert "llvmlite" in loaded
        assert "/scipy/" not in loaded


def test_metrics_count_all_workers(engine: RunningEngine) -> None:
    text = engine.ask("GET", "/metrics", token=False).body.decode()
    assert "geoloom_workers 2.0" in text
    assert 'geoloom_requests_total{route="health",status="2xx"}' in text
    assert 'geoloom_tile_seconds_bucket{le="+Inf"}' in text


# The store away


def test_without_redis_known_chains_are_served_and_recovery_needs_no_restart(
    start_engine: StartEngine, own_valkey: RunningValkey, engine: RunningEngine, chain: Chain
) -> None:
    lonely = start_engine(own_valkey.url, engine.folder, token="")
    client = lonely.client()
    registered = client.register(chain)
    # Without a token, too, only the layer's URL opens tiles under foreign names.
    assert client.tile(chain, TILE.z, TILE.x, TILE.y)[:4] == b"\x89PNG"
    bare = path_of(registered).split("?")[0]
    assert lonely.ask("GET", bare, headers={"Host": "evil.example"}).status == 403
    assert lonely.ask("GET", path_of(registered), headers={"Host": "hub.example"}).status == 200
    own_valkey.stop()
    answer = lonely.ask("GET", path_of(registered), token=False)
    assert answer.status == 200
    begun = time.monotonic()
    unknown = lonely.ask("GET", f"/chains/{'0' * 32}")
    assert (unknown.status, unknown.json["error"]) == (503, "EngineUnreachable")
    assert "chain store" in unknown.json["message"]
    assert lonely.ask("POST", "/chains", chain.to_json()).status == 503
    assert lonely.ask("GET", "/events?timeout=0").status == 503
    assert lonely.ask("GET", "/readyz").status == 503
    assert lonely.ask("GET", "/healthz").status == 200
    assert time.monotonic() - begun < 10
    own_valkey.start()
    lonely.wait_until(
        lambda: lonely.ask("POST", "/chains", chain.to_json()).status == 200, what="the recovery"
    )
    lonely.wait_until(lambda: lonely.ask("GET", "/readyz").status == 200, what="readiness")


def test_a_chain_the_store_lost_is_told_and_comes_back_when_registered(
    start_engine: StartEngine, valkey: str, engine: RunningEngine
) -> None:
    """Its map learns of it by the event, and registers it again."""
    chain = Scale(limits=(0.0, 1.0)).chain(Constant(value=float(time.time())).chain())
    running = start_engine(valkey, engine.folder, workers=1, signing_key="same", tile_redis_url="")
    registered = running.client("lost").register(chain)
    with redis.Redis.from_url(valkey) as store:
        store.delete(f"geoloom:chain:{chain.root}")
    other = start_engine(valkey, engine.folder, workers=1, signing_key="same", tile_redis_url="")
    assert other.ask("GET", path_of(registered, TILE), token=False).status == 404
    client = other.client("lost")
    told = other.wait_until(lambda: [e for e in client.events(None, 1)["events"] if e["type"] == "error"])
    assert (told[0]["error"], told[0]["key"]) == (NotFound.__name__, chain.root)
    again = client.register(chain)
    assert other.ask("GET", path_of(again, TILE), token=False).status == 200


# Overload


def test_more_than_the_queue_holds_is_refused_and_told(
    start_engine: StartEngine, valkey: str, engine: RunningEngine, chain: Chain
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    small = start_engine(valkey, engine.folder, queue_length="1", tile_redis_url="", tile_cache="0")
    client = small.client()
    # A tile takes as long as it takes to ask hundreds of times, on any machine.
    weights = tuple(tuple(1.0 + i + j for j in range(81)) for i in range(81))
    slow = Convolve(weights=weights, normalize=True).chain(chain)
    registered = client.register(Scale(limits=(0.0, 255.0)).chain(slow))
    first = Tile.at(15.01, 45.12, 16)
    tiles = [Tile(16, first.x + i % 8, first.y + i // 8) for i in range(32)]
    with ThreadPoolExecutor(32) as crowd:
        answers = list(
            crowd.map(lambda tile: small.ask("GET", path_of(registered, tile), token=False), tiles)
        )
    statuses = {answer.status for answer in answers}
    assert statuses == {200, 503}
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "image/png"
    events = small.wait_until(lambda: [e for e in client.events(None, 1)["events"] if e["type"] == "refused"])
    assert events[0]["error"] == "EngineOverloaded"
