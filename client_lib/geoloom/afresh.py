"""A clean start for each call of a user's function: random numbers, floating-point manners, prints."""

from __future__ import annotations

import contextlib
import io
import random
import sys
from collections.abc import Iterator

import numpy as np

SEED = 0
"""Random numbers start from it at each call."""

PRINT_LIMIT = 8000
"""Characters that one call may print; the rest is cut."""


class Prints(io.TextIOBase):
    """Keeps what is printed, up to a limit."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left = PRINT_LIMIT
        self._cut = False

    def write(self, text: str) -> int:
        """Take some text; what is beyond the limit is dropped."""
        taken = str(text[: self._left])
        if taken:
            self._parts.append(taken)
            self._left -= len(taken)
        self._cut = self._cut or len(text) > len(taken)
        return len(text)

    def text(self) -> str:
        """What was printed."""
        return "".join(self._parts).rstrip("\n") + ("…" if self._cut else "")


@contextlib.contextmanager
def afresh(printed: Prints | None, alone: bool = False) -> Iterator[None]:
    """The same random numbers and floating-point manners each time; what was before is put back.

    Parameters
    ----------
    printed
        Takes what is printed; None to let it go where it always goes.
    alone
        Whether nobody else uses this process's random numbers, which takes 0.1 ms to put back.
    """
    streams = sys.stdout, sys.stderr
    before = None if alone else (random.getstate(), np.random.get_state())
    random.seed(SEED)
    np.random.seed(SEED)
    if printed is not None:
        sys.stdout = sys.stderr = printed
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        sys.stdout, sys.stderr = streams
        if before is not None:
            random.setstate(before[0])
            np.random.set_state(before[1])
