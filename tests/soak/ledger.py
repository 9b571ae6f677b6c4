"""What happened: answers by kind, errors by kind and fault, wrong tiles, chains that were acknowledged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

REFUSED = "refused: busy"
"""The error of a tile that the engine has no room for just now; it comes later."""

ARTEFACTS = Path(__file__).resolve().parents[1] / "artefacts"
"""Where wrong tiles are kept."""


@dataclass
class Window:
    """From one kill to the next, or what was before the first."""

    kind: str
    begun: float
    errors: Counter[str] = field(default_factory=Counter)
    last_error: float = 0.0
    tiles: int = 0
    slowest: float = 0.0
    """Seconds that somebody waited for a tile, with all that it was asked for again."""
    backs: dict[str, float | None] = field(default_factory=dict)
    """Seconds until each question of the probes was answered again; None if it never was."""
    own: float | None = None
    """The same as far as the stack's own work made it, on a machine that it has for itself."""
    lost: int = 0
    """Acknowledged chains that the store did not have afterwards."""

    @property
    def back(self) -> float | None:
        """Seconds until everything was served again; None if it never was."""
        if not self.backs or None in self.backs.values():
            return None
        return max(back or 0.0 for back in self.backs.values())

    @property
    def felt(self) -> float:
        """Seconds until the last error that a user met."""
        return max(0.0, self.last_error - self.begun) if self.last_error else 0.0


class Ledger:
    """What all users, probes and faults write down."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.answers: Counter[str] = Counter()
        self.waits: list[float] = []
        self.windows = [Window("(none)", self.begun)]
        self.wrong: list[str] = []
        """Tiles that are not as they should be; `mistaken` keeps their bytes as well."""
        self.faults: list[str] = []
        """What must not happen, other than wrong tiles."""
        self.chains: dict[str, float] = {}
        """When a chain's registration was acknowledged."""
        self.saved: set[str] = set()

    def mistaken(self, tile: str, what: str, body: bytes) -> None:
        """A wrong tile, whose bytes are kept for who looks into it."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        (ARTEFACTS / f"wrong {tile} {len(self.wrong)}.png".replace(" ", "_")).write_bytes(body)
        self.wrong.append(f"{tile}{what}")

    @property
    def window(self) -> Window:
        """The present one."""
        return self.windows[-1]

    @property
    def errors(self) -> Counter[str]:
        """All errors of users, by kind."""
        return sum((window.errors for window in self.windows), Counter())

    def count(self, what: str) -> None:
        """Count an answer, or what a user did."""
        self.answers[what] += 1

    def error(self, what: str) -> None:
        """Count an error that a user met; those of busy engines are none of a fault's making."""
        self.window.errors[what] += 1
        if not what.startswith(REFUSED):
            self.window.last_error = time.monotonic()

    def shown(self, seconds: float) -> None:
        """Note a right tile, and how long it was waited for."""
        self.waits.append(seconds)
        window = self.window
        window.tiles += 1
        window.slowest = max(window.slowest, seconds)

    def acknowledged(self, key: str) -> None:
        """Note a registered chain."""
        self.chains[key] = time.monotonic()

    def fail(self, what: str) -> None:
        """Note what must not happen."""
        if what not in self.faults:
            self.faults.append(what)

    def kill(self, kind: str) -> Window:
        """Begin another window."""
        self.windows.append(Window(kind, time.monotonic()))
        return self.window

    def wait(self, share: float) -> float:
        """Seconds within which this share of the tiles came."""
        waits = sorted(self.waits)
        return waits[min(len(waits) - 1, int(len(waits) * share))] if waits else 0.0

    def by_kind(self) -> dict[str, list[Window]]:
        """Windows of each kind of fault, in the order of their first."""
        found: dict[str, list[Window]] = {}
        for window in self.windows[1:]:
            found.setdefault(window.kind, []).append(window)
        return found

    def claims(self, limit: float) -> Iterable[str]:
        """What is wrong, in words; nothing if all is well.

        Parameters
        ----------
        limit
            Seconds within which everything is to be served again after a kill.
        """
        if self.wrong:
            yield f"{len(self.wrong)} tiles were wrong, the first: {self.wrong[0]}"
        if not self.waits:
            yield "no tile was shown at all"
        for kind, windows in self.by_kind().items():
            lost = sum(window.lost for window in windows)
            if lost:
                yield f"{kind}: {lost} chains were lost"
            if any(window.own is None for window in windows):
                yield f"{kind}: not everything was served again"
            elif (most := max(window.own or 0.0 for window in windows)) > limit:
                yield f"{kind}: everything was served again only after {most:.1f} s; {limit:g} s are promised"
        yield from self.faults
