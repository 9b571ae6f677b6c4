"""netCDF in its classic forms (CDF-1, CDF-2 and CDF-5), read by their published format.

The header is parsed once; values are read from where it says they lie, so a window of a large file
costs no more than its bytes. Nothing is mapped into memory: a mapped file that is cut short by
somebody else kills the process that looks at it.

Format: "The NetCDF Classic Format Specification", docs.unidata.ucar.edu/netcdf-c.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from geoloom.errors import SourceUnreadable
from geoloom_engine.readers.access import Place
from geoloom_engine.readers.arrays import Content, Region, Values, Variable, plain

MAGICS = (b"CDF\x01", b"CDF\x02", b"CDF\x05")

_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4"} | {
    10: ">i8",
    11: ">u8",
}
_MAX_HEADER = 16 << 20
_STREAMING = (1 << 32) - 1


class _Short(Exception):
    """The header goes on beyond the bytes at hand."""


class Classic:
    """An open classic netCDF file; an `ArrayFile`.

    Parameters
    ----------
    place
        What is open, for messages.
    content
        Its bytes.

    Raises
    ------
    SourceUnreadable
        If it is damaged.
    """

    driver = "netCDF"

    def __init__(self, place: Place, content: Content) -> None:
        self._place = place
        self._content = content
        size = 1 << 16
        while True:
            head = self._content.pread(size, 0)
            try:
                header = _Header(head)
                break
            except _Short:
                if len(head) < size or size >= _MAX_HEADER:
                    raise _damaged(place) from None
                size *= 4
            except (ValueError, KeyError, IndexError, UnicodeDecodeError, OverflowError) as error:
                raise _damaged(place) from error
        ends = header.ends()
        # The padding behind the last value may be missing.
        if max(ends, default=0) > content.size:
            raise _damaged(place)
        self.variables = header.variables
        self.attributes = header.attributes
        self._begins = header.begins
        self._record = header.record
        self._recording = header.recording

    variables: Mapping[str, Variable]
    attributes: Mapping[str, Any]

    def read(self, name: str, region: Region) -> Values:
        """See `geoloom_engine.readers.arrays.ArrayFile.read`."""
        variable = self.variables[name]
        ranges = [range(*part.indices(size)) for part, size in zip(region, variable.shape, strict=True)]
        found = np.empty([len(one) for one in ranges], variable.dtype)
        if found.size == 0:
            return found
        item, recording = variable.dtype.itemsize, name in self._recording
        # The last dimension lies in one run, with those before it that are taken whole; records lie apart.
        first = 1 if recording else 0
        run = len(ranges)
        while run > first and all(
            len(ranges[axis]) == variable.shape[axis] for axis in range(run, len(ranges))
        ):
            run -= 1
        run = min(run, len(ranges))
        strides = [item * math.prod(variable.shape[axis + 1 :]) for axis in range(len(ranges))]
        if recording:
            strides[0] = self._record
        inner = found[(0,) * run].size * item if run < len(ranges) else item
        for index in itertools.product(*(range(len(one)) for one in ranges[:run])):
            offset = self._begins[name] + sum(
                ranges[axis][position] * strides[axis] for axis, position in enumerate(index)
            )
            if run < len(ranges):
                offset += ranges[run][0] * strides[run]
            content = self._content.pread(inner, offset)
            if len(content) != inner:
                raise _damaged(self._place)
            found[index] = np.frombuffer(content, variable.dtype).reshape(found[index].shape)
        return found


class _Header:
    """What the head of a file says."""

    def __init__(self, head: bytes) -> None:
        self._head, self._at = head, 4
        if head[:4] not in MAGICS:
            raise ValueError("no classic netCDF file")
        self._count = ">q" if head[3] == 5 else ">i"
        self._offset = ">i" if head[3] == 1 else ">q"
        records = self._number(">Q" if head[3] == 5 else ">I")
        dims = [(self._name(), self._number(self._count)) for _ in self._list()]
        self.attributes = self._attributes()
        self.variables: dict[str, Variable] = {}
        self.begins: dict[str, int] = {}
        self.recording: set[str] = set()
        sizes: list[int] = []
        unlimited = next((index for index, (_, size) in enumerate(dims) if size == 0), -1)
        for _ in self._list():
            name = self._name()
            ids = [self._number(self._count) for _ in range(self._number(self._count))]
            attributes = self._attributes()
            dtype = np.dtype(_TYPES[self._number(">i")])
            self._number(self._count)
            self.begins[name] = self._number(self._offset)
            shape = tuple(records if one == unlimited else dims[one][1] for one in ids)
            if min((*shape, self.begins[name])) < 0:
                raise ValueError("negative sizes")
            if ids and ids[0] == unlimited:
                self.recording.add(name)
                sizes.append(math.prod(shape[1:]) * dtype.itemsize)
            chunks = tuple(1 for _ in shape[:-1]) + shape[-1:]
            self.variables[name] = Variable(
                name, dtype, tuple(dims[one][0] for one in ids), shape, chunks, attributes
            )
        # A record is padded to four bytes, unless it is of one variable alone.
        self.record = sizes[0] if len(sizes) == 1 else sum(-(-size // 4) * 4 for size in sizes)
        if self.recording and records == _STREAMING:
            raise ValueError("still being written")

    def ends(self) -> list[int]:
        """Where each variable ends in the file."""
        found = []
        for name, one in self.variables.items():
            item = one.dtype.itemsize
            if name in self.recording:
                size = max(one.shape[0] - 1, 0) * self.record + math.prod(one.shape[1:]) * item
                found.append(self.begins[name] + size if one.shape[0] else 0)
            else:
                found.append(self.begins[name] + math.prod(one.shape) * item)
        return found

    def _take(self, size: int) -> bytes:
        if size < 0:
            raise ValueError("negative length")
        part = self._head[self._at : self._at + size]
        if len(part) < size:
            raise _Short
        self._at += -(-size // 4) * 4
        return part

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _name(self) -> str:
        return self._take(self._number(self._count)).decode()

    def _list(self) -> range:
        self._number(">i")
        count = self._number(self._count)
        # Each entry takes some bytes: a count beyond them is a damaged one.
        if count > _MAX_HEADER:
            raise ValueError("absurd count")
        return range(count)

    def _attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in self._list():
            name = self._name()
            dtype = np.dtype(_TYPES[self._number(">i")])
            content = self._take(self._number(self._count) * dtype.itemsize)
            found[name] = plain(content if dtype.kind == "S" else np.frombuffer(content, dtype))
        return found


def _damaged(place: Place) -> SourceUnreadable:
    return SourceUnreadable(
        f"{place.name} is damaged or incomplete.",
        hint="Copy or download it again, and check it with ncdump -h.",
    )
