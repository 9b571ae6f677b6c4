"""Words as people search for them: without case, accents and punctuation, and with slips."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache

__all__ = ["all_folded", "folded", "slips"]

_APART = re.compile(r"(?:[^\w\n]|_)+")
_LETTERS = {"ß": "ss", "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th", "ð": "d"}
_AT_ONCE = 1000
_SIGNS = "abcdefghijklmnopqrstuvwxyz "


def folded(text: str) -> str:
    """Text without accents, case and punctuation, words apart by one space: as people search for it."""
    return all_folded([text])[0]


def all_folded(texts: Iterable[str]) -> list[str]:
    """Each text `folded`; of a million in a few seconds, as many are folded at once."""
    found = [text.replace("\n", " ").lower() for text in texts]
    rest = [n for n, text in enumerate(found) if not text.isascii()]
    for start in range(0, len(rest), _AT_ONCE):
        some = rest[start : start + _AT_ONCE]
        plain = unicodedata.normalize("NFKD", "\n".join(found[n] for n in some)).casefold()
        plain = _accents().sub("", unicodedata.normalize("NFKD", plain))
        for letter, letters in _LETTERS.items():
            plain = plain.replace(letter, letters)
        for n, text in zip(some, plain.split("\n"), strict=True):
            found[n] = text
    return [line.strip() for line in _APART.sub(" ", "\n".join(found)).split("\n")]


@cache
def _accents() -> re.Pattern[str]:
    """What stands on letters once they are taken apart. By pattern: to translate a long text takes longer."""
    return re.compile(
        f"[{''.join(chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code)))}]+"
    )


def slips(word: str) -> list[str]:
    """What one slip makes of a folded word: a letter too few, too many, another, or two exchanged."""
    cuts = [(word[:n], word[n:]) for n in range(len(word) + 1)]
    made = [left + right[1:] for left, right in cuts if right]
    made += [left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1]
    made += [left + sign + right[1:] for left, right in cuts if right for sign in _SIGNS]
    made += [left + sign + right for left, right in cuts for sign in _SIGNS]
    return [one for one in dict.fromkeys(made) if one != word and one.strip() == one and one]
