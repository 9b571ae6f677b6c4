"""Block to PNG.

An encoder of its own, because encoding is a good part of a warm tile: ISA-L deflate at level 1
and the one filter that suits the content (Sub for ramps, greys and colours; None for classes).
Decoded pixels equal `geoloom.paint.rgba` exactly, but for the colour of invisible ones. Formats,
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

from geoloom.block import Block, Mask
from geoloom.errors import ImageUseError
from geoloom.paint import Bytes, Paintable, all_bands_valid, check, rgba, scaled_alpha, table

__all__ = ["own_colours", "png", "transparent"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_GREY, _RGB, _INDEXED, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_FILTER_NONE, _FILTER_SUB = 0, 1
_LEVEL = 1


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
    block = block.fill(rows, cols)
    seen = all_bands_valid(block.valid)
    count = int(np.count_nonzero(seen))
    if count == 0 or look.opacity <= 0:
        return transparent(cols, rows)
    shown = seen if count < seen.size else None  # None: every pixel
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
    return _file(cols, rows, 1, _INDEXED, packed, extra)


def _without_look(block: Block) -> tuple[Block, Paintable]:
    plain = own_colours(str(block.data.dtype), block.bands)
    if plain is _BLACK_WHITE:
        return Block(block.data.view(np.uint8), block.valid), plain
    return block, plain


def _palette(block: Block, look: Paintable, shown: Mask | None) -> bytes:
    size = len(look.lut)
    colours = table(look.lut, look.opacity)
    index = block.data[0]
    if size < 256:
        mark = size
        if int(index.max()) >= size:
            index = np.minimum(index, np.uint8(size))
    elif shown is not None:
        free = np.flatnonzero(np.bincount(index[shown], minlength=256) == 0)
        if not free.size:
            return _rgba(rgba(block.data, block.valid, look))
        mark = int(free[-1])
        colours = colours.copy()
        colours[:, mark] = 0
    if shown is not None:
        index = _marked(index, shown, mark)
    used = min(size + 1, 256)
    kind = _FILTER_NONE if look.labels or size <= 16 else _FILTER_SUB
    return _indexed(index, colours[:, :used], kind)


def _marked(values: Bytes, shown: Mask, mark: int) -> Bytes:
    """`mark` where a pixel is invalid; products are ten times faster than `numpy.where`."""
    marked: Bytes = values * shown
    marked += ~shown * np.uint8(mark)
    return marked


def _indexed(index: Bytes, colours: Bytes, kind: int) -> bytes:
    rows, cols = index.shape
    extra = _chunk(b"PLTE", np.ascontiguousarray(colours[:3].T).tobytes())
    extra += _transparency(colours[3])
    return _file(cols, rows, 8, _INDEXED, _filtered((index,), kind), extra)


def _transparency(alpha: Bytes) -> bytes:
    clear = np.flatnonzero(alpha != 255)
    return _chunk(b"tRNS", alpha[: clear[-1] + 1].tobytes()) if clear.size else b""


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
            return _direct(_GREY_ALPHA, (grey, alpha))
    if opacity < 1:
        colours: Bytes = np.empty((4, 256), np.uint8)
        colours[:3] = np.arange(256)
        colours[3] = scaled_alpha(opacity)[255]
        if mark is not None:
            colours[:, mark] = 0
        return _indexed(grey, colours, _FILTER_SUB)
    return _direct(_GREY, (grey,), b"" if mark is None else struct.pack(">H", mark))


def _rgb(data: Bytes, shown: Mask | None, count: int) -> bytes:
    if shown is None:
        return _direct(_RGB, tuple(data))
    data = data * shown
    lit = data[0] | data[1]
    lit |= data[2]
    if int(np.count_nonzero(lit)) == count:
        return _direct(_RGB, tuple(data), bytes(6))
    alpha: Bytes = shown * np.uint8(255)
    return _direct(_RGBA, (*data, alpha))


def _rgba(data: Bytes) -> bytes:
    opaque = int(data[3].min()) == 255
    return _direct(_RGB, tuple(data[:3])) if opaque else _direct(_RGBA, tuple(data))


def _direct(colour_type: int, bands: tuple[Bytes, ...], mark: bytes = b"") -> bytes:
    """A PNG whose pixels are colours; `mark` is the content of tRNS, the one invisible colour."""
    rows, cols = bands[0].shape
    return _file(
        cols, rows, 8, colour_type, _filtered(bands, _FILTER_SUB), _chunk(b"tRNS", mark) if mark else b""
    )


def _filtered(bands: tuple[Bytes, ...], kind: int) -> Bytes:
    """Scanlines with their filter byte, uint8 (rows, 1 + cols · bands), bands interleaved."""
    rows, cols = bands[0].shape
    step = len(bands)
    lines: Bytes = np.empty((rows, 1 + cols * step), np.uint8)
    lines[:, 0] = kind
    for number, band in enumerate(bands):
        pixels = lines[:, 1 + number :: step]
        if kind == _FILTER_SUB:
            pixels[:, 0] = band[:, 0]
            np.subtract(band[:, 1:], band[:, :-1], out=pixels[:, 1:])
        else:
            pixels[...] = band
    return lines


def _file(cols: int, rows: int, depth: int, colour_type: int, lines: Bytes, extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", cols, rows, depth, colour_type, 0, 0, 0)
    pixels = isal_zlib.compress(lines, _LEVEL)
    return b"".join((_SIGNATURE, _chunk(b"IHDR", header), extra, _chunk(b"IDAT", pixels), _END))


def _chunk(name: bytes, content: bytes) -> bytes:
    check_sum = isal_zlib.crc32(content, isal_zlib.crc32(name))
    return b"".join((struct.pack(">I", len(content)), name, content, struct.pack(">I", check_sum)))
