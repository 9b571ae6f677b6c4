"""Hrefs with the parts of their item's id taken out, so that those of many items are alike.

A part is a run of ASCII letters and digits of the id, three at least. Where such a run stands in an
href on its own, the template has ``$`` and a symbol of its number: ``0`` … ``9``, ``a`` … ``z``. A dollar
itself is ``$$``. Runs are whole or not at all, so an href has one template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geoloom.errors import CorruptChain

_SYMBOLS = "0123456789abcdefghijklmnopqrstuvwxyz"
_RUN = re.compile(r"[0-9A-Za-z]{3,}")
_TOKEN = re.compile(r"[0-9A-Za-z]+|\$")
_MARKED = re.compile(r"\$(.?)", re.DOTALL)
_CLOSED_END = re.compile(r"[0-9A-Za-z]$", re.MULTILINE)
_OPEN_END = re.compile(r"[0-9A-Za-z]*\Z")
_WELL_FORMED = re.compile(r"(?:[^0-9A-Za-z$]|\$\$|(?:[0-9A-Za-z]+|\$[0-9a-z])(?=[^0-9A-Za-z$]|\$\$|\Z))*+")
_LITERAL = re.compile(r"\$.|([0-9A-Za-z]+)", re.DOTALL)
_PROBE = {f"unlikely0run0of0letters{symbol}": symbol for symbol in _SYMBOLS}


def parts_of(id_: str) -> dict[str, str]:
    """The runs of an id, each with its symbol."""
    return dict(zip(dict.fromkeys(_RUN.findall(id_)), _SYMBOLS, strict=False))


def template(href: str, parts: Mapping[str, str]) -> str:
    """An href with the runs in `parts` as ``$`` and their symbols."""

    def mark(found: re.Match[str]) -> str:
        run = found[0]
        if run == "$":
            return "$$"
        symbol = parts.get(run)
        return run if symbol is None else "$" + symbol

    return _TOKEN.sub(mark, href)


def fill(text: str, parts: Mapping[str, str]) -> str:
    """The href of a template.

    Raises
    ------
    CorruptChain
        It names a part that is none.
    """
    if "$" not in text:
        return text
    runs = {symbol: run for run, symbol in parts.items()}
    runs["$"] = "$"
    try:
        return _MARKED.sub(lambda found: runs[found[1]], text)
    except KeyError:
        raise CorruptChain("An href names a part that its item's id does not have.") from None


@dataclass(frozen=True, slots=True)
class Words:
    """What templates are made of: runs that stand in them as they are, and the number of parts they need."""

    runs: frozenset[str]
    parts: int

    @staticmethod
    def of(*templates: str) -> Words:
        """Of some templates together.

        Raises
        ------
        CorruptChain
            No href has one of these templates.
        """
        if not all(map(_WELL_FORMED.fullmatch, templates)):
            raise CorruptChain("The template of an href is not canonical.")
        text = " ".join(templates)
        symbols = set(_MARKED.findall(text)) - {"$"}
        return Words(
            frozenset(run for run in _LITERAL.findall(text) if len(run) >= 3),
            max(map(_SYMBOLS.index, symbols), default=-1) + 1,
        )

    def fit(self, parts: Mapping[str, str]) -> bool:
        """Whether hrefs of an item with these parts have such templates."""
        return self.parts <= len(parts) and self.runs.isdisjoint(parts)


def beginning(hrefs: Sequence[str]) -> str:
    """What all hrefs begin with, as far as no run of letters and digits is cut."""
    first, last = min(hrefs, default=""), max(hrefs, default="")
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return _OPEN_END.sub("", first[:same])


def begins_apart(names: Sequence[str]) -> bool:
    """Whether well formed templates are of hrefs that have no `beginning` in common."""
    return not beginning([fill(name, _PROBE) for name in names])


def check_beginnings(stems: Sequence[str]) -> None:
    """Refuse templates of which one is not that of a `beginning`.

    Raises
    ------
    CorruptChain
        It has a control character, is not well formed, or cuts a run.
    """
    together = "\n".join(stems)
    if together.count("\n") != max(0, len(stems) - 1) or _WELL_FORMED.fullmatch(together) is None:
        raise CorruptChain("The template of an address is not canonical.")
    if _CLOSED_END.search(together) is not None:
        raise CorruptChain("The beginning of addresses cuts a word.")


def fits(stem: str, parts: Mapping[str, str]) -> bool:
    """Whether hrefs of an item with these parts have a well formed template: as `Words.fit`, for one."""
    known = "$" + _SYMBOLS[: len(parts)]
    if not all(symbol in known for symbol in _MARKED.findall(stem)):
        return False
    # Few parts stand in it at all, and of those most as a piece of a longer run.
    return not any(run in stem for run in parts) or Words.of(stem).fit(parts)
