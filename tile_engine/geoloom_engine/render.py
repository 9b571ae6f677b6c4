"""Block to PNG.

An encoder of its own, because encoding is a good part of a warm tile. Pictures with much that
repeats (classes, empty parts, few source pixels) go to ISA-L's deflate at level 1, with the filter
None for classes and Sub for others; all others get the filter Average and codes of `huffman`. CPU
and size at 256² pixels of Sentinel-2 (zoom 13), with each filter:

=================  =============  =============  =============  =============  =============
ms, kB             None           Sub            Up             Average        Paeth
=================  =============  =============  =============  =============  =============
NDVI, ISA-L 1      0.27, 42       0.28, 32       0.29, 33       0.28, 32       0.28, 33
NDVI, libdeflate   0.66, 40       0.46, 32       0.44, 33       0.43, 32       0.46, 33
NDVI, zlib-ng 2    0.96, 40       0.85, 33       0.85, 34       0.81, 33       0.85, 33
NDVI, `huffman`    0.09, 54       0.08, 28       0.08, 29       0.08, **27**   0.08, 29
RGB, ISA-L 1       0.73, 128      0.79, 93       0.80, 95       0.75, 90       0.81, 94
RGB, libdeflate 1  2.05, 121      1.14, 93       1.15, 94       1.08, 90       1.14, 93
RGB, `huffman`     0.21, 156      0.20, 80       0.20, 82       0.20, **76**   0.20, 81
classes, ISA-L 1   0.07, **5.6**  0.06, 6.1      0.06, 6.6      0.06, 6.4      0.07, 6.6
=================  =============  =============  =============  =============  =============

Decoded pixels equal `geoloom.paint.rgba` exactly, but for the colour of invisible ones; ISA-L may pack the
same pixels otherwise another time, by a byte or so. Formats,
after the PNG specification (https://www.w3.org/TR/png-3/):

================  ==============================================================================
content           PNG
================  ==============================================================================
nothing valid     one fully transparent picture per size, kept
palette           indexed; the index after the last colour is transparent
grey              greyscale; with invalid pixels, a level no valid pixel has marks them, else
                  greyscale with alpha
rgb               truecolour; with invalid pixels, black marks them if no valid pixel is black,
                  else truecolour with alpha
rgba              truecolour with alpha, or without where all pixels are opaque
================  ==============================================================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from isal import isal_zlib

from geoloom.block import Block, Mask, everywhere
from geoloom.errors import ImageUseError
from geoloom.paint import Bytes, Paintable, all_bands_valid, check, rgba, scaled_alpha, table
from geoloom_engine import scanlines
from geoloom_engine.huffman import deflated

__all__ = ["own_colours", "png", "transparent"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_GREY, _RGB, _INDEXED, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SMALL = 8192
"""Bytes below which compiled code gains nothing."""


@dataclass(frozen=True, slots=True)
class _Plain:
    """The look of pixels that are colours already."""

    kind: str
    lut: tuple[str, ...] = ()
    opacity: float = 1.0
    labels: tuple[tuple[str, str], ...] = ()


_BLACK_WHITE = _Plain("palette", ("#000000ff", "#ffffffff"))
_AS_IS = {1: _Plain("grey"), 3: _Plain("rgb"), 4: _Plain("rgba")}


def png(block: Block, look: Paintable | None) -> bytes:
    """A block as PNG; invalid pixels are transparent.

    Parameters
    ----------
    block
        uint8 data as the look's kind says (see `geoloom.op.Look`), (bands, rows, cols).
    look
        None draws uint8 of 1, 3 or 4 bands as grey, RGB or RGBA, and bool as black and white.

    Raises
    ------
    ImageUseError
        If there is no look and the values are no colours.
    ValueError
        If the data are not what the look's kind says.
    """
    if look is None:
        block, look = _without_look(block)
    check(block.data, look)
    rows, cols = block.shape
    shown, count = None, rows * cols  # None: every pixel
    if not everywhere(block.valid):
        shown = np.broadcast_to(all_bands_valid(block.valid), (rows, cols))
        count = int(np.count_nonzero(shown))
    if count == 0 or look.opacity <= 0:
        return transparent(cols, rows)
    if look.kind == "palette":
        return _palette(block, look, shown)
    if look.kind == "grey":
        return _grey(block.data[0], look.opacity, shown, count)
    if look.kind == "rgb" and look.opacity >= 1:
        return _rgb(block.data, shown, count)
    return _rgba(rgba(block.data, block.valid, look))


def own_colours(dtype: str, bands: int) -> Paintable:
    """How values are drawn that have no look.

    Raises
    ------
    ImageUseError
        If they are no colours; known before a pixel is computed.
    """
    plain = _AS_IS.get(bands) if dtype == "uint8" else None
    if dtype == "bool" and bands == 1:
        plain = _BLACK_WHITE
    if plain is None:
        count = f"{bands} band" + "s" * (bands != 1)
        raise ImageUseError(
            f"Values of type {dtype} in {count} have no colours of their own.",
            hint="Say how to draw them, for example .scale(low, high).colormap('viridis').",
        )
    return plain


@lru_cache(maxsize=32)
def transparent(cols: int, rows: int) -> bytes:
    """A fully transparent PNG of a size in pixels."""
    packed: Bytes = np.zeros((rows, 1 + (cols + 7) // 8), np.uint8)
    extra = _chunk(b"PLTE", bytes(3)) + _chunk(b"tRNS", bytes(1))
    return _framed(cols, rows, 1, _INDEXED, isal_zlib.compress(packed, 1), extra)


def _without_look(block: Block) -> tuple[Block, Paintable]:
    plain = own_colours(str(block.data.dtype), block.bands)
    if plain is _BLACK_WHITE:
        return Block(block.data.view(np.uint8), block.valid), plain
    return block, plain


def _palette(block: Block, look: Paintable, shown: Mask | None) -> bytes:
    size, index, mark = len(look.lut), block.data[0], None
    if size < 256:
        if int(index.max()) >= size:
            index = np.minimum(index, np.uint8(size))
    elif shown is not None:
        free = np.flatnonzero(np.bincount(index[shown], minlength=256) == 0)
        if not free.size:
            return _rgba(rgba(block.data, block.valid, look))
        mark = int(free[-1])
    if shown is not None:
        index = _marked(index, shown, size if mark is None else mark)
    extra = _colours(look.lut, look.opacity, mark)
    return _file(_INDEXED, index[np.newaxis], extra, classes=bool(look.labels) or size <= 16)


def _marked(values: Bytes, shown: Mask, mark: int) -> Bytes:
    """`mark` where a pixel is invalid; products are ten times faster than `numpy.where`."""
    marked: Bytes = values * shown
    marked += ~shown * np.uint8(mark)
    return marked


@lru_cache(maxsize=256)
def _colours(lut: tuple[str, ...], opacity: float, mark: int | None) -> bytes:
    """PLTE and tRNS of a palette and a transparent colour after its last, or at `mark`."""
    return _palette_chunks(table(lut, opacity)[:, : len(lut) + 1], mark)


@lru_cache(maxsize=256)
def _greys(opacity: float, mark: int | None) -> bytes:
    """PLTE and tRNS of greys that shine through, with a transparent one at `mark`."""
    greys: Bytes = np.empty((4, 256), np.uint8)
    greys[:3] = np.arange(256)
    greys[3] = scaled_alpha(opacity)[255]
    return _palette_chunks(greys, mark)


def _palette_chunks(colours: Bytes, mark: int | None) -> bytes:
    colours = colours.copy()
    if mark is not None:
        colours[:, mark] = 0
    clear = np.flatnonzero(colours[3] != 255)
    transparency = _chunk(b"tRNS", colours[3, : clear[-1] + 1].tobytes()) if clear.size else b""
    return _chunk(b"PLTE", np.ascontiguousarray(colours[:3].T).tobytes()) + transparency


def _grey(grey: Bytes, opacity: float, shown: Mask | None, count: int) -> bytes:
    mark: int | None = None
    if shown is not None:
        grey = grey * shown
        if int(np.count_nonzero(grey)) == count:
            mark = 0
        elif int(grey.max()) < 255:
            mark = 255
            grey = _marked(grey, shown, mark)
        else:
            alpha: Bytes = shown * scaled_alpha(opacity)[255]
            return _file(_GREY_ALPHA, np.stack((grey, alpha)))
    if opacity < 1:
        return _file(_INDEXED, grey[np.newaxis], _greys(opacity, mark))
    extra = b"" if mark is None else _chunk(b"tRNS", struct.pack(">H", mark))
    return _file(_GREY, grey[np.newaxis], extra)


def _rgb(data: Bytes, shown: Mask | None, count: int) -> bytes:
    if shown is None:
        return _file(_RGB, data)
    data = data * shown
    lit = data[0] | data[1]
    lit |= data[2]
    if int(np.count_nonzero(lit)) == count:
        return _file(_RGB, data, _chunk(b"tRNS", bytes(6)))
    alpha: Bytes = shown * np.uint8(255)
    return _file(_RGBA, np.concatenate((data, alpha[np.newaxis])))


def _rgba(data: Bytes) -> bytes:
    opaque = int(np.count_nonzero(data[3] == 255))
    if opaque == data[3].size:
        return _file(_RGB, data[:3])
    if opaque + int(np.count_nonzero(data[3] == 0)) == data[3].size:
        return _rgb(data[:3], data[3] == 255, opaque)
    return _file(_RGBA, data)


def _file(colour_type: int, bands: Bytes, extra: bytes = b"", classes: bool = False) -> bytes:
    """A PNG of bytes (bands, rows, cols), whose chunks before the pixels are `extra`."""
    bands = np.ascontiguousarray(bands)
    if bands.size < _SMALL or scanlines.repeats(bands):
        kind = scanlines.NONE if classes else scanlines.SUB
        pixels = isal_zlib.compress(scanlines.filtered(bands, kind), 1)
    else:
        pixels = deflated(scanlines.averaged(bands))
    return _framed(bands.shape[2], bands.shape[1], 8, colour_type, pixels, extra)


def _framed(cols: int, rows: int, depth: int, colour_type: int, pixels: bytes, extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", cols, rows, depth, colour_type, 0, 0, 0)
    return b"".join((_SIGNATURE, _chunk(b"IHDR", header), extra, _chunk(b"IDAT", pixels), _END))


def _chunk(name: bytes, content: bytes) -> bytes:
    check_sum = isal_zlib.crc32(content, isal_zlib.crc32(name))
    return b"".join((struct.pack(">I", len(content)), name, content, struct.pack(">I", check_sum)))
