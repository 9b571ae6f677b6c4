"""What a file says of itself beside its pixels: when it was made, and how it is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from osgeo import gdal

gdal.UseExceptions()

_DATES = (
    ("", "TIFFTAG_DATETIME"),
    ("IMAGERY", "ACQUISITIONDATETIME"),
    ("", "ACQUISITION_DATE"),
    ("", "ACQUISITIONDATETIME"),
    ("", "DATE_ACQUIRED"),
    ("", "SENSING_TIME"),
    ("", "GENERATION_TIME"),
)


@dataclass(frozen=True, slots=True)
class Tags:
    """What is read of them.

    Parameters
    ----------
    date
        A text with a date, or None.
    cog
        Whether the file is laid out as a cloud-optimised GeoTIFF.
    """

    date: str | None = None
    cog: bool = False


def tags(href: str) -> Tags:
    """The tags of a local GeoTIFF; none of any other file."""
    if not Path(href).is_absolute():
        return Tags()
    try:
        with gdal.quiet_errors():
            handle = gdal.OpenEx(href, gdal.OF_RASTER, allowed_drivers=["GTiff"])
            dates = [handle.GetMetadataItem(name, domain) for domain, name in _DATES]
            cog = handle.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE") == "COG"
    except RuntimeError:
        return Tags()
    return Tags(next((date for date in dates if date), None), cog)
