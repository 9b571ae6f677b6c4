"""Series: the values of every item of a collection at one place, in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from geoloom import per_item
from geoloom.errors import BandError, ParameterError
from geoloom.image import Image, connected
from geoloom.periods import day_in_words
from geoloom.plot import Plot
from geoloom.wording import one_line

if TYPE_CHECKING:
    import pandas

    from geoloom.selection import Selection

__all__ = ["Reading", "Series", "series"]

MOST_ROWS = 40
"""Rows of the table that are shown; all are there."""

MOST_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What one item says of the place.

    Parameters
    ----------
    id
        Of the item.
    date
        When it was taken, UTC; None if its catalogue does not say.
    values
        By band; None where the item is invalid, as under a mask.
    error
        Why the item could not be read, in words; None if it could.
    """

    id: str
    date: datetime | None
    values: Mapping[str, float | None]
    error: str | None = None

    @property
    def valid(self) -> bool:
        """Whether any band has a value."""
        return any(value is not None for value in self.values.values())


class Series(Sequence[Reading]):
    """Values of a collection's items at one place, oldest first; shown as a plot and a table.

    Parameters
    ----------
    lon, lat
        The place, in degrees.
    bands
        Names of the bands.
    readings
        One an item.
    unit
        Of the values, if known.
    """

    def __init__(
        self,
        lon: float,
        lat: float,
        bands: Sequence[str],
        readings: Sequence[Reading],
        unit: str | None = None,
    ) -> None:
        self.lon = lon
        self.lat = lat
        self.bands = tuple(bands)
        self.unit = unit
        latest = datetime.max.replace(tzinfo=UTC)
        self._readings = tuple(sorted(readings, key=lambda one: (one.date or latest, one.id)))

    @property
    def failed(self) -> tuple[Reading, ...]:
        """Items that could not be read; each says why."""
        return tuple(one for one in self if one.error is not None)

    @property
    def dates(self) -> tuple[datetime | None, ...]:
        """When the items were taken."""
        return tuple(one.date for one in self)

    def __len__(self) -> int:
        return len(self._readings)

    def __iter__(self) -> Iterator[Reading]:
        return iter(self._readings)

    def __getitem__(self, which: Any) -> Any:
        """A reading by its number; the values of a band by its name."""
        if isinstance(which, str):
            if which not in self.bands:
                raise BandError(f"There is no band {which!r}.", hint=f"There are {', '.join(self.bands)}.")
            return [one.values.get(which) for one in self]
        return self._readings[which]

    def to_dataframe(self) -> pandas.DataFrame:
        """A pandas table: date (the index, UTC), id, a column a band (NaN where invalid), error."""
        import pandas

        columns: dict[str, Any] = {"id": [one.id for one in self]}
        for band in self.bands:
            columns[band] = [math.nan if value is None else value for value in self[band]]
        columns["error"] = [one.error for one in self]
        index = pandas.DatetimeIndex([one.date for one in self], name="date", tz="UTC")
        return pandas.DataFrame(columns, index=index)

    def plot(self, *bands: str, width: int = 640, height: int = 240) -> Plot:
        """The values over time; gaps where they are invalid are dotted.

        Parameters
        ----------
        bands
            Which; all by default.
        width, height
            In pixels.
        """
        lines = {band: list(zip(self, self[band], strict=True)) for band in bands or self.bands}
        points = {
            band: [
                (one.date.timestamp(), value, f"{day_in_words(one.date)}, {one.id}")
                for one, value in line
                if one.date is not None
            ]
            for band, line in lines.items()
        }
        return Plot(points, self.unit, width, height)

    def __repr__(self) -> str:
        valid = sum(one.valid for one in self)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        found = f"{valid} of {len(self)} valid{failed}"
        return f"<Series [{', '.join(self.bands)}] at {_place(self.lon, self.lat)}: {found}>"

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>No item of the collection lies at {_place(self.lon, self.lat)}.</div>"
        shown = self._readings[:MOST_ROWS]
        left = "style='text-align:left'"
        names = "".join(f"<th>{escape(band)}</th>" for band in self.bands)
        rows = "".join(
            f"<tr><td {left}>{_date(one.date)}</td>{self._values(one)}<td {left}>{escape(one.id)}</td></tr>"
            for one in shown
        )
        more = f"<div>… and {len(self) - len(shown)} more; to_dataframe() has all.</div>"
        return (
            f"<div class='geoloom-series'>{self.plot()._repr_html_()}{self._failures()}"
            f"<details><summary>{len(self)} values at {_place(self.lon, self.lat)}</summary>"
            f"<table><thead><tr><th {left}>date</th>{names}<th {left}>item</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>{more if len(shown) < len(self) else ''}</details></div>"
        )

    def _values(self, one: Reading) -> str:
        if one.error is not None:
            return f"<td colspan='{len(self.bands)}'>could not be read</td>"
        cells = (one.values.get(band) for band in self.bands)
        return "".join(f"<td>{'–' if value is None else f'{value:.5g}'}</td>" for value in cells)

    def _failures(self) -> str:
        if not self.failed:
            return ""
        count = len(self.failed)
        told = "".join(
            f"<div>{escape(one_line(f'{one.id}: {one.error}'))}</div>" for one in self.failed[:MOST_FAILURES]
        )
        more = f"<div>… and {count - MOST_FAILURES} more</div>" if count > MOST_FAILURES else ""
        items = "item" if count == 1 else "items"
        return f"<div>⚠ {count} {items} of {len(self)} could not be read:{told}{more}</div>"


def series(each: Image, selection: Selection, lon: float, lat: float, zoom: int | None = None) -> Series:
    """The values of every item of a selection at one place.

    Parameters
    ----------
    each
        What is computed of each item, from `per_item.item`.
    lon, lat
        In degrees.
    zoom
        Of the map; without it each item's own pixels.

    Raises
    ------
    ParameterError
        If that is no place.
    """
    for name, value, most in (("lon", lon, 180.0), ("lat", lat, 90.0)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= most:
            raise ParameterError(
                f"series(): {name}={value!r} is not in degrees from {-most:g} to {most:g}.",
                hint="It is series(lon, lat): east first.",
            )
    if not len(selection):
        return Series(lon, lat, each.band_names, [], each.unit)
    first = per_item.composite(each, selection, "first")
    client = connected()
    question: dict[str, Any] = {"key": client.register(first.chain).key, "lon": lon, "lat": lat}
    if zoom is not None:
        question["zoom"] = zoom
    answer = client.ask("/series", **question)
    readings = [
        Reading(
            str(one["id"]), _moment(one.get("date")), dict(one.get("values") or {}), one.get("error") or None
        )
        for one in answer["items"]
    ]
    return Series(lon, lat, tuple(answer["bands"]), readings, answer.get("unit") or each.unit)


def applied(function: Callable[[Image], Any] | None, each: Image) -> Image:
    """What a function makes of each item; the item itself without one.

    Raises
    ------
    ParameterError
        If it makes no image.
    """
    if function is None:
        return each
    made = function(each)
    if hasattr(made, "__geoloom_image__"):
        made = made.__geoloom_image__()
    if not isinstance(made, Image):
        raise ParameterError(
            f"The function gave {type(made).__name__}, not an image.",
            hint='For example lambda img: img.normalized_difference("B08", "B04").',
        )
    return made


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    if isinstance(text, int | float):
        return datetime.fromtimestamp(text, UTC)
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _date(moment: datetime | None) -> str:
    return "no date" if moment is None else day_in_words(moment)


def _place(lon: float, lat: float) -> str:
    return f"{abs(lat):.4f}° {'S' if lat < 0 else 'N'}, {abs(lon):.4f}° {'W' if lon < 0 else 'E'}"
