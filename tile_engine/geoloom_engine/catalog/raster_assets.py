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
_MOST_KNOWN = 50_000
_METRES_IN_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class Raster:
    """What a raster asset's files have in common.

    Parameters
    ----------
    bands
        What is read of it, in the order of the file.
    crs, transform, shape, overviews
        As in `geoloom.selection.Asset`.
    resolution
        Ground metres of a pixel; 0: not known.
    """

    bands: tuple[SelectedBand, ...]
    crs: str
    transform: tuple[float, float, float, float, float, float] | None
    shape: tuple[int, int] | None
    overviews: tuple[tuple[int, int], ...]
    resolution: float


class RasterAssets:
    """Finds the rasters among the assets of a collection's items.

    Most items say the same of their assets; what was worked out once is kept.

    Parameters
    ----------
    item_assets
        Of the collection.
    """

    def __init__(self, item_assets: Json | None = None) -> None:
        given = item_assets if isinstance(item_assets, Mapping) else {}
        self._shared = {str(key): one for key, one in given.items() if isinstance(one, Mapping)}
        self._known: dict[str, Raster | None] = {}

    def of(self, item: Json) -> list[tuple[str, str, Raster]]:
        """Address, mark and description of an item's rasters; whatever is malformed counts as not there."""
        assets, properties = item.get("assets"), item.get("properties")
        if not isinstance(assets, Mapping):
            return []
        if not isinstance(properties, Mapping):
            properties = {}
        common = repr([properties.get(name) for name in _PLACE_FIELDS])
        found = []
        for key, asset in assets.items():
            if not isinstance(asset, Mapping):
                continue
            href = asset.get("href")
            if not isinstance(href, str) or not href or _is_copy(key, assets):
                continue
            told = _told(key, asset, href, common)
            if told in self._known:
                raster = self._known[told]
            else:
                raster = self._raster(str(key), asset, properties)
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[told] = raster
            if raster is not None:
                found.append((href, _mark(asset.get("geoloom:mark")), raster))
        return found

    def declared(self) -> tuple[SelectedBand, ...]:
        """The bands that the collection's ``item_assets`` promise."""
        bands: list[SelectedBand] = []
        for key, asset in self._shared.items():
            if not _is_copy(key, self._shared) and is_raster({"href": "", **asset}):
                bands += bands_of(key, asset)
        return tuple(bands)

    def _raster(self, key: str, asset: Json, properties: Json) -> Raster | None:
        said = {name: value for name, value in asset.items() if value is not None}
        merged = {**self._shared.get(key, {}), **said}
        if not is_raster(merged):
            return None
        transform = _transform(_either("proj:transform", merged, properties))
        crs = _crs(merged, properties)
        return Raster(
            bands=bands_of(key, merged),
            crs=crs,
            transform=transform,
            shape=_shape(_either("proj:shape", merged, properties)),
            overviews=_overviews(merged.get("geoloom:overviews")),
            resolution=_resolution(transform, crs, merged, properties),
        )


def _told(key: object, asset: Json, href: str, common: str) -> str:
    """All that an asset is described by, as one text."""
    said = [asset.get(name) for name in _ASSET_FIELDS]
    bands = asset.get("bands")
    if isinstance(bands, list):
        # Numbers of pixels' values are of each file alone.
        bands = [_without_statistics(band) for band in bands]
    ending = "" if asset.get("type") else href[-8:]
    return repr((key, said, bands, ending)) + common


def _without_statistics(band: Any) -> Any:
    if not isinstance(band, Mapping) or band.get("statistics") is None:
        return band
    return {name: value for name, value in band.items() if name != "statistics"}


def _is_copy(key: object, assets: Json) -> bool:
    """Whether an asset is another's copy as JPEG 2000."""
    return isinstance(key, str) and key.endswith("-jp2") and key.removesuffix("-jp2") in assets


def is_raster(asset: Json) -> bool:
    """Whether an asset holds raster data, and is not a picture of it."""
    listed = asset.get("roles")
    roles = {role for role in listed if isinstance(role, str)} if isinstance(listed, list) else set()
    if roles & _NOT_DATA and "data" not in roles:
        return False
    media = asset.get("type")
    if isinstance(media, str) and media:
        plain = media.partition(";")[0].strip().lower()
        return plain in _MEDIA or (plain == "application/octet-stream" and _ends_well(asset))
    return _ends_well(asset)


_PLACE_FIELDS = (
    *("proj:transform", "proj:shape", "proj:code", "proj:epsg", "proj:wkt2", "proj:projjson"),
    *("gsd", "raster:spatial_resolution"),
)
_BAND_FIELDS = (
    *("bands", "eo:bands", "raster:bands", "data_type", "nodata", "unit", "raster:scale", "raster:offset"),
    *("roles", "title", "classification:classes", "geoloom:resampling"),
)

_ASSET_FIELDS = (*_PLACE_FIELDS, *_BAND_FIELDS[1:], "type", "geoloom:overviews")


def bands_of(key: str, asset: Json) -> tuple[SelectedBand, ...]:
    """The bands of an asset: named by its key if there is one, else each by its own name."""
    lists = [asset.get(name) for name in ("bands", "eo:bands", "raster:bands")]
    listed = [[one for one in some if isinstance(one, Mapping)] for some in lists if isinstance(some, list)]
    count = max(map(len, listed), default=0) or 1
    bands: list[SelectedBand] = []
    for number in range(count):
        told: dict[str, Any] = {name: asset[name] for name in _BAND_FIELDS[3:] if name in asset}
        for some in listed:
            own = some[number] if number < len(some) else {}
            told.update({name: value for name, value in own.items() if value is not None})
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
        for name, kind in (("proj:wkt2", str), ("proj:projjson", dict)):
            if isinstance(place.get(name), kind):
                try:
                    return str(pyproj.CRS.from_user_input(place[name]).to_wkt())
                except (pyproj.exceptions.CRSError, TypeError, ValueError):
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
