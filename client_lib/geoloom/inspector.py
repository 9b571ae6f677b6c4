"""Click on the map, read the values: of every visible layer, at the map's zoom and at full resolution."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import ipyleaflet
import ipywidgets

from geoloom.answer import distance
from geoloom.attributes import attributes_at, attributes_html
from geoloom.chain import Chain, Node
from geoloom.derivation import profiles
from geoloom.errors import GeoloomError
from geoloom.layers import INK, WRONG, ImageLayer
from geoloom.legend import number, unit_text
from geoloom.op import Op, Profile
from geoloom.ops.item import Item
from geoloom.ops.open import Open
from geoloom.wording import in_words, one_line

HINT = "Click on the map to read values."
CELL = "padding:0 6px 0 0;text-align:right;white-space:nowrap"


class Inspector:
    """Reads the values under a click; made by `Map.inspect`.

    Reading happens in a thread of its own, so neither kernel nor map wait for it. A newer click wins.

    Parameters
    ----------
    map
        The `Map`.
    """

    def __init__(self, map: Any) -> None:
        self._map = map
        self._turn = 0
        self._guard = threading.Lock()
        self.result = ipywidgets.HTML(
            layout=ipywidgets.Layout(max_width="340px", max_height="240px", overflow="auto")
        )
        self.result.add_class("geoloom-inspector")
        self.control = ipyleaflet.WidgetControl(widget=self.result, position="bottomleft")
        self.marker = ipyleaflet.CircleMarker(
            location=(0, 0), radius=5, color="#d01c8b", fill_color="#ffffff", fill_opacity=0.9, weight=2
        )
        self.on = False

    def __repr__(self) -> str:
        if not self.on:
            return "Inspector: off. m.inspect() starts it."
        return "Inspector: on. Click on the map to read values; m.inspect(False) ends it."

    def start(self) -> None:
        """Listen to clicks."""
        if self.on:
            return
        self.on = True
        self._show(_text(HINT))
        self._map.add(self.control)
        self._map.on_interaction(self._clicked)
        self._map.default_style = {"cursor": "crosshair"}

    def stop(self) -> None:
        """Stop listening, and take values and marker off the map."""
        if not self.on:
            return
        self.on = False
        self._turn += 1
        self._map.on_interaction(self._clicked, remove=True)
        self._map.remove(self.control)
        if self.marker in self._map.layers:
            self._map.remove(self.marker)
        self._map.default_style = {"cursor": "grab"}

    def read(self, lon: float, lat: float) -> threading.Thread:
        """Read the values at a point; returns at once, the thread does the reading."""
        with self._guard:
            self._turn += 1
            turn = self._turn
        lon = (lon + 180.0) % 360.0 - 180.0
        layers = [layer for layer in reversed(self._map.image_layers) if layer.visible and layer.key]
        zoom = round(self._map.zoom)
        head = f"<b>{_degrees(lon, 'E', 'W')}, {_degrees(lat, 'N', 'S')}</b>"
        self._show(_text(f"{head}<br>reading…"))
        reader = threading.Thread(
            target=self._read,
            args=(turn, head, layers, lon, lat, zoom),
            name="geoloom-inspector",
            daemon=True,
        )
        reader.start()
        return reader

    def _clicked(self, **event: Any) -> None:
        if event.get("type") != "click" or not event.get("coordinates"):
            return
        lat, lon = event["coordinates"]
        self.marker.location = (lat, lon)
        if self.marker not in self._map.layers:
            self._map.mark(self.marker)
        self.read(lon, lat)

    def _read(
        self, turn: int, head: str, layers: list[ImageLayer], lon: float, lat: float, zoom: int
    ) -> None:
        parts = [head]
        if not layers:
            parts.append("<div>No layer is shown.</div>")
        for layer in layers:
            if turn != self._turn:
                return
            self._show(_text("".join([*parts, f"<div>reading {escape(one_line(layer.name, 200))}…</div>"])))
            parts.append(self._section(layer, lon, lat, zoom))
        if turn == self._turn:
            self._show(_text("".join(parts)))

    def _section(self, layer: ImageLayer, lon: float, lat: float, zoom: int) -> str:
        name = f'<div class="geoloom-inspected"><b>{escape(one_line(layer.name, 200))}</b></div>'
        try:
            drawn = features_of(layer)
            if drawn:
                return name + "".join(self._attributes(layer, node, lon, lat, zoom) for node in drawn)
            at_zoom, native = read(layer, lon, lat, zoom), read(layer, lon, lat, None)
        except GeoloomError as error:
            return f'{name}<div style="{WRONG}">⚠ {escape(in_words(error))}</div>'
        except Exception as error:  # noqa: BLE001 - a thread's defect must reach the person, not stderr
            return f'{name}<div style="{WRONG}">⚠ {escape(f"{type(error).__name__}: {error}")}</div>'
        return name + _table(at_zoom, native, zoom)

    @staticmethod
    def _attributes(layer: ImageLayer, node: Node, lon: float, lat: float, zoom: int) -> str:
        return attributes_html(attributes_at(layer.engine, node, lon, lat, zoom))

    def _show(self, html: str) -> None:
        self.result.value = html


@dataclass(frozen=True, slots=True)
class Reading:
    """Values and units by band at one resolution, in ground metres."""

    values: Mapping[str, tuple[Any, str | None]]
    metres: float | None


def read(layer: ImageLayer, lon: float, lat: float, zoom: int | None) -> Reading:
    """The values behind a layer's colours; of a blend, those of all its parts.

    Parameters
    ----------
    zoom
        Of the map; None reads the finest source's own pixels.
    """
    values: dict[str, tuple[Any, str | None]] = {}
    metres = None
    for chain in measured(layer.drawn):
        found = layer.engine.point(layer.engine.register(chain).key, lon, lat, zoom)
        metres = found.get("resolution_m")
        for band, value in found["values"].items():
            name, count = band, 1
            while name in values:
                count += 1
                name = f"{band} ({count})"
            values[name] = (value, found.get("unit"))
    return Reading(values, metres)


def _source(op: Op) -> str:
    """Under which name an image knows what a source holds."""
    return op.href if isinstance(op, Open) else op.selection if isinstance(op, Item) else ""


def features_of(layer: ImageLayer) -> list[Node]:
    """The nodes that draw features, of a layer that shows nothing else."""
    nodes = [chain.node for chain in measured(layer.drawn)]
    return nodes if all(node.op == "draw" for node in nodes) else []


def measured(image: Any) -> list[Chain]:
    """The chains below an image's look, whose values are quantities and not colours."""
    chain: Chain = image.chain
    known = profiles(chain, lambda op: Profile.of_source(image.sources[_source(op)]))
    found: dict[str, None] = {}
    waiting = [chain.root]
    while waiting:
        key = waiting.pop()
        inputs = chain.nodes[key].inputs
        if known[key].look is None or not inputs:
            found[key] = None
            continue
        # A styled image that was masked leads on to the styled image, not to the mask.
        styled = [one for one in inputs if known[one].look is not None]
        waiting.extend(reversed(styled or inputs[:1]))
    return [chain.at(key) for key in found]


def _table(at_zoom: Reading, native: Reading, zoom: int) -> str:
    heads = (f"map, zoom {zoom}{_metres(at_zoom)}", f"full resolution{_metres(native)}")
    titles = "".join(f'<th style="{CELL};font-weight:normal;opacity:.75">{head}</th>' for head in heads)
    rows = []
    bands = list(dict.fromkeys([*at_zoom.values, *native.values]))
    for band in bands:
        values = (_value(*where.values.get(band, (None, None))) for where in (at_zoom, native))
        cells = "".join(f'<td style="{CELL}">{value}</td>' for value in values)
        # The only band of a formula is named after its first operand, which says nothing here.
        label = escape(band) if len(bands) > 1 else "value"
        rows.append(f'<tr><td style="padding-right:8px">{label}</td>{cells}</tr>')
    return f'<table style="border-collapse:collapse"><tr><th></th>{titles}</tr>{"".join(rows)}</table>'


def _value(value: Any, unit: str | None) -> str:
    if value is None:
        return "no data"
    shown = str(value).lower() if isinstance(value, bool) else number(float(value))
    return f"{shown} {escape(unit_text(unit))}".rstrip()


def _metres(reading: Reading) -> str:
    return "" if reading.metres is None else f" ({distance(reading.metres)})"


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.5f}° {positive if value >= 0 else negative}"


def _text(html: str) -> str:
    return f'<div style="{INK};line-height:1.4;font-size:12px;padding:4px 8px">{html}</div>'
