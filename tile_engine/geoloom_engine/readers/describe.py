"""What GDAL says of an open file, as `SourceInfo` and `Layout`."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import numpy as np
import pyproj
from osgeo import gdal, osr

from geoloom.errors import SourceNotGeoreferenced, SourceRefused, SourceUnreadable
from geoloom_engine.projection import spelled
from geoloom_engine.readers import footprint
from geoloom_engine.readers.access import Place
from geoloom_engine.readers.layout import Layout
from geoloom_engine.readers.source import BandInfo, SourceInfo, Transform

osr.UseExceptions()

_BLOCK_PIXELS = 1 << 16
_MAX_BLOCK_PIXELS = 1 << 26
_DTYPES = {
    gdal.GDT_Byte: "uint8",
    gdal.GDT_Int8: "int8",
    gdal.GDT_UInt16: "uint16",
    gdal.GDT_Int16: "int16",
    gdal.GDT_UInt32: "uint32",
    gdal.GDT_Int32: "int32",
    gdal.GDT_UInt64: "uint64",
    gdal.GDT_Int64: "int64",
    gdal.GDT_Float16: "float32",
    gdal.GDT_Float32: "float32",
    gdal.GDT_Float64: "float64",
}
_CLASS_WORDS = frozenset(
    ("category", "categories", "class", "classes", "classification", "cloudmask", "flag", "flags", "fmask")
    + ("label", "labels", "landcover", "landuse", "lulc", "mask", "nlcd", "qa", "qa60", "quality", "scl")
    + ("worldcover",)
)
_GEO_HINT = "Give it a CRS and corners, for example with gdalwarp or gdal_edit."


def describe(
    handle: Any, place: Place, print_: str, nodata: float | None = None
) -> tuple[SourceInfo, Layout]:
    """Everything about an open file.

    Parameters
    ----------
    nodata
        Value that stands for no data in bands that declare none, if their type can hold it.

    Raises
    ------
    SourceNotGeoreferenced, SourceRefused, SourceUnreadable
        If it cannot be shown on a map.
    """
    width, height = handle.RasterXSize, handle.RasterYSize
    transform = _transform(handle, place)
    crs, crs_name = _crs(handle, place)
    try:
        placed = footprint.place(transform, width, height, crs)
    except pyproj.exceptions.ProjError:
        placed = None
    if placed is None:
        raise SourceNotGeoreferenced(
            f"{place.name}: its coordinates have no place on Earth in {crs_name}.", hint=_GEO_HINT
        )
    bounds, ground = placed
    numbers, alpha = _band_numbers(handle, place)
    raw = [handle.GetRasterBand(number) for number in numbers]
    bands = _band_infos(raw, place, nodata)
    mask = alpha is None and bool(
        raw[0].GetMaskFlags() & gdal.GMF_PER_DATASET and not raw[0].GetMaskFlags() & gdal.GMF_ALPHA
    )
    overviews = _overviews(raw)
    blocks = [tuple(raw[0].GetBlockSize())] + [
        tuple(raw[0].GetOverview(index).GetBlockSize()) for index, _ in overviews
    ]
    levels = [(width, height), *(size for _, size in overviews)]
    for block, level in zip(blocks, levels, strict=True):
        pixels = min(block[0], level[0]) * min(block[1], level[1])
        if pixels > _MAX_BLOCK_PIXELS:
            raise SourceRefused(
                f"{place.name} is stored in blocks of {pixels / 1e6:,.0f} million pixels, and each would be "
                "read whole for one tile.",
                hint="Convert it to a cloud-optimised GeoTIFF (gdal_translate -of COG).",
            )
    layout = Layout(
        numbers=numbers,
        dtypes=tuple(band.dtype for band in bands),
        nodata=tuple(_usable_nodata(band.nodata, band.dtype) for band in bands),
        overviews=tuple(index for index, _ in overviews),
        blocks=tuple(_read_size(block, level) for block, level in zip(blocks, levels, strict=True)),
        alpha=alpha,
        mask=mask,
    )
    info = SourceInfo(
        href=place.href,
        driver=handle.GetDriver().ShortName,
        fingerprint=print_,
        width=width,
        height=height,
        transform=transform,
        crs=crs,
        bands=bands,
        overviews=tuple(size for _, size in overviews),
        bounds=bounds,
        resolution=(math.hypot(transform[1], transform[4]), math.hypot(transform[2], transform[5])),
        ground_resolution=ground,
        resampling="nearest" if any(band.resampling == "nearest" for band in bands) else "bilinear",
        block=(int(blocks[0][0]), int(blocks[0][1])),
        dtype=str(layout.common_dtype(tuple(range(len(bands))))),
        alpha=alpha is not None,
        mask=mask,
        shared_valid=layout.shared_valid,
        crs_name=crs_name,
        decoded=layout.blocks,
    )
    return info, layout


def _transform(handle: Any, place: Place) -> Transform:
    values = handle.GetGeoTransform(can_return_null=True)
    if values is None or tuple(values) == (0.0, 1.0, 0.0, 0.0, 0.0, 1.0):
        if handle.GetGCPCount() > 0:
            raise SourceNotGeoreferenced(
                f"{place.name} is placed by ground control points alone.",
                hint="Warp it first (gdalwarp -t_srs EPSG:4326), then open the result.",
            )
        if handle.GetMetadata("RPC"):
            raise SourceNotGeoreferenced(
                f"{place.name} is placed by a camera model (RPC) alone.",
                hint="Orthorectify it first (gdalwarp -rpc), then open the result.",
            )
        raise SourceNotGeoreferenced(f"{place.name} does not say where its corners lie.", hint=_GEO_HINT)
    x0, a, b, y0, d, e = (float(value) for value in values)
    transform = (x0, a, b, y0, d, e)
    try:
        footprint.invert(transform)
    except ValueError:
        raise SourceNotGeoreferenced(
            f"{place.name} has pixels without area in its transform.", hint=_GEO_HINT
        ) from None
    return transform


def _crs(handle: Any, place: Place) -> tuple[str, str]:
    """Horizontal CRS as authority code or WKT, and its name."""
    missing = SourceNotGeoreferenced(
        f"{place.name} does not say in which coordinate system it is.", hint=_GEO_HINT
    )
    reference = handle.GetSpatialRef()
    if reference is None:
        raise missing
    try:
        named = _named(reference.ExportToWkt(["FORMAT=WKT2_2019"]))
    except (RuntimeError, pyproj.exceptions.CRSError):
        raise missing from None
    if named is None:
        raise missing
    return named


@lru_cache(maxsize=256)
def _named(wkt: str) -> tuple[str, str] | None:
    """The same of a CRS as WKT; None if it has no place on Earth. Files of a collection share a few."""
    crs = pyproj.CRS.from_wkt(wkt)
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    crs = crs.to_2d()
    if not (crs.is_geographic or crs.is_projected) or crs.geodetic_crs is None:
        return None
    return spelled(crs), crs.name


def _band_numbers(handle: Any, place: Place) -> tuple[tuple[int, ...], int | None]:
    """Numbers of the bands with data, and of the alpha band."""
    alphas: list[int] = []
    numbers: list[int] = []
    for number in range(1, handle.RasterCount + 1):
        is_alpha = handle.GetRasterBand(number).GetColorInterpretation() == gdal.GCI_AlphaBand
        (alphas if is_alpha else numbers).append(number)
    if not numbers:
        # A lone alpha band is the data somebody wants to see.
        numbers, alphas = alphas, []
    if not numbers:
        raise SourceUnreadable(f"{place.name} holds no band.", hint="Open a file with raster bands.")
    return tuple(numbers), alphas[0] if alphas else None


def _band_infos(raw: list[Any], place: Place, nodata: float | None) -> tuple[BandInfo, ...]:
    infos: list[BandInfo] = []
    taken: set[str] = set()
    for index, band in enumerate(raw):
        dtype = _DTYPES.get(band.DataType)
        if dtype is None:
            raise SourceRefused(
                f"{place.name}: band {index + 1} holds {gdal.GetDataTypeName(band.DataType)} numbers, "
                "which cannot be shown.",
                hint="Write amplitude or phase to a file of its own first.",
            )
        description = (band.GetDescription() or "").strip() or None
        name = _unique(description or f"b{index + 1}", taken)
        categories = tuple(band.GetCategoryNames() or ())
        palette = _palette(band)
        declared = band.GetNoDataValue()
        if declared is None:
            declared = _usable_nodata(nodata, dtype)
        scale, offset = band.GetScale(), band.GetOffset()
        colour = band.GetColorInterpretation()
        classes = dtype[0] in "iu" and (
            palette is not None
            or bool(categories)
            or band.GetMetadataItem("NBITS", "IMAGE_STRUCTURE") == "1"
            or _names_classes(description or (PurePath(place.name).stem if len(raw) == 1 else ""))
        )
        infos.append(
            BandInfo(
                name=name,
                dtype=dtype,
                nodata=declared,
                unit=(band.GetUnitType() or "").strip() or None,
                scale=1.0 if scale is None else float(scale),
                offset=0.0 if offset is None else float(offset),
                description=description,
                colour=None if colour == gdal.GCI_Undefined else gdal.GetColorInterpretationName(colour),
                categories=categories,
                palette=palette,
                resampling="nearest" if classes else "bilinear",
            )
        )
    return tuple(infos)


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _names_classes(text: str) -> bool:
    """Whether a band's description, or a one-band file's name, speaks of classes or flags."""
    return not _CLASS_WORDS.isdisjoint(re.split(r"[^a-z0-9]+", text.lower()))


def _palette(band: Any) -> tuple[tuple[int, int, int, int], ...] | None:
    table = band.GetColorTable()
    if table is None or table.GetCount() == 0:
        return None
    return tuple(tuple(table.GetColorEntry(index)) for index in range(table.GetCount()))


def _overviews(raw: list[Any]) -> list[tuple[int, tuple[int, int]]]:
    """Index and size of the overviews that all bands share, from fine to coarse."""
    found: dict[tuple[int, int], int] = {}
    for index in range(min(band.GetOverviewCount() for band in raw)):
        sizes = {(band.GetOverview(index).XSize, band.GetOverview(index).YSize) for band in raw}
        size = sizes.pop()
        if not sizes and size[0] < raw[0].XSize and size[1] <= raw[0].YSize:
            found.setdefault(size, index)
    return [(found[size], size) for size in sorted(found, reverse=True)]


def _read_size(block: tuple[int, ...], level: tuple[int, int]) -> tuple[int, int]:
    """Whole blocks of the file that together hold at least 65,536 pixels (or the whole level).

    A strip of one row costs as much overhead as a tile of 256 rows.
    """
    width, height = int(block[0]), int(block[1])
    while width * height < _BLOCK_PIXELS and (width < level[0] or height < level[1]):
        if height < level[1] and (height <= width or width >= level[0]):
            height *= 2
        else:
            width *= 2
    return width, height


def _usable_nodata(nodata: float | int | None, dtype: str) -> float | int | None:
    """The nodata value as the band's type holds it; None if no pixel can have it."""
    if nodata is None:
        return None
    kind = np.dtype(dtype)
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            value = float(kind.type(nodata))
        return value if math.isfinite(value) else None
    if not math.isfinite(nodata) or nodata != int(nodata):
        return None
    limits = np.iinfo(kind)
    return int(nodata) if limits.min <= nodata <= limits.max else None
