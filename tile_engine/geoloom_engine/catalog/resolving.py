"""Items as a selection: their bands as one list, their files with what is known of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from geoloom.errors import GeoloomError, RequestError
from geoloom.outlines import outlines
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.catalog.columns import box_of
from geoloom_engine.catalog.geoparquet import moment
from geoloom_engine.catalog.raster_assets import RasterAssets

Json = dict[str, Any]

MOST_TOLD = 20
"""Problems that are told one by one."""


def resolved(collection: str, items: Sequence[Json], assets: RasterAssets) -> tuple[Selection, list[str]]:
    """The selection of STAC items in their order, and what is wrong with some of them.

    An item without footprint or rasters is left out; one with few of its assets is kept with those.
    """
    bands: dict[str, SelectedBand] = {band.name: band for band in assets.declared()}
    places = {name: number for number, name in enumerate(bands)}
    problems: list[str] = []
    kept = []
    footprints = _footprints(items)
    used: set[str] = set()
    for item, footprint in zip(items, footprints, strict=True):
        rasters = assets.of(item)
        if footprint is None or not rasters:
            lacks = "no footprint with an area" if footprint is None else "no raster files"
            problems.append(f"Item {item.get('id')!r} is left out: it has {lacks}.")
            continue
        files = []
        for raster in rasters:
            numbered = []
            for number, band in enumerate(raster.bands):
                known = bands.setdefault(band.name, band)
                if known is not band and known != band:
                    bands[band.name] = _both(known, band)
                used.add(band.name)
                numbered.append((places.setdefault(band.name, len(places)), number))
            files.append(
                Asset(
                    raster.href,
                    tuple(numbered),
                    raster.mark,
                    raster.crs,
                    raster.transform,
                    raster.shape,
                    raster.overviews,
                )
            )
        finest = min((raster.resolution for raster in rasters if raster.resolution > 0), default=0.0)
        kept.append(Item(str(item["id"]), date_of(item), footprint, tuple(files), finest))
    selection = _frozen(collection, bands, used, kept, problems)
    return selection, _told(problems)


def date_of(item: Json) -> float | None:
    """When an item was taken, in seconds since 1970 UTC: its time, or the start of its range."""
    properties = item.get("properties")
    if not isinstance(properties, dict):
        return None
    for name in ("datetime", "start_datetime"):
        found = moment(properties.get(name))
        if found is not None:
            return found.timestamp()
    return None


def _footprints(items: Sequence[Json]) -> Any:
    texts = np.array([json.dumps(item.get("geometry")) for item in items], dtype=object)
    shapes = outlines(shapely.from_geojson(texts, on_invalid="ignore"))
    for row in np.flatnonzero(shapely.is_missing(shapes)).tolist():
        shapes[row] = outlines([box_of(items[row].get("bbox"))])[0]
    return shapes


def _frozen(
    collection: str, bands: dict[str, SelectedBand], used: set[str], items: list[Item], problems: list[str]
) -> Selection:
    """The selection with the bands that its items have; an item that cannot be kept is left out."""
    names = [name for name in bands if name in used]
    new = {old: names.index(name) for old, name in enumerate(bands) if name in used}

    def numbered(item: Item) -> Item:
        files = [
            replace(file, bands=tuple((new[at], band) for at, band in file.bands)) for file in item.assets
        ]
        return replace(item, assets=tuple(files))

    if len(names) < len(bands):
        items = [numbered(item) for item in items]
    chosen = [bands[name] for name in names]
    try:
        return Selection.of(collection, chosen, items)
    except GeoloomError:
        good = []
        for item in items:
            try:
                Selection.of(collection, chosen, [item])
                good.append(item)
            except GeoloomError as error:
                problems.append(error.message)
        try:
            return Selection.of(collection, chosen, good)
        except GeoloomError as error:
            raise RequestError(f"The selection cannot be made: {error.message}", hint=error.hint) from None


def _both(one: SelectedBand, other: SelectedBand) -> SelectedBand:
    """What holds for a band that items describe in two ways."""
    return replace(
        one,
        dtype=str(np.result_type(np.dtype(one.dtype), np.dtype(other.dtype))),
        nodata=other.nodata if one.nodata is None else one.nodata,
        unit=one.unit or other.unit,
        description=one.description or other.description,
        resampling="nearest" if "nearest" in (one.resampling, other.resampling) else one.resampling,
    )


def _told(problems: Iterable[str]) -> list[str]:
    listed = list(problems)
    more = len(listed) - MOST_TOLD
    return [*listed[:MOST_TOLD], f"{more:,} more items are left out."] if more > 0 else listed
