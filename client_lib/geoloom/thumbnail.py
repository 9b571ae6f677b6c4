"""Small pictures of bands: grey, from the smallest value to the largest, clear where invalid.

A PNG is written here, in a few lines, so that the notebook needs neither a picture library nor the engine
(PNG: W3C Recommendation, third edition; chunks in 11, filters in 9).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Mask

SIDE = 256
"""Rows and columns of a picture at most; of larger bands every second pixel is shown, or every third…"""


def thumbnail(band: Array, valid: Mask) -> tuple[bytes, tuple[float, float] | None]:
    """A picture of a band, and its smallest and largest valid value (None if no pixel is valid).

    Parameters
    ----------
    band
        (rows, cols) of numbers or bools; where they are not finite they are clear.
    valid
        bool, (rows, cols).
    """
    values = band.astype(np.float64)
    shown = valid & np.isfinite(values)
    step = max(1, -(-max(band.shape) // SIDE))
    shades = np.zeros(band.shape, np.uint8)
    limits = None
    if shown.any():
        low, high = float(values[shown].min()), float(values[shown].max())
        shades[shown] = 1 + np.round(254 * (values[shown] - low) / (high - low)) if high > low else 128
        limits = low, high
    return png(shades[::step, ::step]), limits


def png(shades: npt.NDArray[np.uint8]) -> bytes:
    """Grey pixels (rows, cols) as PNG; 0 is clear."""
    rows, cols = shades.shape
    # Each row as its difference to the one above (filter 2), which is much smaller once deflated.
    lines = np.empty((rows, cols + 1), np.uint8)
    lines[:, 0] = 2
    lines[:, 1:] = np.diff(shades, axis=0, prepend=np.zeros((1, cols), np.uint8))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", cols, rows, 8, 0, 0, 0, 0)),
        (b"tRNS", b"\0\0"),
        (b"IDAT", zlib.compress(lines.tobytes())),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
