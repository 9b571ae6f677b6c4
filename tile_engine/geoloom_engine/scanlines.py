"""Pixels to the filtered lines of a PNG (https://www.w3.org/TR/png-3/#9Filters)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from geoloom.loops import array, compiled
from geoloom.paint import Bytes

__all__ = ["AVERAGE", "NONE", "SUB", "averaged", "filtered", "repeats"]

NONE, SUB, AVERAGE = 0, 1, 3


def repeats(bands: Bytes) -> bool:
    """Whether half of the picture, in eights of pixels, equals what is above or half what is to the left.

    Parameters
    ----------
    bands
        uint8, (bands, rows, cols), contiguous. A seventh of the rows is looked at.
    """
    found: bool = compiled(_repeats, "uint8", lambda: (array("uint8", 3),))(bands)
    return found


def filtered(bands: Bytes, kind: int) -> Bytes:
    """Lines with filter None or Sub, uint8 (rows, 1 + cols · bands), of bytes (bands, rows, cols)."""
    step, rows, cols = bands.shape
    lines: Bytes = np.empty((rows, 1 + cols * step), np.uint8)
    lines[:, 0] = kind
    for number, band in enumerate(bands):
        pixels = lines[:, 1 + number :: step]
        if kind == SUB:
            pixels[:, 0] = band[:, 0]
            np.subtract(band[:, 1:], band[:, :-1], out=pixels[:, 1:])
        else:
            pixels[...] = band
    return lines


def averaged(bands: Bytes) -> Bytes:
    """Lines with filter Average, the first Sub: as `filtered`, of contiguous bands."""
    step, rows, cols = bands.shape
    lines: Bytes = np.empty((rows, 1 + cols * step), np.uint8)
    compiled(_average, "uint8", lambda: (array("uint8", 3), array("uint8", 2, written=True)))(bands, lines)
    return lines


def _repeats(bands: Any) -> bool:
    count, rows, cols = bands.shape
    above, left, eights = 0, 0, 0
    for band in range(count):
        for row in range(1, rows, 7):
            for col in range(8, cols - 7, 8):
                eights += 1
                alike = 0
                while alike < 8 and bands[band, row, col + alike] == bands[band, row - 1, col + alike]:
                    alike += 1
                above += alike == 8
                alike = 0
                while alike < 8 and bands[band, row, col + alike] == bands[band, row, col + alike - 8]:
                    alike += 1
                left += alike == 8
    return 2 * max(above, left) > eights


@numba.njit(inline="always")
def _less_mean(bands: Any, band: int, row: int, col: int) -> Any:
    """What Average leaves of a pixel with neighbours to the left and above."""
    left, above = np.uint16(bands[band, row, col - 1]), np.uint16(bands[band, row - 1, col])
    return np.uint8(bands[band, row, col] - (left + above >> 1))


def _average(bands: Any, lines: Any) -> None:
    """See `averaged`. One band and three, written out, are done many pixels at a time: 9 and 20 µs."""
    step, rows, cols = bands.shape
    lines[0, 0] = SUB
    for band in range(step):
        lines[0, 1 + band] = bands[band, 0, 0]
        for col in range(1, cols):
            lines[0, 1 + step * col + band] = bands[band, 0, col] - bands[band, 0, col - 1]
    for row in range(1, rows):
        lines[row, 0] = AVERAGE
        for band in range(step):
            lines[row, 1 + band] = bands[band, row, 0] - (bands[band, row - 1, 0] >> 1)
        if step == 1:
            for col in range(1, cols):
                lines[row, 1 + col] = _less_mean(bands, 0, row, col)
        elif step == 3:
            for col in range(1, cols):
                lines[row, 1 + 3 * col] = _less_mean(bands, 0, row, col)
                lines[row, 2 + 3 * col] = _less_mean(bands, 1, row, col)
                lines[row, 3 + 3 * col] = _less_mean(bands, 2, row, col)
        else:
            for band in range(step):
                for col in range(1, cols):
                    lines[row, 1 + step * col + band] = _less_mean(bands, band, row, col)
