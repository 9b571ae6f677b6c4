"""What every GUI of `geoloom.gui` is made of: a map, controls beside it, and the layer that they describe.

Wide screens have the controls at the right of the map, narrow ones below it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any
from weakref import WeakKeyDictionary

import ipywidgets

from geoloom.errors import GeoloomError
from geoloom.grid import Bounds
from geoloom.image import Image
from geoloom.layers import INK, WRONG, ImageLayer
from geoloom.legend import legend_html
from geoloom.map import Map
from geoloom.newest import Newest
from geoloom.panel import SPINNER
from geoloom.pointer import Pointer
from geoloom.python_text import Known, literal, python_text
from geoloom.wording import in_words, one_line

STYLE = """<style>
.geoloom-gui{container-type:inline-size;width:100%;--below:48px}
.geoloom-gui-coded{--below:250px}
.geoloom-gui-body{display:flex;flex-flow:row nowrap;gap:14px;align-items:stretch;overflow:hidden}
.geoloom-gui-body>.geoloom-gui-map{flex:1 1 auto;min-width:0;overflow:hidden}
.geoloom-gui-panel{flex:0 0 330px;overflow:hidden auto}
.geoloom-gui-panel .widget-html-content{line-height:1.4}
.geoloom-gui h2{margin:0;font-size:18px;line-height:1.5}
.geoloom-gui p{margin:2px 0}
.geoloom-gui dl{display:grid;grid-template-columns:auto 1fr;gap:1px 12px;margin:2px 0;font-size:14px}
.geoloom-gui dt{font-weight:400;opacity:.8;white-space:nowrap}
.geoloom-gui dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums}
.geoloom-gui pre{margin:0;padding:8px;overflow:auto;max-height:320px;user-select:all;font-size:12px;
line-height:1.45;background:rgba(128,128,128,.14);color:inherit;
font-family:var(--jp-code-font-family,Menlo,Consolas,monospace)}
@container (min-width:761px){
#rendered_cells .geoloom-gui-own .leaflet-widgets{height:max(420px,calc(100vh - var(--below)))!important}
}
@container (max-width:760px){
.geoloom-gui-body{flex-direction:column;gap:6px}
.geoloom-gui-panel{flex:0 0 auto;width:auto}
.geoloom-gui-own .leaflet-widgets{height:46vh!important;min-height:240px}
}
</style>"""

WIDE = 90.0
"""Degrees from west to east: what shows more is a map that was not told where to look."""

HEIGHT = "max(420px, min(74vh, 820px))"
"""Of a map that a GUI makes itself, beside its controls."""


_guis: WeakKeyDictionary[Map, dict[str, Gui]] = WeakKeyDictionary()
"""The GUIs of each map, by title."""


class Gui(ipywidgets.VBox):
    """Base of the GUIs: draws its image anew when a control has changed, and tells in words what fails.

    A GUI of one's own says which controls it has, and `image`; see docs/apps.md.

    Parameters
    ----------
    map
        Where the layer goes; a new map if None.
    title
        Heading, and name of the layer.
    controls
        Widgets with a ``value``, from top to bottom.
    read
        Gives names and values at a place, for a marker that is dragged over the map; none without it.
    """

    def __init__(
        self,
        map: Map | None,
        title: str,
        controls: Sequence[Any],
        read: Callable[[float, float, int], Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        own = map is None
        self.map = Map(panel=False, layout=ipywidgets.Layout(height=HEIGHT)) if map is None else map
        self.title = title
        self.layer: ImageLayer | None = None
        self.controls = tuple(controls)
        self._left = False
        self._setting = 0
        self._drawing = Newest(self.draw, "geoloom-gui")
        self._head, self._legend, self._told, self._text = (ipywidgets.HTML() for _ in range(4))
        self._told.add_class("geoloom-gui-told")
        self._text.add_class("geoloom-gui-code")
        self._text.layout.display = "none"
        self.show_code = ipywidgets.ToggleButton(
            description="Show the code",
            icon="code",
            tooltip="Show the Python that makes this layer",
            layout=ipywidgets.Layout(width="auto"),
        )
        self.show_code.observe(lambda _: self._unfold(), "value")
        for control in self.controls:
            control.observe(lambda _: self._changed(), "value")
        # A cell that is run again takes the place of what it made before.
        if (before := _guis.setdefault(self.map, {}).get(title)) is not None:
            before.leave()
        _guis[self.map][title] = self
        self.pointer = None if read is None else Pointer(self.map, read, "Drag this marker to read values")
        shown_map = ipywidgets.Box([self.map])
        shown_map.add_class("geoloom-gui-map")
        if own:
            shown_map.add_class("geoloom-gui-own")
        values = () if self.pointer is None else (self.pointer,)
        panel = ipywidgets.VBox(
            [self._head, *values, self._told, *self.controls, self._legend, self.show_code]
        )
        panel.add_class("geoloom-gui-panel")
        body = ipywidgets.Box([shown_map, panel])
        body.add_class("geoloom-gui-body")
        super().__init__([ipywidgets.HTML(STYLE, layout={"display": "none"}), body, self._text])
        self.add_class("geoloom-gui")
        self.suit()
        self.draw()

    # What a GUI says.

    def image(self) -> Image:
        """The image that the controls describe; raises a GeoloomError that says what is wrong with them."""
        raise NotImplementedError

    def known(self) -> Known:
        """Images that the code begins with, by key: their names, and how they are opened."""
        return {}

    def suit(self) -> None:
        """Show the controls that matter for the present choice, and hide the others."""

    # What it gets.

    @property
    def code(self) -> str:
        """The Python of the layer that is shown; it runs as it is. Empty if there is none."""
        if self.layer is None:
            return ""
        lines = ["import geoloom as gl", "", python_text(self.layer.image, self.known()), ""]
        shown = ["m = gl.Map()", f"m.add_layer(image, name={literal(self.title)})", "m"]
        return "\n".join([*lines, *shown])

    @property
    def message(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        return self._message

    _message = ""

    def draw(self) -> None:
        """Draw the layer that the controls describe; what fails is told beside them."""
        if self._left:
            return
        try:
            image = self.image()
            there = self.layer in self.map.overlays
            if self.layer is None or not there or self.layer.key != image.key:
                self._show(self.map.add_layer(image, name=self.title))
        except GeoloomError as error:
            self._tell(in_words(error))
        except Exception as error:  # noqa: BLE001 - a thread's defect must reach the person, not stderr
            self._tell(one_line(f"{type(error).__name__}: {error}"))
        else:
            self._tell("")
        self._write()
        if self.pointer is not None:
            self.pointer.refresh()

    def go(self, bounds: Sequence[float]) -> None:
        """Bring map and marker to (west, south, east, north) in degrees, if they are elsewhere."""
        there = Bounds(*bounds)
        west, _, east, _ = self.map.bbox
        lat, lon = self.map.center
        if east - west > WIDE or not there.holds(lon, lat):
            self._fit(bounds)
        if self.pointer is not None and not there.holds(*self.pointer.place):
            self.pointer.move(*self.map.center)

    def leave(self) -> None:
        """Leave the map to another: the marker goes, the layer stays, and the controls draw no more."""
        self._left = True
        if self.pointer is not None:
            self.pointer.leave()

    @contextmanager
    def setting(self) -> Iterator[None]:
        """While this thread sets controls itself, their changes draw nothing."""
        before, self._setting = self._setting, threading.get_ident()
        try:
            yield
        finally:
            self._setting = before

    def __repr__(self) -> str:
        shown = "nothing" if self.layer is None else repr(self.layer)
        return f"{type(self).__name__}({shown})"

    def _changed(self) -> None:
        if self._setting != threading.get_ident():
            self.suit()
            self._drawing.ask()

    def _fit(self, bounds: Sequence[float]) -> None:
        """Show all of it, also when the browser has said how large the map is."""
        self.map.fit(bounds)
        if self.map.right <= self.map.left:

            def again(_: Any) -> None:
                self.map.unobserve(again, "right")
                self.map.fit(bounds)

            self.map.observe(again, "right")

    def _show(self, layer: ImageLayer) -> None:
        if layer is not self.layer:
            if self.layer is None and layer.bbox is not None:
                self.go(layer.bbox)
            self.layer = layer
            layer.observe(lambda _: self._write(), ["loading", "legend"])

    def _write(self) -> None:
        layer = self.layer
        busy = f" {SPINNER}" if layer is not None and layer.loading else ""
        self._head.value = f'<h2 style="{INK}">{escape(self.title)}{busy}</h2>'
        legend: Mapping[str, Any] = {} if layer is None else layer.legend
        self._legend.value = (
            f'<div style="{INK};margin:4px 2px">{legend_html(legend)}</div>' if legend else ""
        )
        self._text.value = (
            f'<pre style="{INK}" tabindex="0" aria-label="Python of this layer">{escape(self.code)}</pre>'
        )

    def _unfold(self) -> None:
        shown = self.show_code.value
        self._text.layout.display = None if shown else "none"
        (self.add_class if shown else self.remove_class)("geoloom-gui-coded")
        self.show_code.description = "Hide the code" if shown else "Show the code"

    def _tell(self, message: str) -> None:
        self._message = message
        self._told.value = f'<p role="alert" style="{WRONG}">⚠ {escape(message)}</p>' if message else ""
