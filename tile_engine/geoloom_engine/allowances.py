"""What one user may have the engine do: so many requests at once, so much time of functions a minute.

Turns (`geoloom_engine.fairness`) share out what there is; allowances say what nobody gets more of, also when
he is alone. Who has used his up is refused as by a busy engine: the tile says why, and is asked again later.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from geoloom.errors import EngineOverloaded
from geoloom_engine.sessions import owner_of

if TYPE_CHECKING:
    from geoloom_engine.settings import Settings

MINUTE = 60

BEHIND_A_HUB = {
    "chains": 5000,
    "blobs": 2000,
    "bytes": 512 << 20,
    "requests": 200,
    "function_time": 120.0,
}
"""What "auto" means of the settings `user_…` where a hub tells users apart."""

POLLS = 40
"""Most polls for events of one user under way in a process, where there is a limit at all: each kernel has
one, and each takes a connection to the store."""

BODIES = 12
"""Most long bodies of one user's requests that a process takes in at once, where there is a limit at all:
blobs may have many megabytes, and are kept until they are whole."""

Exempt = Callable[[str], bool]
"""Whether an owner has no limits: services of the hub, whose visitors are many."""


def limit(settings: Settings, name: str) -> float:
    """A limit of each user, by its name in `BEHIND_A_HUB`; 0: none."""
    value: float | None = getattr(settings, f"user_{name}")
    if value is None:
        return BEHIND_A_HUB[name] if settings.hub_api_url else 0
    return value


class Exhausted(EngineOverloaded):
    """A user's allowance is used up; travels as an `EngineOverloaded`.

    Parameters
    ----------
    limit
        Which one, for the counters: ``requests`` or ``function_time``.
    seconds
        After which it is worth asking again.
    """

    def __init__(self, message: str, *, hint: str, limit: str, seconds: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.limit = limit
        self.seconds = seconds

    def to_json(self) -> dict[str, object]:
        """As `EngineOverloaded`, which clients know."""
        return {**super().to_json(), "error": EngineOverloaded.__name__}


class AtOnce:
    """How many requests of each user are under way in this process; used from one event loop.

    Parameters
    ----------
    most
        Of one user; 0: no limit.
    what
        What they are called in a refusal.
    exempt
        Who has no limit.
    """

    def __init__(self, most: int, what: str = "requests", exempt: Exempt = lambda owner: False) -> None:
        self._most = most
        self._what = what
        self._exempt = exempt
        self._counts: Counter[str] = Counter()

    def enter(self, session: str) -> str:
        """Count a request; the owner, to be handed to `leave`. Raises Exhausted, and counts nothing then."""
        owner = owner_of(session)
        count = self._counts[owner]
        if self._most and count >= self._most and not self._exempt(owner):
            raise Exhausted(
                f"You have {count:,} {self._what} under way at once, the most that one user may have.",
                hint="It is asked again when others of yours are answered.",
                limit="requests",
            )
        self._counts[owner] = count + 1
        return owner

    def leave(self, owner: str) -> None:
        """Count a request as answered."""
        count = self._counts[owner] - 1
        if count > 0:
            self._counts[owner] = count
        else:
            del self._counts[owner]


class FunctionTime:
    """How long functions of each user computed in the current minute, in all engines together; thread-safe.

    Each process counts its own, and is told now and then what all have counted (`settle`). So a user can
    exceed the limit by what is computed between two tellings, and no more.

    Parameters
    ----------
    most
        Seconds a minute, of one user; 0: no limit.
    exempt
        Who has no limit.
    """

    def __init__(self, most: float, exempt: Exempt = lambda owner: False) -> None:
        self._most = most
        self._exempt = exempt
        self._lock = threading.Lock()
        self._minute = 0
        self._untold: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def check(self, session: str) -> None:
        """Raise Exhausted if the user has had his time of this minute."""
        if not self._most:
            return
        owner = owner_of(session)
        with self._lock:
            now = self._turn()
            spent = self._told.get(owner, 0.0) + self._untold.get(owner, 0.0)
        if spent < self._most or self._exempt(owner):
            return
        wait = int(MINUTE - now % MINUTE) + 1
        raise Exhausted(
            f"Your functions have computed for {spent:.0f} s in this minute; each user may {self._most:g} s.",
            hint=f"It is asked again in {wait} s.",
            limit="function_time",
            seconds=wait,
        )

    def charge(self, session: str, seconds: float) -> None:
        """Count the time of one call."""
        if not self._most:
            return
        owner = owner_of(session)
        with self._lock:
            self._turn()
            self._untold[owner] = self._untold.get(owner, 0.0) + seconds

    def take(self) -> tuple[int, dict[str, float]]:
        """The minute, and the seconds of each user that were not told yet; they count as told from now on."""
        with self._lock:
            self._turn()
            untold, self._untold = self._untold, {}
            for owner, seconds in untold.items():
                self._told[owner] = self._told.get(owner, 0.0) + seconds
            return self._minute, untold

    def settle(self, minute: int, totals: Mapping[str, float]) -> None:
        """Be told what all processes have counted of some users in a minute."""
        with self._lock:
            self._turn()
            if minute == self._minute:
                for owner, seconds in totals.items():
                    self._told[owner] = max(self._told.get(owner, 0.0), seconds)

    def _turn(self) -> float:
        """Begin anew with each minute; seconds since 1970. The lock is held."""
        now = time.time()
        if now // MINUTE != self._minute:
            self._minute = int(now // MINUTE)
            self._untold.clear()
            self._told.clear()
        return now
