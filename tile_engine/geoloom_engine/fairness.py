"""Whose turn it is: the user's who computed least, then of his layers the one that did, then the newest view.

A user counts once, whatever the number of his notebooks and maps; where the engine knows no users, each
session is one. Costs are learnt by layer, so that a user goes first whose next answer is quick: it hardly
delays the others. A user who comes new, or comes back, starts level with those who are served: nobody
saves up turns by asking for nothing.

Within a layer of a session, what was asked within half a second is one view: its tiles go in the order asked
(maps ask for the middle first), newer views before older ones. A proxy may hide that a client has
left. So once a newer view of a layer has a few requests, waiting tiles of another zoom or far away
are **superseded**: they go last of all, and are refused first. Nothing is lost by that: a refused
tile that is still in view is asked again, and asking again makes it current.

Some answers are computed **outside** for the greater part, in another process. Only so many of them are
under way at once, and few of one user: they take processors from all. The others keep their places
while what is computed here passes.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from geoloom.grid import Tile
from geoloom_engine.sessions import owner_of

GRAIN = 0.002
"""Seconds that an answer counts at least, and that one of unknown cost is expected to take."""

MOST_UNKNOWN = 0.25
"""Seconds that the first answer of a layer counts at most: it may have waited for a compiler."""

QUICK = 0.1
"""Seconds up to which an answer may overtake a long computation."""

OUTSIDE = 8
"""Answers that other processes compute and that may be under way at once."""

REMOTE = 16
"""Answers that wait for servers of other machines and may be under way at once."""

REMOTE_EACH = 6
"""Those of one user: as many as a browser asks for at a time."""

ALONE = 2.0
"""Seconds after which a user who was served is no longer there."""

VIEW_SECONDS = 0.5
"""Tiles asked within this time are one view: nobody looks at two in less."""

VIEW_TILES = 16
"""Tiles further from each other than this are not on one screen."""

VIEW_REQUESTS = 3
"""Requests in a row that make a new view: browsers have six under way at once, for all layers."""

REMEMBERED = 1000
"""Users, and layers, whose cost is known while they ask for nothing."""


Line = tuple[str, str, str]
"""What waits together: the answers of one layer, what computes them outside, and for which session."""


@dataclass(slots=True, eq=False, kw_only=True)
class Turn:
    """Something that waits for its turn.

    Parameters
    ----------
    session, layer
        Who asks, and for what: answers of one layer cost about the same. Without a layer the cost
        is not learnt.
    owner
        Whose turn it is; by default the session's owner's.
    tile
        Where it is, if it belongs to a view.
    queued
        Monotonic seconds.
    outside
        What it mostly waits for: ``function`` (another process), ``remote`` (servers), or nothing.
    """

    session: str
    layer: str = ""
    tile: Tile | None = None
    queued: float = field(default_factory=time.monotonic)
    outside: str = ""
    owner: str = ""
    line: Line = field(init=False)

    def __post_init__(self) -> None:
        self.owner = self.owner or owner_of(self.session)
        self.line = (self.layer, self.outside, self.session)


@dataclass(slots=True)
class _View:
    """A row of requests that lie near each other: its first tile, when that came, how many came."""

    tile: Tile
    since: float
    requests: int = 0


@dataclass(slots=True)
class _Owner:
    spent: float = 0.0
    cost: float = GRAIN
    line: Line = ("", "", "")
    waiting: dict[Line, list[Turn]] = field(default_factory=dict)
    lines: dict[Line, float] = field(default_factory=dict)
    views: dict[Line, _View] = field(default_factory=dict)
    floor: float = 0.0


class Turns:
    """What waits, and in which order it goes. Not thread-safe.

    Parameters
    ----------
    outside
        Answers of functions that may be under way at once.
    each
        Those of one owner beside others. While it is alone there may be one more: with two, one is
        prepared here while another is computed outside.
    """

    def __init__(self, outside: int = OUTSIDE, each: int = 1) -> None:
        self._known: OrderedDict[str, _Owner] = OrderedDict()
        self._active: dict[str, _Owner] = {}
        self._superseded: dict[Turn, None] = {}
        self._costs: OrderedDict[str, float] = OrderedDict()
        self._most_outside = outside
        self._each = each
        self._outside: Counter[tuple[str, str]] = Counter()
        self._asking: Counter[str] = Counter()
        # The last two sessions that were served, and when.
        self._last = self._before = ("", -math.inf)
        self._floor = 0.0
        self._size = 0
        self.typical = GRAIN
        """Seconds that an answer of a layer takes on average."""

    def __len__(self) -> int:
        return self._size

    def cost(self, layer: str) -> float | None:
        """Seconds that an answer of a layer is expected to take; None if it is not known."""
        return self._costs.get(layer)

    def quick(self, turn: Turn) -> bool:
        """Whether it is known to take so little that it may overtake a long computation."""
        return self._is_quick(turn.layer)

    def add(self, turn: Turn) -> None:
        """Let it wait."""
        self._size += 1
        self._queue(turn)
        self._see(turn)

    def ask_again(self, turn: Turn) -> None:
        """Somebody else asks for what waits: it belongs to a current view."""
        if turn in self._superseded:
            del self._superseded[turn]
            turn.queued = time.monotonic()
            self._queue(turn)
        self._see(turn)

    def remove(self, turn: Turn) -> bool:
        """Let it wait no longer; False if it did not."""
        if turn in self._superseded:
            del self._superseded[turn]
        elif not self._unqueue(turn):
            return False
        self._size -= 1
        return True

    def next(self, quick: bool = False) -> Turn | None:
        """Take the one whose turn it is, of those that may go; with `quick` of those that may overtake.

        It is under way until it is charged.
        """
        choice = self._choice(quick)
        if choice is not None:
            turn = self._take(*choice)
        elif quick or not self._superseded:
            return None
        else:
            allowed = (turn for turn in reversed(self._superseded) if self._allowed(turn.owner, turn.line))
            found = next(allowed, None)
            if found is None:
                return None
            turn = found
            del self._superseded[turn]
        self._size -= 1
        if turn.outside:
            self._outside[turn.outside, turn.owner] += 1
        if turn.owner != self._last[0]:
            self._before = self._last
        self._last = (turn.owner, time.monotonic())
        return turn

    def least_wanted(self) -> Turn:
        """The one to refuse first: superseded, else the oldest of whoever has and awaits most."""
        if self._superseded:
            return next(iter(self._superseded))
        owner = max(self._active.values(), key=self._weight)
        return min((queue[0] for queue in owner.waiting.values()), key=lambda turn: turn.queued)

    def charge(self, turn: Turn, seconds: float) -> None:
        """Note what it took: it is under way no longer.

        An owner is charged what an answer of the layer usually takes. Were it what this one took,
        a single delay (code compiled, the processor given away) would make its owner wait until
        all others had caught up.
        """
        if turn.outside:
            _count_off(self._outside, (turn.outside, turn.owner))
        took = max(seconds, GRAIN)
        known = self._costs.pop(turn.layer, None)
        counted = min(took, MOST_UNKNOWN) if known is None else known
        if turn.layer:
            self.typical += (took - self.typical) / 8
            self._costs[turn.layer] = counted + (took - counted) / 4
            if len(self._costs) > REMEMBERED:
                self._costs.popitem(last=False)
        owner = self._owner(turn.owner)
        owner.spent += counted
        owner.lines[turn.line] = owner.lines.get(turn.line, owner.floor) + counted
        for memory in (owner.lines, owner.views):
            # Only one that never stops asking gets here: else they are forgotten when it comes back.
            if len(memory) > REMEMBERED:
                for old in [one for one in memory if one not in owner.waiting]:
                    del memory[old]
        # What an owner that comes anew starts from rises with what is served, as the virtual time of fair
        # queueing: else one name after the other would go before all who were served once.
        self._floor += counted / (len(self._active) + 1)
        self._choose(owner)

    def _owner(self, name: str) -> _Owner:
        owner = self._known.get(name)
        if owner is None:
            owner = self._known[name] = _Owner(spent=self._floor)
            if len(self._known) > REMEMBERED:
                idle = next((one for one in self._known if one not in self._active and one != name), None)
                if idle is not None:
                    del self._known[idle]
        else:
            self._known.move_to_end(name)
        return owner

    def _queue(self, turn: Turn) -> None:
        owner = self._owner(turn.owner)
        if turn.owner not in self._active:
            owner.spent = max(owner.spent, self._floor)
            owner.lines.clear()
            owner.views.clear()
            owner.floor = 0.0
            self._active[turn.owner] = owner
        if turn.line not in owner.waiting:
            owner.lines[turn.line] = max(owner.lines.get(turn.line, 0.0), owner.floor)
            owner.waiting[turn.line] = []
        owner.waiting[turn.line].append(turn)
        if turn.outside:
            self._asking[turn.owner] += 1
        self._choose(owner)

    def _unqueue(self, turn: Turn) -> bool:
        owner = self._active.get(turn.owner)
        queue = owner.waiting.get(turn.line) if owner is not None else None
        if owner is None or queue is None or turn not in queue:
            return False
        queue.remove(turn)
        if not queue:
            del owner.waiting[turn.line]
            if not owner.waiting:
                del self._active[turn.owner]
        if turn.outside:
            _count_off(self._asking, turn.owner)
        self._choose(owner)
        return True

    def _choose(self, owner: _Owner) -> None:
        """Settle which line of an owner goes next, and what that is expected to cost."""
        if owner.waiting:
            owner.line = (
                next(iter(owner.waiting))
                if len(owner.waiting) == 1
                else min(owner.waiting, key=owner.lines.__getitem__)
            )
            owner.cost = self._costs.get(owner.line[0], GRAIN)

    def _choice(self, quick: bool) -> tuple[str, Line] | None:
        """Session and line whose turn it is."""
        if not quick and not self._asking:
            if not self._active:
                return None
            name, owner = min(self._active.items(), key=_finish)
            return name, owner.line
        chosen, least = None, math.inf
        for name, owner in self._active.items():
            lines = [
                line
                for line in owner.waiting
                if (not quick or self._is_quick(line[0])) and self._allowed(name, line)
            ]
            if lines:
                line = min(lines, key=owner.lines.__getitem__)
                finish = owner.spent + (0.0 if quick else self._costs.get(line[0], GRAIN))
                if finish < least:
                    chosen, least = (name, line), finish
        return chosen

    def _take(self, name: str, line: Line) -> Turn:
        owner = self._active[name]
        self._floor = max(self._floor, owner.spent)
        owner.floor = max(owner.floor, owner.lines[line])
        queue = owner.waiting[line]
        turn = queue[_first_of_newest(queue)]
        self._unqueue(turn)
        if name in self._active:
            # Behind those that have computed as much.
            self._active[name] = self._active.pop(name)
        return turn

    def _allowed(self, owner: str, line: Line) -> bool:
        """Whether one more of an owner's line may be under way."""
        if not line[1]:
            return True
        own = self._outside.get((line[1], owner), 0)
        all_ = sum(count for (kind, _), count in self._outside.items() if kind == line[1])
        if line[1] == "remote":
            return all_ < REMOTE and own < REMOTE_EACH
        most = self._most_outside
        return all_ < most and (own < self._each or (own == self._each and self._alone(owner)))

    def _alone(self, owner: str) -> bool:
        """Whether no other waits for an answer from outside, or was served just now."""
        if len(self._asking) > (owner in self._asking):
            return False
        _, when = self._before if self._last[0] == owner else self._last
        return time.monotonic() - when > ALONE

    def _is_quick(self, layer: str) -> bool:
        return self._costs.get(layer, QUICK + 1) <= QUICK

    def _weight(self, owner: _Owner) -> float:
        waiting = owner.waiting.items()
        expected = sum(len(queue) * self._costs.get(layer, GRAIN) for (layer, *_), queue in waiting)
        return owner.spent + expected

    def _see(self, turn: Turn) -> None:
        """Follow which view a layer's requests belong to."""
        owner = self._active.get(turn.owner)
        if owner is None or turn.tile is None:
            return
        view = owner.views.get(turn.line)
        if view is None or not _near(view.tile, turn.tile):
            view = owner.views[turn.line] = _View(turn.tile, turn.queued)
        view.requests += 1
        if view.requests == VIEW_REQUESTS:
            for old in list(owner.waiting.get(turn.line, ())):
                if old.queued < view.since and old.tile is not None and not _near(old.tile, view.tile):
                    self._unqueue(old)
                    self._superseded[old] = None


def _finish(item: tuple[str, _Owner]) -> float:
    return item[1].spent + item[1].cost


def _count_off[T](counts: Counter[T], name: T) -> None:
    counts[name] -= 1
    if counts[name] <= 0:
        del counts[name]


def _first_of_newest(queue: list[Turn]) -> int:
    """Place of the first request of the newest view."""
    since = queue[-1].queued - VIEW_SECONDS
    place = len(queue) - 1
    while place and queue[place - 1].queued >= since:
        place -= 1
    return place


def _near(one: Tile, other: Tile) -> bool:
    return one.z == other.z and abs(one.x - other.x) <= VIEW_TILES and abs(one.y - other.y) <= VIEW_TILES
