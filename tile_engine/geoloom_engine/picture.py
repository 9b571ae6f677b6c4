"""Tiles that say in words why they are not the picture asked for.

Both are calm cards: half transparent, with a thin border, so that the neighbours and the base map
stay visible and the place of each tile is clear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from geoloom.block import Array, Block
from geoloom.colour import lut
from geoloom.profile import Look
from geoloom_engine.lettering import clip, font, plain, wrap
from geoloom_engine.render import png

__all__ = ["error_tile", "footprints_tile", "reason_tile"]

_INK, _MUTED, _PAPER = 0, 90, 254
_LONGEST = 700
_SCENES = (44, 98, 168)


@dataclass(frozen=True, slots=True)
class _Tone:
    """Colours of a card: from ink over border to paper, as one ramp."""

    title: str
    ramp: tuple[str, str, str]


_ERROR = _Tone("This tile could not be drawn", ("#45160cff", "#b06c58ff", "#fff4eecc"))
_REASON = _Tone("Not drawn", ("#17283fff", "#7389a6ff", "#f1f6fccc"))


def error_tile(message: str, size: int = 256, hint: str | None = None, incident: str | None = None) -> bytes:
    """A tile that shows what went wrong.

    Parameters
    ----------
    message, hint
        What is wrong, and what to do; made harmless and shortened to what fits.
    size
        Width and height in pixels; letters grow with it.
    incident
        Identifier under which the engine logged the details.

    Returns
    -------
    A PNG, a few kilobytes.
    """
    return _card(
        _ERROR, plain(message, _LONGEST), size, plain(hint or "", _LONGEST), plain(incident or "", 40)
    )


def reason_tile(message: str, size: int = 256, hint: str | None = None) -> bytes:
    """A tile that says why the engine will not draw it, which is nobody's mistake.

    Parameters are those of `error_tile`.
    """
    return _card(_REASON, plain(message, _LONGEST), size, plain(hint or "", _LONGEST), "")


def footprints_tile(counts: Array, message: str, hint: str | None = None) -> bytes:
    """A tile that shows where there are scenes which are too many to draw, and in few words what to do.

    Parameters
    ----------
    counts
        Scenes at each pixel, (size, size).
    message, hint
        As for `reason_tile`; of both the first clause is shown, up to a comma or a bracket.
    """
    size = counts.shape[0]
    unit = size / 256
    colours = np.zeros((size, size, 4), np.uint8)
    colours[..., :3] = _SCENES
    colours[..., 3] = np.where(counts > 0, np.minimum(40 + 12 * np.log2(np.maximum(counts, 1)), 120), 0)
    edge = np.zeros(counts.shape, np.bool_)
    edge[:, 1:] |= counts[:, 1:] != counts[:, :-1]
    edge[1:] |= counts[1:] != counts[:-1]
    colours[edge, 3] = 170
    card = Image.fromarray(colours, "RGBA")
    lettering = font(12 * unit)
    clauses = [re.split(r", | \(", plain(text or "", _LONGEST))[0].rstrip(".") for text in (hint, message)]
    lines = [line for one in clauses if one for line in wrap(one, lettering, size - 28 * unit, 2)]
    if counts.any() and lines:
        high = (len(lines) * _step(12) + 8) * unit
        pen = ImageDraw.Draw(card)
        box = (8 * unit, size - high - 8 * unit, size - 8 * unit, size - 8 * unit)
        pen.rounded_rectangle(box, radius=5 * unit, fill=(255, 255, 255, 215))
        for number, line in enumerate(lines):
            pen.text(
                (14 * unit, box[1] + (4 + number * _step(12)) * unit), line, (23, 40, 63, 255), font=lettering
            )
    data = np.ascontiguousarray(np.moveaxis(np.asarray(card), 2, 0))
    return png(Block(data, np.broadcast_to(np.True_, (1, size, size))), Look("rgba"))


@lru_cache(maxsize=128)
def _card(tone: _Tone, message: str, size: int, hint: str, incident: str) -> bytes:
    unit = size / 256
    inset, padding = 5 * unit, 12 * unit
    width, bottom = size - 2 * (inset + padding), size - inset - padding
    card = Image.new("L", (size, size), _PAPER)
    shape = Image.new("1", (size, size), 0)
    box = (inset, inset, size - 1 - inset, size - 1 - inset)
    ImageDraw.Draw(shape).rounded_rectangle(box, radius=8 * unit, fill=1)
    pen = ImageDraw.Draw(card)
    pen.rounded_rectangle(box, radius=8 * unit, outline=_MUTED, width=max(1, round(unit)))
    if incident:
        small = font(10 * unit)
        bottom -= 14 * unit
        line = clip(f"incident {incident}", small, width)
        pen.text((inset + padding, bottom + 2 * unit), line, _MUTED, font=small)
    top = inset + padding - 2 * unit
    pen.text((inset + padding, top), tone.title, _MUTED, font=font(11 * unit))
    top += 19 * unit
    for letters, lines in _texts(message, hint, width, bottom - top, unit):
        lettering = font(letters * unit)
        for line in lines:
            pen.text((inset + padding, top), line, _INK, font=lettering)
            top += _step(letters) * unit
        top += 6 * unit
    look = Look("palette", lut=lut(tone.ramp))
    data = np.asarray(card)[np.newaxis]
    valid = np.array(shape, dtype=np.bool_)[np.newaxis]
    return png(Block(data, valid), look)


def _step(letters: int) -> int:
    """Height of a line of letters."""
    return letters + 4


def _texts(message: str, hint: str, width: float, height: float, unit: float) -> list[tuple[int, list[str]]]:
    """Message and hint as (letter height, lines): the largest letters that show all, else a cut."""
    sizes = (14, 13, 12, 11)
    for letters in sizes:
        smaller = max(11, letters - 1)
        gap = 6 if hint else 0
        room = int(height / unit) - gap
        first = wrap(message, font(letters * unit), width, 99)
        second = wrap(hint, font(smaller * unit), width, 99) if hint else []
        if len(first) * _step(letters) + len(second) * _step(smaller) <= room:
            return [(letters, first), (smaller, second)]
    lines = room // _step(letters)
    for_hint = min(len(second), max(2, lines - len(first)), lines // 2)
    first = wrap(message, font(letters * unit), width, lines - for_hint)
    second = wrap(hint, font(letters * unit), width, for_hint) if hint else []
    return [(letters, first), (letters, second)]
