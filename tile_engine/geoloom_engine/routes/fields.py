"""Typed fields of a request's JSON object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from geoloom.chain import is_key
from geoloom.errors import RequestError
from geoloom.grid import MAX_ZOOM, Bounds, Tile


def text(body: Mapping[str, Any], name: str) -> str:
    """A text."""
    value = _present(body, name)
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)
    return value


def key(body: Mapping[str, Any]) -> str:
    """The key of a chain, under ``key``."""
    value = _present(body, "key")
    if not is_key(value):
        raise _wrong("key", "a key of 32 hexadecimal digits", value)
    return str(value)


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    value = _present(body, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _wrong(name, f"a number from {low:g} to {high:g}", value)
    return float(value)


def whole(body: Mapping[str, Any], name: str) -> int:
    """A whole number."""
    value = _present(body, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, "a whole number", value)
    return value


def tile(body: Mapping[str, Any]) -> Tile:
    """A tile, under ``z``, ``x`` and ``y``."""
    return Tile(whole(body, "z"), whole(body, "x"), whole(body, "y"))


def zoom(body: Mapping[str, Any], name: str = "zoom") -> int | None:
    """A zoom, or None where it is absent or null."""
    if body.get(name) is None:
        return None
    value = whole(body, name)
    if not 0 <= value <= MAX_ZOOM:
        raise _wrong(name, f"a zoom from 0 to {MAX_ZOOM}", value)
    return value


def bbox(body: Mapping[str, Any]) -> Bounds | None:
    """West, south, east, north in degrees under ``bbox``, or None where it is absent or null."""
    value = body.get("bbox")
    if value is None:
        return None
    wanted = "[west, south, east, north] in degrees"
    if not isinstance(value, list) or len(value) != 4:
        raise _wrong("bbox", wanted, value)
    if any(
        isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(one) for one in value
    ):
        raise _wrong("bbox", wanted, value)
    west, south, east, north = (float(one) for one in value)
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and west != east):
        raise _wrong("bbox", f"{wanted}, south below north", value)
    return Bounds(west, south, east, north)


def _present(body: Mapping[str, Any], name: str) -> Any:
    if name not in body:
        raise RequestError(f"The request lacks {name!r}.")
    return body[name]


def _wrong(name: str, wanted: str, value: Any) -> RequestError:
    shown = repr(value)
    return RequestError(f"{name} must be {wanted}, not {shown if len(shown) <= 60 else shown[:57] + '…'}.")
