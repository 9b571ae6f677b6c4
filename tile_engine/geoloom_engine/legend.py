"""What a look means: as JSON for the notebook's legend, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from geoloom.block import Block
from geoloom.colour import components, lut
from geoloom.profile import Look, Profile
from geoloom_engine.lettering import clip, font, plain
from geoloom_engine.render import png

__all__ = ["legend", "legend_png"]

_WIDTH = 260
_EDGE = 10
_LINE = 18
_BAR = 14
_MOST_CLASSES = 40
_PAPER, _INK, _FRAME = (255, 255, 255, 235), (38, 44, 52, 255), (150, 158, 168, 255)
_CHANNELS = (("Red", "#d62728ff"), ("Green", "#2ca02cff"), ("Blue", "#1f77b4ff"))


def legend(look: Look | None, profile: Profile | None = None) -> dict[str, Any]:
    """The legend of a look as JSON.

    Parameters
    ----------
    look
        None, or a look without meaning of its own (a blend), gives kind ``none``.
    profile
        Of the styled image: fills in name and unit, and names the bands.

    Returns
    -------
    ``{"kind": "ramp"|"classes"|"rgb"|"grey"|"none", "name", "unit", "limits": [[low, high], …],
    "colors": ["#rrggbbaa", …], "labels": [[label, colour], …], "bands": [name, …], "opacity"}``.
    """
    names = list(profile.names) if profile is not None else []
    return {
        "kind": _kind(look),
        "name": (look.name if look is not None else None) or (names[0] if len(names) == 1 else None),
        "unit": (look.unit if look is not None else None) or (profile.unit if profile is not None else None),
        "limits": [list(pair) for pair in look.limits] if look is not None else [],
        "colors": list(_colours(look)),
        "labels": [list(pair) for pair in look.labels] if look is not None else [],
        "bands": names,
        "opacity": look.opacity if look is not None else 1.0,
    }


def legend_png(content: dict[str, Any], pixel_ratio: int = 1) -> bytes:
    """A legend as PNG.

    Parameters
    ----------
    content
        What `legend` returns.
    pixel_ratio
        2 for screens with fine pixels; the picture is that much larger.
    """
    rows = _rows(content)
    title = _title(content)
    height = 2 * _EDGE + _LINE * bool(title) + rows
    sheet = Image.new("RGBA", (_WIDTH * pixel_ratio, height * pixel_ratio), _PAPER)
    pen = _Pen(sheet, pixel_ratio)
    top = _EDGE
    if title:
        pen.write(_EDGE, top - 2, title, 13)
        top += _LINE
    kind = content["kind"]
    if kind in ("ramp", "grey"):
        _draw_ramp(pen, top, content)
    elif kind != "none":
        _draw_swatches(pen, top, _entries(content))
    data = np.ascontiguousarray(np.asarray(sheet).transpose(2, 0, 1))
    return png(Block(data, np.ones((1, *data.shape[1:]), np.bool_)), None)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) between two limits, and the limits."""
    span = high - low
    if not (math.isfinite(span) and span != 0):
        return [low]
    start, end = min(low, high), max(low, high)
    rough = (end - start) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(start / step), math.floor(end / step)
    inner = [index * step for index in range(first, last + 1)]
    gap = 0.6 * step
    kept = [value for value in inner if value - start > gap and end - value > gap]
    found = [start, *kept, end]
    return found if low < high else found[::-1]


def number(value: float) -> str:
    """A number as a legend shows it: four significant digits, no needless zeros."""
    rounded = float(f"{value:.4g}")
    if rounded == 0:
        return "0"
    if 1e-4 <= abs(rounded) < 1e7:
        return f"{rounded:,.10f}".rstrip("0").rstrip(".")
    return f"{rounded:g}"


class _Pen:
    """Draws in units of a plain screen's pixel."""

    def __init__(self, sheet: Image.Image, ratio: int) -> None:
        self._draw = ImageDraw.Draw(sheet)
        self._sheet = sheet
        self.ratio = ratio

    def width(self, text: str, size: int) -> float:
        """Of a text."""
        return font(size * self.ratio).getlength(text) / self.ratio

    def write(self, left: float, top: float, text: str, size: int) -> None:
        """One line, cut where the sheet ends."""
        lettering = font(size * self.ratio)
        room = (_WIDTH - _EDGE - left) * self.ratio
        self._draw.text(
            (left * self.ratio, top * self.ratio), clip(text, lettering, room + 1), _INK, font=lettering
        )

    def swatch(self, left: int, top: int, colour: str) -> None:
        """A framed square of a colour."""
        self.strip(left, top, _BAR, _BAR, (colour,))

    def strip(self, left: int, top: int, width: int, height: int, colours: Sequence[str]) -> None:
        """A framed strip of colours from left to right, laid over the paper."""
        columns = width * self.ratio
        table = np.array([components(colour) for colour in colours], np.uint8)
        picked = table[np.arange(columns) * len(table) // columns]
        strip = Image.fromarray(np.repeat(picked[np.newaxis], height * self.ratio, axis=0))
        self._sheet.alpha_composite(strip, (left * self.ratio, top * self.ratio))
        corners = (left, top, left + width, top + height)
        x0, y0, x1, y1 = (corner * self.ratio for corner in corners)
        self._draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=_FRAME)

    def tick(self, left: float, top: int) -> None:
        """A short stroke down."""
        x, y = left * self.ratio, top * self.ratio
        self._draw.line((x, y, x, y + 3 * self.ratio), fill=_FRAME, width=self.ratio)


def _kind(look: Look | None) -> str:
    if look is None or (look.kind == "rgba" and not look.labels):
        return "none"
    if look.kind in ("palette", "rgba"):
        return "classes" if look.labels else "ramp"
    return look.kind


def _colours(look: Look | None) -> tuple[str, ...]:
    if look is None:
        return ()
    return ("#000000ff", "#ffffffff") if look.kind == "grey" else look.lut


def _title(content: dict[str, Any]) -> str:
    name, unit = plain(content["name"] or "", 200), plain(content["unit"] or "", 60)
    if content["kind"] == "none":
        return name or "No legend"
    return f"{name} ({unit})" if name and unit and unit != "1" else name or unit


def _rows(content: dict[str, Any]) -> int:
    """Height of what is below the title."""
    if content["kind"] in ("ramp", "grey"):
        return _BAR + (20 if content["limits"] else 0)
    return _LINE * len(_entries(content))


def _entries(content: dict[str, Any]) -> list[tuple[str, str | None]]:
    """(text, colour) of each line; no colour for a remark."""
    if content["kind"] == "classes":
        entries: list[tuple[str, str | None]] = [
            (plain(str(label), 200), colour) for label, colour in content["labels"][:_MOST_CLASSES]
        ]
        more = len(content["labels"]) - len(entries)
        return [*entries, (f"and {more} more", None)] if more else entries
    if content["kind"] != "rgb":
        return []
    bands = content["bands"] if len(content["bands"]) == 3 else [""] * 3
    limits = content["limits"] if len(content["limits"]) == 3 else [None] * 3
    lines: list[tuple[str, str | None]] = []
    for (channel, colour), band, pair in zip(_CHANNELS, bands, limits, strict=True):
        text = plain(band, 100) or channel
        lines.append((f"{text}  {number(pair[0])} to {number(pair[1])}" if pair else text, colour))
    return lines


def _draw_ramp(pen: _Pen, top: int, content: dict[str, Any]) -> None:
    width = _WIDTH - 2 * _EDGE
    pen.strip(_EDGE, top, width, _BAR, lut(content["colors"], 256) if content["colors"] else ("#00000000",))
    if not content["limits"]:
        return
    low, high = content["limits"][0]
    marks = ticks(low, high)
    taken: list[tuple[float, float]] = []
    for mark in (marks[0], marks[-1], *marks[1:-1]):
        place = _EDGE + (width - 1) * ((mark - low) / (high - low) if high != low else 0.0)
        text = number(mark)
        half = pen.width(text, 11) / 2
        left = min(max(place - half, _EDGE), _WIDTH - _EDGE - 2 * half)
        if all(left > end + 6 or left + 2 * half < start - 6 for start, end in taken):
            pen.tick(place, top + _BAR)
            pen.write(left, top + _BAR + 4, text, 11)
            taken.append((left, left + 2 * half))


def _draw_swatches(pen: _Pen, top: int, entries: list[tuple[str, str | None]]) -> None:
    for text, colour in entries:
        if colour is not None:
            pen.swatch(_EDGE, top + 1, colour)
        pen.write(_EDGE + _BAR + 8, top, text, 12)
        top += _LINE
