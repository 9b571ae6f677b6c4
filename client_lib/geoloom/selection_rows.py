"""Items as the text of a selection: the writing side of `geoloom.selection_table`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from geoloom.chain import canonical
from geoloom.errors import CorruptChain, ParameterError
from geoloom.href_template import beginning, parts_of, template
from geoloom.outlines import Outlines, pack_outlines
from geoloom.packing import pack_marks, pack_numbers, pack_texts
from geoloom.selection_table import BAND_FIELDS, FORMAT, MAX_ITEMS, WHOLE, Table, thaw

if TYPE_CHECKING:
    from geoloom.selection import Item

_MAX_SECONDS = 253_402_300_800
_CONTROL = re.compile(r"[\x00-\x1f]")
_HEX = frozenset("0123456789abcdef")


def seconds(text: str) -> float:
    """Seconds since 1970 UTC of an ISO 8601 date or time (UTC unless it says otherwise).

    Raises
    ------
    ParameterError
        It is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ParameterError(
            f"{text!r} is not a date.", hint="Write dates as 2016-07-13 or 2016-07-13T09:20:32Z."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class _Distinct:
    """Values in the order in which they first came, each once."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


class _Columns:
    """What items have, as columns of numbers of what stands in lists."""

    def __init__(self) -> None:
        self.crs, self.places, self.forms, self.layouts = (_Distinct() for _ in range(4))
        self.resolutions, self.outlines = _Distinct(), _Distinct()
        self.layout: list[int] = []
        self.place: list[int] = []
        self.resolution: list[int] = []
        self.outline: list[int] = []
        self.stems: list[str] = []
        self.marks: list[str] = []

    def add(self, item: Item, outline: bytes) -> None:
        parts = parts_of(item.id)
        stem = beginning([asset.href for asset in item.assets])
        # Names hold no line breaks, so all are made templates at once.
        names = template("\n".join(asset.href[len(stem) :] for asset in item.assets), parts).split("\n")
        own = _Distinct()
        layout = []
        for name, asset in zip(names, item.assets, strict=bool(item.assets)):
            x0, a, b, y0, d, e = asset.transform or (None,) * 6
            place = own.number((self.crs.number(asset.crs), x0, y0))
            form = self.forms.number(((a, b, d, e), asset.shape, asset.overviews))
            layout.append((name, asset.bands, place, form))
            self.marks.append(asset.mark)
        self.stems.append(template(stem, parts))
        self.layout.append(self.layouts.number(tuple(layout)))
        self.place += map(self.places.number, own.numbers)
        self.resolution.append(self.resolutions.number(item.resolution))
        self.outline.append(self.outlines.number(outline))


def freeze(
    collection: str, bands: Sequence[dict[str, Any]], items: Sequence[Item], footprints: Outlines
) -> tuple[Table, bytes]:
    """The columns of items and their canonical text.

    Raises
    ------
    ParameterError
        Naming the item that cannot be kept.
    """
    import shapely

    if len(items) > MAX_ITEMS:
        raise ParameterError(
            f"The selection has {len(items):,} items; at most {MAX_ITEMS:,} can be kept.",
            hint="Filter further, or set a limit.",
        )
    columns = _Columns()
    ids: dict[str, None] = {}
    for item, outline in zip(items, shapely.to_wkb(footprints).tolist(), strict=True):
        try:
            _check_item(item, len(bands))
            if item.id in ids:
                raise ValueError("it stands twice")
            ids[item.id] = None
            columns.add(item, outline)
        except (TypeError, ValueError, AttributeError) as error:
            reason = error.message if isinstance(error, ParameterError) else str(error)
            raise ParameterError(f"Item {item.id!r} cannot be kept: {reason.rstrip('.')}.") from None
    content = canonical(
        {
            "geoloom_selection": FORMAT,
            "collection": str(collection),
            "bands": [[_band_value(band[name]) for name in BAND_FIELDS] for band in bands],
            "count": len(items),
            "ids": pack_texts(list(ids)),
            "dated": pack_numbers([item.date is not None for item in items]),
            "dates": pack_numbers([round(item.date * 1000) for item in items if item.date is not None]),
            "resolutions": list(map(_number, columns.resolutions.numbers)),
            "resolution": pack_numbers(columns.resolution),
            "outlines": pack_outlines(shapely.from_wkb(list(columns.outlines.numbers))),
            "outline": pack_numbers(columns.outline),
            "stems": pack_texts(columns.stems),
            "layouts": [[_file(*file) for file in layout] for layout in columns.layouts.numbers],
            "layout": pack_numbers(columns.layout),
            "places": [[crs, _number(x0), _number(y0)] for crs, x0, y0 in columns.places.numbers],
            "place": pack_numbers(columns.place),
            "forms": [_form(*form) for form in columns.forms.numbers],
            "crs": list(columns.crs.numbers),
            "marked": pack_numbers([bool(mark) for mark in columns.marks]),
            "marks": pack_marks(filter(None, columns.marks)),
        }
    )
    try:
        return thaw(content), content
    except CorruptChain as error:
        raise ParameterError(error.message.replace("cannot be read", "cannot be kept")) from None


def _check_item(item: Item, bands: int) -> None:
    """Raise ValueError unless an item is of the types it should have."""
    if not isinstance(item.id, str) or not item.id:
        raise ValueError("its id is no text")
    if item.date is not None and not -_MAX_SECONDS < item.date < _MAX_SECONDS:
        raise ValueError("its date is beyond the year 9999 or no number")
    if not 0 <= item.resolution < math.inf:
        raise ValueError("its resolution is no number of metres")
    for asset in item.assets:
        if not asset.href or _CONTROL.search(asset.href):
            raise ValueError("an asset has no address, or one with control characters")
        if asset.mark and (len(asset.mark) != 10 or not _HEX.issuperset(asset.mark)):
            raise ValueError(f"{asset.mark!r} is no mark of ten hex digits")
        if not all(0 <= at < bands and band >= 0 for at, band in asset.bands):
            raise ValueError("an asset names a band that the selection does not have")
        if asset.transform is not None and not all(map(math.isfinite, asset.transform)):
            raise ValueError("an asset's transform is not finite")


def _file(name: str, bands: Sequence[tuple[int, int]], place: int, form: int) -> list[Any]:
    return [name, [[int(at), int(band)] for at, band in bands], place, form]


def _form(sizes: Any, shape: Any, overviews: Any) -> list[Any]:
    sides = (None, None) if shape is None else map(int, shape)
    return [
        *map(_number, sizes),
        *sides,
        [[int(cols), int(rows)] for cols, rows in overviews],
    ]


def _number(value: float | None) -> float | int | None:
    """A float as JSON has it shortest: a whole number without its point."""
    if value is None:
        return None
    whole = float(value)
    return int(whole) if whole.is_integer() and abs(whole) < WHOLE else whole


def _band_value(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    return _number(value) if math.isfinite(value) else str(float(value))
