"""Whatever is sent: an answer in time, never a 500, and the engine lives on."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoloom.chain import Chain
from geoloom.errors import ParameterError
from geoloom.grid import Tile

if TYPE_CHECKING:
    from conftest import RunningEngine

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ALLOWED = {200, 304, 400, 401, 403, 404, 405, 409, 413, 422, 429, 503}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
numbers = st.one_of(
    st.integers(-3, 40),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "-0", "1e3", "٣", "0x1", "１", "1_0", " 1"]),
)
keys = st.sampled_from(["KEY", "0" * 32, "F" * 32, "", "..", "%2e%2e", "a" * 5000, "\u0000", "ключ"])


@pytest.fixture(scope="module")
def known(engine: RunningEngine, chain: Chain) -> tuple[str, str]:
    """A chain's key, and the query of its layer."""
    registered = engine.client().register(chain)
    return chain.root, registered.tiles.split("?")[1]


def check(answer: Any) -> None:
    assert answer.status in ALLOWED, (answer.status, answer.body[:300])
    if answer.status >= 400:
        assert answer.headers["cache-control"] == "no-store"
        if answer.headers["content-type"].startswith("application/json"):
            assert {"error", "message", "node", "op", "hint", "incident"} == set(answer.json)
            assert answer.json["message"]
        else:
            assert answer.body[:4] == b"\x89PNG"


@FUZZ
@given(
    key=keys,
    parts=st.tuples(numbers, numbers, numbers),
    ratio=st.sampled_from(["", "@2x", "@", "@0x", "@2x@2x"]),
)
def test_tiles_of_any_address(engine: RunningEngine, known: Any, key: str, parts: Any, ratio: str) -> None:
    key = known[0] if key == "KEY" else key
    z, x, y = (quote(str(part), safe="%") for part in parts)
    for folder in (f"/tiles/{quote(key, safe='%')}", "/basemap"):
        check(engine.ask("GET", f"{folder}/{z}/{x}/{y}{ratio}.png?{known[1]}", token=False))


@FUZZ
@given(token=st.text(max_size=60) | st.binary(max_size=60), data=st.text(max_size=20))
def test_capabilities_of_any_text(engine: RunningEngine, known: Any, token: Any, data: str) -> None:
    query = f"c={quote(token)}&d={quote(data)}"
    for path in (f"/tiles/{known[0]}/3/4/2.png", f"/legend/{known[0]}", f"/tilejson/{known[0]}"):
        answer = engine.ask("GET", f"{path}?{query}", token=False)
        check(answer)
        assert answer.status in (400, 403)


@FUZZ
@given(
    path=st.sampled_from(["/info", "/point", "/statistics", "/explain", "/chains", "/blobs"]),
    fields=st.dictionaries(
        st.sampled_from(["key", "href", "chain", "lon", "lat", "zoom", "bbox", "z", "x", "y"]),
        json_values | st.just("KEY"),
    ),
)
def test_questions_of_any_json(engine: RunningEngine, known: Any, path: str, fields: dict[str, Any]) -> None:
    fields = {name: known[0] if value == "KEY" else value for name, value in fields.items()}
    check(engine.ask("POST", path, json.dumps(fields).encode()))


@FUZZ
@given(
    lon=st.floats(-200, 200) | json_values,
    lat=st.floats(-100, 100) | json_values,
    zoom=st.integers(-1, 31) | st.none(),
)
def test_points_anywhere(engine: RunningEngine, known: Any, lon: Any, lat: Any, zoom: int | None) -> None:
    check(
        engine.ask(
            "POST", "/point", json.dumps({"key": known[0], "lon": lon, "lat": lat, "zoom": zoom}).encode()
        )
    )


@FUZZ
@given(bbox=st.lists(st.floats(-180, 180, allow_subnormal=False), min_size=4, max_size=4))
def test_statistics_of_any_box(engine: RunningEngine, known: Any, bbox: list[float]) -> None:
    check(engine.ask("POST", "/statistics", json.dumps({"key": known[0], "bbox": bbox}).encode()))


@FUZZ
@given(z=st.integers(-1, 31), x=st.integers(), y=st.integers(0, 2**31), zoom=st.integers(0, 31))
def test_plans_of_any_tile(engine: RunningEngine, known: Any, z: int, x: int, y: int, zoom: int) -> None:
    tile = {"z": z, "x": x % (1 << max(z, 0)), "y": y % (1 << max(z, 0))}
    for body in ({"key": known[0], **tile}, {"key": known[0], "zoom": zoom}):
        check(engine.ask("POST", "/explain", json.dumps(body).encode()))


@FUZZ
@given(
    body=st.binary(max_size=200)
    | st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b'{"key":1e999}', b"9" * 9000])
)
def test_bodies_of_any_bytes(engine: RunningEngine, body: bytes) -> None:
    for path in ("/info", "/chains", "/point"):
        answer = engine.ask("POST", path, body)
        check(answer)
        assert answer.status in (400, 413, 422)


@FUZZ
@given(
    op=st.text(max_size=10),
    params=st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    data=st.data(),
)
def test_chains_of_any_content(
    engine: RunningEngine, chain: Chain, op: str, params: Any, data: st.DataObject
) -> None:
    from geoloom.op import registry

    op = data.draw(st.sampled_from([op, *registry()]))
    known = {
        one.name: data.draw(json_values) for one in (registry()[op].parameters if op in registry() else ())
    }
    inputs = (chain,) * data.draw(st.integers(0, 3))
    try:
        built = Chain.extend(op, data.draw(st.integers(1, 2)), params | known, inputs)
    except ValueError:
        return
    check(engine.ask("POST", "/chains", built.to_json()))
    check(engine.ask("POST", "/info", json.dumps({"chain": json.loads(built.to_json())}).encode()))


def every_op(chain: Chain) -> list[Chain]:
    """A chain of each op over a source, with example parameters."""
    from geoloom.op import registry

    found = []
    for name, op in registry().items():
        if op.source or any(one.kind == "sub_chain" for one in op.inputs):
            continue
        values = {one.name: one.example for one in op.parameters if one.example is not None}
        inputs = [chain] * len(op.inputs)
        if name == "rgb":
            inputs = [registry()["stack"]().chain(chain, chain, chain)]
        try:
            found.append(op(**values).chain(*inputs))
        except ParameterError:
            # Its examples are alternatives; the contract suite tries each.
            continue
    return found


def test_every_op_over_http(engine: RunningEngine, chain: Chain) -> None:
    tile = Tile.at(15.05, 45.1, 11)
    served = 0
    for built in every_op(chain):
        answer = engine.ask("POST", "/chains", built.to_json())
        check(answer)
        if answer.status != 200:
            continue
        path = answer.json["tiles"].replace("{z}/{x}/{y}", f"{tile.z}/{tile.x}/{tile.y}")
        picture = engine.ask("GET", path, token=False)
        check(picture)
        served += picture.status == 200
        for question, fields in (
            ("/info", {}),
            ("/point", {"lon": 15.05, "lat": 45.1}),
            ("/statistics", {}),
            ("/explain", {}),
        ):
            check(engine.ask("POST", question, json.dumps({"key": built.root, **fields}).encode()))
        check(engine.ask("GET", f"/legend/{built.root}.png"))
    assert served > 20


@FUZZ
@given(data=st.data())
def test_any_changed_byte_of_a_chain_is_refused(
    engine: RunningEngine, chain: Chain, data: st.DataObject
) -> None:
    raw = bytearray(chain.to_json())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    answer = engine.ask("POST", "/chains", bytes(raw))
    check(answer)
    assert answer.status == 422


@FUZZ
@given(
    after=st.text(max_size=30),
    timeout=st.sampled_from(["0", "-1", "nan", "inf", "x", "", "1e400", "0.01"]),
    session=st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=80
    ),
)
def test_events_after_anything(engine: RunningEngine, after: str, timeout: str, session: str) -> None:
    query = f"after={quote(after)}&timeout={timeout}"
    if timeout not in ("inf", "", "1e400", "nan") or after:
        check(
            engine.ask("GET", f"/events?{query}", headers={"X-Geoloom-Session": session.strip()}, timeout=90)
        )


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]),
    path=st.sampled_from(
        ["/", "/tiles", "/chains", "/info", "/healthz", "/nothing", "/blobs/", "//", "/%00", "/%ff"]
    ),
    query=st.text(max_size=20),
)
def test_any_method_at_any_path(engine: RunningEngine, method: str, path: str, query: str) -> None:
    answer = engine.ask(method, f"{path}?{quote(query)}", b"" if method in ("POST", "PUT", "PATCH") else None)
    assert answer.status in ALLOWED


@FUZZ
@given(
    name=st.sampled_from(
        ["Authorization", "X-Geoloom-Session", "If-None-Match", "Origin", "Host", "Content-Type", "Accept"]
    ),
    value=st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_categories=["Cc"]), max_size=60),
)
def test_headers_of_any_text(engine: RunningEngine, known: Any, name: str, value: str) -> None:
    for method, path, body in (
        ("GET", f"/tiles/{known[0]}/3/4/2.png?{known[1]}", None),
        ("POST", "/info", json.dumps({"key": known[0]}).encode()),
        ("GET", "/healthz", None),
    ):
        answer = engine.ask(method, path, body, {name: value})
        assert answer.status in ALLOWED


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"POST /info HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /info HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /info HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 5\r\n\r\n--x--",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_hardly_http(engine: RunningEngine, raw: bytes) -> None:
    parts = urlsplit(engine.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        except ConnectionError:
            answer = b""
    assert not answer or int(answer.split()[1]) in ALLOWED
    assert engine.ask("GET", "/healthz").status == 200


def test_no_request_of_this_file_was_a_defect(engine: RunningEngine) -> None:
    text = engine.ask("GET", "/metrics").body.decode()
    assert "geoloom_faults_total 0.0" in text, engine.log.read_text()[-5000:]
