"""How features are drawn: a style as the user gives it, as a chain's text, and as the painter reads it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geoloom.chain import canonical
from geoloom.colour import Colour, parse
from geoloom.errors import ParameterError

__all__ = ["By", "Category", "Class", "Interval", "Style"]

MOST_CLASSES = 1000
WIDEST = 100.0
"""Pixels that a line may be wide, or a point's radius long."""

Value = str | int | float | bool | None
"""Of an attribute; None is a feature without one."""


@dataclass(frozen=True, slots=True)
class Category:
    """Features whose attribute is one of some values.

    Parameters
    ----------
    label
        For the legend.
    colour
        As ``#rrggbbaa``.
    values
        Numbers are compared as numbers (1 is 1.0), text as text; None stands for features without a value.
    """

    label: str
    colour: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """Features whose attribute is a number of `low` ≤ x < `high`; of the last interval, x ≤ `high`."""

    label: str
    colour: str
    low: float
    high: float


Class = Category | Interval


@dataclass(frozen=True, slots=True)
class By:
    """Colours by an attribute.

    The class's colour takes the place of the style's fill; of lines, which have none, that of the line's.

    Parameters
    ----------
    column
        Name of the attribute.
    classes
        All of one kind, in the order of the legend.
    other
        Colour of features of no class; None leaves them out.
    """

    column: str
    classes: tuple[Class, ...]
    other: str | None = None

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """(label, colour) of each class, for the legend."""
        rest = () if self.other is None else (("other", self.other),)
        return (*((one.label, one.colour) for one in self.classes), *rest)


@dataclass(frozen=True, slots=True)
class Style:
    """How features look. Colours are ``#rrggbbaa``; `of` makes a style of anything that is a colour.

    Parameters
    ----------
    fill
        Of polygons and points; None leaves them empty.
    line
        Of lines, and of the outlines of polygons and points; None draws none.
    width
        Of lines, in pixels of the map.
    radius
        Of points, in pixels of the map.
    by
        Colours by an attribute.
    """

    fill: str | None = "#3b7dd866"
    line: str | None = "#1f4e9cff"
    width: float = 1.0
    radius: float = 4.0
    by: By | None = None

    @staticmethod
    def of(
        fill: Colour | None, line: Colour | None, width: float, radius: float, by: By | None = None
    ) -> Style:
        """The style of these colours, in any spelling; ``"none"`` is None.

        Raises
        ------
        ParameterError
            For what is no colour or no size in pixels.
        """
        return Style(
            optional_colour(fill), optional_colour(line), _size("width", width), _size("radius", radius), by
        )

    def parts(self) -> dict[str, Any]:
        """What `of` takes, but for the classes."""
        return {"fill": self.fill, "line": self.line, "width": self.width, "radius": self.radius}

    def to_json(self) -> str:
        """As the canonical JSON that a chain holds."""
        by = None
        if self.by is not None:
            by = {
                "column": self.by.column,
                "classes": [_class_json(one) for one in self.by.classes],
                "other": self.by.other,
            }
        return canonical({**self.parts(), "by": by, "labels": None}).decode()

    @staticmethod
    def from_json(text: str) -> Style:
        """The style of a chain's text.

        Raises
        ------
        ParameterError
            If `to_json` did not give it.
        """
        try:
            told = json.loads(text)
            by = None if told["by"] is None else _by(told["by"])
            found = Style.of(told["fill"], told["line"], told["width"], told["radius"], by)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ParameterError("draw(style=…) is no style as Geoloom writes it.") from None
        if found.to_json() != text:
            raise ParameterError("draw(style=…) is not in canonical form.")
        return found


def optional_colour(colour: Colour | None) -> str | None:
    """A colour as ``#rrggbbaa``; None for None and ``"none"``."""
    return None if colour is None or colour == "none" else parse(colour)


def _size(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= WIDEST:
        raise ParameterError(f"{name} must be a number of pixels from 0 to {WIDEST:g}, not {value!r}.")
    return float(value)


def _class_json(one: Class) -> dict[str, Any]:
    told: dict[str, Any] = {"label": one.label, "colour": one.colour}
    if isinstance(one, Category):
        return {**told, "values": list(one.values)}
    return {**told, "low": one.low, "high": one.high}


def _by(told: Mapping[str, Any]) -> By:
    classes = tuple(_class(one) for one in told["classes"])
    kinds: set[type] = {type(one) for one in classes}
    if not 1 <= len(classes) <= MOST_CLASSES or len(kinds) > 1:
        raise ParameterError(f"A style has 1 to {MOST_CLASSES:,} classes of one kind, not {len(classes):,}.")
    return By(_text(told["column"]), classes, optional_colour(told["other"]))


def _class(told: Mapping[str, Any]) -> Class:
    label, colour = _text(told["label"]), parse(told["colour"])
    if "values" in told:
        values = tuple(told["values"])
        if not all(one is None or isinstance(one, str | int | float) for one in values):
            raise ValueError
        return Category(label, colour, values)
    low, high = float(told["low"]), float(told["high"])
    if not (math.isfinite(low) and low <= high < math.inf):
        raise ValueError
    return Interval(label, colour, low, high)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value
