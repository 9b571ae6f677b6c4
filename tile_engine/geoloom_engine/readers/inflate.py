"""Tiles of a TIFF inflated without GDAL, where that is simple: DEFLATE or ZSTD, one band a tile.

GDAL inflates with zlib, which takes three times as long as ISA-L does, and copies the pixels twice
(a block of 512 × 512 16-bit pixels: 4.2 ms against 1.5; of ZSTD, 1.6 against 0.9). What is not simple is
left to GDAL, and so is whatever cannot be inflated, so that it alone decides what is damaged.

Tags: TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf; BigTIFF:
https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip_lib

from geoloom.block import Array
from geoloom.loops import array, compiled, number
from geoloom_engine.readers.source import Window

_BITS, _COMPRESSION, _FILL_ORDER, _SAMPLES, _PLANAR = 258, 259, 266, 277, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _COUNTS, _FORMAT = 317, 322, 323, 324, 325, 339
_WIDTH, _HEIGHT, _PHOTOMETRIC = 256, 257, 262
_AS_STORED = (0, 1, 2, 3)
"""Greys, RGB and palettes; GDAL turns other colours (CMYK, L*a*b*) into RGBA, also in as many bands."""

_DEFLATE = (8, 32946)
_ZSTD = 50000
_NO_DEFLATE: Any = igzip_lib.IsalError
_KINDS = {1: "u", 2: "i", 3: "f"}
_WANTED = frozenset(
    (_BITS, _COMPRESSION, _FILL_ORDER, _SAMPLES, _PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT)
    + (_OFFSETS, _COUNTS, _FORMAT, _WIDTH, _HEIGHT, _PHOTOMETRIC)
)
_STRANGE = frozenset((273, 279, 32997, 32998))
"""Strips, and a third dimension: what they mean beside tiles is libtiff's to say."""

_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Struct codes of the tags' types that hold whole numbers."""

_MAX_TAGS = 1000
_MAX_TILES = 1 << 20
"""Tiles of all bands: of more, reading where they lie takes long and much memory."""

_MAX_TILE_PIXELS = 1 << 26
"""Larger ones may be of an image that is small: then nobody else asks how much they hold."""

_MAX_OFFSET = (1 << 63) - 1
"""The system's."""


type Bytes = Callable[[int, int], bytes]
"""Gives bytes of a file, by length and offset; fewer where it ends."""


@dataclass(frozen=True, slots=True)
class StoredTiles:
    """The tiles of one level of a file.

    Parameters
    ----------
    file
        What is in the file.
    dtype
        Of all bands.
    width, height
        Of a tile.
    across, plane
        Tiles in a row, and in all of a band.
    predictor
        1 for none, 2 for differences along rows.
    zstd
        Whether they are compressed by ZSTD, else by DEFLATE.
    offsets, counts
        Where each tile lies in the file, and its bytes.
    """

    file: Bytes
    dtype: np.dtype[Any]
    width: int
    height: int
    across: int
    plane: int
    predictor: int
    zstd: bool
    offsets: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.uint64]

    def read(self, band: int, part: Window) -> Array | None:
        """Pixels (rows, cols) of a rectangle of a band, counted from 0; None if GDAL has to read them."""
        data = np.empty((part.height, part.width), self.dtype)
        for row, col in self._covering(part):
            tile = self._inflated(band * self.plane + row * self.across + col)
            if tile is None:
                return None
            y, x = row * self.height - part.y, col * self.width - part.x
            top, left = max(y, 0), max(x, 0)
            into = data[top : y + self.height, left : x + self.width]
            self._store(tile, top - y, left - x, into)
        return data

    def places(self, band: int, part: Window) -> list[tuple[int, int]]:
        """Offset and length in the file of what `read` reads."""
        indices = [band * self.plane + row * self.across + col for row, col in self._covering(part)]
        return [(int(self.offsets[index]), int(self.counts[index])) for index in indices]

    def _covering(self, part: Window) -> list[tuple[int, int]]:
        """Row and column of each tile that a rectangle touches."""
        rows = range(part.y // self.height, (part.y + part.height - 1) // self.height + 1)
        cols = range(part.x // self.width, (part.x + part.width - 1) // self.width + 1)
        return [(row, col) for row in rows for col in cols]

    def _inflated(self, index: int) -> Array | None:
        count, offset = int(self.counts[index]), int(self.offsets[index])
        size = self.width * self.height * self.dtype.itemsize
        # Neither makes anything larger by more than a few bytes in each 16 kB.
        if not 0 < count <= size + (size >> 8) + 1024 or offset > _MAX_OFFSET:
            return None
        try:
            stored = self.file(count, offset)
            if self.zstd:
                whole = _zstd().decompress(stored, size, asbytes=True)
            else:
                whole = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB).decompress(stored, size)
        except (OSError, _NO_DEFLATE):
            return None
        if len(whole) != size:
            return None
        bits = np.dtype(f"u{self.dtype.itemsize}")
        tile: Array = np.frombuffer(whole, bits).reshape(self.height, self.width)
        return tile

    def _store(self, tile: Array, top: int, left: int, into: Array) -> None:
        if self.predictor == 1:
            into[:] = tile[top : top + into.shape[0], left : left + into.shape[1]].view(self.dtype)
            return
        name = tile.dtype.name

        def arguments() -> tuple[Any, ...]:
            place = (number("int64"), number("int64"))
            return (array(name, 2), *place, array(name, 2, written=True, layout="A"))

        compiled(_summed, name, arguments)(tile, top, left, into.view(tile.dtype))


def _summed(tile: Any, top: int, left: int, into: Any) -> None:
    """Pixels from differences along rows, from a row and column of the tile on."""
    rows, cols = into.shape
    for r in range(rows):
        value = tile[top + r, 0]
        for c in range(1, left + 1):
            value += tile[top + r, c]
        into[r, 0] = value
        for c in range(1, cols):
            value += tile[top + r, left + c]
            into[r, c] = value


def stored_tiles(
    file: Bytes, offset: int, size: tuple[int, int], bands: int, dtype: np.dtype[Any]
) -> StoredTiles | None:
    """The tiles that a directory of a file describes; None if they are not simple.

    Parameters
    ----------
    file
        What is in the file.
    offset
        Where the directory lies in it.
    size
        (width, height) that it should have.
    bands, dtype
        What it should hold.
    """
    try:
        tags = _tags(file, offset)
        width, height = _one(tags, _TILE_WIDTH), _one(tags, _TILE_HEIGHT)
        across, down = -(-size[0] // width), -(-size[1] // height)
        simple = (
            (_one(tags, _WIDTH), _one(tags, _HEIGHT)) == size
            and _one(tags, _COMPRESSION) in (*_DEFLATE, _ZSTD)
            and _one(tags, _FILL_ORDER, 1) == 1
            and _one(tags, _PHOTOMETRIC, 1) in _AS_STORED
            and _one(tags, _SAMPLES, 1) == bands
            and (bands == 1 or _one(tags, _PLANAR, 1) == 2)
            and set(tags[_BITS]) == {8 * dtype.itemsize}
            and {_KINDS.get(value) for value in tags.get(_FORMAT, (1,))} == {dtype.kind}
            and _one(tags, _PREDICTOR, 1) in ((1,) if dtype.kind == "f" else (1, 2))
            and width * height <= _MAX_TILE_PIXELS
            and len(tags[_OFFSETS]) == len(tags[_COUNTS]) == across * down * bands
        )
    except (OSError, struct.error, KeyError, ValueError, ZeroDivisionError):
        return None
    if not simple:
        return None
    offsets, counts = (np.array(tags[tag], np.uint64) for tag in (_OFFSETS, _COUNTS))
    predictor = _one(tags, _PREDICTOR, 1)
    zstd = _one(tags, _COMPRESSION) == _ZSTD
    return StoredTiles(file, dtype, width, height, across, across * down, predictor, zstd, offsets, counts)


@functools.cache
def _zstd() -> Any:
    """What decompresses ZSTD; Arrow is loaded for the first such file."""
    import pyarrow as pa

    return pa.Codec("zstd")


def _one(tags: dict[int, tuple[int, ...]], tag: int, default: int | None = None) -> int:
    """A tag's only value."""
    if default is not None and tag not in tags:
        return default
    (value,) = set(tags[tag])
    return value


def _tags(file: Bytes, offset: int) -> dict[int, tuple[int, ...]]:
    """The wanted tags of a directory; of a file in this machine's byte order.

    Raises
    ------
    ValueError
        If one comes twice or in a type of its own: which value holds is for libtiff to say.
    """
    magic = file(4, 0)
    if sys.byteorder != "little" or magic not in (b"II*\0", b"II+\0"):
        raise ValueError("not a TIFF in this machine's byte order")
    big = magic == b"II+\0"
    head, entry, inline = ("<Q", "<HHQ8s", 8) if big else ("<H", "<HHI4s", 4)
    (count,) = struct.unpack(head, file(struct.calcsize(head), offset))
    if count > _MAX_TAGS:
        raise ValueError("too many tags")
    raw = file(count * struct.calcsize(entry), offset + struct.calcsize(head))
    found: dict[int, tuple[int, ...]] = {}
    for tag, kind, length, value in struct.iter_unpack(entry, raw):
        if tag in _STRANGE:
            raise ValueError("not tiles alone")
        if tag not in _WANTED:
            continue
        code = _SIZES.get(kind)
        if code is None or tag in found or length > _MAX_TILES:
            raise ValueError("an odd tag")
        form = f"<{length}{code}"
        size = struct.calcsize(form)
        if size > inline:
            (place,) = struct.unpack("<Q" if big else "<I", value)
            if place > _MAX_OFFSET:
                raise ValueError("beyond any file")
            value = file(size, place)
        found[tag] = struct.unpack(form, value[:size])
    return found
