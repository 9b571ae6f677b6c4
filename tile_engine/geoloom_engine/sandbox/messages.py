"""What engine, zygote and sandbox workers say to each other: fixed structures and nothing else.

Two conversations. On a **channel** an engine worker asks the zygote for sandbox workers (`Order`) and
is answered (`Notice`). On a **job socket** it hands one sandbox worker one tile after another (`Job`)
and is answered (`Reply`); pixels and texts go by shared memory (`arena.py`).

What comes from a sandbox worker may have been made up by the function that runs there. So a reply holds
numbers only, each checked: none is a place in memory, nothing is parsed or unpickled, and its number must
be that of the job, which is drawn by lot.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import Any, NamedTuple

_ORDER = struct.Struct("=4sIQQQQ?")
_NOTICE = struct.Struct("=4sIQqqd")
_JOB = struct.Struct("=4sQ4s4s13Q2q")
_REPLY = struct.Struct("=4sIQII6I")
_FORGET = struct.Struct("=4sI")

ORDER_SIZE, NOTICE_SIZE, JOB_SIZE = _ORDER.size, _NOTICE.size, _JOB.size
REPLY_SIZE, FORGET_SIZE = _REPLY.size, _FORGET.size

TEXTS = {
    "printed": 33_000,
    "message": 4_000,
    "hint": 2_000,
    "function": 500,
    "text": 1_000,
    "exception": 4_000,
}
"""Texts that go with a reply, in this order from the start of the output, and the bytes each may have."""

TEXT_ROOM = sum(TEXTS.values())

_LIMITS = tuple(TEXTS.values())

_DANGEROUS = re.compile(
    # Control characters but tab and newline; what turns the direction of writing; what is no character.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff0-\uffff\U000e0000-\U000e0fff]"
)


class Malformed(Exception):
    """What came is not the message that was due."""


class What(IntEnum):
    """Kinds of orders and notices."""

    SPAWN = 1
    """Order: make a worker. Notice: here it is."""
    END = 2
    """Order: end a worker. Notice: it ended, with this status."""
    HELLO = 3
    """Notice without a number: a zygote begins; it knows nothing of an earlier one's workers. Order: say so
    too, and this number."""
    REFUSED = 4
    """Notice: no worker could be made."""
    UNKNOWN = 5
    """Notice: there is no such worker."""


class Outcome(IntEnum):
    """How a job went."""

    READY = 0
    """Before the first job, with the worker's number: it is locked down."""
    DONE = 1
    FAILED = 2
    REFUSED = 3


class Order(NamedTuple):
    """What an engine worker asks of the zygote.

    Parameters
    ----------
    what
        `What.SPAWN` (job socket, input and output come with it as descriptors) or `What.END`.
    number
        Of the sandbox worker, drawn by lot by who asks.
    memory
        Bytes that it may take.
    inside, outside
        Bytes of the input and output.
    whole
        Whether its function imports more than what is loaded first.
    """

    what: What
    number: int
    memory: int = 0
    inside: int = 0
    outside: int = 0
    whole: bool = False

    def pack(self) -> bytes:
        """As bytes."""
        return _ORDER.pack(b"GLo1", *self)

    @staticmethod
    def unpack(content: bytes) -> Order:
        """From bytes."""
        what, *rest = _fields(_ORDER, b"GLo1", content)
        return Order(_member(What, what), *rest)


class Notice(NamedTuple):
    """What the zygote answers.

    Parameters
    ----------
    what
        Which answer.
    number
        Of the sandbox worker.
    pid
        Of the sandbox worker; the number of the error for `What.REFUSED`.
    status
        How it ended: its exit status, or the signal's number, negative. For `What.SPAWN` 1 if all modules
        are loaded in it, else 0.
    processor
        Seconds of processor time it took in all.
    """

    what: What
    number: int
    pid: int = 0
    status: int = 0
    processor: float = 0.0

    def pack(self) -> bytes:
        """As bytes."""
        return _NOTICE.pack(b"GLn1", *self)

    @staticmethod
    def unpack(content: bytes) -> Notice:
        """From bytes."""
        what, *rest = _fields(_NOTICE, b"GLn1", content)
        return Notice(_member(What, what), *rest)


class Job(NamedTuple):
    """One tile for a sandbox worker. Places are offsets in the input or, of the result, in the output.

    Parameters
    ----------
    number
        Drawn by lot.
    given, result
        dtypes, as numpy's ``dtype.str`` writes them.
    program
        Bytes of the function's text, at the start of the input; 0 where the worker has it.
    words_at, words
        Place and bytes of what goes with the pixels: names, lattice, arguments.
    data_at, bands, rows, cols
        Of the pixels, margin included.
    valid_at, valid_bands
        Of their validity; 0 bands if all are valid.
    margin
        Pixels around the grid.
    result_at, result_bands
        Of the result.
    result_valid_at
        Of its validity.
    col, row
        Of the grid in its lattice.
    """

    number: int
    given: str
    result: str
    program: int
    words_at: int
    words: int
    data_at: int
    bands: int
    rows: int
    cols: int
    valid_at: int
    valid_bands: int
    margin: int
    result_at: int
    result_bands: int
    result_valid_at: int
    col: int
    row: int

    def pack(self) -> bytes:
        """As bytes."""
        number, given, result, *rest = self
        return _JOB.pack(b"GLj1", number, given.encode(), result.encode(), *rest)

    @staticmethod
    def unpack(content: bytes) -> Job:
        """From bytes."""
        number, given, result, *rest = _fields(_JOB, b"GLj1", content)
        return Job(number, given.rstrip(b"\0").decode(), result.rstrip(b"\0").decode(), *rest)


class Reply(NamedTuple):
    """What a sandbox worker answers.

    Parameters
    ----------
    outcome
        How it went.
    number
        Of the job.
    valid_bands
        Bands of the result's validity; 0 if all is valid.
    line
        Of the function where it failed; 0 if not known.
    lengths
        Bytes of each of the `TEXTS`.
    """

    outcome: Outcome
    number: int
    valid_bands: int = 0
    line: int = 0
    lengths: tuple[int, ...] = (0,) * len(TEXTS)

    def pack(self) -> bytes:
        """As bytes."""
        return _REPLY.pack(b"GLr1", *self[:-1], *self.lengths)

    @staticmethod
    def unpack(content: bytes) -> Reply:
        """From bytes; every length is within its limit."""
        outcome, number, valid_bands, line, *lengths = _fields(_REPLY, b"GLr1", content)
        if any(one > limit for one, limit in zip(lengths, _LIMITS, strict=True)):
            raise Malformed("a text is longer than it may be")
        return Reply(_member(Outcome, outcome), number, valid_bands, line, tuple(lengths))


def forget(channel: int) -> bytes:
    """What the supervisor tells the zygote when the engine worker of a channel has ended."""
    return _FORGET.pack(b"GLf1", channel)


def forgotten(content: bytes) -> int:
    """The channel of such a message."""
    (channel,) = _fields(_FORGET, b"GLf1", content)
    return int(channel)


def plain(content: bytes) -> str:
    """Text that came from a sandbox worker, with nothing in it that does anything but be shown."""
    return _DANGEROUS.sub("\ufffd", content.decode("utf-8", "replace"))


def _fields(structure: struct.Struct, mark: bytes, content: bytes) -> tuple[Any, ...]:
    if len(content) != structure.size:
        raise Malformed(f"{len(content)} bytes came where {structure.size} were due")
    found, *rest = structure.unpack(content)
    if found != mark:
        raise Malformed(f"it does not begin with {mark!r}")
    return tuple(rest)


def _member[E: IntEnum](kind: type[E], value: int) -> E:
    try:
        return kind(value)
    except ValueError:
        raise Malformed(f"no {kind.__name__} has the number {value}") from None
