"""Columns of whole numbers and of texts, written as short as text allows, each in just one way.

Text, because it travels inside JSON; not compressed, because compressors of different versions give
different bytes. A number is written in digits of base 46; 46 further characters say that another
digit follows. So a column of n small numbers takes n characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.errors import CorruptChain

Ints = npt.NDArray[np.int64]

_ALPHABET = bytes(code for code in range(0x21, 0x7F) if chr(code) not in '"\\')
_BASE = len(_ALPHABET) // 2
_LETTERS = np.frombuffer(_ALPHABET, np.uint8)
_VALUES = np.full(256, -1, np.int64)
_VALUES[_LETTERS] = np.arange(len(_ALPHABET))
_POWERS = _BASE ** np.arange(11, dtype=np.int64)
_LIMIT = 1 << 60
_TOKEN = re.compile(r"[0-9]+|[^0-9]+")
_DIGITS = frozenset("0123456789")
_DIGIT_TOKEN = re.compile(r"[0-9]+")
_OTHER_TOKEN = re.compile(r"[^0-9]+")
_WIDEST = 17
_MOST_COLUMNS = 1000
_MARK_BYTES = 5
_WORD_POWERS = 85 ** np.arange(4, -1, -1, dtype=np.int64)


def pack_numbers(values: npt.ArrayLike) -> str:
    """Whole numbers below 2⁵⁹ as a text: constant, as they are, signed, or as differences, the shortest."""
    numbers = np.asarray(values, dtype=np.int64)
    if not numbers.size:
        return ""
    way, written, lengths = _shortest(numbers)
    return way + _digits(written, lengths)


def _shortest(numbers: Ints) -> tuple[str, Ints, Ints]:
    """The way to write numbers that takes least: its sign, what to write, and digits of each."""
    if (numbers == numbers[0]).all():
        ways = [("c", _unsigned(numbers[:1]))]
    else:
        ways = [("z", _unsigned(numbers)), ("d", _unsigned(np.diff(numbers, prepend=np.int64(0))))]
        if numbers.min() >= 0:
            ways[0] = ("u", numbers)
    measured = [(way, written, _lengths(written)) for way, written in ways]
    return min(measured, key=lambda one: int(one[2].sum()))


def _packed_size(numbers: Ints) -> int:
    """Characters that `pack_numbers` takes."""
    return 1 + int(_shortest(numbers)[2].sum()) if numbers.size else 0


def unpack_numbers(text: Any, count: int) -> Ints:
    """The numbers of `pack_numbers`, (count,).

    Raises
    ------
    CorruptChain
        Other than `pack_numbers` would write them, or not as many.
    """
    if not isinstance(text, str):
        raise CorruptChain("A column of numbers is not text.")
    if count == 0:
        numbers = np.zeros(0, np.int64)
    else:
        numbers = _read(text, count)
    if len(numbers) != count or pack_numbers(numbers) != text:
        raise CorruptChain("A column of numbers is not written canonically.")
    return numbers


def _read(text: str, count: int) -> Ints:
    way, written = text[:1], _numbers(text[1:])
    if way == "u":
        return written
    signed = (written >> 1) ^ -(written & 1)
    if way == "z":
        return signed
    if way == "d":
        return np.cumsum(signed)
    if way == "c" and len(signed) == 1:
        return np.repeat(signed, count)
    raise CorruptChain("A column of numbers is written in no known way.")


def _unsigned(numbers: Ints) -> Ints:
    """Of 0, −1, 1, −2 … the numbers 0, 1, 2, 3 and so on."""
    if numbers.size and max(-int(numbers.min()), int(numbers.max())) >= _LIMIT:
        raise CorruptChain("A number is too large for a column.")
    return (numbers << 1) ^ (numbers >> 63)


def _lengths(numbers: Ints) -> Ints:
    """Digits of each of some numbers ≥ 0."""
    return np.searchsorted(_POWERS[1:], numbers, side="right") + 1


def _digits(numbers: Ints, lengths: Ints) -> str:
    """Numbers ≥ 0 in digits of base 46, the lowest first."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    codes = np.zeros(int(ends[-1]), np.int64)
    there, rest = np.arange(len(numbers)), numbers
    for place in range(int(lengths.max())):
        more = lengths[there] > place + 1
        rest, digits = np.divmod(rest, _BASE)
        codes[starts[there] + place] = digits + _BASE * more
        there, rest = there[more], rest[more]
    return _LETTERS[codes].tobytes().decode("ascii")


def _numbers(text: str) -> Ints:
    codes = _codes(text)
    last = codes < _BASE
    if not len(codes):
        return codes
    if not last[-1]:
        raise CorruptChain("A column of numbers is cut off.")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= len(_POWERS):
        raise CorruptChain("A number is too large for a column.")
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    return np.add.reduceat(codes % _BASE * _POWERS[places], starts)


def _codes(text: str) -> Ints:
    try:
        codes = _VALUES[np.frombuffer(text.encode("ascii"), np.uint8)]
    except UnicodeEncodeError:
        raise CorruptChain("A column holds a character that none is written with.") from None
    if len(codes) and codes.min() < 0:
        raise CorruptChain("A column holds a character that none is written with.")
    return codes


def pack_texts(texts: Sequence[str]) -> list[Any]:
    """Texts that are made alike, such as ids, by columns of their digits and of what stands between.

    Returns
    -------
    list
        ``[texts]``, or ``[groups, columns of group 0, …]``: the shorter.
    """
    split = list(map(_TOKEN.findall, texts))
    kinds: dict[tuple[int, bool], list[list[str]]] = {}
    for text, tokens in zip(texts, split, strict=True):
        kinds.setdefault((len(tokens), text[:1] in _DIGITS), []).append(tokens)
    number = {kind: place for place, kind in enumerate(kinds)}
    packed: list[Any] = [
        pack_numbers(
            [number[len(tokens), text[:1] in _DIGITS] for text, tokens in zip(texts, split, strict=True)]
        )
    ]
    for (_, digits), rows in kinds.items():
        columns = enumerate(zip(*rows, strict=True))
        packed.append([_pack_column(column, (place % 2 == 0) == digits) for place, column in columns])
    plain = [list(texts)]
    return plain if _size(plain) <= _size(packed) else packed


def unpack_texts(packed: Any, count: int) -> list[str]:
    """The texts of `pack_texts`, as many as `count`.

    Raises
    ------
    CorruptChain
        Other than `pack_texts` would write them, or not as many.
    """
    if not isinstance(packed, list) or not packed:
        raise CorruptChain("A column of texts is no list.")
    if isinstance(packed[0], list):
        texts = packed[0]
        if not all(isinstance(text, str) for text in texts):
            raise CorruptChain("A column of texts holds something else.")
        canonical = pack_texts(texts) == packed
    else:
        texts = _unpack_groups(packed, count)
        canonical = _size([texts]) > _size(packed)
    if len(texts) != count or not canonical:
        raise CorruptChain("A column of texts is not written canonically.")
    return texts


def _unpack_groups(packed: list[Any], count: int) -> list[str]:
    groups = unpack_numbers(packed[0], count)
    values, first = np.unique(groups, return_index=True)
    if (values != np.arange(len(packed) - 1)).any() or (np.diff(first) < 0).any():
        raise CorruptChain("The groups of texts are not in the order of their use.")
    kinds = set()
    texts: list[str] = [""] * count
    for number, columns in enumerate(packed[1:]):
        rows = np.flatnonzero(groups == number).tolist()
        if not isinstance(columns, list) or len(columns) > _MOST_COLUMNS:
            raise CorruptChain("A group of texts is no list of columns.")
        digits = bool(columns) and _begins_with_digits(columns[0])
        kinds.add((len(columns), digits))
        tokens = [
            _unpack_column(column, len(rows), (place % 2 == 0) == digits)
            for place, column in enumerate(columns)
        ]
        for row, parts in zip(rows, zip(*tokens, strict=True), strict=False):
            texts[row] = "".join(parts)
    if len(kinds) != len(packed) - 1:
        raise CorruptChain("Two groups of texts are of one kind.")
    return texts


def _begins_with_digits(column: Any) -> bool:
    """Whether the first column of a group is one of digits."""
    if not isinstance(column, list) or not column:
        raise CorruptChain("A column of texts is malformed.")
    values = column[0]
    return not isinstance(values, list) or (bool(values) and str(values[0])[:1] in _DIGITS)


def _pack_column(tokens: Sequence[str], digits: bool) -> list[Any]:
    known = {token: place for place, token in enumerate(dict.fromkeys(tokens))}
    listed = [list(known), pack_numbers(list(map(known.__getitem__, tokens)))]
    width = len(tokens[0])
    if not digits or width > _WIDEST or set(map(len, known)) != {width}:
        return listed
    counted = [width, pack_numbers(list(map(int, tokens)))]
    return counted if _size(counted) < _size(listed) else listed


def _unpack_column(column: Any, count: int, digits: bool) -> list[str]:
    """The tokens of `_pack_column`, if it would write them so."""
    if not isinstance(column, list) or len(column) != 2:
        raise CorruptChain("A column of texts is malformed.")
    values, numbers = column[0], unpack_numbers(column[1], count)
    if isinstance(values, list):
        token = _DIGIT_TOKEN if digits else _OTHER_TOKEN
        if not all(isinstance(value, str) and token.fullmatch(value) for value in values):
            raise CorruptChain("A column of texts holds what belongs into another.")
        _, first = np.unique(numbers, return_index=True)
        if len(set(values)) != len(values) or len(first) != len(values) or (np.diff(first) < 0).any():
            raise CorruptChain("What a column of texts lists is not in the order of its use.")
        if numbers.min() != 0 or numbers.max() != len(values) - 1:
            raise CorruptChain("A column of texts names what it does not hold.")
        tokens = list(map(values.__getitem__, numbers.tolist()))
        if digits and len(values[0]) <= _WIDEST and len(set(map(len, values))) == 1:
            told = np.array(list(map(int, values)), np.int64)[numbers]
            if len(str(len(values[0]))) + 5 + _packed_size(told) < _size(column):
                raise CorruptChain("A column of texts is not written canonically.")
        return tokens
    if type(values) is not int or not digits or not 1 <= values <= _WIDEST:
        raise CorruptChain("A column of digits is malformed.")
    if numbers.min() < 0 or numbers.max() >= 10**values:
        raise CorruptChain("A column of digits has a number that is too long.")
    _, first, places = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    if len(first) * (values + 3) + 6 + _packed_size(order[places]) <= _size(column):
        raise CorruptChain("A column of texts is not written canonically.")
    return list(map(f"%0{values}d".__mod__, numbers.tolist()))


def pack_marks(marks: Iterable[str]) -> str:
    """Marks of ten hex digits in 6¼ characters each."""
    content = bytes.fromhex("".join(marks))
    words = np.frombuffer(content + bytes(-len(content) % 4), ">u4").astype(np.int64)
    return str(_LETTERS[words[:, np.newaxis] // _WORD_POWERS % 85].tobytes(), "ascii")


def unpack_marks(text: Any, count: int) -> str:
    """The hex digits of the marks of `pack_marks`, ten for each of `count`.

    Raises
    ------
    CorruptChain
        Other than `pack_marks` would write them, or not as many.
    """
    if not isinstance(text, str) or len(text) != -(-count * _MARK_BYTES // 4) * 5:
        raise CorruptChain("The marks of files are not as many as the files.")
    codes = _codes(text).reshape(-1, 5)
    words = codes @ _WORD_POWERS
    digits = words.astype(">u4").tobytes()[: count * _MARK_BYTES].hex()
    if pack_marks([digits]) != text:
        raise CorruptChain("The marks of files are not written canonically.")
    return digits


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
