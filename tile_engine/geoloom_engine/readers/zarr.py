"""Zarr stores of versions 2 and 3, through zarr-python (GDAL as a wheel has no Zarr).

zarr-python gets its bytes from a store of our own: each file is opened by us, checked as it is
open, and read in ranges, so a link inside a store does not lead out of the allowed folders.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from geoloom.errors import GeoloomError, SourceRefused, SourceUnreadable
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.arrays import Region, Values, Variable, open_checked, plain

METADATA = ("zarr.json", ".zmetadata", ".zgroup", ".zarray", ".zattrs")
"""Files that say what a store holds, in the order in which they are looked for."""

MARKS = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")
"""One of them makes a folder a store."""

_MAX_ARRAYS = 5_000

CODECS = frozenset(
    ("adler32", "astype", "base64", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta", "endian")
    + ("fixedscaleoffset", "fletcher32", "gzip", "jenkins_lookup3", "json2", "lz4", "lzma", "msgpack2")
    + (
        "packbits",
        "pcodec",
        "quantize",
        "sharding_indexed",
        "shuffle",
        "transpose",
        "vlen-array",
        "vlen-bytes",
    )
    + ("vlen-utf8", "zfpy", "zlib", "zstd", "categorize", "scale_offset")
)
"""What chunks may be coded with. zarr-python knows more: "pickle" runs whatever a store's author wrote."""

type Fetch = Callable[[str, int, int | None], bytes | None]
"""Bytes of a key from an offset (negative: from the end) on, of a length or all; None if it is not there."""


class ZarrStore:
    """An open Zarr store; an `ArrayFile`.

    Parameters
    ----------
    place
        What to open; checked by `access`.
    fetch
        Where its bytes come from; by default the local folder.

    Raises
    ------
    SourceUnreadable, SourceRefused
        If it is damaged, or leads elsewhere.
    """

    driver = "Zarr"

    def __init__(self, place: Place, access: Access, fetch: Fetch | None = None) -> None:
        self._place = place
        folder = None if fetch is not None else Path(place.path)
        self._store = _Keys(fetch or _local(place, access), folder)
        try:
            root = zarr.open(store=self._store, mode="r")
            found = {"": root} if isinstance(root, zarr.Array) else dict(_arrays(root, place))
            self.attributes = {key: plain(value) for key, value in dict(root.attrs).items()}
            self._arrays = {path or "data": array for path, array in found.items()}
            for path, array in self._arrays.items():
                _refuse_codecs(path, array, place)
            self.variables = {path: _variable(path, array) for path, array in self._arrays.items()}
        except GeoloomError:
            raise
        except Exception as error:
            # Each codec has exceptions of its own.
            raise _damaged(place) from error

    variables: Mapping[str, Variable]
    attributes: Mapping[str, Any]

    def read(self, name: str, region: Region) -> Values:
        """See `geoloom_engine.readers.arrays.ArrayFile.read`."""
        try:
            return np.asarray(self._arrays[name][region])
        except GeoloomError:
            raise
        except Exception as error:
            raise _damaged(self._place) from error


def _arrays(group: zarr.Group, place: Place, path: str = "") -> Iterator[tuple[str, Any]]:
    for count, (name, found) in enumerate(group.members(max_depth=None), 1):
        if count > _MAX_ARRAYS:
            raise SourceRefused(f"{place.name} holds more than {_MAX_ARRAYS:,} arrays.", hint="Split it.")
        if isinstance(found, zarr.Array):
            yield path + name, found


def _refuse_codecs(path: str, array: Any, place: Place) -> None:
    """Refuse an array that is coded in ways not known to be harmless; nothing of it has been decoded yet."""
    metadata = array.metadata.to_dict()
    coded = [metadata.get(name) for name in ("codecs", "filters", "compressor")]
    for codec in _codecs(coded):
        if codec.removeprefix("numcodecs.") not in CODECS:
            raise SourceRefused(
                f"{place.name}: {path} is coded with {codec!r}, which this engine does not decode.",
                hint="Write it anew with zstd or blosc.",
            )


def _codecs(part: Any) -> Iterator[str]:
    """Names of codecs, those inside others included."""
    if isinstance(part, list | tuple):
        for one in part:
            yield from _codecs(one)
    elif isinstance(part, dict):
        yield str(part.get("name") or part.get("id"))
        inner = part.get("configuration")
        if isinstance(inner, dict):
            yield from _codecs([inner.get("codecs"), inner.get("index_codecs")])
    elif part is not None:
        yield str(getattr(part, "codec_id", None) or type(part).__name__)


def _variable(path: str, array: Any) -> Variable:
    metadata = array.metadata
    attributes = {key: plain(value) for key, value in dict(array.attrs).items()}
    names = attributes.pop("_ARRAY_DIMENSIONS", None) or getattr(metadata, "dimension_names", None)
    if not isinstance(names, list | tuple) or len(names) != array.ndim or not all(names):
        names = [f"dim_{axis}" for axis in range(array.ndim)]
    group = path.rpartition("/")[0]
    fill = plain(np.asarray(metadata.fill_value)) if metadata.fill_value is not None else None
    dtype = np.dtype(array.dtype)
    if metadata.zarr_format == 2 and fill is not None and dtype.kind in "iuf":
        # Of version 2 the fill value means "missing", as xarray takes it; of version 3 the attribute does.
        attributes.setdefault("_FillValue", fill)
    written = attributes.get("_FillValue")
    if isinstance(written, str) and dtype.kind == "f":
        attributes["_FillValue"] = _decoded(written)
    return Variable(
        name=path,
        dtype=dtype if dtype.kind in "iufbSM" else np.dtype(object),
        dims=tuple(f"{group}/{name}" if group else str(name) for name in names),
        shape=tuple(array.shape),
        chunks=tuple(getattr(array, "shards", None) or array.chunks),
        attributes=attributes,
    )


def _decoded(text: str) -> float | None:
    """A fill value of floats as JSON holds it: a number's name, or a double's bytes in base 64 (xarray)."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(struct.unpack("<d", base64.b64decode(text, validate=True))[0])
    except (ValueError, struct.error):
        return None


class _Keys(Store):
    """The store zarr-python asks; read only."""

    supports_writes = False
    supports_deletes = False

    def __init__(self, fetch: Fetch, folder: Path | None) -> None:
        super().__init__(read_only=True)
        self._fetch = fetch
        self._folder = folder

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def supports_listing(self) -> bool:
        """Whether a group without consolidated metadata can be looked through."""
        return self._folder is not None

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        offset, length = 0, None
        if isinstance(byte_range, RangeByteRequest):
            offset, length = byte_range.start, byte_range.end - byte_range.start
        elif isinstance(byte_range, OffsetByteRequest):
            offset = byte_range.offset
        elif isinstance(byte_range, SuffixByteRequest):
            offset = -byte_range.suffix
        if self._folder is None:
            content = await asyncio.to_thread(self._fetch, key, offset, length)
        else:
            content = self._fetch(key, offset, length)
        return None if content is None else prototype.buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        return self._fetch(key, 0, 1) is not None

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError

    async def list(self) -> AsyncIterator[str]:
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        async for name in self.list_dir(prefix):
            yield f"{prefix.rstrip('/')}/{name}".lstrip("/")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        if self._folder is not None:
            # Names of chunks are as many as the chunks; groups and arrays are folders.
            with os.scandir(self._folder / prefix) as entries:
                names = [one.name for one in entries if one.is_dir() or one.name in METADATA]
            for name in names:
                yield name


def _local(place: Place, access: Access) -> Fetch:
    """Files of a local store by key."""
    folder = Path(place.path)

    def fetch(key: str, offset: int, length: int | None) -> bytes | None:
        path = folder / key
        if ".." in key.split("/") or not path.is_file():
            return None
        number = open_checked(str(path), place.name, access)
        try:
            size = os.fstat(number).st_size
            start = max(size + offset, 0) if offset < 0 else offset
            return os.pread(number, size - start if length is None else length, start)
        finally:
            os.close(number)

    return fetch


def _damaged(place: Place) -> SourceUnreadable:
    return SourceUnreadable(
        f"{place.name} is damaged or incomplete, or of a kind of Zarr that is not known here.",
        hint="Look at its zarr.json or .zarray files, or write it anew.",
    )
