"""STAC items from the files of a scene."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely

from geoloom.errors import GeoloomError, SourceChanged
from geoloom_engine.ingest import cubes, dates
from geoloom_engine.ingest.jobs import File, Job, Outcome, Treatment
from geoloom_engine.ingest.optimise import Optimised, optimise
from geoloom_engine.ingest.survey import Survey, survey
from geoloom_engine.ingest.valid_area import tidied
from geoloom_engine.readers import SourcePool
from geoloom_engine.readers.access import short_name
from geoloom_engine.readers.source import BandInfo, SourceInfo
from geoloom_engine.readers.tags import Tags, tags

ANYWHERE = ("/", "http://", "https://", "s3://")
"""Who ingests reads what their account can."""

MARK_DIGITS = 10
"""Digits of a file's fingerprint that an item keeps."""

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
CLOUDS = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
"""The extension of items that say how cloudy they are."""

_DIGITS = 7


@dataclass(frozen=True, slots=True)
class _Seen:
    """What becomes one asset: a file that was looked into, or a variable of it at one time."""

    file: File
    name: str
    info: SourceInfo
    survey: Survey
    tags: Tags | None = None
    optimised: Optimised | None = None
    file_mark: str | None = None


class Maker:
    """Makes items; keeps files open from one to the next.

    Parameters
    ----------
    treatment
        What holds for all of them.
    """

    def __init__(self, treatment: Treatment) -> None:
        self._treatment = treatment
        self._pool = SourcePool(ANYWHERE, max_open=8, recheck=0.0, read_timeout=60.0, read_retries=4)

    def make(self, job: Job, at: Callable[[str], None]) -> Outcome:
        """The items of a scene; `at` is told each file before it is opened."""
        problems: list[tuple[str, str]] = []
        seen: list[_Seen] = []
        items: list[dict[str, Any]] = []
        for file in job.files:
            at(file.href)
            try:
                if cubes.is_cube(file.href):
                    items += self._cube(job, file)
                else:
                    seen.append(self._look(file, job))
            except GeoloomError as error:
                problems.append((file.href, str(error).rstrip(".")))
            except (OSError, ValueError, MemoryError, RuntimeError, ArithmeticError) as error:
                problems.append((file.href, f"{type(error).__name__}: {error}"))
        if seen and all(one.survey.area.is_empty for one in seen):
            problems += [(one.file.href, _EMPTY) for one in seen]
            seen = []
        if seen:
            items.append(self._item(job, job.id, self._moment(job, seen), seen))
        sizes = [one.optimised.sizes for one in seen if one.optimised is not None]
        return Outcome(job, items, problems, sizes)

    def _look(self, file: File, job: Job) -> _Seen:
        source = self._pool.open(file.href, self._treatment.nodata)
        found, about = survey(source), tags(file.href)
        name, folder = file.name or "data", self._treatment.optimised
        if folder is None:
            return _Seen(file, name, source.info, found, about)
        better = optimise(file, source.info, Path(folder), job, self._treatment)
        if self._pool.fingerprint(file.href) != source.info.fingerprint:
            raise SourceChanged(
                f"{short_name(file.href)} changed while it was read.", hint="Run the ingest again."
            )
        info = self._pool.open(better.path, self._treatment.nodata).info
        return _Seen(file, name, info, found, about, better)

    def _cube(self, job: Job, file: File) -> list[dict[str, Any]]:
        """One item for each time of a netCDF file or Zarr store, with an asset for each variable."""
        items = []
        for step in cubes.steps(self._pool, file.href):
            seen = [
                _Seen(File(file.href, name, file.size, file.changed), name, *looked, file_mark=step.mark)
                for name, looked in step.variables.items()
            ]
            moment = dates.find(step.date) if step.date else self._moment(job, seen)
            id_ = f"{job.id}_{cubes.compact(step.date)}" if step.date else job.id
            items.append(self._item(job, id_, moment, seen))
        return items

    def _moment(self, job: Job, seen: list[_Seen]) -> dates.Moment | None:
        """When a scene was taken: by the names of its files, else by what stands in them."""
        if job.moment is not None:
            return job.moment
        told = (one.tags.date for one in seen if one.tags and one.tags.date)
        return next((moment for text in told if (moment := dates.find(text))), None)

    def _item(self, job: Job, id_: str, moment: dates.Moment | None, seen: list[_Seen]) -> dict[str, Any]:
        area = tidied([one.survey.area for one in seen])
        codes = {_code(one.info) for one in seen}
        properties: dict[str, Any] = {"datetime": None} if moment is None else dict(moment.properties())
        covered = (one.tags.clouds for one in seen if one.tags and one.tags.clouds is not None)
        if (clouds := next(covered, None)) is not None:
            properties["eo:cloud_cover"] = clouds
        properties |= job.properties
        properties["gsd"] = _rounded(min(one.info.ground_resolution for one in seen))
        if len(codes) == 1 and (code := codes.pop()):
            properties["proj:code"] = code
        taken: set[str] = set()
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [*EXTENSIONS, *([CLOUDS] if "eo:cloud_cover" in properties else [])],
            "id": id_,
            "collection": self._treatment.collection,
            "geometry": geometry(area),
            "bbox": bbox(area),
            "properties": properties,
            "links": [],
            "assets": {one.name: self._asset(one, len(seen) > 1, taken) for one in seen},
        }

    def _asset(self, one: _Seen, several: bool, taken: set[str]) -> dict[str, Any]:
        info, file, better = one.info, one.file, one.optimised
        size = better.sizes[1] if better else file.size
        bands = []
        for number, band in enumerate(info.bands):
            name = band.name
            if file.name and len(info.bands) == 1:
                name = file.name
            elif several and name in taken:
                name = f"{one.name}_{name}"
            taken.add(name)
            numbers = one.survey.statistics[number] if one.survey.statistics else None
            bands.append(_band(name, band, numbers, self._treatment.nodata))
        asset: dict[str, Any] = {
            "href": better.path if better else info.href,
            "type": _media_type(info, better is not None or (one.tags is not None and one.tags.cog)),
            "roles": ["data"],
            "bands": bands,
            "proj:shape": [info.height, info.width],
            "proj:transform": _affine(info),
            "geoloom:mark": info.fingerprint[:MARK_DIGITS],
            "geoloom:overviews": [list(size) for size in info.overviews],
        }
        if code := _code(info):
            asset["proj:code"] = code
        else:
            asset["proj:wkt2"] = info.crs
        if size is not None:
            asset["file:size"] = size
        if file.changed is not None:
            asset["updated"] = updated(file.changed)
        if one.file_mark:
            asset["geoloom:file_mark"] = one.file_mark
        if better:
            asset["geoloom:origin"] = file.href
            asset["geoloom:origin_mark"] = better.mark
        return asset


_EMPTY = "none of its pixels is valid: correct its nodata value if that is wrong (gdal_edit -a_nodata)"


def geometry(area: Any) -> dict[str, Any]:
    """An area in degrees as GeoJSON, to a centimetre."""
    rounded = shapely.set_precision(area, 1e-7)
    # Rounding must not lose an area that is that small.
    found: dict[str, Any] = json.loads(shapely.to_geojson(area if rounded.is_empty else rounded))
    return found


def updated(changed: int) -> str:
    """When a file was changed (ns since 1970), as an item says it."""
    return dates.stamp(datetime.fromtimestamp(changed // 1_000_000_000, UTC))


def bbox(area: Any) -> list[float]:
    """West, south, east, north of an area in degrees; west > east where it crosses the antimeridian."""
    west, south, east, north = area.bounds
    parts = shapely.get_parts(area)
    if west <= -180 and east >= 180 and len(parts) > 1:
        spans = shapely.bounds(parts)
        left, right = spans[spans[:, 0] >= 0], spans[spans[:, 2] <= 0]
        if len(left) + len(right) == len(parts) and len(left) and len(right):
            west, east = float(left[:, 0].min()), float(right[:, 2].max())
    return [_degrees(value) for value in (west, south, east, north)]


def _band(
    name: str, band: BandInfo, numbers: dict[str, float] | None, nodata: float | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "data_type": band.dtype, "geoloom:resampling": band.resampling}
    if band.description and band.description != name:
        found["description"] = band.description
    if band.unit:
        found["unit"] = band.unit
    declared = band.nodata if band.nodata is not None else nodata
    if declared is not None:
        found["nodata"] = declared if math.isfinite(declared) else str(declared)
    if band.scale != 1.0:
        found["raster:scale"] = band.scale
    if band.offset != 0.0:
        found["raster:offset"] = band.offset
    if numbers:
        found["statistics"] = numbers
    return found


def _affine(info: SourceInfo) -> list[float]:
    x0, a, b, y0, d, e = info.transform
    return [a, b, x0, d, e, y0]


def _code(info: SourceInfo) -> str | None:
    authority, colon, number = info.crs.partition(":")
    return info.crs if colon and authority.isalpha() and number.isalnum() else None


def _media_type(info: SourceInfo, cog: bool) -> str:
    if info.driver == "GTiff":
        return "image/tiff; application=geotiff" + ("; profile=cloud-optimized" if cog else "")
    if info.driver.lower() == "zarr":
        return "application/vnd+zarr"
    return "application/x-netcdf" if "netcdf" in info.driver.lower() else "application/octet-stream"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _degrees(value: float) -> float:
    return round(value, 7)
