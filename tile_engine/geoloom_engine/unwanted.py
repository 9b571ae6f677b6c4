"""That nobody waits for a result any more."""

from __future__ import annotations

from collections.abc import Callable


class Unwanted(Exception):
    """Nobody waits for the result any more."""


def always() -> bool:
    """The result is wanted whatever happens."""
    return True


def insist(wanted: Callable[[], bool]) -> Callable[[], None]:
    """What raises Unwanted, instead of saying no, when nobody waits any more."""

    def check() -> None:
        if not wanted():
            raise Unwanted

    return check
