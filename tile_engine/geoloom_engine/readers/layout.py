"""How a file's bands, levels and validity are decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from osgeo import gdal

from geoloom.block import Array, Mask
from geoloom_engine.cache import Decoded
from geoloom_engine.readers.inflate import Bytes, StoredTiles, stored_tiles
from geoloom_engine.readers.source import SourceInfo, Window


@dataclass(frozen=True, slots=True)
class Layout:
    """How to get a source's bands, levels and validity out of a GDAL handle.

    Parameters
    ----------
    numbers
        GDAL's band number of each band of the source.
    dtypes, nodata
        Per band; nodata is None where no value stands for it in the band's type.
    overviews
        GDAL's overview index of each level from 1 on.
    blocks
        (width, height) in which each level is read and cached: whole blocks of the file.
    alpha
        GDAL's band number of the alpha band, or None.
    mask
        Whether a mask holds for all bands.
    """

    numbers: tuple[int, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | int | None, ...]
    overviews: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]
    alpha: int | None
    mask: bool

    @property
    def shared_valid(self) -> bool:
        """Whether one validity holds for all bands."""
        return all(value is None for value in self.nodata) and not any(d.startswith("f") for d in self.dtypes)

    def common_dtype(self, bands: tuple[int, ...]) -> np.dtype[Any]:
        """The type that holds some bands."""
        return np.result_type(*(np.dtype(self.dtypes[band]) for band in bands))

    def band(self, handle: Any, level: int, band: int) -> Any:
        """GDAL's band at a level."""
        return self._at(handle.GetRasterBand(self.numbers[band]), level)

    def decode(
        self, handle: Any, level: int, bands: tuple[int, ...], part: Window, stored: StoredTiles | None = None
    ) -> list[Decoded]:
        """Read a rectangle of some bands from the file, past GDAL if the level's tiles are given."""
        shared = self._shared_valid_pixels(handle, level, part)
        decoded = []
        for band in bands:
            data = None if stored is None else stored.read(self.numbers[band] - 1, part)
            if data is None:
                data = _read(self.band(handle, level, band), part, self.dtypes[band])
            valid = _valid_values(data, self.nodata[band])
            if shared is not None:
                valid = shared if valid is None else valid & shared
            if valid is not None:
                data[~valid] = 0
            decoded.append(Decoded(data, valid))
        return decoded

    def stored(self, handle: Any, level: int, file: Bytes, info: SourceInfo) -> StoredTiles | None:
        """The tiles of a level that lies in the file itself, if they can be read past GDAL.

        Parameters
        ----------
        file
            What is in the file.
        """
        place = self.band(handle, level, 0).GetMetadataItem("IFD_OFFSET", "TIFF")
        if place is None:
            return None
        dtype = np.dtype(self.dtypes[0])
        return stored_tiles(file, int(place), info.levels[level], handle.RasterCount, dtype)

    def places(
        self, handle: Any, level: int, bands: tuple[int, ...], part: Window, stored: StoredTiles | None = None
    ) -> list[tuple[int, int]]:
        """Offset and length in the file of what `decode` reads, as far as that is known before."""
        found = []
        for band in bands:
            if stored is not None:
                found += stored.places(self.numbers[band] - 1, part)
            else:
                found += _places(self.band(handle, level, band), part)
        if self.alpha is not None:
            found += _places(self._at(handle.GetRasterBand(self.alpha), level), part)
        elif self.mask:
            scaled = self.band(handle, level, 0)
            if level == 0 or scaled.GetMaskFlags() & gdal.GMF_PER_DATASET:
                found += _places(scaled.GetMaskBand(), part)
        return found

    def _at(self, band: Any, level: int) -> Any:
        return band if level == 0 else band.GetOverview(self.overviews[level - 1])

    def _shared_valid_pixels(self, handle: Any, level: int, part: Window) -> Mask | None:
        """Validity from alpha band or mask; None if all of the rectangle is valid."""
        if self.alpha is not None:
            pixels = _read(self._at(handle.GetRasterBand(self.alpha), level), part)
        elif self.mask:
            full = handle.GetRasterBand(self.numbers[0])
            scaled = self._at(full, level)
            if level == 0 or scaled.GetMaskFlags() & gdal.GMF_PER_DATASET:
                pixels = _read(scaled.GetMaskBand(), part)
            else:
                pixels = _read_scaled(full, scaled, part)
        else:
            return None
        valid: Mask = pixels > 0
        return None if valid.all() else valid


def _valid_values(data: Array, nodata: float | int | None) -> Mask | None:
    """Which values are neither nodata nor non-finite; None if all."""
    valid: npt.NDArray[np.bool_] | None = None
    if data.dtype.kind == "f":
        valid = np.isfinite(data)
    if nodata is not None:
        present = data != data.dtype.type(nodata)
        valid = present if valid is None else valid & present
    return None if valid is None or valid.all() else valid


def _read(band: Any, part: Window, dtype: str | None = None) -> Array:
    data: Array = band.ReadAsArray(part.x, part.y, part.width, part.height)
    return data if dtype is None else data.astype(dtype, copy=False)


def _places(band: Any, part: Window) -> list[tuple[int, int]]:
    """Offset and length in the file of the blocks of a TIFF's band that a rectangle touches."""
    width, height = band.GetBlockSize()
    found = []
    for row in range(part.y // height, (part.y + part.height - 1) // height + 1):
        for col in range(part.x // width, (part.x + part.width - 1) // width + 1):
            offset = band.GetMetadataItem(f"BLOCK_OFFSET_{col}_{row}", "TIFF")
            length = band.GetMetadataItem(f"BLOCK_SIZE_{col}_{row}", "TIFF")
            # A block of nodata alone may be stored nowhere.
            if offset is not None and length is not None:
                found.append((int(offset), int(length)))
    return found


def _read_scaled(full: Any, scaled: Any, part: Window) -> Array:
    """The full resolution's mask, thinned out to an overview that has none."""
    fx, fy = full.XSize / scaled.XSize, full.YSize / scaled.YSize
    x, y = math.floor(part.x * fx), math.floor(part.y * fy)
    width = min(max(math.ceil(part.width * fx), 1), full.XSize - x)
    height = min(max(math.ceil(part.height * fy), 1), full.YSize - y)
    pixels: Array = full.GetMaskBand().ReadAsArray(
        x, y, width, height, buf_xsize=part.width, buf_ysize=part.height
    )
    return pixels
