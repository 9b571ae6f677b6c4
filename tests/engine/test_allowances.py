from __future__ import annotations

import threading

import pytest

from geoloom.errors import EngineOverloaded
from geoloom_engine import allowances
from geoloom_engine.allowances import BEHIND_A_HUB, AtOnce, Exhausted, FunctionTime, limit
from geoloom_engine.settings import load
from geoloom_engine.statuses import status_of

ANNA, ANNAS_OTHER, BERT = "0123456789ab~a", "0123456789ab~b", "ba9876543210~a"
OWNER = "0123456789ab"


class Clock:
    def __init__(self) -> None:
        self.now = 60_000_010.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(allowances.time, "time", made.time)  # type: ignore[attr-defined]
    return made


def test_requests_of_all_sessions_of_a_user_count_together() -> None:
    at_once = AtOnce(2)
    owner = at_once.enter(ANNA)
    at_once.enter(ANNAS_OTHER)
    with pytest.raises(Exhausted, match="You have 2 requests under way at once"):
        at_once.enter(ANNA)
    at_once.enter(BERT)
    at_once.leave(owner)
    at_once.enter(ANNA)


def test_who_has_left_is_forgotten() -> None:
    at_once = AtOnce(0)
    for _ in range(3):
        at_once.leave(at_once.enter(ANNA))
    assert not at_once._counts


def test_a_refusal_is_that_of_a_busy_engine() -> None:
    """Clients know those: maps draw such tiles again, questions are asked again."""
    at_once = AtOnce(1)
    at_once.enter(ANNA)
    with pytest.raises(EngineOverloaded) as refused:
        at_once.enter(ANNA)
    assert status_of(refused.value) == 503
    assert refused.value.to_json()["error"] == "EngineOverloaded"
    assert refused.value.limit == "requests"  # type: ignore[attr-defined]


def test_services_have_no_limit() -> None:
    at_once = AtOnce(1, exempt=lambda owner: owner == OWNER)
    time_ = FunctionTime(1.0, exempt=lambda owner: owner == OWNER)
    for _ in range(3):
        at_once.enter(ANNA)
        time_.charge(ANNA, 5.0)
        time_.check(ANNA)


def test_function_time_is_by_user_and_minute(clock: Clock) -> None:
    time_ = FunctionTime(10.0)
    time_.charge(ANNA, 6.0)
    time_.check(ANNA)
    time_.charge(ANNAS_OTHER, 4.0)
    with pytest.raises(Exhausted, match="computed for 10 s in this minute; each user may 10 s") as refused:
        time_.check(ANNA)
    assert refused.value.hint == "It is asked again in 51 s."
    assert refused.value.seconds == 51
    time_.check(BERT)
    clock.now += refused.value.seconds
    time_.check(ANNA)


def test_what_other_processes_count_counts(clock: Clock) -> None:
    here, there = FunctionTime(10.0), FunctionTime(10.0)
    here.charge(ANNA, 6.0)
    there.charge(ANNA, 7.0)
    total = 0.0
    for one in (here, there):
        one.check(ANNA)
        minute, untold = one.take()
        total += untold[OWNER]
        one.settle(minute, {OWNER: total})
    here.check(ANNA)  # was told before the other had told
    here.charge(ANNA, 1.0)
    minute, untold = here.take()
    here.settle(minute, {OWNER: total + untold[OWNER]})
    for one in (here, there):
        with pytest.raises(Exhausted, match=r"for 1[34] s"):
            one.check(ANNA)


def test_what_was_taken_counts_also_where_nobody_tells_the_total(clock: Clock) -> None:
    time_ = FunctionTime(10.0)
    time_.charge(ANNA, 11.0)
    time_.take()
    with pytest.raises(Exhausted):
        time_.check(ANNA)


def test_a_total_of_the_minute_before_is_none_of_this(clock: Clock) -> None:
    time_ = FunctionTime(10.0)
    time_.charge(ANNA, 11.0)
    minute, _ = time_.take()
    clock.now += 60
    time_.settle(minute, {OWNER: 50.0})
    time_.check(ANNA)


def test_nothing_is_remembered_without_a_limit() -> None:
    time_ = FunctionTime(0.0)
    time_.charge(ANNA, 1e9)
    time_.check(ANNA)
    assert time_.take()[1] == {}


def test_no_time_is_lost_between_threads(clock: Clock) -> None:
    time_ = FunctionTime(1e9)
    taken: list[float] = []

    def charge() -> None:
        for _ in range(2000):
            time_.charge(ANNA, 1.0)

    threads = [threading.Thread(target=charge) for _ in range(4)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        taken.extend(time_.take()[1].values())
    taken.extend(time_.take()[1].values())
    assert sum(taken) == 8000.0


def test_limits_are_there_where_a_hub_tells_users_apart() -> None:
    alone, hub = load([], {}), load(["--hub-api-url", "http://127.0.0.1:8081/hub/api"], {})
    assert [limit(alone, name) for name in BEHIND_A_HUB] == [0] * 5
    assert {name: limit(hub, name) for name in BEHIND_A_HUB} == BEHIND_A_HUB
    options = ["--user-chains", "7", "--user-function-time", "1m", "--user-bytes", "0"]
    told = load([*options, "--hub-api-url", "http://127.0.0.1:8081/hub/api"], {})
    assert [limit(told, name) for name in ("chains", "function_time", "bytes")] == [7, 60, 0]
