"""What the engine tells of collections and items: plain values for people and their notebooks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from geoloom.ops.composite import stamp
from geoloom_engine.catalog.raster_assets import RasterAssets, bands_of, is_raster

Json = dict[str, Any]

_LONG = 10_000
_MOST_VALUES = 40


def of(id_: str, catalogue: str, content: Mapping[str, Any], rasters: RasterAssets, about: Json) -> Json:
    """A collection as ``/collections`` answers it.

    Parameters
    ----------
    content
        Its ``collection.json``.
    about
        What its index knows: it wins, since it is counted.
    """
    extent = _mapping(content.get("extent"))
    summaries = {name: _summary(one) for name, one in _mapping(content.get("summaries")).items()}
    told = {name: one for name, one in summaries.items() if one is not None}
    interval = about.get("interval") or [None, None]
    return {
        "id": id_,
        "catalog": catalogue,
        "title": _text(content.get("title")),
        "description": _text(content.get("description")),
        "keywords": [one for one in _list(content.get("keywords")) if isinstance(one, str)],
        "bands": _bands(content, rasters),
        "bbox": about.get("bbox") or _box(extent),
        "interval": [_stamp(one) for one in interval] if any(interval) else _interval(extent),
        "items": about.get("items"),
        "properties": {**told, **about.get("properties", {})},
    }


def item(content: Mapping[str, Any]) -> Json:
    """An item as ``/search`` answers it."""
    properties = _mapping(content.get("properties"))
    return {
        "id": content.get("id"),
        "date": properties.get("datetime") or properties.get("start_datetime"),
        "bbox": content.get("bbox"),
        "geometry": content.get("geometry"),
        "properties": dict(properties),
        "assets": dict(_mapping(content.get("assets"))),
    }


def speaks_of(content: Mapping[str, Any], words: str) -> bool:
    """Whether all words stand in what a collection says of itself, however they are written."""
    keywords = [one for one in _list(content.get("keywords")) if isinstance(one, str)]
    texts = [content.get("id"), content.get("title"), content.get("description"), *keywords]
    texts += list(_mapping(content.get("item_assets")))
    said = _folded(" ".join(one for one in texts if isinstance(one, str)))
    return all(word in said for word in _folded(words).split())


def hint(collection: str, known: Sequence[str]) -> str:
    """What to do about a collection that is not there."""
    if not known:
        return "No catalogue has any; `geoloom ingest` makes one, GEOLOOM_CATALOGS names more catalogues."
    near = get_close_matches(collection.rpartition("/")[2], known, 3, 0.5)
    return f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are {', '.join(known[:10])}."


def _bands(content: Mapping[str, Any], rasters: RasterAssets) -> list[Json]:
    bands = list(rasters.declared())
    if not bands:
        assets = _mapping(content.get("item_assets")) or _mapping(content.get("assets"))
        for key, asset in assets.items():
            if isinstance(asset, Mapping) and is_raster(asset):
                bands += bands_of(str(key), asset)
    told = {
        band.name: {
            "name": band.name,
            "dtype": band.dtype,
            "unit": band.unit,
            "description": band.description,
            "resampling": band.resampling,
        }
        for band in bands
    }
    return list(told.values())


def _summary(value: Any) -> Any:
    if isinstance(value, Mapping) and {"minimum", "maximum"} <= set(value):
        return {"minimum": value["minimum"], "maximum": value["maximum"]}
    if isinstance(value, list) and len(value) <= _MOST_VALUES:
        return value if all(isinstance(one, str | int | float | bool) for one in value) else None
    return None


def _box(extent: Mapping[str, Any]) -> list[float] | None:
    boxes = _list(_mapping(extent.get("spatial")).get("bbox"))
    box = boxes[0] if boxes and isinstance(boxes[0], list) else []
    if len(box) not in (4, 6) or not all(isinstance(side, int | float) for side in box):
        return None
    half = len(box) // 2
    return [*box[:2], *box[half : half + 2]]


def _interval(extent: Mapping[str, Any]) -> list[str | None]:
    intervals = _list(_mapping(extent.get("temporal")).get("interval"))
    both = intervals[0] if intervals and isinstance(intervals[0], list) else []
    return [one if isinstance(one, str) else None for one in both] if len(both) == 2 else [None, None]


def _stamp(seconds: float | None) -> str | None:
    return None if seconds is None else stamp(seconds)


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return " ".join(re.findall(r"[^\W_]+", letters))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value[:_LONG] if isinstance(value, str) else ""
