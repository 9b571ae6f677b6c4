"""The quick way to a tile and the ordinary one answer alike, to the letter."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import socket
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from geoloom.chain import Chain
from geoloom.engine_client import Registered
from geoloom.grid import Tile
from geoloom.ops.open import Open
from geoloom_engine.auth import Signer
from geoloom_engine.routes.tile_reply import is_known

if TYPE_CHECKING:
    from conftest import Answer, RunningEngine, StartEngine

TILE = Tile.at(15.05, 45.1, 11)

ORDINARY = "&x=1"
"""A parameter that no layer's URL has: such a request takes the ordinary way."""


@pytest.fixture(scope="module")
def single(start_engine: StartEngine, valkey: str, engine: RunningEngine) -> RunningEngine:
    """An engine of one worker, whose memory all requests meet, and that has little patience."""
    first = (
        "from geoloom_engine import sending, server; sending.PATIENCE, sending.SLOWEST = 1.5, 1 << 40\n"
        "server.BODY_SECONDS, server.IDLE_SECONDS = 3.0, 3.0"
    )
    return start_engine(valkey, engine.folder, 1, first, signing_key="new,old", source_recheck="0")


@pytest.fixture(scope="module")
def layer(single: RunningEngine, chain: Chain) -> Registered:
    return single.client().register(chain)


def path_of(registered: Registered, tile: Tile = TILE, ratio: str = "") -> str:
    return registered.tiles.replace("{z}/{x}/{y}", f"{tile.z}/{tile.x}/{tile.y}{ratio}")


def headers_of(answer: Answer) -> dict[str, str]:
    """The headers without those that tell the time, or how long something took."""
    told = {name: value for name, value in answer.headers.items() if name != "date"}
    if "server-timing" in told:
        told["server-timing"] = re.sub(r"dur=[0-9.]+", "dur=", told["server-timing"])
    return told


def both(engine: RunningEngine, path: str, headers: dict[str, str] | None = None) -> Answer:
    """The answer, which is the same by both ways."""
    quick = engine.ask("GET", path, headers=headers, token=False)
    ordinary = engine.ask("GET", path + ORDINARY, headers=headers, token=False)
    assert quick.status == ordinary.status
    assert headers_of(quick) == headers_of(ordinary)
    assert quick.body == ordinary.body
    assert "date" in quick.headers
    assert "date" in ordinary.headers
    return quick


def remembered(engine: RunningEngine, path: str) -> Answer:
    """The tile, once it is in the worker's memory."""

    def from_memory() -> Answer | None:
        answer = engine.ask("GET", path, token=False)
        return answer if answer.headers["server-timing"] == "cache;desc=memory" else None

    found: Answer = engine.wait_until(from_memory, what="a remembered tile")
    return found


@pytest.mark.parametrize("ratio", ["", "@2x", "@4x"])
def test_a_tile_in_memory(single: RunningEngine, layer: Registered, ratio: str) -> None:
    path = path_of(layer, ratio=ratio)
    remembered(single, path)
    answer = both(single, path)
    assert answer.status == 200
    assert answer.body[:4] == b"\x89PNG"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["c={c}", "c={c}&d=0", "c={c}&d={d}&v=3", "c={c}&v=1"])
def test_versions_that_are_old_or_not_named(single: RunningEngine, layer: Registered, query: str) -> None:
    path, _, known = path_of(layer).partition("?")
    remembered(single, path_of(layer))
    c, d = (part[2:] for part in known.split("&"))
    answer = both(single, f"{path}?{query.format(c=c, d=d)}")
    assert answer.status == 200
    assert ("immutable" in answer.headers["cache-control"]) == ("d={d}" in query)


def test_what_the_browser_has_is_not_sent_again(single: RunningEngine, layer: Registered) -> None:
    path = path_of(layer)
    etag = remembered(single, path).headers["etag"]
    for known, status in (
        (etag, 304),
        (f'"other", W/{etag}', 304),
        ("*", 304),
        ('"other"', 200),
        (etag[:-2] + '"', 200),
        ("", 200),
    ):
        answer = both(single, path, {"If-None-Match": known})
        assert answer.status == status, known
        assert answer.headers["etag"] == etag
        if status == 304:
            assert answer.body == b""
            assert "content-type" not in answer.headers


def test_validators_are_compared_one_by_one() -> None:
    assert is_known('"a"', '"b", W/"a"')
    assert is_known('"a"', "*")
    assert not is_known('"a"', '"aa"')
    assert not is_known('"a"', "a")


def test_origins(single: RunningEngine, layer: Registered) -> None:
    path = path_of(layer)
    remembered(single, path)
    for origin, allowed in (
        ("http://localhost:8888", True),
        ("https://evil.example", False),
        ("null", False),
    ):
        answer = both(single, path, {"Origin": origin, "Host": "hub.example"})
        assert answer.status == 200
        assert ("access-control-allow-origin" in answer.headers) == allowed
        assert ("vary" in answer.headers) == allowed


def test_a_fresh_tile(single: RunningEngine) -> None:
    tile = Tile(12, 2 * TILE.x, 2 * TILE.y)
    answers = []
    for more in ("", ORDINARY):
        # The same pixels under another key, so that both ways compute.
        path = single.raster(0.25)
        registered = single.client().register(Open(href=str(path)).chain())
        answers.append(single.ask("GET", path_of(registered, tile) + more, token=False))
    quick, ordinary = answers
    assert (quick.status, quick.body) == (200, ordinary.body)
    same = [{k: v for k, v in headers_of(one).items() if k != "etag"} for one in answers]
    assert same[0] == same[1]
    assert "cache;desc=computed" in quick.headers["server-timing"]


def refusals(chain: Chain, layer: Registered) -> Iterator[tuple[str, str, int]]:
    """What is wrong, the path, and the status."""
    good = path_of(layer)
    bare, _, query = good.partition("?")

    def signed(secret: str, lifetime: float, key: str = chain.root) -> str:
        return f"{bare}?c={Signer([secret]).sign(key, 'me', lifetime)[0]}"

    yield "forged", f"{bare}?c={query[2:-30]}{'A' * 8}", 403
    yield "of another engine", signed("strange", 60), 403
    yield "of another chain", signed("new", 60, "0" * 32), 403
    yield "expired", signed("new", -60), 403
    yield "no token", f"{bare}?c=x", 403
    yield "no such tile", good.replace(f"/{TILE.z}/{TILE.x}/", "/2/9/"), 400
    yield "no such zoom", good.replace(f"/{TILE.z}/", "/99/"), 400
    unknown = "f" * 32
    yield "unknown chain", signed("new", 60, unknown).replace(chain.root, unknown), 404


def test_what_is_refused(single: RunningEngine, layer: Registered, chain: Chain) -> None:
    for reason, path, status in refusals(chain, layer):
        answer = both(single, path)
        assert answer.status == status, reason
        assert answer.headers["content-type"] == "image/png", reason
        assert answer.headers["cache-control"] == "no-store", reason
        assert "etag" not in answer.headers, reason


def test_rotated_keys_open_both_ways(single: RunningEngine, layer: Registered, chain: Chain) -> None:
    bare = path_of(layer).partition("?")[0]
    for secret in ("new", "old"):
        token, _ = Signer([secret]).sign(chain.root, "me", 60)
        assert both(single, f"{bare}?c={token}&d=0").status == 200


def test_a_revoked_session_gets_nothing_from_memory(single: RunningEngine, chain: Chain) -> None:
    session = uuid.uuid4().hex
    path = path_of(single.client(session).register(chain))
    remembered(single, path)
    assert single.ask("DELETE", f"/sessions/{session}").status == 200
    single.wait_until(
        lambda: single.ask("GET", path, token=False).status == 403, what="the revocation in this worker"
    )
    assert both(single, path).headers["x-geoloom-error"] == "CapabilityError"


def test_a_failing_tile_is_told_once_whichever_way(single: RunningEngine) -> None:
    path = single.raster(0.75)
    client = single.client()
    registered = client.register(Open(href=str(path)).chain())
    path.write_bytes(b"II*\0 no image any more")
    single.wait_until(
        lambda: single.ask("GET", path_of(registered), token=False).status == 422, what="the failure"
    )
    assert both(single, path_of(registered)).headers["x-geoloom-error"]
    events = client.events(None, 5)["events"]
    assert [event["type"] for event in events] == ["seen", "error"]
    assert events[1]["tile"] == [TILE.z, TILE.x, TILE.y]


def test_requests_are_counted(single: RunningEngine, layer: Registered) -> None:
    def counted(name: str) -> float:
        text = single.ask("GET", "/metrics", token=False).body.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    path = path_of(layer)
    etag = remembered(single, path).headers["etag"]
    names = (
        'geoloom_requests_total{route="tiles",status="2xx"}',
        'geoloom_requests_total{route="tiles",status="3xx"}',
        'geoloom_requests_total{route="tiles",status="4xx"}',
        'geoloom_tiles_total{origin="memory"}',
    )
    before = [counted(name) for name in names]
    both(single, path)
    both(single, path, {"If-None-Match": etag})
    both(single, path.replace("?c=", "?c=A"))
    assert [counted(name) - was for name, was in zip(names, before, strict=True)] == [2, 2, 2, 2]


# The connection


def raw(engine: RunningEngine, sent: bytes, answers: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Send bytes as they are and read so many answers from the one connection."""
    parts = urlsplit(engine.url)
    with socket.create_connection((parts.hostname, parts.port), 20) as connection:
        connection.sendall(sent)
        found = []
        stream = connection.makefile("rb")
        for _ in range(answers):
            status = int(stream.readline().split()[1])
            headers = {}
            while line := stream.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            found.append((status, headers, stream.read(int(headers.get("content-length", 0)))))
        return found


def request(path: str, *headers: str, version: str = "1.1", host: str = "Host: x\r\n") -> bytes:
    return (
        f"GET {path} HTTP/{version}\r\n{host}{''.join(h + chr(13) + chr(10) for h in headers)}\r\n".encode()
    )


def test_requests_sent_at_once_are_answered_in_their_order(single: RunningEngine, layer: Registered) -> None:
    paths = [path_of(layer, Tile(11, TILE.x + i % 2, TILE.y)) for i in range(2)]
    bodies = [remembered(single, path).body for path in paths]
    assert bodies[0] != bodies[1]
    fresh = path_of(layer, Tile(13, 4 * TILE.x + 1, 4 * TILE.y + 1))
    etag = remembered(single, paths[0]).headers["etag"]
    sent = [
        request(paths[0]),
        request(fresh),
        request(paths[0] + ORDINARY),
        request(paths[1], "If-None-Match: " + etag),
        request(paths[0], "If-None-Match: " + etag),
        request("/healthz"),
        request(paths[1]),
    ]
    answers = raw(single, b"".join(sent), len(sent))
    assert [status for status, _, _ in answers] == [200, 200, 200, 200, 304, 200, 200]
    assert [answers[i][2] for i in (0, 2, 3, 6)] == [bodies[0], bodies[0], bodies[1], bodies[1]]
    assert answers[1][2][:4] == b"\x89PNG"


def test_connections_end_as_asked(single: RunningEngine, layer: Registered) -> None:
    path = path_of(layer)
    body = remembered(single, path).body
    for headers, version, expected in (
        ((), "1.1", None),
        (("Connection: close",), "1.1", "close"),
        ((), "1.0", None),
        (("Connection: keep-alive",), "1.0", "Keep-Alive"),
    ):
        for more in ("", ORDINARY):
            ((status, given, content),) = raw(single, request(path + more, *headers, version=version), 1)
            assert (status, content, given.get("connection")) == (200, body, expected)
    assert raw(single, request(path, version="1.0", host=""), 1)[0][0] == 200


def test_malformed_requests_are_refused(single: RunningEngine, layer: Registered) -> None:
    path = path_of(layer)
    for host in ("", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"):
        assert raw(single, request(path, host=host), 1)[0][0] == 400, host


def test_a_body_nobody_needs_is_passed_over(single: RunningEngine, layer: Registered) -> None:
    path = path_of(layer)
    body = remembered(single, path).body
    connection = http.client.HTTPConnection(urlsplit(single.url).netloc, timeout=20)
    for more in ("", ORDINARY):
        for _ in range(2):
            connection.request("GET", path + more, body=b"x" * 100_000)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, body)
    connection.close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/chains", "/blobs", "/search", "/nothing"])
def test_a_strangers_long_body_is_refused_before_it_is_read(
    single: RunningEngine, path: str, chunked: bool
) -> None:
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 4000000"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n{length}\r\n\r\n"
    ((status, headers, content),) = raw(single, head.encode(), 1)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert json.loads(content)["error"] == "AccessError"


def test_a_length_of_thousands_of_digits_is_a_wrong_length(single: RunningEngine) -> None:
    head = f"POST /blobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {single.token}\r\n"
    head += f"Content-Length: {'9' * 5000}\r\n\r\n"
    ((status, _, content),) = raw(single, head.encode(), 1)
    assert (status, json.loads(content)["error"]) == (400, "RequestError")
    assert single.ask("GET", f"/usage?days={'9' * 5000}").status == 400


def test_no_client_is_waited_for_for_ever(single: RunningEngine) -> None:
    key = single.ask("POST", "/blobs", os.urandom(12 << 20)).json["key"]
    parts = urlsplit(single.url)
    with socket.socket() as connection:
        # So that the system itself holds little of the answer.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(20)
        connection.connect((parts.hostname, parts.port))
        connection.sendall(
            request(f"/blobs/{key}", f"Authorization: Bearer {single.token}", host="Host: localhost\r\n")
        )
        connection.recv(1)
        single.wait_until(lambda: not connected_to(single, connection), what="the end of the connection")


def test_nobody_is_listened_to_for_ever(single: RunningEngine) -> None:
    parts = urlsplit(single.url)
    known = f"Host: localhost\r\nAuthorization: Bearer {single.token}\r\n"
    begun = {
        "a head": "GET /healthz HTTP/1.1\r\nHost: local",
        "a body": f"POST /info HTTP/1.1\r\n{known}Content-Length: 1000\r\n\r\n",
        "a blob": f"POST /blobs HTTP/1.1\r\n{known}Content-Length: 1000\r\n\r\n",
        "a stranger's": "POST /info HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3E7\r\n",
        "nothing": "",
    }
    speaking = {}
    for name, text in begun.items():
        connection = socket.create_connection((parts.hostname, parts.port), 20)
        connection.sendall(text.encode())
        speaking[connection] = name
    deadline = time.monotonic() + 60
    while speaking:
        assert time.monotonic() < deadline, list(speaking.values())
        answered = select.select(list(speaking), [], [], 0.1)[0]
        for connection in list(speaking):
            try:
                ended = connection in answered and not connection.recv(10_000)
                # One byte now and then, which is never the last.
                connection.sendall(b"x" if speaking[connection] != "nothing" else b"")
            except ConnectionError:
                ended = True
            if ended:
                connection.close()
                del speaking[connection]


def connected_to(engine: RunningEngine, connection: socket.socket) -> bool:
    """Whether the engine still has its end of a connection."""
    own = connection.getsockname()
    processes = [psutil.Process(engine.process.pid)]
    processes += processes[0].children(recursive=True)
    return any(one.raddr == own for process in processes for one in process.net_connections("tcp"))


def test_odd_addresses_are_not_taken_for_others(single: RunningEngine, layer: Registered) -> None:
    path = path_of(layer)
    bare, _, query = path.partition("?")
    c, d = query.split("&")
    etag = remembered(single, path).headers["etag"]
    statuses = {
        f"{bare}?{d}&{c}": 200,
        f"{bare}?{c.replace('c=', 'c=%FF')}": 400,
        f"{bare}?{c}&c=": 403,
        f"{bare}?{c}&c=x": 403,
        f"{bare}?c=x&{c}": 200,
        f"{bare}?{c}&{d}#part": 200,
        f"{bare}": 401,
        f"{bare}?": 401,
        f"{bare.replace('.png', '.PNG')}?{c}": 404,
        f"{bare.replace('/tiles', '//tiles')}?{c}": 404,
        f"{bare.replace('.png', '@3x.png')}?{c}": 400,
        f"{bare.replace(layer.key, layer.key.upper())}?{c}": 400,
    }
    for odd, status in statuses.items():
        answer = single.ask("GET", odd, token=False)
        assert answer.status == status, odd
        if status == 200:
            assert answer.headers["etag"] == etag


def test_clients_that_leave_at_once(single: RunningEngine, layer: Registered) -> None:
    parts = urlsplit(single.url)
    for i in range(20):
        with socket.create_connection((parts.hostname, parts.port), 20) as connection:
            connection.sendall(
                request(path_of(layer, Tile(14, 8 * TILE.x + i % 5, 8 * TILE.y + i // 5), "@4x"))
            )
    assert single.ask("GET", path_of(layer), token=False).status == 200
    assert "Traceback" not in single.log.read_text()


# What others wait for


def test_long_work_is_not_done_where_all_requests_pass(
    single: RunningEngine, chain: Chain, layer: Registered
) -> None:
    """Large bodies and pictures of errors are made beside the event loop, with the same answers."""
    body = {"chain": json.loads(chain.to_json()), "more": ["x" * 50] * 4000}
    small = single.ask("POST", "/info", json.dumps({"chain": body["chain"]}).encode())
    large = single.ask("POST", "/info", json.dumps(body).encode())
    assert (small.status, large.status) == (200, 200)
    assert small.json == large.json
    for wrong in (b"[" * 200_000, b'{"key": "' + b"x" * 100_000 + b'", "a": 1e999}', b"x" * (3 << 20)):
        assert single.ask("POST", "/info", wrong).status == 400
    assert single.ask("GET", f"/chains/{chain.root}").body == chain.to_json()
