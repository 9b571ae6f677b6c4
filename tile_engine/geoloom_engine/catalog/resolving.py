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
from geoloom_engine.catalog.raster_assets import Raster, RasterAssets

Json = dict[str, Any]

MOST_TOLD = 20
"""Problems that are told one by one."""


def resolved(collection: str, items: Sequence[Json], assets: RasterAssets) -> tuple[Selection, list[str]]:
    """The selection of STAC items in their order, and what is wrong with some of them.

    An item without footprint or rasters is left out; one with few of its assets is kept with those.
    """
    bands = _Bands(assets.declared())
    problems: list[str] = []
    kept = []
    for item, footprint in zip(items, _footprints(items), strict=True):
        rasters = assets.of(item)
        if footprint is None or not rasters:
            lacks = "no footprint with an area" if footprint is None else "no raster files"
            problems.append(f"Item {item.get('id')!r} is left out: it has {lacks}.")
            continue
        files = [
            Asset(href, bands.places(one), mark, one.crs, one.transform, one.shape, one.overviews)
            for href, mark, one in rasters
        ]
        finest = min((one.resolution for *_, one in rasters if one.resolution > 0), default=0.0)
        kept.append(Item(str(item["id"]), date_of(item), footprint, tuple(files), finest))
    selection = _frozen(collection, bands.known, bands.used, kept, problems)
    return selection, _told(problems)


class _Bands:
    """The bands of all items as one list, in the order in which they are met."""

    def __init__(self, declared: Sequence[SelectedBand]) -> None:
        self.known = {band.name: band for band in declared}
        self.used: set[str] = set()
        self._places = {name: place for place, name in enumerate(self.known)}
        # Items share what describes their rasters; it is held, so that its id stays its own.
        self._of: dict[int, tuple[Raster, tuple[tuple[int, int], ...]]] = {}

    def places(self, raster: Raster) -> tuple[tuple[int, int], ...]:
        """Of each band of a raster: its place in the list, and its number in the file."""
        found = self._of.get(id(raster))
        if found is None:
            found = raster, tuple((self._place(band), number) for number, band in enumerate(raster.bands))
            self._of[id(raster)] = found
        return found[1]

    def _place(self, band: SelectedBand) -> int:
        known = self.known.setdefault(band.name, band)
        if known != band:
            self.known[band.name] = _both(known, band)
        self.used.add(band.name)
        return self._places.setdefault(band.name, len(self._places))


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
