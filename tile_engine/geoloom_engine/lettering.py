"""Text in pictures: the one font that is always there, and text made fit for it.

Pillow carries a font in its code, so nothing depends on the fonts of a machine. It knows ASCII
and a few signs; everything else is spelled with those.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

__all__ = ["Font", "clip", "font", "plain", "wrap"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

ELLIPSIS = "…"

_KNOWN = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("°±·‘’“”…")
_SPELLED = {
    **dict.fromkeys("‐‑‒–—−", "-"),
    "×": "x",
    "÷": "/",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "µ": "u",
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "þ": "th",
    "ı": "i",
    "ʻ": "'",
    "ʼ": "'",
    "ə": "a",
}


@lru_cache(maxsize=64)
def font(size: float) -> Font:
    """The built-in font at a height in pixels."""
    return ImageFont.load_default(size)


def plain(text: str, longest: int = 2000) -> str:
    """Text in one line of the signs the font has.

    Control characters and runs of spaces become one space, invisible formatting vanishes, accents
    are left out, and each run of other signs becomes one "?". Text beyond `longest` characters is
    cut with an ellipsis.
    """
    letters: list[str] = []
    for sign in text[: longest + 1]:
        if sign in _KNOWN:
            letters.append(sign)
        elif sign in _SPELLED:
            letters.append(_SPELLED[sign])
        else:
            letters.append(_spelled(sign))
    words = " ".join("".join(letters).split())
    while "??" in words:
        words = words.replace("??", "?")
    return words if len(words) <= longest else words[: longest - 1] + ELLIPSIS


def wrap(text: str, lettering: Font, width: float, lines: int) -> list[str]:
    """Text in at most `lines` lines of a width in pixels; what is cut ends with an ellipsis.

    Lines break at spaces; a word longer than a line breaks where the line ends.
    """
    done: list[str] = []
    line = ""
    for word in text.split(" "):
        rest = word
        joined = f"{line} {rest}" if line else rest
        if _fits(joined, lettering, width):
            line = joined
            continue
        if line:
            done.append(line)
        while rest and not _fits(rest, lettering, width) and len(done) <= lines:
            count = _fitting(rest, lettering, width)
            done.append(rest[:count])
            rest = rest[count:]
        line = rest
        if len(done) > lines:
            break
    if line:
        done.append(line)
    if len(done) <= lines:
        return done
    kept = done[:lines]
    if kept:
        kept[-1] = clip(kept[-1] + ELLIPSIS, lettering, width, cut=True)
    return kept


def clip(text: str, lettering: Font, width: float, *, cut: bool = False) -> str:
    """Text that fits a width in pixels, with an ellipsis where it was cut.

    With `cut`, the text ends with an ellipsis already.
    """
    if _fits(text, lettering, width):
        return text
    body = text[:-1] if cut else text
    room = width - lettering.getlength(ELLIPSIS)
    return body[: _fitting(body, lettering, room)].rstrip() + ELLIPSIS


def _fits(text: str, lettering: Font, width: float) -> bool:
    """Whether a text is no wider than `width`; no letter is less than a pixel wide."""
    return len(text) <= width and lettering.getlength(text) <= width


def _fitting(text: str, lettering: Font, width: float) -> int:
    """How many letters fit a width, at least 1."""
    low, high = 1, max(1, min(len(text), int(width)))
    while low < high:
        middle = (low + high + 1) // 2
        if lettering.getlength(text[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _spelled(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind in ("Cc", "Zs", "Zl", "Zp"):
        return " "
    if kind in ("Cf", "Mn", "Me"):
        return ""
    letters = [part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part)]
    spelled = "".join(_SPELLED.get(part, part) for part in letters)
    return spelled if spelled and all(part in _KNOWN for part in spelled) else "?"
