"""Writing cloud-optimised GeoTIFFs: ZSTD, blocks of 512, overviews; and checking that nothing was lost."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from osgeo import gdal

from geoloom.errors import SourceUnreadable
from geoloom_engine.readers.access import short_name

gdal.UseExceptions()

BLOCK = 512
_STRIP = 1 << 24


def write(source: str, path: str, nearest: tuple[bool, ...], nodata: float | None = None) -> None:
    """Write a GeoTIFF anew as a COG with the same pixels, nodata, masks, colours and names.

    Parameters
    ----------
    source
        What GDAL calls a GeoTIFF.
    path
        Where to write; what is there is replaced. Left out if this fails.
    nearest
        For each band with data whether it holds classes: its overviews keep values as they are; those of
        other bands are averages of what is valid.
    nodata
        Declared for bands that declare none.

    Raises
    ------
    SourceUnreadable
        If the source cannot be read to its end, or what was written is not the same.
    OSError
        If it cannot be written.
    """
    name = short_name(source)
    try:
        with gdal.quiet_errors(), gdal.config_option("GDAL_NUM_THREADS", "1"):
            handle = gdal.OpenEx(source, gdal.OF_RASTER, allowed_drivers=["GTiff"])
            _translate(handle, path, nearest, nodata)
            _compare(handle, path, name)
    except RuntimeError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        text = str(error)
        if "No space left" in text or "disk" in text.lower():
            raise OSError(f"{path} cannot be written: the disk is full.") from None
        if isinstance(error, SourceUnreadable):
            raise
        if not os.access(os.path.dirname(path), os.W_OK):
            raise OSError(f"{path} cannot be written: its folder may not be written to.") from None
        raise SourceUnreadable(
            f"{name} cannot be read to its end.",
            hint="Copy or download it again, and check it with gdalinfo.",
        ) from None
    except SourceUnreadable:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _translate(handle: Any, path: str, nearest: tuple[bool, ...], nodata: float | None) -> None:
    kinds = {gdal.GetDataTypeName(handle.GetRasterBand(n + 1).DataType) for n in range(handle.RasterCount)}
    floats = any("Float" in kind for kind in kinds)
    mixed = len(set(nearest)) > 1 and max(handle.RasterXSize, handle.RasterYSize) > BLOCK
    options = [
        "COMPRESS=ZSTD",
        # Level 9 makes 6 % less of satellite images, which then take half as long again to decode.
        "LEVEL=1",
        # Differences of neighbours: of numbers, or of the bytes of floats.
        f"PREDICTOR={'FLOATING_POINT' if floats else 'STANDARD'}",
        f"BLOCKSIZE={BLOCK}",
        "BIGTIFF=IF_SAFER",
        f"OVERVIEWS={'AUTO' if mixed else 'IGNORE_EXISTING'}",
        f"OVERVIEW_RESAMPLING={'NEAREST' if all(nearest) else 'AVERAGE'}",
        # A tile is asked for band by band.
        "INTERLEAVE=BAND",
    ]
    with _staged(handle, path, nearest) if mixed else contextlib.nullcontext(handle) as staged:
        more: dict[str, Any] = {} if nodata is None or _declared(handle) else {"noData": nodata}
        made = gdal.Translate(path, staged, format="COG", creationOptions=options, **more)
        made.Close()


def _declared(handle: Any) -> bool:
    return any(handle.GetRasterBand(n + 1).GetNoDataValue() is not None for n in range(handle.RasterCount))


@contextlib.contextmanager
def _staged(handle: Any, path: str, nearest: tuple[bool, ...]) -> Iterator[Any]:
    """A copy whose overviews are made band by band, since each kind of band wants its own."""
    scratch = path + ".overviews"
    try:
        copy = gdal.Translate(
            scratch, handle, format="GTiff",
            creationOptions=["TILED=YES", "COMPRESS=ZSTD", "ZSTD_LEVEL=1", "INTERLEAVE=BAND",
                             "BIGTIFF=IF_SAFER"],
        )  # fmt: skip
        levels: list[int] = []
        while max(copy.RasterXSize, copy.RasterYSize) >> len(levels) > BLOCK:
            levels.append(2 << len(levels))
        copy.BuildOverviews("NONE", levels)
        classes = dict(zip(_with_data(copy), nearest, strict=True))
        for number in range(1, copy.RasterCount + 1):
            band = copy.GetRasterBand(number)
            below = [band.GetOverview(index) for index in range(band.GetOverviewCount())]
            gdal.RegenerateOverviews(band, below, "NEAREST" if classes.get(number, True) else "AVERAGE")
        copy.FlushCache()
        yield copy
        copy.Close()
    finally:
        with contextlib.suppress(OSError):
            os.unlink(scratch)


def _with_data(handle: Any) -> list[int]:
    """Numbers of the bands that are no alpha bands (of a lone one, it)."""
    numbers = range(1, handle.RasterCount + 1)
    found = [n for n in numbers if handle.GetRasterBand(n).GetColorInterpretation() != gdal.GCI_AlphaBand]
    return found or list(numbers)


def _compare(handle: Any, path: str, name: str) -> None:
    """Read everything of both, and see that it is the same."""
    made = gdal.OpenEx(path, gdal.OF_RASTER, allowed_drivers=["GTiff"])
    same = (
        (made.RasterXSize, made.RasterYSize, made.RasterCount)
        == (handle.RasterXSize, handle.RasterYSize, handle.RasterCount)
        and np.allclose(made.GetGeoTransform(), handle.GetGeoTransform(), rtol=1e-12, atol=0)
        and made.GetSpatialRef() is not None
        and made.GetSpatialRef().IsSame(handle.GetSpatialRef(), ["IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES"])
    )
    if not same:
        raise SourceUnreadable(
            f"{name} cannot be written anew: the result lies elsewhere.", hint="Leave it as it is."
        )
    width, height = handle.RasterXSize, handle.RasterYSize
    rows = max(1, _STRIP // width // BLOCK) * BLOCK
    for number in range(1, handle.RasterCount + 1):
        ours, theirs = made.GetRasterBand(number), handle.GetRasterBand(number)
        pairs = [(ours, theirs)]
        if theirs.GetMaskFlags() & gdal.GMF_PER_DATASET:
            pairs.append((ours.GetMaskBand(), theirs.GetMaskBand()))
        for top in range(0, height, rows):
            part = (0, top, width, min(rows, height - top))
            for left, right in pairs:
                if not _equal(left.ReadAsArray(*part), right.ReadAsArray(*part)):
                    raise SourceUnreadable(
                        f"{name} cannot be written anew: what was written does not read back the same.",
                        hint="Check the disk.",
                    )


def _equal(left: Any, right: Any) -> bool:
    return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
