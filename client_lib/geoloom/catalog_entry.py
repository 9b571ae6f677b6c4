"""What a catalogue says of one of its collections: shown, searched, and as code that runs."""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from html import escape
from typing import Any

from geoloom.dates import period, words
from geoloom.errors import ParameterError
from geoloom.spelling import folded

__all__ = ["Entry", "identifier", "table"]

MANY_ITEMS = 1000
"""Above this many, a snippet asks for the last month only."""

CLOUDS = "eo:cloud_cover"

_COLOURS = (("red", "green", "blue"), ("B04", "B03", "B02"), ("B4", "B3", "B2"))

_WEIGHTS = {"id": 8.0, "title": 6.0, "keywords": 5.0, "bands": 3.0, "description": 2.0}


def identifier(text: str) -> str:
    """A name that can stand after a dot: ``sentinel-2-l2a`` → ``sentinel_2_l2a``."""
    name = re.sub(r"\W+", "_", text).strip("_") or "collection"
    name = name if name.isidentifier() else f"c_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


@dataclass(frozen=True, slots=True)
class Entry:
    """A collection in a catalogue.

    Parameters
    ----------
    id, catalog
        Its id, and its catalogue's name.
    title, description, keywords
        As the catalogue has them.
    bands
        ``name``, ``dtype``, ``unit`` and ``description`` of each.
    bbox
        West, south, east, north in degrees, or None.
    interval
        First and last date, ISO 8601, each may be None.
    items
        How many, or None: not known.
    properties
        By name, their values, or their least and largest (``minimum``, ``maximum``).
    """

    id: str
    catalog: str = ""
    title: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    bands: tuple[Mapping[str, Any], ...] = ()
    bbox: tuple[float, ...] | None = None
    interval: tuple[str | None, str | None] = (None, None)
    items: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Entry:
        """The entry that the engine told; what it did not tell is empty."""
        bbox, interval = told.get("bbox"), told.get("interval") or (None, None)
        return Entry(
            id=str(told["id"]),
            catalog=str(told.get("catalog") or ""),
            title=str(told.get("title") or ""),
            description=str(told.get("description") or ""),
            keywords=tuple(map(str, told.get("keywords") or ())),
            bands=tuple(one for one in told.get("bands") or () if isinstance(one, Mapping)),
            bbox=tuple(map(float, bbox)) if bbox and len(bbox) == 4 else None,
            interval=(interval[0], interval[1]),
            items=told.get("items"),
            properties=dict(told.get("properties") or {}),
        )

    @property
    def name(self) -> str:
        """The id with its catalogue's name: unique."""
        return f"{self.catalog}/{self.id}" if self.catalog else self.id

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(str(band.get("name")) for band in self.bands)

    @property
    def dates(self) -> str:
        """From when to when, in words."""
        start, end = (one or ".." for one in self.interval)
        try:
            return "" if start == end == ".." else words(*period(start[:10], end[:10]))
        except ParameterError:
            return f"from {start} to {end}"

    @property
    def extent(self) -> str:
        """Where and when there are items, in a sentence; empty if that is not known."""
        parts = [self.dates] if self.dates else []
        if self.bbox is not None:
            parts.append(f"within {', '.join(f'{one:.6g}' for one in self.bbox)}")
        return f"Its items are {', '.join(parts)}." if parts else ""

    def rows(self) -> dict[str, str]:
        """What is known of it, in words."""
        about = "" if self.description == self.title else self.description
        found = {
            "id": self.name,
            "title": self.title,
            "about": about if len(about) < 400 else about[:399] + "…",
            "keywords": ", ".join(self.keywords),
            "items": "" if self.items is None else f"{self.items:,}",
            "dates": self.dates,
            "box": "" if self.bbox is None else ", ".join(f"{one:.6g}" for one in self.bbox),
            "bands": ", ".join(_band(one) for one in self.bands),
            "properties": ", ".join(_property(name, one) for name, one in self.properties.items()),
        }
        return {name: text for name, text in found.items() if text}

    def snippet(self) -> str:
        """Code that shows the collection on a map; it runs as it is."""
        variable = identifier(self.id)
        filters = []
        if self.bbox is not None:
            filters.append(f".filter_rect({', '.join(f'{one:.6g}' for one in _outward(self.bbox))})")
        start, end = self._shown_dates()
        if start and end:
            filters.append(f".filter_date({_quoted(start)}, {_quoted(end)})")
        clouds = self.properties.get(CLOUDS)
        if isinstance(clouds, Mapping) and isinstance(low := clouds.get("minimum"), int | float):
            filters.append(f'.filter("{CLOUDS}", "<=", {max(20, math.ceil(low))})')
        lines = [f"gl.collection({_quoted(self.name)})", *filters]
        code = f"{variable} = {lines[0]}"
        if filters:
            code = f"{variable} = (\n" + "\n".join(f"    {line}" for line in lines) + "\n)"
        bands = ", ".join(map(_quoted, self._shown_bands()))
        image = f"{variable}.bands({bands})" if bands else f"{variable}.mosaic()"
        shown = ["m = gl.Map()", f'm.add_layer(image, name="{variable}")', "m.fit(image)", "m"]
        return "\n".join(["import geoloom as gl", "", code, f"image = {image}", *shown])

    def score(self, wanted: Sequence[str]) -> float:
        """How well words fit, 0: not at all. Words that are begun or misspelt count less."""
        texts = {
            "id": f"{self.catalog} {self.id}",
            "title": self.title,
            "keywords": " ".join(self.keywords),
            "bands": " ".join(f"{one.get('name')} {one.get('description') or ''}" for one in self.bands),
            "description": self.description,
        }
        found = {name: folded(text).split() for name, text in texts.items()}
        total, hits = 0.0, 0
        for word in wanted:
            best = max(_WEIGHTS[name] * _fit(word, have) for name, have in found.items())
            hits += best > 0
            total += best
        return total + 100.0 * hits if hits else 0.0

    def _shown_dates(self) -> tuple[str, str]:
        start, end = (one[:10] if one else "" for one in self.interval)
        if start and end and (self.items or 0) > MANY_ITEMS and end[:7] > start[:7]:
            start = f"{end[:7]}-01"
        return start, end

    def _shown_bands(self) -> tuple[str, ...]:
        names = self.band_names
        for colours in _COLOURS:
            fitting = [
                next((one for one in names if one.lower() == colour.lower()), None) for colour in colours
            ]
            if None not in fitting:
                return tuple(map(str, fitting))
        return names[:1]


def table(entries: Sequence[Entry], caption: str, problems: Sequence[str] = ()) -> str:
    """Entries as a small table of HTML."""
    left = "style='text-align:left'"
    head = "".join(f"<th {left}>{name}</th>" for name in ("collection", "title", "items", "dates", "bands"))
    rows = []
    for one in entries:
        bands = ", ".join(one.band_names[:8]) + (" …" if len(one.bands) > 8 else "")
        cells = (one.name, one.title, "" if one.items is None else f"{one.items:,}", one.dates, bands)
        rows.append("<tr>" + "".join(f"<td {left}>{escape(cell)}</td>" for cell in cells) + "</tr>")
    told = "".join(f"<p>{escape(problem)}</p>" for problem in problems)
    return (
        f"<table class='geoloom-collections'><caption>{escape(caption)}</caption>"
        f"<tr>{head}</tr>{''.join(rows)}</table>{told}"
    )


def _quoted(text: str) -> str:
    """Text of a catalogue as it stands in code: nothing in it ends the quotes."""
    return json.dumps(text, ensure_ascii=False)


def _fit(word: str, have: Sequence[str]) -> float:
    if word in have:
        return 1.0
    if len(word) >= 3 and any(
        one.startswith(word) or (len(one) >= 4 and word.startswith(one)) for one in have
    ):
        return 0.7
    if len(word) >= 4 and any(word in one for one in have):
        return 0.5
    return 0.3 if len(word) >= 4 and get_close_matches(word, have, n=1, cutoff=0.8) else 0.0


def _band(band: Mapping[str, Any]) -> str:
    unit = f" ({band['unit']})" if band.get("unit") else ""
    return f"{band.get('name')}{unit}"


def _property(name: str, told: Any) -> str:
    if isinstance(told, Mapping):
        low, high = (_figure(told.get(edge)) for edge in ("minimum", "maximum"))
        return f"{name} {low}" if low == high else f"{name} {low} to {high}"
    if isinstance(told, Sequence) and not isinstance(told, str):
        shown = [str(one) for one in told[:4]]
        return f"{name} ({', '.join(shown)}{', …' if len(told) > 4 else ''})"
    return name


def _figure(value: Any) -> str:
    """A number to five digits, without those that say nothing; of all else its text."""
    return f"{value:.5g}" if isinstance(value, float) and abs(value) < 1e5 else str(value)


def _outward(bbox: Sequence[float]) -> tuple[float, ...]:
    """A box rounded to 0.001° so that nothing of it is lost."""
    west, south, east, north = bbox
    low = [math.floor(one * 1000) / 1000 for one in (west, south)]
    high = [math.ceil(one * 1000) / 1000 for one in (east, north)]
    return max(low[0], -180.0), max(low[1], -90.0), min(high[0], 180.0), min(high[1], 90.0)
