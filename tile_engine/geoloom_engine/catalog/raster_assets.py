"""Which of an item's assets are rasters, and what their bands are, in STAC 1.0 and 1.1.

STAC 1.0 describes bands in ``eo:bands`` and ``raster:bands``, 1.1 in ``bands``, and what all bands share in
the asset itself; a collection's ``item_assets`` hold for what an item does not say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pyproj

from geoloom.selection import SelectedBand

Json = Mapping[str, Any]

UNKNOWN_DTYPE = "float32"
"""What holds the numbers of most files, where nothing is said of their type."""

_MEDIA = frozenset(
    {
        *("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "application/x-netcdf", "application/netcdf"),
        *("application/x-hdf", "application/x-hdf5", "application/vnd+zarr", "application/vnd.zarr"),
    }
)
_ENDINGS = (".tif", ".tiff", ".jp2", ".nc", ".nc4", ".zarr", ".h5", ".hdf")
_NOT_DATA = frozenset({"thumbnail", "overview", "visual", "metadata", "tiles", "preview"})
_CLASS_WORDS = frozenset(
    ("category", "class", "classes", "classification", "cloudmask", "flag", "flags", "fmask", "labels")
    + ("landcover", "landuse", "lulc", "mask", "qa", "quality", "scl", "pixel")
)
_DTYPES = frozenset(
    {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"}
)
_OTHER_DTYPES = {"float16": "float32"}
_METRES_IN_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class Raster:
    """A raster asset of an item.

    Parameters
    ----------
    href
        As the item has it.
    bands
        What is read of it, in the order of the file.
    crs, transform, shape, overviews, mark
        As in `geoloom.selection.Asset`.
    resolution
        Ground metres of a pixel; 0: not known.
    """

    href: str
    bands: tuple[SelectedBand, ...]
    crs: str
    transform: tuple[float, float, float, float, float, float] | None
    shape: tuple[int, int] | None
    overviews: tuple[tuple[int, int], ...]
    mark: str
    resolution: float


class RasterAssets:
    """Finds the rasters among the assets of a collection's items; what was worked out is kept.

    Parameters
    ----------
    item_assets
        Of the collection.
    """

    def __init__(self, item_assets: Json | None = None) -> None:
        given = item_assets if isinstance(item_assets, Mapping) else {}
        self._shared = {str(key): one for key, one in given.items() if isinstance(one, Mapping)}
        self._bands: dict[str, tuple[SelectedBand, ...]] = {}

    def of(self, item: Json) -> list[Raster]:
        """The rasters of an item, in its order; whatever is malformed counts as not there."""
        assets = item.get("assets")
        if not isinstance(assets, Mapping):
            return []
        properties = item.get("properties") if isinstance(item.get("properties"), Mapping) else {}
        found = []
        for key, asset in assets.items():
            if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str) or not asset["href"]:
                continue
            merged = {**self._shared.get(key, {}), **asset}
            if is_raster(key, merged, assets):
                found.append(self._raster(str(key), merged, properties or {}))
        return found

    def declared(self) -> tuple[SelectedBand, ...]:
        """The bands that the collection's ``item_assets`` promise."""
        bands: list[SelectedBand] = []
        for key, asset in self._shared.items():
            if is_raster(key, {"href": "", **asset}, self._shared):
                bands += bands_of(key, asset)
        return tuple(bands)

    def _raster(self, key: str, asset: Json, properties: Json) -> Raster:
        told = repr((key, [asset.get(name) for name in _BAND_FIELDS]))
        bands = self._bands.get(told)
        if bands is None:
            bands = self._bands[told] = bands_of(key, asset)
        transform = _transform(_either("proj:transform", asset, properties))
        crs = _crs(asset, properties)
        return Raster(
            href=asset["href"],
            bands=bands,
            crs=crs,
            transform=transform,
            shape=_shape(_either("proj:shape", asset, properties)),
            overviews=_overviews(asset.get("geoloom:overviews")),
            mark=_mark(asset.get("geoloom:mark")),
            resolution=_resolution(transform, crs, asset, properties),
        )


def is_raster(key: str, asset: Json, assets: Json) -> bool:
    """Whether an asset holds raster data, not a picture of it, and is not another's copy as JPEG 2000."""
    roles = asset.get("roles")
    roles = (
        frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset()
    )
    if roles & _NOT_DATA and "data" not in roles:
        return False
    if key.endswith("-jp2") and key.removesuffix("-jp2") in assets:
        return False
    media = asset.get("type")
    if isinstance(media, str) and media:
        return media.partition(";")[0].strip().lower() in _MEDIA or (
            media == "application/octet-stream" and _ends_well(asset)
        )
    return _ends_well(asset)


_BAND_FIELDS = (
    *("bands", "eo:bands", "raster:bands", "data_type", "nodata", "unit", "raster:scale", "raster:offset"),
    *("roles", "title", "classification:classes", "geoloom:resampling"),
)


def bands_of(key: str, asset: Json) -> tuple[SelectedBand, ...]:
    """The bands of an asset: named by its key if there is one, else each by its own name."""
    lists = [asset.get(name) for name in ("bands", "eo:bands", "raster:bands")]
    listed = [[one for one in some if isinstance(one, Mapping)] for some in lists if isinstance(some, list)]
    count = max(map(len, listed), default=0) or 1
    bands: list[SelectedBand] = []
    for number in range(count):
        told: dict[str, Any] = {name: asset[name] for name in _BAND_FIELDS[3:] if name in asset}
        for some in listed:
            told.update(some[number] if number < len(some) else {})
        name = key if count == 1 else _text(told.get("name")) or f"{key}_{number + 1}"
        if any(band.name == name for band in bands):
            name = f"{name}_{number + 1}"
        bands.append(_band(name, told))
    return tuple(bands)


def _band(name: str, told: Json) -> SelectedBand:
    dtype = _OTHER_DTYPES.get(str(told.get("data_type")), str(told.get("data_type")))
    resampling = told.get("geoloom:resampling")
    if resampling not in ("nearest", "bilinear"):
        resampling = "nearest" if _holds_classes(name, told) else "bilinear"
    return SelectedBand(
        name=name,
        dtype=dtype if dtype in _DTYPES else UNKNOWN_DTYPE,
        nodata=_nodata(told.get("nodata")),
        unit=_text(told.get("unit")),
        scale=_number(told.get("raster:scale", told.get("scale"))) or 1.0,
        offset=_number(told.get("raster:offset", told.get("offset"))) or 0.0,
        resampling=resampling,
        description=_text(told.get("description") or told.get("common_name") or told.get("eo:common_name")),
    )


def _holds_classes(name: str, told: Json) -> bool:
    if told.get("classification:classes") or told.get("classification:bitfields"):
        return True
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    return not _CLASS_WORDS.isdisjoint(words)


def _ends_well(asset: Json) -> bool:
    path = urlsplit(str(asset.get("href", ""))).path.rstrip("/").lower()
    return path.endswith(_ENDINGS)


def _either(name: str, asset: Json, properties: Json) -> Any:
    found = asset.get(name)
    return properties.get(name) if found is None else found


def _transform(value: Any) -> tuple[float, float, float, float, float, float] | None:
    """GDAL's order of STAC's rows of a matrix."""
    if not isinstance(value, list | tuple) or len(value) not in (6, 9):
        return None
    numbers = [_number(one) for one in value[:6]]
    if any(one is None for one in numbers):
        return None
    a, b, x0, d, e, y0 = (float(one) for one in numbers if one is not None)
    return None if a * e == b * d else (x0, a, b, y0, d, e)


def _shape(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    rows, cols = (_number(one) for one in value)
    return (int(rows), int(cols)) if rows and cols and rows >= 1 and cols >= 1 else None


def _overviews(value: Any) -> tuple[tuple[int, int], ...]:
    levels = [_shape(one) for one in value] if isinstance(value, list) else []
    return () if None in levels else tuple(level for level in levels if level is not None)


def _crs(asset: Json, properties: Json) -> str:
    """Authority code or WKT; empty if nothing usable is said."""
    for place in (asset, properties):
        code, number = place.get("proj:code"), place.get("proj:epsg")
        if isinstance(code, str) and ":" in code:
            return code
        if isinstance(number, int | float) and number > 0:
            return f"EPSG:{int(number)}"
        for name, read in (("proj:wkt2", pyproj.CRS.from_wkt), ("proj:projjson", pyproj.CRS.from_user_input)):
            if place.get(name):
                try:
                    return str(read(place[name]).to_wkt())
                except pyproj.exceptions.CRSError:
                    continue
    return ""


def _mark(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{10}", value) else ""


def _resolution(transform: Any, crs: str, asset: Json, properties: Json) -> float:
    """Ground metres of a pixel, by its transform, else by what is said."""
    if transform is not None and crs:
        _, a, b, y0, d, e = transform
        side = math.sqrt(abs(a * e - b * d))
        return side * _METRES_IN_DEGREE if _in_degrees(crs, y0) else side
    for place, name in ((asset, "raster:spatial_resolution"), (asset, "gsd"), (properties, "gsd")):
        told = _number(place.get(name))
        if told and told > 0:
            return told
    return 0.0


def _in_degrees(crs: str, y0: float) -> bool:
    return crs in ("EPSG:4326", "OGC:CRS84") or (crs.startswith(("GEOGCRS", "GEOGCS")) and abs(y0) <= 90.5)


def _nodata(value: Any) -> float | None:
    if isinstance(value, str) and value.lower() in ("nan", "inf", "-inf"):
        return float(value)
    return _number(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
