"""netCDF-4 and other HDF5 files of arrays, through h5netcdf.

GDAL reads them too, but follows what HDF5 lets a file say: that an array's bytes lie in any other
file of the machine. Here such files are found out and refused before an array is touched.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import h5netcdf
import h5py
import numpy as np

from geoloom.errors import GeoloomError, SourceRefused, SourceUnreadable
from geoloom_engine.readers.access import Place
from geoloom_engine.readers.arrays import Content, HeldFile, Region, Values, Variable, plain

MAGIC = b"\x89HDF\r\n\x1a\n"

_CHUNK_CACHE = 32 << 20
_MAX_OBJECTS = 20_000


class NetCdf:
    """An open netCDF-4 file; an `ArrayFile`.

    Parameters
    ----------
    place
        What is open, for messages.
    content
        Its bytes.

    Raises
    ------
    SourceUnreadable, SourceRefused
        If it is damaged, or refers to other files.
    """

    driver = "netCDF"

    def __init__(self, place: Place, content: Content) -> None:
        self._place = place
        self._content = content
        # HDF5 works on one thing at a time whatever one does.
        self._lock = threading.Lock()
        self._stream: _Stream | None = None
        try:
            if isinstance(content, HeldFile):
                self._hdf = h5py.File(content.path, "r", rdcc_nbytes=_CHUNK_CACHE, locking=False)
            else:
                self._stream = _Stream(content)
                self._hdf = h5py.File(self._stream, "r", rdcc_nbytes=_CHUNK_CACHE)
            _refuse_references(self._hdf, place)
            self._file = h5netcdf.File(self._hdf, "r", phony_dims="sort")
            self.attributes = _attributes(self._file)
            self.variables = {one.name: one for one in _variables(self._file, "")}
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
            raise self._why() from error

    variables: Mapping[str, Variable]
    attributes: Mapping[str, Any]

    def read(self, name: str, region: Region) -> Values:
        """See `geoloom_engine.readers.arrays.ArrayFile.read`."""
        try:
            with self._lock:
                return np.asarray(self._file[f"/{name}"][region])
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise self._why() from error

    def _why(self) -> GeoloomError:
        """Why HDF5 failed: what reading the bytes met, else the file is damaged."""
        met = None if self._stream is None else self._stream.failure
        return _damaged(self._place) if met is None else type(met)(met.message, hint=met.hint)


class _Stream(io.RawIOBase):
    """Bytes as h5py takes them: a stream that seeks."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0
        self.failure: GeoloomError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        self.failure = None
        try:
            found = self._content.pread(len(buffer), self._at)
        except GeoloomError as error:
            # HDF5 hands on that a read failed, not why.
            self.failure = error
            raise OSError from error
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _variables(group: Any, path: str, above: tuple[tuple[str, Any], ...] = ()) -> Iterator[Variable]:
    """The arrays of a group and of those below it; a dimension is the nearest group's that declares it."""
    groups = ((path, group), *above)
    for name, found in group.variables.items():
        yield Variable(
            name=path + name,
            dtype=_dtype(found),
            dims=tuple(
                next((at for at, one in groups if dim in list(one.dimensions)), "") + dim
                for dim in found.dimensions
            ),
            shape=tuple(int(size) for size in found.shape),
            chunks=_chunks(found),
            attributes=_attributes(found),
        )
    for name, below in group.groups.items():
        yield from _variables(below, f"{path}{name}/", groups)


def _attributes(found: Any) -> dict[str, Any]:
    """Attributes that can be read; others, such as references, are nobody's business here."""
    attributes = {}
    for key in found.attrs:
        try:
            attributes[key] = plain(found.attrs[key])
        except (OSError, TypeError, KeyError, ValueError):
            continue
    return attributes


def _dtype(found: Any) -> np.dtype[Any]:
    dtype = found.dtype
    # netCDF calls texts of any length `str`.
    return np.dtype(object) if dtype is str else np.dtype(dtype)


def _chunks(found: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in found.shape)
    chunks = found.chunks
    if chunks is None:
        return tuple(1 for _ in shape[:-1]) + shape[-1:]
    return tuple(int(size) for size in chunks)


def _refuse_references(file: h5py.File, place: Place) -> None:
    """Refuse a file whose arrays lie in other files, by whatever way HDF5 has for that."""
    waiting, seen, count = [file["/"]], set(), 0
    while waiting:
        group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            count += 1
            if count > _MAX_OBJECTS:
                raise SourceRefused(
                    f"{place.name} holds more than {_MAX_OBJECTS:,} arrays.", hint="Split the file."
                )
            kind = group.get(name, getlink=True)
            below = None if isinstance(kind, h5py.ExternalLink) else group.get(name)
            if isinstance(kind, h5py.ExternalLink) or (
                isinstance(below, h5py.Dataset) and (below.external or below.is_virtual)
            ):
                raise SourceRefused(
                    f"{place.name} keeps {name!r} in another file, which this engine does not follow.",
                    hint="Copy it into one file (nccopy, or xarray's to_netcdf).",
                )
            if isinstance(below, h5py.Group):
                waiting.append(below)


def _damaged(place: Place) -> SourceUnreadable:
    return SourceUnreadable(
        f"{place.name} is damaged or incomplete.",
        hint="Copy or download it again, and check it with ncdump -h.",
    )
