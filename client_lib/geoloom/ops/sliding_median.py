"""The median of windows that slide over an image.

From one pixel to the next only the window's edges change, so counts of the values in it are kept up
to date and the median's place is moved (T. S. Huang et al., "A fast two-dimensional median filtering
algorithm", IEEE Transactions on Acoustics, Speech, and Signal Processing 27 (1979), 13–18). Values
are counted by their rank, so that this is exact for floats too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Mask
from geoloom.loops import array, compiled

SHIFT = 8
"""Counts of 256 ranks are also kept together."""


def sliding_median(data: Array, valid: Mask, widths: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """The median of the valid pixels around each pixel, 0 where there is none.

    Parameters
    ----------
    data, valid
        (rows + 2 m, cols + 2 m).
    widths
        Half-width of each of a window's rows, or −1, for each row of the result: (rows, 2 m + 1).

    Returns
    -------
    (rows, cols); of an even number, the mean of the middle two.
    """
    ranks, values = _ranked(data)
    out = np.empty((widths.shape[0], data.shape[1] - widths.shape[1] + 1))
    fine = np.zeros((values.size >> SHIFT) + 1 << SHIFT, np.int32)
    coarse = np.zeros(fine.size >> SHIFT, np.int32)
    places = np.where(valid, ranks, np.int32(-1))
    compiled(_slide, "int32", _types)(places, values, widths, fine, coarse, out)
    return out


def _ranked(data: Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The rank of each pixel's value among all, and the value of each rank."""
    if data.dtype.kind in "iu" and data.dtype.itemsize <= 2:
        low, high = np.iinfo(data.dtype).min, np.iinfo(data.dtype).max
        return data.astype(np.int32) - np.int32(low), np.arange(low, high + 1, dtype=np.float64)
    values, ranks = np.unique(data.astype(np.float64) + 0.0, return_inverse=True)  # −0 is 0
    return ranks.reshape(data.shape).astype(np.int32), values


def _types() -> tuple[Any, ...]:
    counts = array("int32", 1, written=True)
    read = array("int32", 2), array("float64", 1), array("int32", 2)
    return *read, counts, counts, array("float64", 2, written=True)


def _slide(places: Any, values: Any, widths: Any, fine: Any, coarse: Any, out: Any) -> None:
    """`fine` and `coarse` count ranks, one by one and 256 together; `places` are ranks, or −1."""
    rows, cols = out.shape
    across = widths.shape[1]
    margin = across // 2
    for row in range(rows):
        count, bucket, below = 0, 0, 0  # below: how many lie in buckets before that of the median
        for col in range(cols):
            for line in range(across):
                width = widths[row, line]
                if width < 0:
                    continue
                end = col + margin + width
                if col > 0:
                    gone = places[row + line, end - 2 * width - 1]
                    if gone >= 0:
                        fine[gone] -= 1
                        coarse[gone >> SHIFT] -= 1
                        count -= 1
                        below -= gone >> SHIFT < bucket
                for new in range(end if col > 0 else end - 2 * width, end + 1):
                    rank = places[row + line, new]
                    if rank >= 0:
                        fine[rank] += 1
                        coarse[rank >> SHIFT] += 1
                        count += 1
                        below += rank >> SHIFT < bucket
            if count == 0:
                out[row, col] = 0
                continue
            middle = (count - 1) // 2
            while below > middle:
                bucket -= 1
                below -= coarse[bucket]
            while below + coarse[bucket] <= middle:
                below += coarse[bucket]
                bucket += 1
            rank, upto = bucket << SHIFT, below + fine[bucket << SHIFT]
            while upto <= middle:
                rank += 1
                upto += fine[rank]
            lower = values[rank]
            if count % 2 == 0 and upto == middle + 1:
                rank += 1
                while fine[rank] == 0:
                    rank += 1 << SHIFT if rank % (1 << SHIFT) == 0 and coarse[rank >> SHIFT] == 0 else 1
            out[row, col] = lower if count % 2 else (values[rank] + lower) / 2
        for line in range(across):  # what is left is taken away: to set all counts to 0 takes longer
            for last in range(cols - 1 + margin - widths[row, line], cols + margin + widths[row, line]):
                rank = places[row + line, last]
                if rank >= 0:
                    fine[rank] -= 1
                    coarse[rank >> SHIFT] -= 1
