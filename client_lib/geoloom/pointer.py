"""A marker that is dragged over a map, and what is read where it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipyleaflet
import ipywidgets

from geoloom.errors import GeoloomError
from geoloom.layers import INK, WRONG
from geoloom.newest import Newest
from geoloom.wording import in_words, one_line

Read = Callable[[float, float, int], Sequence[tuple[str, str]]]
"""Names and values at a place, given as degrees east, degrees north and zoom of the map."""

EDGE = 85.0
DECIMALS = 5
"""Of a degree: a metre."""


class Pointer(ipywidgets.VBox):
    """A marker on a map: its place in two fields, and the values that were read there.

    It is dragged, or set by a click on the map, or by its fields. Reading happens in a thread of its own, at
    the map's zoom; the newest place wins.

    Parameters
    ----------
    map
        The `Map`.
    read
        Gives names and values at a place; what it raises is shown in words.
    label
        What the marker is for, in the imperative.
    """

    def __init__(self, map: Any, read: Read, label: str) -> None:
        self._map = map
        self._read = read
        self._reading = Newest(self._look, "geoloom-pointer")
        self._following = False
        self.marker = ipyleaflet.Marker(location=tuple(map.center), draggable=True, title=label, alt=label)
        self.latitude, self.longitude = _degrees("Lat", EDGE), _degrees("Lon", 180.0)
        self.here = ipywidgets.Button(
            description="Here",
            tooltip="Bring the marker to the middle of the map",
            layout=ipywidgets.Layout(width="auto", flex="0 0 auto"),
        )
        self.told = ipywidgets.HTML()
        self.told.add_class("geoloom-values")
        place = ipywidgets.HBox([self.latitude, self.longitude, self.here])
        place.add_class("geoloom-place")
        super().__init__([self.told, place])
        self.here.on_click(lambda _: self.move(*map.center))
        self.marker.observe(lambda _: self._moved(), "location")
        for field in (self.latitude, self.longitude):
            field.observe(lambda _: self._typed(), "value")
        map.observe(self._zoomed, "zoom")
        map.on_interaction(self._clicked)
        map.mark(self.marker)
        self._moved()

    @property
    def place(self) -> tuple[float, float]:
        """Degrees east and north of where the marker stands."""
        lat, lon = self.marker.location
        return (float(lon) + 180.0) % 360.0 - 180.0, float(lat)

    def move(self, lat: float, lon: float) -> None:
        """Put the marker somewhere, in degrees, and read there."""
        self.marker.location = (lat, lon)

    def refresh(self) -> None:
        """Read again where the marker stands: what it stands on has changed."""
        self._reading.ask()

    def leave(self) -> None:
        """Take the marker off the map, and listen no more."""
        self._map.unobserve(self._zoomed, "zoom")
        self._map.on_interaction(self._clicked, remove=True)
        if self.marker in self._map.layers:
            self._map.remove(self.marker)

    def _zoomed(self, _: Any) -> None:
        self.refresh()

    def _clicked(self, **event: Any) -> None:
        if event.get("type") == "click" and event.get("coordinates"):
            self.move(*event["coordinates"])

    def _typed(self) -> None:
        if not self._following:
            self.move(self.latitude.value, self.longitude.value)

    def _moved(self) -> None:
        lon, lat = self.place
        self._following = True
        try:
            self.latitude.value, self.longitude.value = round(lat, DECIMALS), round(lon, DECIMALS)
        finally:
            self._following = False
        self.refresh()

    def _look(self) -> None:
        if self.marker not in self._map.layers:
            return
        place, zoom = self.place, round(self._map.zoom)
        try:
            rows = self._read(*place, zoom)
            shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
            html = f"<dl>{shown}</dl>"
        except GeoloomError as error:
            html = f'<p style="{WRONG}">⚠ {escape(in_words(error))}</p>'
        except Exception as error:  # noqa: BLE001 - a thread's defect must reach the person, not stderr
            html = f'<p style="{WRONG}">⚠ {escape(one_line(f"{type(error).__name__}: {error}"))}</p>'
        if (place, zoom) == (self.place, round(self._map.zoom)):
            self.told.value = f'<div style="{INK}" aria-live="polite">{html}</div>'


def _degrees(label: str, most: float) -> ipywidgets.BoundedFloatText:
    return ipywidgets.BoundedFloatText(
        description=label,
        min=-most,
        max=most,
        step=0.001,
        continuous_update=False,
        style={"description_width": "auto"},
        layout=ipywidgets.Layout(width="auto", flex="1 1 0", min_width="0"),
    )
