"""The layers panel: base map, and for each layer visibility, opacity, order, legend and what went wrong."""

from __future__ import annotations

from html import escape
from typing import Any

import ipyleaflet
import ipywidgets

from geoloom.basemaps import LABELS
from geoloom.layers import INK, WRONG, ImageLayer
from geoloom.legend import legend_html
from geoloom.wording import as_html, one_line

SPINNER = (
    '<svg width="12" height="12" viewBox="0 0 24 24" style="vertical-align:-2px" aria-label="loading">'
    '<circle cx="12" cy="12" r="9" fill="none" stroke="#888" stroke-width="4" stroke-dasharray="40 20">'
    '<animateTransform attributeName="transform" type="rotate" from="0 12 12" to="360 12 12" dur="0.9s" '
    'repeatCount="indefinite"/></circle></svg>'
)
TEXT = f"{INK};line-height:1.35;font-size:12px;overflow-wrap:anywhere"
WIDTH = "250px"
LIST_HEIGHT = "320px"
KEPT = "0 0 auto"
"""Flex of what must not be squeezed."""


class LayersPanel(ipywidgets.VBox):
    """The panel of one map; top layer first.

    Parameters
    ----------
    map
        The `Map`. Its layers are followed.
    """

    def __init__(self, map: Any) -> None:
        self._map = map
        self._rows: dict[str, LayerRow] = {}
        self._toggle = ipywidgets.ToggleButton(
            value=True, description="Layers", icon="caret-down", tooltip="Show or hide the list of layers"
        )
        self._toggle.layout = ipywidgets.Layout(width="auto", height="26px", margin="0")
        self._progress = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0 6px"))
        self._base = ipywidgets.Dropdown(
            options=[(label, name) for name, label in LABELS.items()],
            value=None,
            description="",
            tooltip="Base map. Online ones are fetched from the internet by your browser.",
            layout=ipywidgets.Layout(width="auto", margin="2px 0"),
        )
        # Only the list scrolls, and its rows keep their height however many there are.
        self._list = ipywidgets.VBox(layout=ipywidgets.Layout(overflow="hidden auto", max_height=LIST_HEIGHT))
        self._body = ipywidgets.VBox([self._list, self._base])
        head = ipywidgets.HBox(
            [self._toggle, self._progress],
            layout=ipywidgets.Layout(align_items="center", justify_content="space-between"),
        )
        super().__init__([head, self._body], layout=ipywidgets.Layout(max_width=WIDTH, padding="2px"))
        self.add_class("geoloom-panel")
        self._toggle.observe(self._fold, "value")
        self._base.observe(self._choose_base, "value")
        map.observe(lambda _: self.refresh(), "layers")
        self.refresh()

    @property
    def rows(self) -> tuple[LayerRow, ...]:
        """The rows, top layer first."""
        return tuple(self._list.children)

    def refresh(self) -> None:
        """Follow the map's layers."""
        wanted = list(reversed(self._map.overlays))
        rows = {layer.model_id: self._rows.get(layer.model_id) or self._row(layer) for layer in wanted}
        for gone in set(self._rows) - set(rows):
            self._rows[gone].close_all()
        self._rows = rows
        self._list.children = tuple(rows.values())
        if self._base.value != self._map.base_name:
            self._base.value = self._map.base_name if self._map.base_name in LABELS else None
        self._report()

    def _row(self, layer: ipyleaflet.Layer) -> LayerRow:
        row = LayerRow(self._map, layer)
        if layer.has_trait("loading"):
            layer.observe(lambda _: self._report(), ["loading", "visible"])
        return row

    def _fold(self, change: Any) -> None:
        self._body.layout.display = None if change["new"] else "none"
        self._toggle.icon = "caret-down" if change["new"] else "caret-left"

    def _choose_base(self, change: Any) -> None:
        if change["new"] is not None and change["new"] != self._map.base_name:
            self._map.set_basemap(change["new"])

    def _report(self) -> None:
        busy = sum(bool(getattr(layer, "loading", False)) for layer in self._map.overlays)
        self._progress.value = f"<span style='{TEXT}'>{SPINNER} loading</span>" if busy else ""


class LayerRow(ipywidgets.VBox):
    """One layer's controls."""

    def __init__(self, map: Any, layer: ipyleaflet.Layer) -> None:
        self.layer = layer
        self._map = map
        self.title = ipywidgets.HTML(
            layout=ipywidgets.Layout(flex="1 1 auto", min_width="0", margin="0 4px 0 0")
        )
        self.details = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0 0 2px 0", flex=KEPT))
        self.up = _button("arrow-up", "Move up", lambda _: map.move_layer(layer, +1))
        self.down = _button("arrow-down", "Move down", lambda _: map.move_layer(layer, -1))
        self.find = _button("crosshairs", "Zoom to this layer", lambda _: map.fit(layer))
        self.drop = _button("times", "Remove this layer", lambda _: map.remove_layer(layer))
        self._links: list[Any] = []
        children: list[Any] = []
        self.shown = self.opacity = None
        if layer.has_trait("visible"):
            self.shown = ipywidgets.Checkbox(
                value=layer.visible,
                indent=False,
                tooltip="Show this layer",
                layout=ipywidgets.Layout(width="20px", margin="0"),
            )
            self._link(self.shown, "visible")
            children.append(self.shown)
        found = [self.find] if isinstance(layer, ImageLayer) else []
        head = ipywidgets.HBox(
            [*children, self.title, *found, self.up, self.down, self.drop],
            layout=ipywidgets.Layout(align_items="center", overflow="hidden", flex=KEPT),
        )
        body = [head]
        if layer.has_trait("opacity"):
            self.opacity = ipywidgets.FloatSlider(
                value=layer.opacity,
                min=0.0,
                max=1.0,
                step=0.01,
                readout=False,
                tooltip="Opacity",
                layout=ipywidgets.Layout(width="auto", height="20px", margin="0 6px", flex=KEPT),
            )
            self._link(self.opacity, "opacity")
            body.append(self.opacity)
        super().__init__(
            [*body, self.details],
            layout=ipywidgets.Layout(
                border_bottom="1px solid rgba(128,128,128,.35)", padding="2px 0", flex=KEPT
            ),
        )
        self.add_class("geoloom-layer")
        layer.observe(lambda _: self._write(), [name for name in FOLLOWED if layer.has_trait(name)])
        self._write()

    def close_all(self) -> None:
        """Close the row and its links; the layer itself stays as it is."""
        for link in self._links:
            link.unlink()
        for widget in (*self.children[0].children, *self.children, self):
            widget.close()

    def _link(self, control: Any, trait: str) -> None:
        # Linked in the browser, so that the slider also works while the kernel is busy; from the layer, whose
        # value counts when the map is shown.
        self._links.append(ipywidgets.jslink((self.layer, trait), (control, "value")))

    def _write(self) -> None:
        layer = self.layer
        busy = f" {SPINNER}" if getattr(layer, "loading", False) else ""
        self.title.value = (
            f'<div style="{TEXT};font-weight:600">{escape(one_line(layer.name, 200))}{busy}</div>'
        )
        if not isinstance(layer, ImageLayer):
            self.details.value = ""
            return
        lines = []
        if layer.note:
            lines.append(f'<div style="opacity:.75">{escape(layer.note)}</div>')
        lines.append(legend_html(layer.legend, named=False))
        if layer.waiting:
            lines.append("<div>The engine is busy; the missing tiles come by themselves.</div>")
        if layer.messages:
            count = len(layer.messages)
            said = "".join(f"<div>{as_html(message)}</div>" for message in layer.messages)
            words = "1 problem" if count == 1 else f"{count} problems"
            lines.append(f'<details style="{WRONG}"><summary>⚠ {words}</summary>{said}</details>')
        self.details.value = f'<div style="{TEXT};padding:0 6px">{"".join(lines)}</div>'


FOLLOWED = ("name", "note", "legend", "messages", "waiting", "loading")


def _button(icon: str, words: str, act: Any) -> ipywidgets.Button:
    button = ipywidgets.Button(
        icon=icon,
        tooltip=words,
        layout=ipywidgets.Layout(width="24px", height="22px", padding="0", margin="0 1px"),
    )
    button.on_click(act)
    return button
