"""What a netCDF file or Zarr store holds, and the choice of one variable, time and depth of it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from html import escape
from pathlib import PurePath
from typing import Any

from geoloom.address import Address
from geoloom.dates import instant, period
from geoloom.errors import ParameterError
from geoloom.image import connected
from geoloom.paths import absolute

__all__ = ["Variables", "choose", "seconds", "variables"]

_SHOWN = 8


def variables(href: Any) -> Variables:
    """The variables of a netCDF file or Zarr store, with their dimensions; no pixel is read.

    Parameters
    ----------
    href
        Path or URL.

    Raises
    ------
    SourceError
        If the file is missing, refused or damaged.
    ParameterError
        If it is of another kind: what it holds are bands.
    """
    path = Address.parse(str(absolute(href))).href
    info = connected().info(path)
    if "variables" not in info:
        raise ParameterError(
            f"{_short(path)} holds bands, not variables.", hint="gl.open(…) opens it as it is."
        )
    return Variables(path, info)


class Variables(Mapping[str, "Mapping[str, Any]"]):
    """Variables by name, as `geoloom.variables` gives them; shown as a table.

    Parameters
    ----------
    href
        The file.
    info
        What the engine said of it.
    """

    def __init__(self, href: str, info: Mapping[str, Any]) -> None:
        self.href = href
        self.info = info
        self._dimensions = info["dimensions"]
        self._found: dict[str, Mapping[str, Any]] = {one["name"]: one for one in info["variables"]}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def coordinates(self, name: str) -> dict[str, list[str]]:
        """What can be chosen of a variable: the coordinates of each of its dimensions but the horizontal.

        Times are ISO texts, numbers are texts as addresses have them.
        """
        if name not in self:
            raise _unknown(self, name)
        dimensions = self._found[name]["dimensions"]
        return {dim: list(self._dimensions[dim]["values"]) for dim in dimensions if dim in self._dimensions}

    def time(self, name: str) -> str:
        """The dimension of a variable that is time; raises ParameterError if it has none."""
        dims = list(self.coordinates(name))
        times = [dim for dim in dims if self._dimensions[dim]["kind"] == "time"]
        times = times or [dim for dim in dims if dim.rpartition("/")[2] == "time"]
        if not times:
            raise ParameterError(f"{name} has no time.", hint="Open it without one.")
        return times[0]

    def __repr__(self) -> str:
        rows = [list(self._row(name).values()) for name in self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([f"Variables of {_short(self.href)}", *(f"  {line}" for line in lines)])

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        titles = ("variable", "what it is", "unit", "type", "pixels", "to choose from")
        head = "".join(f"<th {left}>{title}</th>" for title in titles)
        body = "".join(
            "<tr>" + "".join(f"<td {left}>{escape(cell)}</td>" for cell in self._row(name).values()) + "</tr>"
            for name in self
        )
        caption = f"Variables of {escape(_short(self.href))}"
        return f"<table class='geoloom-variables'><caption>{caption}</caption><tr>{head}</tr>{body}</table>"

    def _row(self, name: str) -> dict[str, str]:
        one = self._found[name]
        sizes = dict(zip(one["dimensions"], one["shape"], strict=True))
        pixels = f"{sizes[one['x']]:,} × {sizes[one['y']]:,}" if not one["problem"] else ""
        choice = "; ".join(self._range(dim) for dim in one["dimensions"] if dim in self._dimensions)
        return {
            "name": name,
            "description": one["description"] or "",
            "unit": one["unit"] or "",
            "dtype": one["dtype"],
            "pixels": pixels,
            "choice": one["problem"] or choice,
        }

    def _range(self, dim: str) -> str:
        found = self._dimensions[dim]
        values = [_brief(text) if found["kind"] == "time" else text for text in found["values"]]
        unit = f" {found['unit']}" if found["unit"] and found["kind"] != "time" else ""
        if len(values) == 1:
            return f"{dim}: {values[0]}{unit}"
        return f"{dim}: {len(values):,} from {values[0]} to {values[-1]}{unit}"


def choose(
    href: str, info: Mapping[str, Any], variable: str | None, time: Any, at: Mapping[str, Any]
) -> Address:
    """The address of one slice of a file.

    Parameters
    ----------
    href
        The file, or an address in it whose choices are kept.
    info
        What the engine said of the file.
    variable
        None if there is but one.
    time
        A date; or a position counted from 0 (from the end if negative), if it is no year.
    at
        Coordinates of other dimensions, by name; the nearest one is taken, if there is one within half
        a step. Positions where a dimension has no coordinates. A dimension of up to 32 values that is
        left free becomes the image's bands.

    Raises
    ------
    ParameterError
        If something is missing or not there; the message lists what there is.
    """
    if isinstance(time, slice):
        raise ParameterError(
            "An image shows one time.", hint="gl.time_steps(…, time=slice(…)) takes several."
        )
    before = Address.parse(href)
    if "variables" not in info:
        raise ParameterError(
            f"{_short(href)} holds bands, not variables.", hint="Open it without variable, time and depth."
        )
    table = Variables(before.href, info)
    name = _variable(table, variable or before.variable)
    kept = {dim: text for dim, text in before.at.items() if dim in table[name]["dimensions"]}
    asked = dict(at) if time is None else {**at, table.time(name): time}
    found: dict[str, str] = {}
    for dim in table[name]["dimensions"]:
        if dim not in info["dimensions"]:
            continue
        axis, short = info["dimensions"][dim], dim.rpartition("/")[2]
        given = asked.pop(dim, asked.pop(short, None))
        if given is None and dim in kept:
            found[dim] = kept[dim]
        elif given is not None:
            found[dim] = _time(dim, axis, given) if axis["kind"] == "time" else _nearest(dim, axis, given)
        elif axis["size"] == 1:
            found[dim] = axis["values"][0]
        elif axis["kind"] == "time" or axis["size"] > 32:
            raise ParameterError(
                f"{name} has {_words(axis)} along {dim}, and none is chosen.",
                hint=_example(before.href, name, short, axis),
            )
    if asked:
        dims = ", ".join(table.coordinates(name)) or "none but the horizontal ones"
        raise ParameterError(
            f"{name} has no dimension {' or '.join(map(repr, asked))} to choose from.",
            hint=f"Its dimensions are: {dims}.",
        )
    free = [dim for dim in table.coordinates(name) if dim not in found]
    if len(free) > 1:
        dim, axis = free[0], info["dimensions"][free[0]]
        raise ParameterError(
            f"{name} has several dimensions that are not chosen: {', '.join(free)}.",
            hint=_example(before.href, name, dim.rpartition("/")[2], axis),
        )
    return Address(before.href, name, found)


def _variable(table: Variables, name: str | None) -> str:
    """The variable that is meant."""
    if name is not None and name not in table:
        ending = [one for one in table if one.rpartition("/")[2] == name]
        if len(ending) == 1:
            return ending[0]
        raise _unknown(table, name)
    shown = [one for one in table if not table[one]["problem"]]
    if name is None and len(shown) != 1:
        if not shown:
            reasons = " ".join(str(one["problem"]) for one in list(table.values())[:3])
            raise ParameterError(
                f"{_short(table.href)} holds no variable that can be shown on a map.", hint=reasons or None
            )
        raise ParameterError(
            f"{_short(table.href)} holds {len(shown)} variables: {_listed(table, shown)}.",
            hint=f"Choose one: gl.open('{_short(table.href)}', variable='{shown[0]}').",
        )
    return shown[0] if name is None else name


def _unknown(table: Variables, name: str) -> ParameterError:
    near = get_close_matches(name, list(table), n=2, cutoff=0.6)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    listed = _listed(table, list(table)) or "none that can be shown"
    return ParameterError(f"{_short(table.href)} has no variable {name!r}.", hint=f"{meant}It has: {listed}.")


def _listed(table: Variables, names: list[str]) -> str:
    shown = [f"{name} ({', '.join(table[name]['dimensions'])})" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else "")


def _time(dim: str, axis: Mapping[str, Any], given: Any) -> str:
    """The coordinate of a date: the one in that year, month or day, else the nearest within half a step."""
    values: list[str] = axis["values"]
    if hasattr(given, "__index__") and not isinstance(given, bool):
        index = given.__index__()
        if index < max(len(values), 1000):
            return _counted(dim, axis, index)
    if isinstance(given, str) and given in values:
        return given
    first, last = period(given)
    inside = [text for text in values if first <= text < last]
    if len(inside) == 1 or (inside and len(values) == 1):
        return inside[0]
    if inside and not _is_moment(given):
        raise ParameterError(
            f"There are {len(inside):,} times in {given}: from {_brief(inside[0])} to {_brief(inside[-1])}.",
            hint=f"Choose one, such as time='{_brief(inside[0])}'.",
        )
    wanted, moments = seconds(instant(given)), [seconds(text) for text in values]
    gaps = [abs(b - a) for a, b in itertools.pairwise(moments)]
    reach = statistics.median(gaps) / 2 if gaps else 43_200.0
    away, nearest = min((abs(at - wanted), text) for at, text in zip(moments, values, strict=True))
    if away > reach:
        raise ParameterError(f"There is no time {given}.", hint=f"There are {_words(axis)}.")
    return nearest


def _nearest(dim: str, axis: Mapping[str, Any], given: Any) -> str:
    """The coordinate nearest to a number, within half a step; or the one of the same text."""
    values: list[str] = axis["values"]
    text = str(given)
    if text in values:
        return text
    try:
        wanted, numbers = float(given), [float(one) for one in values]
    except (TypeError, ValueError):
        near = get_close_matches(text, values, n=2, cutoff=0.6)
        raise ParameterError(
            f"There is no {dim} {given!r}.",
            hint=f"Did you mean {' or '.join(near)}?" if near else f"There are {_words(axis)}.",
        ) from None
    index = min(range(len(numbers)), key=lambda one: abs(numbers[one] - wanted))
    beside = [abs(numbers[index] - numbers[one]) for one in (index - 1, index + 1) if 0 <= one < len(numbers)]
    reach = max(beside) / 2 if beside else 1e-6 * abs(numbers[index])
    if not abs(numbers[index] - wanted) <= reach * (1 + 1e-9):
        raise ParameterError(f"There is no {dim} near {given}.", hint=f"There are {_words(axis)}.")
    return values[index]


def _counted(dim: str, axis: Mapping[str, Any], index: int) -> str:
    values: list[str] = axis["values"]
    if not -len(values) <= index < len(values):
        raise ParameterError(
            f"There is no {dim} number {index}.",
            hint=f"They are counted from 0 to {len(values) - 1}, or from -1 backwards.",
        )
    return values[index]


def _words(axis: Mapping[str, Any]) -> str:
    values = [_brief(text) if axis["kind"] == "time" else text for text in axis["values"]]
    unit = f" {axis['unit']}" if axis["unit"] and axis["kind"] != "time" else ""
    if len(values) <= 4:
        return ", ".join(values) + unit
    return f"{len(values):,}, from {values[0]} to {values[-1]}{unit}"


def _example(href: str, name: str, dim: str, axis: Mapping[str, Any]) -> str:
    value = axis["values"][0]
    written = f"'{_brief(value)}'" if axis["kind"] == "time" else value
    choice = f"Choose one: gl.open('{_short(href)}', variable='{name}', {dim}={written})"
    every = (
        f"; gl.time_steps('{_short(href)}', variable='{name}') takes all." if axis["kind"] == "time" else "."
    )
    return choice + every


def _brief(text: str) -> str:
    """A time without what is nought."""
    return text.removesuffix("T00:00:00Z").removesuffix(":00Z")


def _is_moment(given: Any) -> bool:
    """Whether a date has a time of day."""
    if isinstance(given, datetime):
        return (given.hour, given.minute, given.second) != (0, 0, 0)
    text = str(given)
    return ":" in text and "T00:00:00" not in text


def seconds(text: str) -> float:
    """Seconds since 1970; of days that only a model's calendar has, about."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        day = int(text[8:10])
        return datetime.fromisoformat(f"{text[:8]}28{text[10:]}").timestamp() + 86_400.0 * (day - 28)


def _short(href: str) -> str:
    return PurePath(href).name or href
