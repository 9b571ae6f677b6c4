"""How values of settings are written: each parser raises ValueError with what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from geoloom_engine.restrictions import Restrictions

Parser = Callable[[str], Any]


def text(value: str) -> str:
    """Any text; blanks at its ends do not count."""
    return value.strip()


def names(value: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def named_places(value: str) -> tuple[str, ...]:
    """Places with names before them, separated by commas: ``NAME=FOLDER`` or ``NAME=URL``."""
    places = names(value)
    known = set()
    for one in places:
        name, equals, place = (part.strip() for part in one.partition("="))
        if not equals or not name or not place or "/" in name:
            raise ValueError(f"{one!r} is not NAME=FOLDER or NAME=URL")
        if "://" not in place and not place.startswith("/"):
            raise ValueError(f"{place!r} is neither an absolute folder nor a URL")
        if name in known:
            raise ValueError(f"the name {name!r} stands twice")
        known.add(name)
    return places


def restrictions(value: str) -> tuple[str, ...]:
    """Restrictions separated by commas: ``PLACE=GROUP+GROUP``."""
    entries = names(value)
    Restrictions(entries)
    return entries


def prefix(value: str) -> str:
    """The beginning of a path, without a final slash; empty for none."""
    path = value.strip().rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~@-]+)*", path) or any(
        part in (".", "..") for part in path.split("/")
    ):
        raise ValueError(f"{value!r} is not the beginning of a path such as /services/tiles")
    return path


def whole(low: int, high: int) -> Parser:
    """A parser of whole numbers from `low` to `high`."""

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is not between {low} and {high}")
        return number

    return parse


def one_of(*choices: str) -> Parser:
    """A parser of a fixed choice of words."""

    def parse(value: str) -> str:
        word = value.strip().lower()
        if word not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return word

    return parse


def seconds(value: str) -> float:
    """A span of time: a number of seconds, or with s, m, h or d after it."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([smhd]?)\s*", value.lower())
    if not match:
        raise ValueError(f"{value!r} is not a time such as 30, 5m, 12h or 30d")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def size(value: str) -> int:
    """A number of bytes, or with kB, MB or GB after it (powers of 1024)."""
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,9})?)\s*([kmg]?)i?b?\s*", value.lower())
    if not match:
        raise ValueError(f"{value!r} is not a size such as 512MB")
    return int(float(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[match[2]])


def size_or_auto(value: str) -> int | None:
    """A size, or None for "auto"."""
    return None if value.strip().lower() == "auto" else size(value)


def or_auto(parse: Parser) -> Parser:
    """A parser of what another one takes, and None for "auto"."""
    return lambda value: None if value.strip().lower() == "auto" else parse(value)
