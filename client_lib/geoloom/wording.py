"""What went wrong, and what a function printed, in words that can be shown anywhere.

Part of the words is not ours: the text of an exception, of a line, of a print. It is shortened, and rid of
what would move a cursor, turn the line's direction or hide letters; whoever makes HTML of it uses `as_html`.

A line that begins with four spaces is code, as in Markdown.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any

from geoloom.errors import (
    FunctionFailed,
    FunctionNotSent,
    FunctionRefused,
    FunctionStopped,
    GeoloomError,
    ItemUnreadable,
)

LONGEST = 1000
"""Letters of one text that are shown."""

SHORT = 300
"""Letters of an exception's text, so that what to do about it is seen below."""

MOST_LINES = 12

MOST_ITEMS = 10_000
"""Items of a collection that are counted."""

CODE = "    "

_FUNCTION = frozenset(
    one.__name__ for one in (FunctionFailed, FunctionNotSent, FunctionRefused, FunctionStopped)
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -~])")
"""What a terminal takes as commands (ECMA-48, 5.4 and 5.6)."""

_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_CODE_STYLE = (
    "display:block;margin:2px 0;padding:1px 6px;white-space:pre-wrap;user-select:all;cursor:text;"
    "background:rgba(128,128,128,.14);color:inherit;font-size:11px;"
    "font-family:var(--jp-code-font-family,Menlo,Consolas,monospace)"
)


def harmless(text: object, longest: int = LONGEST, lines: int = MOST_LINES) -> str:
    """A text of unknown origin, shortened and without anything invisible; only line breaks stay."""
    # What is cut away is not looked at: a text may be megabytes long.
    raw = str(text)[: 4 * longest]
    raw = _BREAKS.sub("\n", _ESCAPES.sub("", raw)).expandtabs(4)
    shown = "".join(sign for sign in raw if sign == "\n" or _visible(sign)).strip("\n")
    rows = [row.rstrip() for row in shown.split("\n")]
    if len(rows) > lines:
        # The text may go on where it was not looked at.
        rows = [*rows[:lines], "… more lines"]
    joined = "\n".join(rows)
    return joined if len(joined) <= longest else joined[: longest - 1] + "…"


def one_line(text: object, longest: int = LONGEST) -> str:
    """A text of unknown origin in one line, so that none of it passes for code."""
    return " ".join(harmless(text, longest, longest).split())


def in_words(error: GeoloomError | Mapping[str, Any], longest: int = LONGEST) -> str:
    """An error or an event of the engine as one or two sentences."""
    told = error.to_json() if isinstance(error, GeoloomError) else error
    parts = [str(told.get("message") or "The engine gave no reason."), str(told.get("hint") or "")]
    if not isinstance(error, GeoloomError) and told.get("op") not in (
        None,
        "",
        "open",
        "execute",
        "item",
        "composite",
        "quality",
    ):
        parts[0] = f"In {told['op']}: {parts[0]}"
    if told.get("incident"):
        parts.append(f"(incident {told['incident']})")
    return " ".join(one_line(part, longest) for part in parts if part)


def printed(text: object) -> str:
    """What a function printed."""
    shown = harmless(text)
    return f"printed: {shown}" if "\n" not in shown else f"printed:\n{_as_code(shown)}"


def as_html(text: str) -> str:
    """A text as HTML, its lines of code in boxes that one click selects."""
    parts: list[str] = []
    for is_code, lines in groupby(text.split("\n"), lambda line: line.startswith(CODE)):
        if is_code:
            shown = escape("\n".join(line[len(CODE) :] for line in lines))
            parts.append(f'<code style="{_CODE_STYLE}">{shown}</code>')
        else:
            parts.append("<br>".join(escape(line) for line in lines))
    return "".join(parts)


@dataclass(slots=True)
class Trouble:
    """What fails in the tiles of one chain, for one reason.

    Parameters
    ----------
    about
        The same for all events of this reason.
    event
        The first of them, as the engine told it.
    """

    about: tuple[Any, ...]
    event: Mapping[str, Any]
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each group of equal events: those before the engine counted anew, and its last count."""
    _items: set[str] = field(default_factory=set)
    """Of a collection, that could not be read."""

    @staticmethod
    def of(event: Mapping[str, Any]) -> Trouble:
        """The trouble an event is the first case of; tiles differ in the numbers it is told with."""
        what = ("error", "op", "node") if not is_functions(event) else ("error", "node", "function", "line")
        kind = str(event.get("exception") or "").partition(":")[0]
        return Trouble((*(_plain(event.get(name)) for name in what), kind[:LONGEST]), event)

    @property
    def times(self) -> int:
        """How often it happened, as far as it was told."""
        return sum(before + last for before, last in self._counts.values())

    def count(self, event: Mapping[str, Any]) -> None:
        """It happened again; an event says how often equal ones have happened by now."""
        if event.get("item") is not None and len(self._items) < MOST_ITEMS:
            self._items.add(str(event["item"]))
        group, times = str(event.get("same")), event.get("count")
        before, last = self._counts.get(group, (0, 0))
        now = times if isinstance(times, int) else last + 1
        self._counts[group] = (before + last if now < last else before, now)

    def told(self, replay: str | None = None) -> str:
        """In words; `replay` is the beginning of the call that runs a tile here."""
        if self.event.get("error") == ItemUnreadable.__name__:
            return _left_out(self.event, len(self._items))
        if not is_functions(self.event):
            return in_words(self.event)
        return _function_failed(self.event, self.times, replay)


def is_functions(event: Mapping[str, Any]) -> bool:
    """Whether an event tells of a user's own function."""
    return event.get("error") in _FUNCTION


def tile_of(event: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(z, x, y) of the tile an event is about."""
    tile = event.get("tile")
    if isinstance(tile, list | tuple) and len(tile) == 3 and all(type(one) is int for one in tile):
        return tile[0], tile[1], tile[2]
    return None


def called_here(thing: object) -> str | None:
    """The notebook's own name of a thing, so that a line with it can be run there."""
    try:
        names = list(vars(sys.modules["__main__"]).items())
    except RuntimeError:  # a cell defined a name meanwhile
        return None
    return next((name for name, value in names if value is thing and not name.startswith("_")), None)


def _function_failed(event: Mapping[str, Any], times: int, replay: str | None) -> str:
    tile, line, text = tile_of(event), event.get("line"), one_line(event.get("text") or "", 200)
    told = [in_words(event, SHORT)]
    if text:
        told.append(_as_code(text if not isinstance(line, int) else f"{line}: {text}"))
    where = "" if tile is None else f"tile {'/'.join(map(str, tile))}"
    again = f"It happened {times:,} times so far. " if times > 1 else ""
    if not where or replay is None or event.get("error") == FunctionRefused.__name__:
        told.append(again + (f"It was on {where}." if where else ""))
    else:
        stop = "" if event.get("error") == FunctionFailed.__name__ else ", where it can be interrupted"
        told.append(f"{again}To run it here{stop}, on the pixels of {where}:")
        told.append(_as_code(f"{replay}.replay({', '.join(map(str, tile or ()))})"))
    return "\n".join(line for line in told if line)


def _left_out(event: Mapping[str, Any], items: int) -> str:
    if items <= 1:
        return f"One item is left out, since it cannot be read. {in_words(event, SHORT)}"
    count = f"{items:,}" if items < MOST_ITEMS else f"More than {items:,}"
    return f"{count} items are left out, since they cannot be read. The first: {in_words(event, SHORT)}"


def _as_code(text: str) -> str:
    return "\n".join(CODE + row for row in text.split("\n"))


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | None) else str(value)[:LONGEST]


def _visible(sign: str) -> bool:
    return unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn")
