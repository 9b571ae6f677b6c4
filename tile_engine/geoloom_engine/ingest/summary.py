"""``collection.json``: what a collection holds, from its parts."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from geoloom_engine.ingest.items import EXTENSIONS

NAME = "collection.json"

_MOST_VALUES = 30
_NOT_SUMMED = frozenset({"datetime", "start_datetime", "end_datetime", "created", "updated", "title"})
_BAND_FIELDS = (
    "name", "description", "data_type", "unit", "nodata", "raster:scale", "raster:offset",
    "geoloom:resampling",
)  # fmt: skip

Json = dict[str, Any]


class Summary:
    """What all items have in common, gathered one by one."""

    def __init__(self) -> None:
        self.count = 0
        self._box: list[float] = []
        self._interval: list[str] = []
        self._ranges: dict[str, list[float]] = {}
        self._values: dict[str, set[str]] = {}
        self._assets: dict[str, Json] = {}

    def add(self, item: Json) -> None:
        """Take one item in."""
        self.count += 1
        self._add_box(item["bbox"])
        properties = item["properties"]
        start = properties.get("start_datetime") or properties.get("datetime")
        end = properties.get("end_datetime") or properties.get("datetime")
        if start and end:
            self._add_interval(start, end)
        for name, value in properties.items():
            if name not in _NOT_SUMMED:
                self._add_property(name, value)
        for key, asset in item["assets"].items():
            if key not in self._assets:
                self._assets[key] = _common(asset)

    def to_text(self) -> str:
        """All of it, for `join`."""
        values = {name: sorted(found) for name, found in self._values.items()}
        return json.dumps(
            [self.count, self._box, self._interval, self._ranges, values, self._assets], ensure_ascii=False
        )

    def join(self, text: str) -> None:
        """Take in what the summary of other items says."""
        count, box, interval, ranges, values, assets = json.loads(text)
        self.count += count
        if box:
            self._add_box(box)
        if interval:
            self._add_interval(*interval)
        for name, both in ranges.items():
            for value in both:
                self._add_property(name, value)
        for name, found in values.items():
            for value in found:
                self._add_property(name, value)
        for key, asset in assets.items():
            self._assets.setdefault(key, asset)

    def to_json(self, old: Json, collection: str, title: str | None, description: str | None) -> Json:
        """The collection, with what somebody wrote into the one before kept."""
        boxes = [[float(value) for value in self._box]] if self._box else [[-180.0, -90.0, 180.0, 90.0]]
        interval: list[Any] = [self._interval or [None, None]]
        summaries: Json = {name: _range(both) for name, both in sorted(self._ranges.items())}
        for name, values in sorted(self._values.items()):
            if len(values) <= _MOST_VALUES:
                summaries[name] = sorted(values)
        return {
            **old,
            "type": "Collection",
            "stac_version": "1.1.0",
            "stac_extensions": sorted({*old.get("stac_extensions", []), *EXTENSIONS}),
            "id": collection,
            "title": title or old.get("title") or collection,
            "description": description or old.get("description") or title or f"Collection {collection}.",
            "license": old.get("license", "other"),
            "extent": {"spatial": {"bbox": boxes}, "temporal": {"interval": interval}},
            "summaries": summaries,
            "item_assets": dict(sorted(self._assets.items())),
            "links": old.get("links", []),
            "assets": {
                **old.get("assets", {}),
                "items": {
                    "href": "./items/",
                    "type": "application/vnd.apache.parquet",
                    "title": "Items, as stac-geoparquet in parts",
                    "roles": ["collection-mirror"],
                },
            },
        }

    def _add_box(self, box: list[float]) -> None:
        west, south, east, north = box
        if west > east:
            west, east = -180.0, 180.0
        old = self._box or [west, south, east, north]
        self._box = [min(old[0], west), min(old[1], south), max(old[2], east), max(old[3], north)]

    def _add_interval(self, start: str, end: str) -> None:
        old = self._interval or [start, end]
        self._interval = [min(old[0], start), max(old[1], end)]

    def _add_property(self, name: str, value: Any) -> None:
        if isinstance(value, bool) or value is None:
            return
        if isinstance(value, int | float):
            if math.isfinite(value):
                low, high = self._ranges.get(name, [value, value])
                self._ranges[name] = [min(low, value), max(high, value)]
        elif isinstance(value, str):
            values = self._values.setdefault(name, set())
            if len(values) <= _MOST_VALUES:
                values.add(value)


def write(folder: Path, content: Json) -> None:
    """Write ``collection.json``, whole or not at all."""
    path, scratch = folder / NAME, folder / f".unfinished-{os.getpid()}-{NAME}"
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    scratch.write_text(text, encoding="utf-8")
    scratch.rename(path)


def read(folder: Path) -> Json:
    """The collection as it is; empty if there is none.

    Raises
    ------
    OSError
        If what is there is no collection, or that of another id.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise OSError(f"{path} is not JSON; repair or remove it.") from None
    if not isinstance(found, dict) or found.get("type") != "Collection":
        raise OSError(f"{path} is no STAC collection; choose another id or catalogue.")
    return found


def of(items: Iterable[Json]) -> Summary:
    """The summary of items."""
    summary = Summary()
    for item in items:
        summary.add(item)
    return summary


def _common(asset: Json) -> Json:
    """What an asset of one item says of those of all."""
    found = {name: asset[name] for name in ("type", "roles", "title") if asset.get(name)}
    bands = [
        {name: band[name] for name in _BAND_FIELDS if band.get(name) is not None}
        for band in asset.get("bands") or []
    ]
    return {**found, "bands": bands} if bands else found


def _range(both: list[float]) -> Json:
    return {"minimum": both[0], "maximum": both[1]}
