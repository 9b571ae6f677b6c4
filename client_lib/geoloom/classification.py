"""Colours by an attribute: categories and graduated classes, from what a column holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoloom.colour import Colour, components, lut, parse, ramp
from geoloom.errors import ParameterError
from geoloom.legend import number
from geoloom.symbols import By, Category, Interval, Value, optional_colour

__all__ = ["Column", "categories", "graduated"]

HUES = (
    *("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948"),
    *("#b07aa1", "#9c755f", "#ff9da7", "#86bcb6", "#d37295", "#b6992d"),
)
"""Of categories that were given no colours: Tableau's, which tell apart well side by side."""

MOST_CATEGORIES = 20
"""Categories that are found by themselves; the rarer ones together are "other"."""

OTHER = "#bdbdbdff"
MISSING = "no value"


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds.

    Parameters
    ----------
    name
        Of the column.
    counts
        (value, how many features) by how common; None stands for no value. Perhaps only the most common.
    distinct
        How many values there are.
    percentiles
        The 0th to 100th percentile of its numbers, at even steps; empty if it holds none.
    whole
        Whether all its numbers are whole.
    """

    name: str
    counts: tuple[tuple[Value, int], ...]
    distinct: int
    percentiles: tuple[float, ...] = ()
    whole: bool = False

    @staticmethod
    def of(name: str, values: Sequence[Any]) -> Column:
        """Of all the values."""
        found: dict[Value, int] = {}
        for value in values:
            found[value] = found.get(value, 0) + 1
        counts = sorted(found.items(), key=lambda one: (-one[1], str(one[0])))
        numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
        percentiles = np.quantile(numbers, np.linspace(0, 1, 101)).tolist() if numbers else ()
        whole = all(float(one).is_integer() for one in numbers)
        return Column(name, tuple(counts), len(counts), tuple(percentiles), whole)


def categories(
    column: Column | str,
    colours: Mapping[Any, Any] | Sequence[Colour] | str | None,
    labels: Mapping[Any, str] | None,
    other: Colour | None,
) -> By:
    """A colour for each value.

    Parameters
    ----------
    column
        What it holds; its name is enough where the colours name the values.
    colours
        ``{value: colour}`` or ``{value: (label, colour)}``; or colours for the values that are there, numbers
        by size and text by the alphabet: a list, or a ramp's name.
    labels
        For the legend, by value.
    other
        Colour of all other features; None leaves them out.

    Raises
    ------
    ParameterError
        For what is no colour, or if there is no value.
    """
    labels = dict(labels or {})
    if isinstance(colours, Mapping):
        name = column if isinstance(column, str) else column.name
        if not colours:
            raise ParameterError(
                "categories(colours=…) is empty.", hint='Write {"wheat": "gold"} or the like.'
            )
        chosen = [_chosen(value, entry, labels) for value, entry in colours.items()]
        return By(name, tuple(chosen), optional_colour(other))
    assert isinstance(column, Column)
    values = [value for value, _ in column.counts[:MOST_CATEGORIES]]
    if not values:
        raise ParameterError(f"The column {column.name!r} holds no values.")
    if other is None and column.distinct > len(values):
        other = OTHER
    known = sorted(values, key=_order)
    shades = _shades(colours, len(known))
    found = [Category(_label(one, labels), shade, (one,)) for one, shade in zip(known, shades, strict=True)]
    return By(column.name, tuple(found), optional_colour(other))


def graduated(
    column: Column,
    classes: int,
    method: str | Sequence[float],
    colormap: str | Sequence[Colour],
    other: Colour | None,
) -> By:
    """A colour for each interval of a column's numbers, from low to high.

    Parameters
    ----------
    classes
        How many, 1 to 20; fewer if so many values are equal that some would be empty.
    method
        ``"quantile"`` (equally many features in each), ``"equal"`` (equally wide), or the breaks themselves,
        from the lowest to the highest.
    colormap
        A ramp's name, or a list of colours.
    other
        Colour of features beyond the breaks, or without a number; None leaves them out.

    Raises
    ------
    ParameterError
        If it holds no numbers, or the breaks do not rise.
    """
    if isinstance(method, str):
        breaks = _breaks(column, classes, method)
    else:
        breaks = [float(one) for one in method]
        if len(breaks) < 2 or any(low >= high for low, high in itertools.pairwise(breaks)):
            raise ParameterError(
                "The breaks of graduated(method=…) must be two or more rising numbers.",
                hint="[0, 10, 100] makes two classes.",
            )
    shades = lut(ramp(colormap) if isinstance(colormap, str) else list(colormap), len(breaks) - 1)
    places = _decimals(breaks)
    found = tuple(
        Interval(_range(low, high, places), shade, low, high)
        for (low, high), shade in zip(itertools.pairwise(breaks), shades, strict=True)
    )
    return By(column.name, found, optional_colour(other))


def _breaks(column: Column, classes: int, method: str) -> list[float]:
    if method not in ("quantile", "equal"):
        raise ParameterError(
            f'graduated(method=…) is "quantile", "equal" or a list of breaks, not {method!r}.'
        )
    if isinstance(classes, bool) or not isinstance(classes, int) or not 1 <= classes <= 20:
        raise ParameterError(f"graduated(classes=…) is a whole number from 1 to 20, not {classes!r}.")
    if not column.percentiles:
        raise ParameterError(
            f"The column {column.name!r} holds no numbers.", hint=f"Show it by .categories({column.name!r})."
        )
    low, high = column.percentiles[0], column.percentiles[-1]
    if low == high:
        return [low, low]
    if method == "equal":
        inner = np.linspace(low, high, classes + 1)
    else:
        steps = np.linspace(0, 1, len(column.percentiles))
        inner = np.interp(np.linspace(0, 1, classes + 1), steps, column.percentiles)
    # Breaks of few digits: legends are read, and nobody's class hangs on the fourth.
    digits = 2 - math.floor(math.log10(high - low))
    if column.whole:
        digits = min(digits, 0)
    scale = 10.0**digits
    ends = math.floor(low * scale) / scale, math.ceil(high * scale) / scale
    middle = [round(float(one), digits) for one in inner[1:-1]]
    return [ends[0], *sorted({one for one in middle if ends[0] < one < ends[1]}), ends[1]]


def _range(low: float, high: float, places: int) -> str:
    ends = number(low, places), number(high, places)
    return ends[0] if low == high else " – ".join(ends)


def _decimals(breaks: Sequence[float]) -> int:
    """Digits behind the point that tell the breaks apart."""
    for places in range(7):
        shown = [round(one, places) for one in breaks]
        if len(set(shown)) == len(shown) and all(
            abs(a - b) <= 1e-3 * (breaks[-1] - breaks[0]) for a, b in zip(shown, breaks, strict=True)
        ):
            return places
    return 6


def _chosen(value: Any, entry: Any, labels: Mapping[Any, str]) -> Category:
    if isinstance(entry, tuple | list) and len(entry) == 2:
        return Category(str(entry[0]), parse(entry[1]), _values(value))
    return Category(_label(value, labels), parse(entry), _values(value))


def _values(value: Any) -> tuple[Value, ...]:
    """The value of a class, or its values."""
    several = value if isinstance(value, tuple) else (value,)
    found = tuple(one.item() if hasattr(one, "item") else one for one in several)
    if not all(one is None or isinstance(one, str | int | float) for one in found):
        raise ParameterError(f"A category is text or a number, not {type(value).__name__}.")
    return found


def _label(value: Any, labels: Mapping[Any, str]) -> str:
    if value in labels:
        return str(labels[value])
    if isinstance(value, tuple):
        return ", ".join(_label(one, labels) for one in value)
    if value is None:
        return MISSING
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _order(value: Value) -> tuple[int, float, str]:
    """Numbers by size, then text by the alphabet, then what has no value."""
    if value is None:
        return 2, 0.0, ""
    return (1, 0.0, value.casefold()) if isinstance(value, str) else (0, float(value), "")


def _shades(colours: Sequence[Colour] | str | None, count: int) -> list[str]:
    if isinstance(colours, str):
        return list(lut(ramp(colours), count))
    if colours is not None:
        if len(colours) < count:
            raise ParameterError(f"categories(colours=…) has {len(colours)} colours for {count} values.")
        return [parse(one) for one in colours[:count]]
    return [_hue(i) for i in range(count)]


def _hue(number: int) -> str:
    """A colour for the category of a number; beyond the first round the same hues come darker."""
    darker = 1.0 - 0.4 * (number // len(HUES))
    red, green, blue, _ = components(HUES[number % len(HUES)])
    return parse((round(red * darker), round(green * darker), round(blue * darker)))
