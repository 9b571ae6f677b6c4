"""Looking into a file: where its data is valid, and its statistics, from a coarse overview."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.block import Array, Mask
from geoloom_engine.ingest.valid_area import grown, outline, reduced
from geoloom_engine.readers.source import Source, SourceInfo, Window

LEVEL_PIXELS = 1 << 20
"""An overview of at most so many pixels is looked at; of more than one the finest."""

MAX_PIXELS = 500_000_000
"""Pixels of all bands that are read of a file without such an overview; of a larger one nothing is."""

_CELLS = 256
_STRIP = 1 << 23


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file holds, found by looking at its pixels.

    Parameters
    ----------
    area
        Of the valid pixels: shapely geometry in degrees; empty if there are none.
    statistics
        One for each band, as STAC writes them; empty where nothing was read.
    looked
        Whether pixels were read; if not, `area` is that of the whole file.
    """

    area: Any
    statistics: tuple[dict[str, float], ...]
    looked: bool


def survey(source: Source, most: int = MAX_PIXELS) -> Survey:
    """Look at a file's pixels; if `most` are too few, at none of them.

    Raises
    ------
    SourceUnreadable, SourceChanged
        If its pixels cannot be read.
    """
    info = source.info
    level = _level(info, most)
    if level is None:
        return Survey(outline(info, np.ones((1, 1), np.bool_)), (), looked=False)
    width, height = info.levels[level]
    size = max(1, math.ceil(max(width, height) / _CELLS))
    cells = np.zeros((-(-height // size), -(-width // size)), np.bool_)
    every = True
    sums = [_Sums() for _ in info.bands]
    for bands in _groups(info):
        rows = max(1, _STRIP // (width * len(bands)) // size) * size
        for top in range(0, height, rows):
            window = Window(0, top, width, min(rows, height - top))
            data, valid = source.read(level, bands, window)
            any_valid = valid.any(axis=0)
            every = every and bool(any_valid.all())
            first = top // size
            met = reduced(any_valid, size)
            cells[first : first + met.shape[0]] |= met
            for index, band in enumerate(bands):
                sums[band].add(data[index], valid[index if valid.shape[0] > 1 else 0])
    if level and not every:
        # What an overview left out lies beside what it kept.
        cells = _spread(cells)
    if every:
        cells = np.ones((1, 1), np.bool_)
    elif width % size or height % size:
        cells = grown(cells, size, (height, width))
    pixels = width * height
    return Survey(outline(info, cells), tuple(one.statistics(pixels) for one in sums), looked=True)


def _level(info: SourceInfo, most: int) -> int | None:
    """The level to look at; None if all are too large."""
    for number, (width, height) in enumerate(info.levels):
        if width * height <= LEVEL_PIXELS and width * height * len(info.bands) <= most:
            return number
    last = len(info.levels) - 1
    width, height = info.levels[last]
    return last if width * height * len(info.bands) <= most else None


def _groups(info: SourceInfo) -> list[tuple[int, ...]]:
    """Bands to read together: those of one type, so that none is widened."""
    found: dict[str, list[int]] = {}
    for number, band in enumerate(info.bands):
        found.setdefault(band.dtype, []).append(number)
    return [tuple(group[at : at + 8]) for group in found.values() for at in range(0, len(group), 8)]


def _spread(cells: Mask) -> Mask:
    wide = np.pad(cells, 1)
    found: Mask = np.zeros_like(cells)
    for row in range(3):
        for col in range(3):
            found |= wide[row : row + cells.shape[0], col : col + cells.shape[1]]
    return found


class _Sums:
    """Count, sum and extremes of a band, strip by strip."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._spread = 0.0
        self._low = math.inf
        self._high = -math.inf

    def add(self, data: Array, valid: Mask) -> None:
        values: npt.NDArray[np.float64] = data[valid].astype(np.float64)
        values = values[np.isfinite(values)]
        if values.size == 0:
            return
        mean = float(values.mean())
        spread = float(((values - mean) ** 2).sum())
        # Means and squared deviations of parts join exactly: Chan, Golub and LeVeque 1979.
        count = self._count + values.size
        apart = mean - self._mean
        self._spread += spread + apart * apart * self._count * values.size / count
        self._mean += apart * values.size / count
        self._count = count
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))

    def statistics(self, pixels: int) -> dict[str, float]:
        if not self._count:
            return {"valid_percent": 0.0}
        found = {
            "minimum": self._low,
            "maximum": self._high,
            "mean": self._mean,
            "stddev": math.sqrt(self._spread / self._count),
            "valid_percent": 100.0 * self._count / pixels,
        }
        return {name: float(f"{value:.7g}") for name, value in found.items()}
