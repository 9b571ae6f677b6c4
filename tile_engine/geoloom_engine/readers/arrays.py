"""Files of named arrays: what netCDF and Zarr have in common, before anything is made of it."""

from __future__ import annotations

import contextlib
import os
import stat
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geoloom.errors import SourceNotFound, SourceRefused
from geoloom_engine.readers.access import Access, Place

type Values = npt.NDArray[Any]
type Region = tuple[slice, ...]

_BY_NUMBER = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Variable:
    """One named array of a file, as it is stored.

    Parameters
    ----------
    name
        With its groups: ``group/name``.
    dtype
        As stored, in the byte order of the file; ``object`` for texts.
    dims, shape
        Names and lengths of its dimensions, the slowest first. Names have their groups too.
    chunks
        What is decoded at once, along each dimension.
    attributes
        Texts, numbers, or lists of them.
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def numeric(self) -> bool:
        """Whether it holds whole numbers or floats."""
        return self.dtype.kind in "iufb"

    def text(self, name: str) -> str | None:
        """An attribute that is a text with something in it."""
        value = self.attributes.get(name)
        return (value.strip() or None) if isinstance(value, str) else None

    def number(self, name: str) -> float | None:
        """An attribute that is one number."""
        value = self.attributes.get(name)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        return value if isinstance(value, int | float) else None


class ArrayFile(Protocol):
    """An open file of named arrays; implementations can be used from many threads at once."""

    @property
    def driver(self) -> str:
        """Format, in a word."""
        ...

    @property
    def variables(self) -> Mapping[str, Variable]:
        """All arrays by name."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Of the file as a whole."""
        ...

    def read(self, name: str, region: Region) -> Values:
        """Part of an array as it is stored, of as many dimensions as the array.

        Raises
        ------
        SourceUnreadable
            If the file is damaged there.
        """
        ...


class Content(Protocol):
    """The bytes of a file, local or remote."""

    @property
    def size(self) -> int:
        """How many."""
        ...

    def pread(self, length: int, offset: int) -> bytes:
        """Bytes from an offset on; fewer where the file ends."""
        ...


class HeldFile:
    """A local file, opened once and checked as it is open: a link put in its place is not followed.

    Raises
    ------
    SourceNotFound, SourceRefused
        If it is gone, is no file, or leads out of the allowed folders.
    """

    def __init__(self, place: Place, access: Access) -> None:
        self._place = place
        self.number = open_checked(place.path, place.name, access)
        weakref.finalize(self, os.close, self.number)

    @property
    def path(self) -> str:
        """A name under which libraries can open what is held."""
        return str(_BY_NUMBER / str(self.number)) if _BY_NUMBER.is_dir() else self._place.path

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self.number).st_size

    def pread(self, length: int, offset: int) -> bytes:
        """Bytes from an offset on; fewer where the file ends."""
        return os.pread(self.number, length, offset)


def open_checked(path: str, name: str, access: Access) -> int:
    """The number under which a local file is open now; the caller closes it.

    Raises
    ------
    SourceNotFound, SourceRefused
        As for `HeldFile`.
    """
    try:
        # A pipe put in a file's place must not hold up the thread.
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        raise SourceNotFound(f"{name} is not there or cannot be read.", hint="Check the file.") from None
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, number)
        if not access.allows_open_file(path, number):
            raise SourceRefused(
                f"{name} leads outside the folders this engine may read.", hint="Put the file itself there."
            )
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise SourceRefused(f"{name} is not a file.", hint="Remove it.")
        undo.pop_all()
    return number


def plain(value: Any) -> Any:
    """An attribute's value as a text, number or list of them; None if it is none of these."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, np.ndarray):
        found = [plain(one) for one in value.ravel()[:10_000]]
        return found[0] if len(found) == 1 else found
    if isinstance(value, np.float32):
        # 0.01 of float32 is meant as 0.01, not as 0.009999999776.
        return float(str(value))
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return value if isinstance(value, str | int | float | bool) else None
