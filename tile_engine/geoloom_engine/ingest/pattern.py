"""Patterns of files' names: ``{tile}_{date:%Y%m%d}_{band}.tif`` says what the parts of a name mean.

``{band}`` names the file within its scene; all other parts together name the scene, so files that differ
in their band alone become one item. ``{date:…}`` and ``{time:…}`` take the forms of `datetime.strptime`,
``{name:d}`` is a whole number, ``*`` is anything within a name, ``**/`` any folders. A pattern with a ``/``
is held against the end of the whole path, one without against the file's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from geoloom_engine.ingest import dates
from geoloom_engine.ingest.dates import Moment

_CODES = {
    "Y": r"\d{4}", "m": r"\d{1,2}", "d": r"\d{1,2}", "j": r"\d{1,3}", "H": r"\d{1,2}", "M": r"\d{1,2}",
    "S": r"\d{1,2}", "y": r"\d\d", "f": r"\d{1,6}", "b": r"[A-Za-z]{3}", "B": r"[A-Za-z]+",
    "z": r"Z|[+-]\d\d:?\d\d", "%": "%",
}  # fmt: skip
_FIXED = {"m": r"\d\d", "d": r"\d\d", "j": r"\d{3}", "H": r"\d\d", "M": r"\d\d", "S": r"\d\d"}
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\*\*/|\*|\?|[{}]|[^{}*?]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]*")
_WHOLE = "d"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a name says.

    Parameters
    ----------
    scene
        Names the scene: files with the same one belong together.
    band
        Names the file within its scene; None if nothing tells.
    moment
        When it was taken; None if nothing tells.
    properties
        Further named parts.
    finer
        Rank among files of one band: the lowest is the one to use (metres of a pixel, by its name).
    """

    scene: str
    band: str | None = None
    moment: Moment | None = None
    properties: dict[str, str | int] = field(default_factory=dict)
    finer: int = 0


class Pattern:
    """A pattern, ready to be held against names.

    Parameters
    ----------
    text
        As described above.

    Raises
    ------
    ValueError
        If it cannot be understood; the message says where.
    """

    def __init__(self, text: str) -> None:
        self._fields: list[tuple[str, str]] = []
        self._groups: dict[str, int] = {}
        self._whole = "/" in text
        self._regex = re.compile("".join(self._translated(text)) + r"\Z", re.IGNORECASE)
        if not self._fields:
            raise ValueError(f"the pattern {text!r} names no part; write for example '{{tile}}_{{band}}.tif'")

    def match(self, path: str) -> Parts | None:
        """What a path with ``/`` between its parts says; None if it is not of the pattern."""
        if self._whole:
            starts = [0, *(found.end() for found in re.finditer("/", path))]
            found = next((hit for start in starts if (hit := self._regex.match(path, start))), None)
        else:
            found = self._regex.match(path, path.rfind("/") + 1)
        if found is None:
            return None
        band: str | None = None
        own: str | None = None
        scene: list[str] = []
        written: list[str] = []
        forms: list[str] = []
        moment: Moment | None = None
        properties: dict[str, str | int] = {}
        for number, (name, form) in enumerate(self._fields):
            value = found[f"p{number}"]
            if name == "band":
                band = value
                continue
            scene.append(value)
            if name in ("date", "time"):
                if form:
                    written.append(value)
                    forms.append(form)
                else:
                    moment = dates.find(value)
                    if moment is None:
                        return None
            elif name == "id":
                own = value
            else:
                properties[name] = int(value) if form == _WHOLE else value
        if forms:
            moment = dates.read(" ".join(written), " ".join(forms))
            if moment is None:
                return None
        key = (
            own or "_".join(dict.fromkeys(part for part in scene if part)) or found.group().rpartition(".")[0]
        )
        return Parts(key.replace("/", "_"), band, moment, properties)

    def _translated(self, text: str) -> list[str]:
        pieces = []
        for token in _TOKEN.finditer(text):
            word = token.group()
            if token[1] is not None:
                pieces.append(self._field(token[1], text))
            elif word in ("{{", "}}"):
                pieces.append(re.escape(word[0]))
            elif word in ("{", "}"):
                raise ValueError(
                    f"the pattern {text!r} has a brace without its partner (write {{{{ for a brace)"
                )
            elif word == "**/":
                pieces.append("(?:[^/]+/)*")
            else:
                pieces.append({"*": "[^/]*", "?": "[^/]"}.get(word) or re.escape(word))
        return pieces

    def _field(self, inside: str, text: str) -> str:
        # A property may hold a colon itself (eo:cloud_cover).
        name, colon, form = inside.rpartition(":")
        if not colon or not (form == _WHOLE or "%" in form):
            name, form = inside, ""
            if ":%" in inside:
                name, _, form = inside.partition(":")
        if "%" in form and ":%" in inside:
            name, _, form = inside.partition(":%")
            form = "%" + form
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"the pattern {text!r}: {{{inside}}} is not {{name}}, {{name:d}} or {{date:%Y%m%d}}"
            )
        dated = name in ("date", "time")
        if "%" in form and not dated:
            raise ValueError(f"the pattern {text!r}: only {{date:…}} and {{time:…}} take forms with %")
        if form == _WHOLE and (dated or name == "band"):
            raise ValueError(f"the pattern {text!r}: {{{name}}} is no whole number")
        if not dated and name in self._groups:
            return f"(?P=p{self._groups[name]})"
        number = len(self._fields)
        self._fields.append((name, form))
        self._groups[name] = number
        if form == _WHOLE:
            return rf"(?P<p{number}>\d+)"
        # Where a name could be divided in several ways, the band is its shortest piece.
        anything = "[^/]+?" if name == "band" else "[^/]+"
        return f"(?P<p{number}>{_of_form(form, text) if form else anything})"


def _of_form(form: str, text: str) -> str:
    """The regular expression of a form of `datetime.strptime`."""
    codes = re.findall("%(.)", form)
    # Where codes follow each other without anything between them, only their full lengths tell them apart.
    close = bool(re.search("%.%", form))
    pieces = []
    for piece in re.split("(%.?)", form):
        if not piece.startswith("%"):
            pieces.append(re.escape(piece))
            continue
        found = (_FIXED.get(piece[1:]) if close else None) or _CODES.get(piece[1:])
        if found is None:
            known = ", ".join(f"%{code}" for code in _CODES if code != "%")
            raise ValueError(f"the pattern {text!r}: {piece} is none of {known}")
        pieces.append(f"(?:{found})")
    if not codes:
        raise ValueError(f"the pattern {text!r}: the form {form!r} names no part of a date")
    return "".join(pieces)
