"""What one user may have of a real engine, what is told of it to whom, and incidents from end to end."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import select
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from geoloom.chain import Chain
from geoloom.errors import EngineFault, EngineOverloaded, EngineUnreachable, GeoloomError, QuotaExceeded
from geoloom.grid import Tile
from geoloom.ops.execute import Execute
from geoloom.ops.open import Open
from geoloom.wording import in_words
from geoloom_engine.allowances import Exhausted
from geoloom_engine.callers import ADMIN_SCOPE
from geoloom_engine.routes.tiles import picture_of
from geoloom_engine.server import count_request

if TYPE_CHECKING:
    from conftest import Answer, MadeUpHub, RunningEngine, StartEngine

CHAINS, AT_ONCE, FUNCTION_SECONDS = 5, 2, 1
GATED, BROKEN = 3, 4
METRICS_TOKEN = "watches"

# Tiles of one zoom wait until there is a file, those of another meet a defect.
STAGED = """
import os, time
from geoloom_engine import lanes
carry_out = lanes.Lanes._carry_out
def staged(self, hand, job):
    task, zoom = job.task, job.tile.z if job.tile else None
    def gated(wanted):
        while wanted() and not os.path.exists({gate!r}):
            time.sleep(0.01)
        return task(wanted)
    def broken(wanted):
        raise ZeroDivisionError("internal detail")
    job.task = {{{gated}: gated, {broken}: broken}}.get(zoom, task)
    return carry_out(self, hand, job)
lanes.Lanes._carry_out = staged
"""


SLOW = b"""
def f(img):
    total = 0
    for i in range(3000000):
        total += i
    return img[0] + 0 * (total % 2)
"""


@dataclass
class Team:
    """An engine that a hub's users share."""

    engine: RunningEngine
    hub: MadeUpHub
    gate: Path

    def user(self, *scopes: str) -> User:
        name = secrets.token_hex(4)
        return User(self.engine, name, self.hub.user(name, scopes=("access:services!service=tiles", *scopes)))

    def metric(self, name: str, **labels: str) -> float:
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        text = self.engine.ask("GET", "/metrics", None, headers, token=False).body.decode()
        families = text_string_to_metric_families(text)
        (found,) = (
            one.value
            for family in families
            for one in family.samples
            if (one.name, one.labels) == (name, labels)
        )
        return float(found)


@dataclass
class User:
    engine: RunningEngine
    name: str
    token: str

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", "X-Geoloom-Session": "map"}
        return self.engine.ask(method, path, body, headers, token=False)

    def register(self, chain: Chain) -> Answer:
        return self.ask("POST", "/chains", chain.to_json())

    def layer(self, chain: Chain) -> str:
        """The address of its tiles."""
        answer = self.register(chain)
        assert answer.status == 200, answer.body
        return str(answer.json["tiles"])

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = self.ask("GET", "/events?timeout=0").json["events"]
        return [event for event in found if event["type"] == kind]


@pytest.fixture(scope="module")
def team(
    start_engine: StartEngine,
    valkey: str,
    modules_hub: MadeUpHub,
    tmp_path_factory: pytest.TempPathFactory,
    new_raster: Any,
) -> Team:
    folder = tmp_path_factory.mktemp("team")
    new_raster(folder / "scene.tif")
    gate = folder / "gate"
    engine = start_engine(
        valkey,
        folder,
        workers=2,
        first=STAGED.format(gate=str(gate), gated=GATED, broken=BROKEN),
        hub_api_url=modules_hub.url,
        log_format="json",
        metrics_token=METRICS_TOKEN,
        user_chains=str(CHAINS),
        user_requests=str(AT_ONCE),
        user_function_time=str(FUNCTION_SECONDS),
    )
    return Team(engine, modules_hub, gate)


def scene(team: Team) -> Chain:
    return Open(href=str(team.engine.folder / "scene.tif")).chain()


def new_chain() -> Chain:
    return Chain.extend("constant", 1, {"value": secrets.randbits(40)})


def ask(team: Team, template: str, z: int, x: int, y: int) -> Answer:
    return team.engine.ask("GET", template.format(z=z, x=x, y=y), token=False)


@pytest.mark.parametrize(
    ("route", "status", "failure", "counted"),
    [
        ("values", 200, None, ["questions"]),
        ("chains", 200, None, ["questions"]),
        ("tiles", 200, None, []),  # counted where they are served
        ("events", 200, None, []),  # each kernel asks all the time
        ("tiles", 503, Exhausted("", hint="", limit="requests"), ["refused"]),
        ("values", 503, EngineOverloaded(""), ["refused"]),
        ("chains", 429, QuotaExceeded(""), ["refused"]),
        ("tiles", 503, EngineUnreachable(""), ["failed"]),
        ("tiles", 500, EngineFault(""), ["failed"]),
        ("values", 404, None, ["failed"]),
    ],
)
def test_what_a_request_counts_as(
    route: str, status: int, failure: GeoloomError | None, counted: list[str]
) -> None:
    found: list[str] = []

    class Counter:
        def request(self, session: str, what: str) -> None:
            assert session == "0123456789ab~map"
            found.append(what)

    count_request(Counter(), "0123456789ab~map", route, status, failure)  # type: ignore[arg-type]
    assert found == counted


def test_chains_beyond_the_quota_are_refused_with_numbers(team: Team) -> None:
    anna, ben = team.user(), team.user()
    first = new_chain()
    for chain in (first, *(new_chain() for _ in range(CHAINS - 1)), first):
        assert anna.register(chain).status == 200
    refused = anna.register(new_chain())
    assert refused.status == 429
    assert refused.json["error"] == "QuotaExceeded"
    assert "You keep 5 chains" in refused.json["message"]
    assert "GEOLOOM_USER_CHAINS" in refused.json["hint"]
    assert ben.register(new_chain()).status == 200
    assert team.engine.ask("POST", "/chains", new_chain().to_json()).status == 200
    assert team.metric("geoloom_limited_total", limit="quota") >= 1


def test_saving_somebody_elses_chain_is_charged(team: Team) -> None:
    anna, ben = team.user(), team.user()
    mine, *others = [new_chain() for _ in range(CHAINS + 1)]
    for chain in others:
        anna.register(chain)
    ben.register(mine)
    assert anna.ask("PUT", f"/chains/{mine.root}/saved").status == 429
    saved = f"/chains/{mine.root}/saved"
    assert ben.ask("PUT", saved).json["saved"]
    assert ben.ask("DELETE", saved).json == {"key": mine.root, "saved": False}


def test_requests_of_one_user_are_limited_and_those_of_others_are_not(team: Team) -> None:
    anna, ben = team.user(), team.user()
    hers, his = anna.layer(scene(team)), ben.layer(scene(team))
    before = team.metric("geoloom_limited_total", limit="requests")
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(ask, team, hers, GATED, x, 0) for x in range(8)]
        # Two in each of two processes, at most: the others are refused while those wait.
        team.engine.wait_until(
            lambda: team.metric("geoloom_limited_total", limit="requests") - before >= 4, what="refusals"
        )
        waiting = pool.submit(ask, team, his, GATED, 0, 1)
        # Whoever has the layer's URL asks in its owner's name.
        legends = [
            ask(team, one.replace("/tiles/", "/legend/").replace("/{z}/{x}/{y}.png", ""), 0, 0, 0)
            for one in (hers, his)
        ]
        assert [answer.status for answer in legends] == [503, 200]
        team.gate.touch()
        answers = [one.result() for one in asked]
        assert waiting.result().status == 200
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert 4 <= len(refused) <= 6
    for answer in refused:
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["retry-after"] == "1"
    (told,) = team.engine.wait_until(lambda: anna.events("refused"), what="the event")
    assert "at once" in told["message"]
    assert told["error"] == "EngineOverloaded"
    assert ben.events("refused") == []
    # What was refused is drawn when it is asked for again.
    assert {ask(team, hers, GATED, x, 0).status for x in range(8)} == {200}


def test_who_waits_for_events_may_ask_all_the_same(team: Team) -> None:
    """Each kernel has a poll under way all the time; those are counted, but apart."""
    anna = team.user()
    before = team.metric("geoloom_limited_total", limit="requests")
    with ThreadPoolExecutor(6) as pool:
        polls = [pool.submit(anna.ask, "GET", f"/events?timeout=1&after={2**40}-{i}") for i in range(6)]
        team.engine.wait_until(
            lambda: team.metric("geoloom_limited_total", limit="requests") - before >= 2, what="refusals"
        )
        assert {anna.ask("POST", "/explain", b"{}").status for _ in range(4)} == {400}
        assert {poll.result().status for poll in polls} == {200, 503}


def test_long_bodies_of_one_user_are_limited_while_they_come(team: Team) -> None:
    anna, ben = team.user(), team.user()

    def begin(user: User) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(urlsplit(team.engine.url).netloc, timeout=20)
        connection.putrequest("POST", "/blobs")
        for name, value in (("Authorization", f"Bearer {user.token}"), ("Content-Length", "20000")):
            connection.putheader(name, value)
        connection.endheaders(b"x" * 10_000)
        return connection

    # Two in each of two processes, at most; what is refused is answered before the rest has come.
    hers = [begin(anna) for _ in range(6)]
    answered = team.engine.wait_until(
        lambda: len(found := select.select([one.sock for one in hers], [], [], 0)[0]) >= 2 and found,
        what="refusals",
    )
    refused = [one for one in hers if one.sock in answered]
    assert {one.getresponse().status for one in refused} == {503}
    his, *others = [begin(ben), *(one for one in hers if one not in refused)]
    for one in (his, *others):
        one.send(b"y" * 10_000)
    assert his.getresponse().status == 200
    statuses = [one.getresponse().status for one in others]
    # Where one process got more than its share of them, it refuses more.
    assert set(statuses) <= {200, 503}
    assert 1 <= statuses.count(200) <= 2 * AT_ONCE
    for one in (his, *hers):
        one.close()
    # Whoever went away takes up no room.
    again = [begin(anna) for _ in range(2)]
    for one in again:
        one.close()
    connection = team.engine.wait_until(lambda: _taken(begin(anna)), what="room")
    connection.close()


def _taken(connection: http.client.HTTPConnection) -> http.client.HTTPConnection | None:
    """The connection, if the rest of its body is taken."""
    with contextlib.suppress(ConnectionError):
        connection.send(b"y" * 10_000)
        if connection.getresponse().status == 200:
            return connection
    connection.close()
    return None


def test_functions_of_who_has_had_his_time_wait(team: Team) -> None:
    anna, ben = team.user(), team.user()
    key = anna.ask("POST", "/blobs", SLOW).json["key"]
    chain = Execute(text=key, main="f", dtype="uint8").chain(scene(team))
    hers, his = anna.layer(chain), ben.layer(chain)
    first = Tile.at(15.02, 45.14, 14)
    z, x, y = first.z, first.x, first.y
    for i in range(30):
        answer = ask(team, hers, z, x + i % 6, y + i // 6)
        if answer.status != 200:
            break
    assert answer.status == 503, anna.events("error")
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    (told,) = team.engine.wait_until(lambda: anna.events("refused"), what="the event")
    assert f"each user may {FUNCTION_SECONDS} s" in told["message"]
    assert team.metric("geoloom_limited_total", limit="function_time") >= 1
    # What is in memory is shown, and others compute.
    assert ask(team, hers, z, x, y).status == 200
    assert ask(team, his, z, x + i % 6, y + i // 6).status == 200


def test_admins_are_told_who_took_what(team: Team) -> None:
    anna, admin = team.user(), team.user(ADMIN_SCOPE)
    template = anna.layer(scene(team))
    size = len(ask(team, template, 10, 554, 368).body)
    for _ in range(2):
        assert ask(team, template, 10, 554, 368).status == 200
    assert ask(team, template.replace("c=", "c=x"), 10, 554, 368).status == 403

    def taken() -> dict[str, Any] | None:
        days = admin.ask("GET", "/usage?days=2").json["days"]
        assert len(days) == 2
        found = [user for day in days for user in day["users"] if user["name"] == f"user:{anna.name}"]
        # Each worker writes in its own time.
        return found[0] if found and found[0]["tiles"] == 3 and found[0]["questions"] else None

    found = team.engine.wait_until(taken, what="usage of all workers")
    assert found["bytes"] == 3 * size
    assert found["hits"] == 2
    assert found["questions"] == 1
    assert found["cpu_seconds"] > 0
    answer = admin.ask("GET", "/usage").json
    assert {"name": f"user:{anna.name}", "chains": 1, "blobs": 0, "bytes": scene(team).size} in answer["kept"]
    assert answer["limits"]["chains"] == CHAINS
    assert anna.ask("POST", "/explain", b"{}").status == 400

    def failed() -> bool:
        users = admin.ask("GET", "/usage?days=2").json["days"]
        return any(user["failed"] for day in users for user in day["users"] if anna.name in user["name"])

    team.engine.wait_until(failed, what="the count of failures")
    assert anna.ask("GET", "/usage").status == 403
    assert team.engine.ask("GET", "/usage", token=False).status == 401
    assert team.engine.ask("GET", "/usage").status == 200
    for days in ("0", "93", "x", "1e1", "-1", "%C2%B2", ""):
        assert admin.ask("GET", f"/usage?days={days}").status == 400


def test_metrics_have_a_token_of_their_own(team: Team) -> None:
    anna, admin = team.user(), team.user(ADMIN_SCOPE)
    assert team.engine.ask("GET", "/metrics", token=False).status == 401
    assert anna.ask("GET", "/metrics").status == 403
    assert admin.ask("GET", "/metrics").status == 200
    watcher = User(team.engine, "", METRICS_TOKEN)
    assert watcher.ask("GET", "/metrics").status == 200
    assert watcher.ask("GET", "/usage").status == 401
    assert watcher.register(new_chain()).status == 401
    anna.register(new_chain())
    team.engine.wait_until(lambda: team.metric("geoloom_users") >= 2, what="users")
    # Who they are is told to admins, not to whoever sees the metrics.
    assert anna.name.encode() not in watcher.ask("GET", "/metrics").body


def test_an_incident_is_the_same_in_the_tile_the_notebook_and_the_log(team: Team) -> None:
    anna, ben = team.user(), team.user()
    template = anna.layer(scene(team))
    answer = ask(team, template, BROKEN, 1, 2)
    assert answer.status == 500
    (told,) = team.engine.wait_until(lambda: anna.events("error"), what="the event")
    incident = told["incident"]
    assert f"(incident {incident})" in in_words(told)
    assert "internal detail" not in json.dumps(told)
    assert answer.body == picture_of(EngineFault(told["message"], incident=incident), 256)
    assert answer.body != picture_of(EngineFault(told["message"], incident="0" * 12), 256)

    def logged() -> list[dict[str, Any]]:
        lines = map(json.loads, team.engine.log.read_text().splitlines())
        return [line for line in lines if line.get("incident") == incident and "status" in line]

    (request,) = team.engine.wait_until(logged, what="the entry of the request")
    assert (request["route"], request["status"], request["error"]) == ("tiles", 500, "EngineFault")
    lines = [json.loads(line) for line in team.engine.log.read_text().splitlines()]
    (defect,) = (line for line in lines if line.get("incident") == incident and "traceback" in line)
    assert "internal detail" in defect["traceback"]
    assert defect["session"] == request["session"] == f"{request['owner']}~map"
    assert "c=" not in json.dumps(lines)
    assert ben.events("error") == []
