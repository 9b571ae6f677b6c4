"""Selections: the resolved, ordered, frozen list of items that a chain reads.

A selection travels as canonical text (`selection_rows`): equal rows give equal bytes, so that its key
names what it holds. Items are made when they are asked for, footprints stand in a tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoloom.chain import key_of
from geoloom.errors import ParameterError
from geoloom.grid import Bounds
from geoloom.outlines import REACH, Outlines, outlines
from geoloom.selection_rows import freeze, seconds
from geoloom.selection_table import Table, thaw

if TYPE_CHECKING:
    import shapely

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SelectedBand:
    """A band that the items have: what it is called, and what its numbers mean.

    Parameters
    ----------
    name
        Unique in its selection.
    dtype
        numpy name of the stored type.
    nodata
        Value that stands for "nothing here" (may be NaN), or None: as the files say.
    unit, description
        As the catalogue has them.
    scale, offset
        Physical value = stored value × scale + offset.
    resampling
        ``nearest`` for classes and flags, ``bilinear`` for quantities.
    """

    name: str
    dtype: str
    nodata: float | None = None
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    resampling: str = "bilinear"
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of an item, with what the catalogue knows of it.

    Parameters
    ----------
    href
        Path or URL, unsigned.
    bands
        Of each band of interest: its place in the selection's bands, and its number in the file from 0.
    mark
        First 10 hex digits of the file's fingerprint when it was catalogued; empty: not known.
    crs
        Authority code or WKT; empty: not known.
    transform
        In GDAL's order (x0, dx/dcol, dx/drow, y0, dy/dcol, dy/drow), or None.
    shape
        Rows and columns, or None.
    overviews
        (columns, rows) from fine to coarse; empty: none, or not known.
    """

    href: str
    bands: tuple[tuple[int, int], ...]
    mark: str = ""
    crs: str = ""
    transform: tuple[float, float, float, float, float, float] | None = None
    shape: tuple[int, int] | None = None
    overviews: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One scene: when, where, and its files.

    Parameters
    ----------
    id
        Unique in its collection.
    date
        Seconds since 1970 UTC, or None.
    footprint
        Polygon or MultiPolygon in degrees, split at ±180°.
    assets
        Files with bands of interest.
    resolution
        Ground metres of the finest band's pixels; 0: not known.
    """

    id: str
    date: float | None
    footprint: shapely.Geometry
    assets: tuple[Asset, ...]
    resolution: float = 0.0


class Selection:
    """A frozen list of items in an order, the bands they have, and where and when they lie.

    Made by `of` or `from_bytes`. Thread-safe.
    """

    def __init__(self, table: Table, content: bytes) -> None:
        self._table = table
        self._content = content
        self.key = key_of(content)
        self.collection = table.collection
        self.bands = tuple(SelectedBand(**band) for band in table.bands)

    @staticmethod
    def of(collection: str, bands: Iterable[SelectedBand], items: Iterable[Item]) -> Selection:
        """The selection of items, in their order.

        Self-crossing footprints are mended, those over ±180° split; dates are kept to the millisecond.

        Raises
        ------
        ParameterError
            Something in an item cannot be kept; says which item.
        """
        listed = list(items)
        footprints = outlines([item.footprint for item in listed])
        for item, footprint in zip(listed, footprints, strict=True):
            if footprint is None:
                raise ParameterError(
                    f"Item {item.id!r} has no footprint with an area.", hint="Leave it out, or give it one."
                )
        described = [asdict(band) for band in bands]
        table, content = freeze(collection, described, listed, footprints)
        return Selection(table, content)

    @staticmethod
    def from_bytes(content: bytes | str) -> Selection:
        """The selection that `to_bytes` wrote.

        Raises
        ------
        CorruptChain
            Other than `to_bytes` would write it; nothing in it is trusted.
        """
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else bytes(content)
        return Selection(thaw(raw), raw)

    def to_bytes(self) -> bytes:
        """Canonical UTF-8 text: JSON."""
        return self._content

    def __len__(self) -> int:
        return len(self._table.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<Selection of {len(self):,} items of {self.collection}, {self.key}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all items, in order."""
        return self._table.ids

    @property
    def dates(self) -> npt.NDArray[np.float64]:
        """Seconds since 1970 UTC, (n,); NaN for dateless items."""
        return self._table.dates

    @property
    def footprints(self) -> Outlines:
        """Geometries of shapely in degrees, (n,)."""
        return self._table.footprints

    def item(self, row: int) -> Item:
        """One of the items, with its files."""
        table = self._table
        row = range(len(self))[row]
        date = float(table.dates[row])
        return Item(
            table.ids[row],
            None if np.isnan(date) else date,
            table.footprints[row],
            tuple(Asset(*fields) for fields in table.assets(row)),
            float(table.resolutions[row]),
        )

    def hrefs(self) -> Iterator[str]:
        """Of all files of all items."""
        return self._table.hrefs()

    def files(self, rows: Sequence[int], bands: Collection[int]) -> Rows:
        """In how many files of each of some items these bands lie, (n,): without making the items."""
        layouts = self._table.layouts
        used, which = np.unique(self._table.layout[list(rows)], return_inverse=True)
        counts = [_files(layouts[number], bands) for number in used.tolist()]
        return np.array(counts, np.intp)[which]

    @cached_property
    def remote(self) -> bool:
        """Whether a file of any item may lie on another machine."""
        stems, layouts = self._table.stems, self._table.layouts
        # What follows a stem may begin in the middle of the mark.
        far = any("://" in one and not one.startswith("file:") for one in stems)
        cut = any(one.endswith((":", ":/")) for one in stems)
        return far or cut or any("://" in file[0] for layout in layouts for file in layout)

    @cached_property
    def bounds(self) -> Bounds:
        """The smallest rectangle round all footprints, across ±180° if that is smaller."""
        import shapely

        if not len(self):
            return Bounds(-180.0, -90.0, 180.0, 90.0)
        boxes = shapely.bounds(shapely.get_parts(self.footprints))
        west, east = _arc(boxes[:, 0], boxes[:, 2])
        return Bounds(west, float(boxes[:, 1].min()), east, float(boxes[:, 3].max()))

    @cached_property
    def resolution(self) -> float:
        """Ground metres of the finest pixels; 0: not known."""
        known = self._table.resolutions[self._table.resolutions > 0]
        return float(known.min(initial=np.inf)) if len(known) else 0.0

    @cached_property
    def _tree(self) -> shapely.STRtree:
        import shapely

        return shapely.STRtree(self.footprints)

    def meeting(self, geometry: shapely.Geometry) -> Rows:
        """Rows whose footprints meet a geometry in degrees, in order.

        Those within `REACH` of it count too, since footprints are rounded: none is missed.
        """
        return np.sort(self._tree.query(geometry, predicate="dwithin", distance=REACH))

    def between(self, start: str | None, end: str | None) -> Rows:
        """Rows dated from `start` on and before `end` (ISO 8601, UTC unless they say otherwise; None: open).

        Dateless items are in no range but the one that is open at both ends.

        Raises
        ------
        ParameterError
            A date that is none.
        """
        if start is None and end is None:
            return np.arange(len(self))
        low = -np.inf if start is None else seconds(start)
        high = np.inf if end is None else seconds(end)
        return np.flatnonzero((self.dates >= low) & (self.dates < high))

    def info(self) -> dict[str, Any]:
        """What the items hold, in the form in which the engine describes a file."""
        bounds = self.bounds
        crs = self._table.common_crs
        return {
            "href": f"collection {self.collection}",
            "driver": "collection",
            "fingerprint": self.key,
            "bands": [_band_json(band) for band in self.bands],
            "dtype": _common_dtype(self.bands),
            "bounds": list(bounds),
            "crs": crs or "EPSG:4326",
            "crs_name": crs or "various",
            "resolution": [self.resolution, self.resolution],
            "ground_resolution": self.resolution,
            "resampling": "nearest" if any(b.resampling == "nearest" for b in self.bands) else "bilinear",
            "width": 0,
            "height": 0,
            "overviews": [],
            "alpha": False,
            "mask": True,
            "shared_valid": False,
            "items": len(self),
        }


def _files(layout: Any, bands: Collection[int]) -> int:
    """Files of a layout that hold one of these bands that none before them holds."""
    missing, count = set(bands), 0
    for _, pairs, _, _ in layout:
        found = missing.intersection(at for at, _ in pairs)
        missing -= found
        count += bool(found)
    return count


def _band_json(band: SelectedBand) -> dict[str, Any]:
    described = asdict(band)
    if band.nodata is not None and not np.isfinite(band.nodata):
        described["nodata"] = str(band.nodata)
    return described


def _common_dtype(bands: Sequence[SelectedBand]) -> str:
    kinds = [np.dtype(band.dtype) for band in bands]
    return str(np.result_type(*kinds)) if kinds else "uint8"


def _arc(west: npt.NDArray[np.float64], east: npt.NDArray[np.float64]) -> tuple[float, float]:
    """West and east of the shortest arc that holds all of some, each with west ≤ east."""
    order = np.argsort(west, kind="stable")
    starts, ends = west[order], np.maximum.accumulate(east[order])
    gaps = starts[1:] - ends[:-1]
    outer = starts[0] + 360 - ends[-1]
    if len(gaps) and gaps.max() > outer:
        widest = int(gaps.argmax())
        return float(starts[widest + 1]), float(ends[widest])
    return float(starts[0]), float(ends[-1])
