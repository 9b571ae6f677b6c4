"""The text of a selection: its items in columns, and what repeats written once.

::

    {"geoloom_selection":1, "collection":…, "bands":[…], "count":n,
     "ids":…, "dated":…, "dates":…, "resolution":…, "resolutions":[…], "outline":…, "outlines":[…],
     "stems":…, "layout":…, "layouts":[…], "place":…, "places":[…], "forms":[…], "crs":[…],
     "marked":…, "marks":…}

The hrefs of an item are a *stem* of its own and what follows in its *layout*, in both of which parts of
the id stand as ``$0``, ``$1`` … A layout is the list of an item's files, ``[name, bands, place, form]``
each, and the same for most items. A *place* is a CRS and an upper left corner, which an item's files
share; a *form* is pixel sizes, shape and overviews. `geoloom.packing` writes the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from geoloom.chain import canonical
from geoloom.errors import CorruptChain
from geoloom.href_template import Words, begins_apart, check_beginnings, fill, fits, parts_of
from geoloom.outlines import Outlines, unpack_outlines
from geoloom.packing import Ints, unpack_marks, unpack_numbers, unpack_texts

FORMAT = 1
MAX_ITEMS = 100_000
MAX_FILES = 4_000_000
BAND_FIELDS = ("name", "dtype", "nodata", "unit", "scale", "offset", "resampling", "description")
DTYPES = frozenset(
    {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "bool"}
)
WHOLE = 2**53
"""Below this, whole numbers are written without a point."""
RESAMPLINGS = frozenset({"nearest", "bilinear", "cubic", "average", "mode"})

_HEAD = {"geoloom_selection", "collection", "bands", "count"}
_ITEM_COLUMNS = {"ids", "dated", "dates", "resolution", "resolutions", "outline", "outlines", "stems"}
_FILE_COLUMNS = {"layout", "layouts", "place", "places", "forms", "crs", "marked", "marks"}
_FIELDS = _HEAD | _ITEM_COLUMNS | _FILE_COLUMNS


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a selection, read and checked.

    Parameters
    ----------
    bands
        Fields of each `SelectedBand`.
    dates
        Seconds since 1970 UTC, (n,); NaN: none.
    layouts
        Of each layout, its files: name, bands, place, form.
    layout, place_start, file_start
        Of each item: number of its layout, and where its places and files start.
    """

    collection: str
    bands: tuple[dict[str, Any], ...]
    ids: tuple[str, ...]
    dates: npt.NDArray[np.float64]
    footprints: Outlines
    resolutions: npt.NDArray[np.float64]
    stems: list[str]
    layouts: list[Any]
    layout: Ints
    place_start: Ints
    file_start: Ints
    place: Ints
    places: list[Any]
    forms: list[Any]
    crs: list[str]
    mark_number: Ints
    marks: str = field(repr=False)

    @property
    def common_crs(self) -> str:
        """The CRS that all files have; empty: several, or not known."""
        return self.crs[0] if len(self.crs) == 1 else ""

    def hrefs(self) -> Iterator[str]:
        """The hrefs of all files of all items."""
        for row, id_ in enumerate(self.ids):
            parts = parts_of(id_)
            stem = fill(self.stems[row], parts)
            for file in self.layouts[self.layout[row]]:
                yield stem + fill(file[0], parts)

    def assets(self, row: int) -> Iterator[tuple[Any, ...]]:
        """The fields of each `Asset` of an item."""
        parts = parts_of(self.ids[row])
        stem = fill(self.stems[row], parts)
        first, start = int(self.file_start[row]), int(self.place_start[row])
        for number, (name, bands, place, form) in enumerate(self.layouts[self.layout[row]], first):
            crs, x0, y0 = self.places[self.place[start + place]]
            a, b, d, e, rows, cols, overviews = self.forms[form]
            mark = int(self.mark_number[number])
            yield (
                stem + fill(name, parts),
                tuple((int(at), int(band)) for at, band in bands),
                self.marks[10 * mark : 10 * mark + 10] if mark >= 0 else "",
                self.crs[crs],
                None if x0 is None else tuple(float(value) for value in (x0, a, b, y0, d, e)),
                None if rows is None else (rows, cols),
                tuple((width, height) for width, height in overviews),
            )


def thaw(content: bytes) -> Table:
    """The columns of a text, each checked.

    Raises
    ------
    CorruptChain
        Not what `freeze` writes.
    """
    try:
        payload = json.loads(content.decode("utf-8"))
        if not isinstance(payload, dict) or set(payload) != _FIELDS or canonical(payload) != content:
            raise CorruptChain("The selection's text is not canonical.")
        return _table(payload)
    except CorruptChain as error:
        raise CorruptChain(f"The selection cannot be read: {error.message}") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, AttributeError):
        raise CorruptChain("The selection's text is not that of a selection.") from None


def _table(payload: dict[str, Any]) -> Table:
    count = payload["count"]
    if type(payload["geoloom_selection"]) is not int or payload["geoloom_selection"] != FORMAT:
        raise CorruptChain(f"its format is not {FORMAT}; a newer Geoloom may be needed.")
    if type(count) is not int or not 0 <= count <= MAX_ITEMS or not isinstance(payload["collection"], str):
        raise CorruptChain("its head is malformed.")
    bands = _bands(payload["bands"])
    ids = unpack_texts(payload["ids"], count)
    if len(set(ids)) != count or not all(ids):
        raise CorruptChain("an id is empty or stands twice.")
    outlines = _choice(payload, "outline", count, distinct=False)
    levels = _choice(payload, "resolution", count)
    if not all(_is_number(value) and value >= 0 for value in payload["resolutions"]):
        raise CorruptChain("a resolution is no number of metres.")
    layout = _choice(payload, "layout", count)
    layouts = payload["layouts"]
    places_of, files_of = _check_layouts(layouts, len(bands))
    _check_first_use([file[3] for one in layouts for file in one], len(payload["forms"]))
    _check_distinct(payload["forms"])
    for form in payload["forms"]:
        _check_form(form)
    place_count, file_count = places_of[layout], files_of[layout]
    if file_count.sum() > MAX_FILES:
        raise CorruptChain("it has too many files.")
    place = _choice(payload, "place", int(place_count.sum()))
    _check_places(payload["places"], payload["crs"])
    stems = unpack_texts(payload["stems"], count)
    _check_templates(ids, stems, layouts, layout)
    marked = unpack_numbers(payload["marked"], int(file_count.sum()))
    _check_flags(marked)
    table = Table(
        collection=payload["collection"],
        bands=bands,
        ids=tuple(ids),
        dates=_dates(payload, count),
        footprints=unpack_outlines(payload["outlines"], int(outlines.max(initial=-1)) + 1)[outlines],
        resolutions=np.array(payload["resolutions"], np.float64)[levels],
        stems=stems,
        layouts=layouts,
        layout=layout,
        place_start=np.cumsum(place_count) - place_count,
        file_start=np.cumsum(file_count) - file_count,
        place=place,
        places=payload["places"],
        forms=payload["forms"],
        crs=payload["crs"],
        mark_number=np.where(marked, np.cumsum(marked) - 1, -1),
        marks=unpack_marks(payload["marks"], int(marked.sum())),
    )
    _check_own_places(table, place_count)
    return table


def _choice(payload: dict[str, Any], name: str, count: int, distinct: bool = True) -> Ints:
    """A column of numbers of what stands in a list, each thing once and in the order of its first use."""
    numbers = unpack_numbers(payload[name], count)
    listed = payload[name + "s"] if distinct else None
    if listed is not None:
        _check_distinct(listed)
    _check_first_use(numbers, int(numbers.max(initial=-1)) + 1 if listed is None else len(listed))
    return numbers


def _check_first_use(numbers: Any, count: int) -> None:
    values, first = np.unique(np.asarray(numbers, np.int64), return_index=True)
    if len(values) != count or (values != np.arange(count)).any() or (np.diff(first) < 0).any():
        raise CorruptChain("what it lists is not in the order of its use.")


def _check_distinct(listed: Any) -> None:
    if not isinstance(listed, list) or len({json.dumps(one) for one in listed}) != len(listed):
        raise CorruptChain("a list holds something twice.")


def _check_flags(numbers: Ints) -> None:
    if not np.isin(numbers, (0, 1)).all():
        raise CorruptChain("a yes or no is neither.")


def _is_number(value: Any) -> bool:
    """Whether a value of JSON is a number as it is written shortest."""
    if type(value) is int:
        return abs(value) < WHOLE
    return type(value) is float and not (value.is_integer() and abs(value) < WHOLE)


def _bands(listed: Any) -> tuple[dict[str, Any], ...]:
    bands = tuple(_band(fields) for fields in listed)
    if len({band["name"] for band in bands}) != len(bands):
        raise CorruptChain("a band's name stands twice.")
    return bands


def _band(fields: Any) -> dict[str, Any]:
    band = dict(zip(BAND_FIELDS, fields, strict=True))
    texts = [band["name"], band["dtype"], band["resampling"]]
    more = [band[name] for name in ("unit", "description") if band[name] is not None]
    if not all(isinstance(text, str) for text in texts + more) or not band["name"]:
        raise CorruptChain("a band is malformed.")
    if band["dtype"] not in DTYPES or band["resampling"] not in RESAMPLINGS:
        raise CorruptChain("a band's type or resampling is not known.")
    if not _is_number(band["scale"]) or not _is_number(band["offset"]):
        raise CorruptChain("a band's scale or offset is no number.")
    band["scale"], band["offset"] = float(band["scale"]), float(band["offset"])
    if band["nodata"] in ("nan", "inf", "-inf"):
        band["nodata"] = float(band["nodata"])
    elif band["nodata"] is not None and not _is_number(band["nodata"]):
        raise CorruptChain("a band's nodata is no number.")
    return band


def _dates(payload: dict[str, Any], count: int) -> npt.NDArray[np.float64]:
    dated = unpack_numbers(payload["dated"], count)
    _check_flags(dated)
    moments = unpack_numbers(payload["dates"], int(dated.sum()))
    if np.abs(moments).max(initial=0) > 253_402_300_800_000:
        raise CorruptChain("a date is beyond the year 9999.")
    dates = np.full(count, np.nan)
    dates[dated == 1] = moments / 1000
    return dates


def _check_layouts(layouts: Any, bands: int) -> tuple[Ints, Ints]:
    """How many places and files items of each layout have."""
    counts = []
    for layout in layouts:
        names = []
        for name, pairs, place, form in layout:
            if not isinstance(name, str) or type(place) is not int or type(form) is not int:
                raise CorruptChain("a layout is malformed.")
            for at, band in pairs:
                if type(at) is not int or type(band) is not int or not 0 <= at < bands or band < 0:
                    raise CorruptChain("a file names a band that is none.")
            names.append(name)
        own = [file[2] for file in layout]
        _check_first_use(own, len(set(own)))
        counts.append((len(set(own)), len(names)))
    table = np.array(counts, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _check_form(form: Any) -> None:
    *numbers, levels = form
    a, b, d, e, rows, cols = numbers
    sizes, sides = (a, b, d, e), (rows, cols)
    if sizes != (None,) * 4 and not all(map(_is_number, sizes)):
        raise CorruptChain("a file's pixel size is malformed.")
    sides_given = [side for side in sides if side is not None] + [side for level in levels for side in level]
    if (rows is None) != (cols is None) or not all(type(side) is int and side > 0 for side in sides_given):
        raise CorruptChain("a file's shape is malformed.")
    if any(len(level) != 2 for level in levels):
        raise CorruptChain("a file's overviews are malformed.")


def _check_places(places: Any, crs: Any) -> None:
    if len(set(crs)) != len(crs) or not all(isinstance(one, str) for one in crs):
        raise CorruptChain("a CRS is no text or stands twice.")
    for number, x0, y0 in places:
        if type(number) is not int or not 0 <= number < len(crs):
            raise CorruptChain("a place has no CRS.")
        if not (x0 is None and y0 is None) and not (_is_number(x0) and _is_number(y0)):
            raise CorruptChain("a place is malformed.")
    _check_first_use([place[0] for place in places], len(crs))


def _check_templates(ids: list[str], stems: list[str], layouts: Any, layout: Ints) -> None:
    """Refuse hrefs that could be written otherwise: with more parts of the id, or a longer stem."""
    names = [[file[0] for file in one] for one in layouts]
    named = [Words.of(*one) for one in names]
    if not all(map(begins_apart, names)):
        raise CorruptChain("a layout is not canonical.")
    check_beginnings(stems)
    for id_, stem, number in zip(ids, stems, layout.tolist(), strict=True):
        parts = parts_of(id_)
        if not fits(stem, parts) or not named[number].fit(parts):
            raise CorruptChain("an address is not written canonically.")
        if (stem and not names[number]) or (not stem and "" in names[number]):
            raise CorruptChain("a file has no address.")


def _check_own_places(table: Table, counts: Ints) -> None:
    """Refuse an item whose places are not distinct, or do not agree with its files' forms."""
    for start in np.flatnonzero(counts > 1).tolist():
        first = int(table.place_start[start])
        own = table.place[first : first + int(counts[start])]
        if len(np.unique(own)) != len(own):
            raise CorruptChain("an item names a place twice.")
    unplaced = np.array([place[1] is None for place in table.places], bool)[table.place]
    for number, layout in enumerate(table.layouts):
        rows = np.flatnonzero(table.layout == number)
        for _, _, place, form in layout:
            missing = table.forms[form][0] is None
            if (unplaced[table.place_start[rows] + place] != missing).any():
                raise CorruptChain("a file has a corner without pixel sizes, or the reverse.")
