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


_CLOUDS = ("CLOUD_COVER", "CLOUD_COVERAGE_ASSESSMENT", "CLOUDY_PIXEL_PERCENTAGE")


@dataclass(frozen=True, slots=True)
class Tags:
    """What is read of them.

    Parameters
    ----------
    date
        A text with a date, or None.
    cog
        Whether the file is laid out as a cloud-optimised GeoTIFF.
    clouds
        Percent of the scene under clouds, or None.
    """

    date: str | None = None
    cog: bool = False
    clouds: float | None = None


def tags(href: str) -> Tags:
    """The tags of a local GeoTIFF; none of any other file."""
    if not Path(href).is_absolute():
        return Tags()
    try:
        with gdal.quiet_errors():
            handle = gdal.OpenEx(href, gdal.OF_RASTER, allowed_drivers=["GTiff"])
            dates = [handle.GetMetadataItem(name, domain) for domain, name in _DATES]
            clouds = [handle.GetMetadataItem(name) for name in _CLOUDS]
            cog = handle.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE") == "COG"
    except RuntimeError:
        return Tags()
    covered = next((share for text in clouds if (share := _percent(text)) is not None), None)
    return Tags(next((date for date in dates if date), None), cog, covered)


def _percent(text: str | None) -> float | None:
    """A share in percent; None of anything else, such as the -1 that stands for not known."""
    try:
        share = float(text or "")
    except ValueError:
        return None
    return share if 0 <= share <= 100 else None
