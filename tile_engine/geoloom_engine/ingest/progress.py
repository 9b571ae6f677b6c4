"""What an ingest says: one line that changes on a terminal, plain lines otherwise, and a report."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TextIO

_LINE_SECONDS = 0.2
_PLAIN_SECONDS = 10.0
_MOST_REASONS = 20


class Progress:
    """Says how far an ingest is.

    Parameters
    ----------
    out, problems
        For what is said, and for what cannot be used.
    """

    def __init__(self, out: TextIO | None = None, problems: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._problems = problems or sys.stderr
        self._terminal = self._out.isatty()
        self._next = 0.0
        self._shown = 0
        self.reasons: Counter[str] = Counter()

    def say(self, sentence: str) -> None:
        """A line that stays."""
        self._clear()
        print(sentence, file=self._out, flush=True)

    def state(self, sentence: str) -> None:
        """How far it is: said often on a terminal, seldom otherwise."""
        now = time.monotonic()
        if now < self._next:
            return
        if not self._next and not self._terminal:
            self._next = now + _PLAIN_SECONDS
            return
        self._next = now + (_LINE_SECONDS if self._terminal else _PLAIN_SECONDS)
        if not self._terminal:
            print(sentence, file=self._out, flush=True)
            return
        self._out.write("\r" + sentence[:100].ljust(self._shown))
        self._out.flush()
        self._shown = len(sentence[:100])

    def problem(self, name: str, reason: str) -> None:
        """A file that cannot be used, and why."""
        self._clear()
        own = name.rpartition("/")[2]
        if reason.startswith(own):
            reason = reason.removeprefix(f"{own}: ")
            reason = reason.replace(own, "it", 1) if reason.startswith(own) else reason
        self.reasons[reason.replace(own, "it")] += 1
        print(f"{name}: {reason.rstrip('.')}.", file=self._problems, flush=True)

    def summary(self) -> list[str]:
        """The reasons with their numbers, the most frequent first."""
        lines = [
            f"  {count} × {reason.rstrip('.')}" for reason, count in self.reasons.most_common(_MOST_REASONS)
        ]
        more = len(self.reasons) - len(lines)
        return lines + ([f"  and {more} further reasons"] if more > 0 else [])

    def _clear(self) -> None:
        if self._shown:
            self._out.write("\r" + " " * self._shown + "\r")
            self._out.flush()
            self._shown = 0
