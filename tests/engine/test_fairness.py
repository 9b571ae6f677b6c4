from __future__ import annotations

from collections import Counter

import pytest

from geoloom.grid import Tile
from geoloom_engine import fairness
from geoloom_engine.fairness import ALONE, QUICK, VIEW_SECONDS, VIEW_TILES, Turn, Turns


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(fairness.time, "monotonic", made.monotonic)  # type: ignore[attr-defined]
    return made


def turn(
    session: str, layer: str = "", queued: float = 0.0, tile: Tile | None = None, outside: str = ""
) -> Turn:
    return Turn(session=session, layer=layer, queued=queued, tile=tile, outside=outside)


def order(turns: Turns, seconds: float | dict[str, float] = 0.1) -> list[Turn]:
    """All that waits, in its order; each takes its time."""
    served = []
    while (one := turns.next()) is not None:
        served.append(one)
        turns.charge(one, seconds if isinstance(seconds, float) else seconds[one.layer])
    return served


def added(*given: Turn) -> Turns:
    turns = Turns()
    for one in given:
        turns.add(one)
    return turns


def test_sessions_take_turns() -> None:
    turns = added(*(turn("a") for _ in range(4)), turn("b"), turn("b"))
    assert [one.session for one in order(turns)] == ["a", "b", "a", "b", "a", "a"]
    assert len(turns) == 0


def test_a_session_with_quick_answers_goes_before_those_with_slow_ones() -> None:
    costs = {"slow": 0.5, "fast": 0.01}
    turns = added(turn("x", "slow"), turn("y", "fast"))
    order(turns, costs)
    for i in range(3):
        turns.add(turn(f"s{i}", "slow"))
    for _ in range(5):
        turns.add(turn("light", "fast"))
    assert [one.layer for one in order(turns, costs)] == ["fast"] * 5 + ["slow"] * 3


def test_time_counts_not_the_number_of_answers() -> None:
    costs = {"slow": 0.4, "fast": 0.1}
    turns = added(*(turn("heavy", "slow") for _ in range(3)), *(turn("light", "fast") for _ in range(8)))
    served = [one.session for one in order(turns, costs)]
    assert served[:6].count("light") == 5


def test_a_single_delay_makes_nobody_wait_for_all_others_to_catch_up() -> None:
    turns = added(*(turn(session, "layer") for session in "abcd" for _ in range(10)))
    served = []
    while (one := turns.next()) is not None:
        turns.charge(one, 0.5 if len(served) == 8 else 0.01)
        served.append(one.session)
    unlucky = served[8]
    assert unlucky in served[9:15]


def test_layers_of_a_session_take_turns_too() -> None:
    turns = added(*(turn("a", "one") for _ in range(3)), *(turn("a", "two") for _ in range(3)))
    assert [one.layer for one in order(turns)] == ["one", "two"] * 3
    costs = {"one": 0.1, "two": 0.3}
    turns = added(*(turn("a", "one") for _ in range(6)), *(turn("a", "two") for _ in range(3)))
    served = [one.layer for one in order(turns, costs)]
    assert served[:5].count("two") <= 2


def test_nobody_saves_up_turns() -> None:
    turns = added(*(turn("long here") for _ in range(10)))
    order(turns)
    for _ in range(3):
        turns.add(turn("new"))
        turns.add(turn("long here"))
    served = [one.session for one in order(turns)]
    assert served[:4].count("long here") >= 1
    # And within a session, a layer that comes later starts level with the others.
    turns = added(*(turn("a", "old") for _ in range(10)))
    for _ in range(8):
        turns.charge(turns.next() or turn(""), 0.1)
    for _ in range(3):
        turns.add(turn("a", "new"))
    assert [one.layer for one in order(turns)][:4].count("old") >= 1


def test_the_newest_view_goes_first_in_the_order_asked() -> None:
    before = [turn("a", queued=10.0 + i / 100) for i in range(3)]
    now = [turn("a", queued=10.02 + VIEW_SECONDS + 0.1 + i / 100) for i in range(3)]
    assert order(added(*before, *now)) == now + before


def view(z: int, x: int, queued: float, count: int = 3, session: str = "a") -> list[Turn]:
    return [turn(session, "layer", queued, Tile(z, x + i, 5)) for i in range(count)]


@pytest.mark.parametrize("newer", [(7, 5), (6, 8 + 2 * VIEW_TILES)], ids=["another zoom", "far away"])
def test_a_newer_view_supersedes_an_older_one(newer: tuple[int, int]) -> None:
    old, new = view(6, 5, 10.0), view(*newer, 10.1)
    other = [turn("b", "layer", 10.0) for _ in range(5)]
    turns = added(*old, *new, *other)
    assert turns.least_wanted() is old[0]
    served = order(turns)
    assert set(served[-3:]) == set(old)
    # Fewer requests may be a stray one.
    served = order(added(*old, *view(*newer, 10.1, count=2), *other))
    assert served.index(other[-1]) > served.index(old[-1])


def test_views_that_are_asked_in_turns_supersede_nothing() -> None:
    one, two = view(6, 5, 10.0, 6), view(9, 5, 10.0, 6)
    turns = added(*(found for pair in zip(one, two, strict=True) for found in pair))
    assert order(turns) == [found for pair in zip(one, two, strict=True) for found in pair]
    # Neither do those of different sessions.
    mine, theirs = view(6, 5, 10.0), view(9, 5, 10.1, session="b")
    assert order(added(*mine, *theirs))[0] is mine[0]


def test_what_is_asked_again_is_current(clock: Clock) -> None:
    old, new = view(6, 5, 99.0), view(7, 5, 99.1)
    turns = added(*old, *new, turn("b", queued=99.0))
    turns.ask_again(old[1])
    assert turns.least_wanted() is old[0]
    served = order(turns)
    assert served[-2:] == [old[2], old[0]] or served[-2:] == [old[0], old[2]]


def test_what_is_removed_is_gone() -> None:
    old, new = view(6, 5, 10.0), view(7, 5, 10.1)
    turns = added(*old, *new)
    assert turns.remove(old[0])
    assert turns.remove(new[0])
    assert not turns.remove(new[0])
    assert len(turns) == 4
    assert set(order(turns)) == {*old[1:], *new[1:]}
    assert turns.next() is None


def test_who_awaits_most_is_refused_first() -> None:
    turns = added(turn("a", queued=1.0), turn("b", queued=3.0), turn("b", queued=2.5), turn("c", queued=0.5))
    assert turns.least_wanted().session == "b"
    turns.charge(turn("c"), 1.0)
    assert turns.least_wanted().session == "c"


def test_only_what_is_known_to_be_quick_overtakes() -> None:
    costs = {"slow": 5 * QUICK, "fast": QUICK / 5}
    turns = added(turn("a", "slow"), turn("b", "fast"))
    order(turns, costs)
    turns.add(turn("a", "slow"))
    turns.add(turn("c", "unknown"))
    assert turns.next(quick=True) is None
    fast = turn("a", "fast")
    turns.add(fast)
    assert turns.quick(fast)
    assert turns.next(quick=True) is fast
    assert turns.next(quick=True) is None
    assert len(turns) == 2


def test_sessions_and_layers_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fairness, "REMEMBERED", 10)
    turns = Turns()
    for i in range(50):
        turns.add(turn(f"s{i}", f"l{i}"))
        order(turns, {f"l{i}": 0.2})
    assert turns.cost("l39") is None
    assert turns.cost("l49") == pytest.approx(0.2)
    assert len(turns._known) <= 10


def test_layers_of_a_session_that_never_stops_asking_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fairness, "REMEMBERED", 10)
    turns = added(turn("a", "first"))
    for i in range(50):
        turns.add(turn("a", f"l{i}", tile=Tile(3, 1, 1)))
        gone = turns.next()
        assert gone is not None
        turns.charge(gone, 0.01)
    session = turns._known["a"]
    assert len(turns) == 1
    assert len(session.lines) <= 11
    assert len(session.views) <= 11


def test_newcomers_do_not_starve_who_was_served_before() -> None:
    turns = Turns()
    for _ in range(3):
        turns.add(turn("regular", "layer"))
        turns.charge(turns.next(), 0.02)
    turns.add(regular := turn("regular", "layer"))
    for number in range(5):
        turns.add(turn(f"new-{number}", "layer"))
    for number in range(100):
        served = turns.next()
        if served is regular:
            break
        turns.charge(served, 0.02)
        turns.add(turn(f"newer-{number}", "layer"))
    assert served is regular


def taken(turns: Turns) -> list[Turn]:
    """All that may go without any of them coming to its end."""
    return list(iter(turns.next, None))


def test_only_so_many_are_computed_outside_and_others_pass() -> None:
    turns = Turns(outside=3)
    for _ in range(5):
        for session in "abcde":
            turns.add(turn(session, "slow", outside="function"))
            turns.add(turn(session, "slow"))
    first = taken(turns)
    assert [one.session for one in first if one.outside] == ["a", "b", "c"]
    assert len([one for one in first if not one.outside]) == 25
    assert len(turns) == 22
    for one in first:
        turns.charge(one, 0.1)
    assert [one.session for one in taken(turns)] == ["d", "e", "a"]


def outside(session: str, count: int = 1) -> list[Turn]:
    return [turn(session, "slow", outside="function") for _ in range(count)]


def test_a_session_has_one_more_outside_while_it_is_alone(clock: Clock) -> None:
    turns = added(*outside("a", 5))
    assert len(taken(turns)) == 2
    turns.add(other := turn("b", "slow", outside="function"))
    assert taken(turns) == [other]
    for each in (1, 3):
        turns = Turns(each=each)
        for one in [*outside("a", 9), *outside("b", 9)]:
            turns.add(one)
        assert Counter(one.session for one in taken(turns)) == {"a": each, "b": each}
        # The other's wait is over, however that came, and it is served no more.
        for one in list(turns._active["b"].waiting["slow", "function", "b"]):
            turns.remove(one)
        assert taken(turns) == []
        clock.now += ALONE + 0.1
        assert [one.session for one in taken(turns)] == ["a"]


def test_a_session_is_not_alone_while_another_is_served(clock: Clock) -> None:
    turns = added(turn("b"))
    turns.next()
    for one in outside("a", 5):
        turns.add(one)
    assert len(taken(turns)) == 1
    clock.now += ALONE / 2
    turns.add(turn("b"))
    assert [one.session for one in taken(turns)] == ["b"]
    clock.now += ALONE / 2 + 0.1
    assert taken(turns) == []
    clock.now += ALONE
    assert [one.session for one in taken(turns)] == ["a"]


def test_what_is_superseded_waits_for_its_place_outside_too() -> None:
    old = [turn("a", "layer", 10.0, Tile(6, x, 5), outside="function") for x in range(3)]
    new = [turn("a", "layer", 10.1, Tile(7, x, 5), outside="function") for x in range(3)]
    turns = added(*old, *new)
    assert taken(turns) == new[:2]
    turns.charge(new[0], 0.1)
    assert taken(turns) == new[2:]
    turns.charge(new[1], 0.1)
    turns.charge(new[2], 0.1)
    assert taken(turns) == [old[2], old[1]]
    assert len(turns) == 1


def test_a_quick_one_overtakes_only_if_it_may_go() -> None:
    turns = Turns(outside=1)
    turns.charge(turn("a", "fast"), QUICK / 5)
    one, two = (turn(session, "fast", outside="function") for session in "ab")
    turns.add(one)
    turns.add(two)
    assert turns.next(quick=True) is one
    assert turns.next(quick=True) is None
    turns.charge(one, QUICK / 5)
    assert turns.next(quick=True) is two


def test_answers_of_other_machines_wait_side_by_side() -> None:
    turns = Turns(outside=1)
    for session in "abc":
        for _ in range(9):
            turns.add(turn(session, "far", outside="remote"))
    turns.add(turn("d", "function", outside="function"))
    begun = []
    while (one := turns.next()) is not None:
        begun.append(one)
    # Six of a session, sixteen in all, and functions have places of their own.
    assert sorted(Counter(one.session for one in begun).values()) == [1, 5, 5, 6]
    for one in begun:
        turns.charge(one, 0.1)
    assert turns.next() is not None


def test_a_user_counts_once_whatever_the_number_of_sessions() -> None:
    many = [turn(f"0123456789ab~{name}", "layer") for name in "abcdef" for _ in range(3)]
    turns = added(*many, *(turn("ba9876543210~only", "layer") for _ in range(3)))
    served = [one.owner for one in order(turns)][:6]
    assert served.count("ba9876543210") == 3


def test_sessions_of_one_user_take_turns_and_leave_each_others_views_alone() -> None:
    """Guests of an app are one user, and may look at one layer in different places."""
    first = view(6, 5, 10.0, session="0123456789ab~a")
    second = view(9, 5, 10.1, session="0123456789ab~b")
    turns = added(*first, *second)
    assert [one.session[-1] for one in order(turns)] == ["a", "b"] * 3
