"""Memory that an engine worker shares with a sandbox worker: one piece for the input, one for the output.

The engine writes the input's pixels there once, in the dtype that the function gets, and the sandbox
worker sees them without a copy: its map is private, so what the function writes to its image reaches
nobody. The output is copied by the engine before it is looked at, as the worker may go on writing.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Mask
from geoloom_engine.sandbox.messages import TEXT_ROOM
from geoloom_engine.sandbox.wire import PACKETS

SMALLEST = 1 << 20
"""Bytes of a piece at least; larger ones have powers of two, so that a worker fits most tiles."""

PAGE = 4096
"""Bytes of the smallest piece of memory that is mapped."""


def reserve(size: int, nameless: bool = PACKETS) -> int:
    """A descriptor of new memory that cannot change its size; it takes room only where it is written."""
    if nameless:
        descriptor = os.memfd_create("geoloom", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        fcntl.fcntl(
            descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        )
        return descriptor
    descriptor, path = tempfile.mkstemp(prefix="geoloom-")
    Path(path).unlink()
    os.ftruncate(descriptor, size)
    return descriptor


def fitting(needed: int) -> int:
    """The size of a piece that holds so many bytes."""
    return max(SMALLEST, 1 << (needed - 1).bit_length())


def shared(descriptor: int, size: int) -> mmap.mmap:
    """The memory, for both to read and write."""
    return mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def private(descriptor: int, size: int) -> mmap.mmap:
    """The memory as it is; what is written stays here, until `renew`.

    Only Linux shows what the other writes meanwhile.
    """
    return mmap.mmap(descriptor, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)


def readable(descriptor: int, size: int) -> mmap.mmap:
    """The memory, to be read only."""
    return mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)


def renew(memory: mmap.mmap) -> None:
    """Drop what was written to a private map: it shows the other's bytes again."""
    memory.madvise(mmap.MADV_DONTNEED)


def view(memory: mmap.mmap, at: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An array that lies in the memory."""
    return np.ndarray(shape, dtype, buffer=memory, offset=at)


@lru_cache(maxsize=64)
def all_valid(rows: int, cols: int) -> Mask:
    """One truth for all pixels of all bands, (1, rows, cols)."""
    return np.broadcast_to(np.True_, (1, rows, cols))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in input and output.

    Parameters
    ----------
    words_at, data_at, valid_at, inside
        In the input: words, pixels, validity; and how many bytes it takes.
    result_at, result_valid_at, outside
        The same of the output, which begins with texts.
    """

    words_at: int
    data_at: int
    valid_at: int
    inside: int
    result_at: int
    result_valid_at: int
    outside: int

    @staticmethod
    def of(
        program: int,
        words: int,
        given: tuple[int, int, int],
        dtype: np.dtype[Any],
        result: tuple[int, int, int],
        result_dtype: np.dtype[Any],
    ) -> Layout:
        """For so many bytes of texts, and pixels (bands, rows, cols)."""
        data_at = _paged(program + words)
        valid_at = _paged(data_at + dtype.itemsize * _count(given))
        result_at = _paged(TEXT_ROOM)
        result_valid_at = _paged(result_at + result_dtype.itemsize * _count(result))
        return Layout(
            program,
            data_at,
            valid_at,
            valid_at + _count(given),
            result_at,
            result_valid_at,
            result_valid_at + _count(result),
        )


def _count(shape: tuple[int, int, int]) -> int:
    bands, rows, cols = shape
    return bands * rows * cols


def _paged(size: int) -> int:
    return -(-size // PAGE) * PAGE
