"""Items as the text of a selection: the writing side of `geoloom.selection_table`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from geoloom.chain import canonical
from geoloom.errors import ParameterError
from geoloom.href_template import beginning, parts_of, template
from geoloom.outlines import Outlines, pack_outlines
from geoloom.packing import pack_marks, pack_numbers, pack_texts
from geoloom.selection_table import BAND_FIELDS, FORMAT, MAX_ITEMS, Table, thaw

if TYPE_CHECKING:
    from geoloom.selection import Asset, Item

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
        self._numbers: dict[Any, int] = {}
        self.values: list[Any] = []

    def number(self, name: Any, value: Any) -> int:
        number = self._numbers.setdefault(name, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


def freeze(
    collection: str, bands: Sequence[dict[str, Any]], items: Sequence[Item], footprints: Outlines
) -> tuple[Table, bytes]:
    """The columns of items and their canonical text.

    Raises
    ------
    ParameterError
        Naming the item that cannot be kept.
    """
    if len(items) > MAX_ITEMS:
        raise ParameterError(
            f"The selection has {len(items):,} items; at most {MAX_ITEMS:,} can be kept.",
            hint="Filter further, or set a limit.",
        )
    crs, places, forms, layouts, resolutions, outlines = (_Distinct() for _ in range(6))
    columns: dict[str, list[Any]] = {
        name: [] for name in ("stems", "layout", "place", "marks", "resolution", "outline")
    }
    import shapely

    for item, outline in zip(items, shapely.to_wkb(footprints), strict=True):
        try:
            _check_item(item, len(bands))
            parts = parts_of(item.id)
            stem = beginning([asset.href for asset in item.assets])
            own, layout = _Distinct(), []
            for asset in item.assets:
                corner = (None, None) if asset.transform is None else (asset.transform[0], asset.transform[3])
                place = (crs.number(asset.crs, asset.crs), *map(_number, corner))
                form = _form(asset)
                layout.append(
                    [
                        template(asset.href[len(stem) :], parts),
                        [[int(at), int(band)] for at, band in asset.bands],
                        own.number(place, place),
                        forms.number(_named(form), form),
                    ]
                )
                columns["marks"].append(asset.mark)
        except (TypeError, ValueError, AttributeError) as error:
            reason = error.message if isinstance(error, ParameterError) else str(error)
            raise ParameterError(f"Item {item.id!r} cannot be kept: {reason.rstrip('.')}.") from None
        columns["stems"].append(template(stem, parts))
        columns["layout"].append(layouts.number(_named(layout), layout))
        columns["place"] += [places.number(place, list(place)) for place in own.values]
        columns["resolution"].append(
            resolutions.number(float(item.resolution), _number(float(item.resolution)))
        )
        columns["outline"].append(outlines.number(outline, len(columns["outline"])))
    ids = [item.id for item in items]
    if len(set(ids)) != len(ids):
        twice = next(one for number, one in enumerate(ids) if one in ids[:number])
        raise ParameterError(f"Item {twice!r} stands twice in the selection.", hint="Leave one of them out.")
    dated = [item.date is not None for item in items]
    marks = columns["marks"]
    content = canonical(
        {
            "geoloom_selection": FORMAT,
            "collection": str(collection),
            "bands": [[_band_value(band[name]) for name in BAND_FIELDS] for band in bands],
            "count": len(items),
            "ids": pack_texts(ids),
            "dated": pack_numbers(dated),
            "dates": pack_numbers([round(item.date * 1000) for item in items if item.date is not None]),
            "resolutions": resolutions.values,
            "resolution": pack_numbers(columns["resolution"]),
            "outlines": pack_outlines(footprints[outlines.values]),
            "outline": pack_numbers(columns["outline"]),
            "stems": pack_texts(columns["stems"]),
            "layouts": layouts.values,
            "layout": pack_numbers(columns["layout"]),
            "places": places.values,
            "place": pack_numbers(columns["place"]),
            "forms": forms.values,
            "crs": crs.values,
            "marked": pack_numbers([bool(mark) for mark in marks]),
            "marks": pack_marks(mark for mark in marks if mark),
        }
    )
    return thaw(content), content


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


def _form(asset: Asset) -> list[Any]:
    sizes = [None] * 4 if asset.transform is None else [asset.transform[place] for place in (1, 2, 4, 5)]
    shape = (None, None) if asset.shape is None else asset.shape
    levels = [[int(cols), int(rows)] for cols, rows in asset.overviews]
    return [*map(_number, sizes), *(None if side is None else int(side) for side in shape), levels]


def _number(value: float | None) -> float | int | None:
    """A float as JSON has it shortest: a whole number without its point."""
    if value is None:
        return None
    whole = float(value)
    return int(whole) if whole.is_integer() and abs(whole) < 2**53 else whole


def _band_value(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    return _number(value) if math.isfinite(value) else str(float(value))


def _named(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
