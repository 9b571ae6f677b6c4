"""Attributes of the features at a place of a map, as the inspector shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from geoloom import blobs
from geoloom.chain import Node
from geoloom.joining import Table
from geoloom.legend import number

__all__ = ["attributes_at", "attributes_html"]

MOST_FEATURES = 5
MOST_ATTRIBUTES = 40
LONGEST = 200
"""Characters of a value that are shown."""


class Asked(Protocol):
    """What this needs of the engine's client."""

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        """What the engine answers."""

    def blob(self, key: str) -> bytes:
        """The bytes stored under a key."""


def attributes_at(engine: Asked, node: Node, lon: float, lat: float, zoom: int) -> list[dict[str, Any]]:
    """Attributes of the features that a node draws at a place, the uppermost first.

    Parameters
    ----------
    node
        Of a registered chain, of the op ``draw``.
    zoom
        Of the map: points and lines are found within some pixels of it.
    """
    told = {name: node.params[name] for name in ("href", "blob", "layer", "where")}
    question = {name: value for name, value in told.items() if value is not None}
    found = engine.ask("/identify", **question, lon=lon, lat=lat, zoom=zoom)
    properties = [dict(one["properties"]) for one in found["features"]]
    key = node.params["table"]
    if key is None:
        return properties
    table = Table.from_content(blobs.known(str(key)) or engine.blob(str(key)))
    return [table.add_to(one) for one in properties]


def attributes_html(features: Sequence[Mapping[str, Any]]) -> str:
    """Names and values as tables; every text is escaped."""
    if not features:
        return '<div style="opacity:.75">No feature here.</div>'
    parts = [_table(one) for one in features[:MOST_FEATURES]]
    if len(features) > MOST_FEATURES:
        parts.append(f"<div>… and {len(features) - MOST_FEATURES} more features</div>")
    return '<hr style="margin:2px 0;opacity:.3">'.join(parts)


def _table(properties: Mapping[str, Any]) -> str:
    shown = list(properties.items())[:MOST_ATTRIBUTES]
    rows = "".join(
        f'<tr><td style="padding-right:8px;opacity:.75">{escape(str(name))}</td><td>{_value(value)}</td></tr>'
        for name, value in shown
    )
    more = len(properties) - len(shown)
    rest = f"<div>… and {more} more</div>" if more else ""
    return f'<table style="border-collapse:collapse">{rows}</table>{rest}'


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    text = str(value)
    return escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
