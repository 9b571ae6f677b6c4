"""`gl.Map`: an ipyleaflet map that shows images, says what fails, and reads values on click.

In the browser everything is ipyleaflet's; see there for what is not redefined here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipyleaflet
import ipywidgets

from geoloom.basemaps import NONE, OFFLINE, base_layer
from geoloom.errors import GeoloomError, ParameterError
from geoloom.features import Vector
from geoloom.inspector import Inspector
from geoloom.layer_order import LayerStack, is_mark
from geoloom.layers import MAX_ZOOM, ImageLayer, label_of
from geoloom.lazy_collection import Collection
from geoloom.leaflet import leaflet_layer
from geoloom.messages import Messages
from geoloom.panel import LayersPanel
from geoloom.slideshow import layer_class
from geoloom.tiles_url import tiles_base
from geoloom.view import BBox, bbox_around, bbox_of, fitting
from geoloom.watch import AWAY, Watch, watch_for
from geoloom.wording import in_words

HEIGHT = "480px"
WORLD = (20.0, 0.0, 2)
"""Latitude, longitude and zoom of a map that was not told where to look."""
ASSUMED_SIZE = (900, 480)
"""Width and height in pixels before the browser has said what they are."""


class Map(LayerStack):
    """A map for images; an `ipyleaflet.Map` with a layers panel, a scale bar and messages.

    Names of layers are unique: adding a layer under a name that is there replaces it, so a cell can be run
    again and again.

    Parameters
    ----------
    center
        (lat, lon), as in Leaflet.
    zoom
        0 (the world) to 24. Without center and zoom, the map shows all of the first image added to it.
    basemap
        ``"offline"`` (drawn by the engine from Natural Earth), ``"osm"``, ``"esri"``, ``"topo"``,
        ``"light"``, ``"dark"``, ``"none"``, the name of an xyzservices provider, or an
        `ipyleaflet.TileLayer`. Only online ones make the browser fetch anything from the internet.
    panel
        Whether to show the layers panel.
    engine
        The engine's client; by default the one `gl.engine()` describes.
    traits
        Anything `ipyleaflet.Map` takes.
    """

    def __init__(
        self,
        center: Sequence[float] | None = None,
        zoom: float | None = None,
        basemap: str | ipyleaflet.TileLayer = OFFLINE,
        *,
        panel: bool = True,
        engine: Any = None,
        **traits: Any,
    ) -> None:
        self._inspector: Inspector | None = None
        self._draw: ipyleaflet.GeomanDrawControl | None = None
        self._base_name = basemap if isinstance(basemap, str) else basemap.name
        self._messages = Messages()
        problem: GeoloomError | None = None
        self._watch: Watch | None = None
        try:
            self._watch = _connect(engine)
            base: str | None = self._watch.base()
        except GeoloomError as error:
            problem, base = error, None
        layer = base_layer(basemap, base) if isinstance(basemap, str) else basemap
        layer.base = True
        traits.setdefault("scroll_wheel_zoom", True)
        traits.setdefault("max_zoom", MAX_ZOOM)
        traits.setdefault("layout", ipywidgets.Layout(height=HEIGHT))
        self._placed = center is not None or zoom is not None
        super().__init__(
            center=list(WORLD[:2] if center is None else center),
            zoom=WORLD[2] if zoom is None else zoom,
            layers=(layer,),
            **traits,
        )
        self.add(ipyleaflet.ScaleControl(position="bottomleft", imperial=False))
        self.add(ipyleaflet.WidgetControl(widget=self._messages, position="bottomleft", transparent_bg=True))
        self.panel = LayersPanel(self) if panel else None
        if self.panel is not None:
            self.add(ipyleaflet.WidgetControl(widget=self.panel, position="topright"))
        if problem is not None:
            self.say(AWAY, in_words(problem))

    @property
    def image_layers(self) -> tuple[ImageLayer, ...]:
        """The layers that the engine draws, lowest first."""
        return tuple(layer for layer in self.overlays if isinstance(layer, ImageLayer))

    def add_layer(
        self,
        item: Any,
        name: str | None = None,
        *,
        vmin: Any = None,
        vmax: Any = None,
        colormap: Any = None,
        opacity: float | None = None,
        visible: bool | None = None,
    ) -> ipyleaflet.Layer:
        """Add a layer on top, or replace the one of that name where it is.

        Parameters
        ----------
        item
            An `Image`, `Vector`, `Collection` (its mosaic), `Animation` (gets a date slider), GeoJSON as a
            dict, a GeoDataFrame, or any ipyleaflet layer.
        name
            Shown in the panel. Without one the layer is named by itself.
        vmin, vmax, colormap
            Look of an unstyled image: values of the first and last shade (a number, or one a band) and name
            of a ramp or list of colours. What is missing comes from the image's own statistics.
        opacity
            0 (clear) to 1.
        visible
            Hidden layers cost nothing.

        Returns
        -------
        Layer
            An `ImageLayer` for an image, which keeps its place, opacity and visibility when it is replaced.

        Raises
        ------
        GeoloomError
            If the image cannot be shown: what is wrong with it, and where.
        """
        item = item.picture if isinstance(item, Vector | Collection) else item
        look = _given(vmin=vmin, vmax=vmax, colormap=colormap)
        traits = _given(opacity=opacity, visible=visible)
        if opacity is not None and not 0 <= opacity <= 1:
            raise ParameterError(f"opacity must be between 0 (clear) and 1, not {opacity!r}.")
        if _is_image(item):
            layer: Any = self._same_image(item) if name is None else self.find(name)
            if type(layer) is layer_class(item):
                _apply(layer, traits)
                layer.draw(item, **look)
                self.unsay(layer.name)
            else:
                old, layer = layer, self._image_layer(item, look, name, traits)
                self.put(layer, old)
                layer.join(self, self._watch)
                if not self._placed and layer.bbox is not None:
                    self.fit(layer)
            self._listen()
        else:
            if look:
                raise ParameterError(f"{', '.join(look)} can be set for images only.")
            layer = leaflet_layer(item)
            old = self.find(name or layer.name)
            layer.name = name or layer.name or self.free_name(type(layer).__name__)
            _apply(layer, traits)
            if old is not layer:
                self.put(layer, old)
        return layer

    def add(self, item: Any, index: int | None = None, **options: Any) -> Map:
        """Add a control, or a layer as `add_layer` does; returns the map, as ipyleaflet's does."""
        if isinstance(item, ipyleaflet.Control) or is_mark(item) or index is not None:
            super().add(item, index)
        else:
            self.add_layer(item, **options)
        return self

    def replace_layer(self, name: str | ipyleaflet.Layer, other: Any, **look: Any) -> ipyleaflet.Layer:
        """Show something else under a name, in the same place.

        Parameters
        ----------
        name
            Of the layer to replace, or the layer itself.
        other, look
            As in `add_layer`.

        Raises
        ------
        ParameterError
            If there is no such layer; names those there are.
        """
        return self.add_layer(other, name=self.layer(name).name, **look)

    def remove_layer(self, name: str | ipyleaflet.Layer) -> None:
        """Take a layer off the map, given by its name or itself.

        Raises
        ------
        ParameterError
            If there is no such layer; names those there are.
        """
        layer = self.layer(name)
        self.unsay(layer.name)
        if layer not in self.layers:
            self.unsplit()
        self.remove(layer)

    def clear(self) -> Map:
        """Take all layers off; base map and controls stay."""
        self.unsplit()
        self._messages.unsay()
        self._arrange([])
        return self

    @property
    def base_name(self) -> str:
        """Name of the base map."""
        return self._base_name

    def set_basemap(self, basemap: str | ipyleaflet.TileLayer) -> None:
        """Change the base map; takes what the constructor takes."""
        if isinstance(basemap, str):
            base = self._watch.base() if self._watch is not None and basemap == OFFLINE else None
            layer = base_layer(basemap, base)
            self._base_name = basemap
        else:
            layer, self._base_name = basemap, basemap.name or NONE
        layer.base = True
        others = [one for one in self.layers if not one.base]
        self.set_trait("layers", (layer, *others))

    @property
    def bbox(self) -> BBox:
        """(west, south, east, north) of what the map shows, in degrees.

        Before the map is on a screen, of what it would show in a window of usual size.
        """
        if self.north > self.south and self.east > self.west:
            return bbox_of(self.west, self.south, self.east, self.north)
        return bbox_around(self.center, self.zoom, self._size())

    def fit(self, item: Any) -> Map:
        """Show all of an image, vector, collection, layer (or its name) or bbox (west, south, east, north).

        Raises
        ------
        ParameterError
            If it does not say where it is.
        """
        if isinstance(item, str):
            item = self.layer(item)
        found = item
        if isinstance(item, ImageLayer):
            found = item.bbox
        elif isinstance(item, Vector | Collection):
            found = item.bounds
        elif _is_image(item):
            found = self._engine().describe(item.chain).get("bounds")
        if found is None or isinstance(found, ipyleaflet.Layer) or len(tuple(found)) != 4:
            raise ParameterError(
                "This cannot be fitted, as it does not say where it lies.",
                hint="Give an image, one of its layers, or (west, south, east, north) in degrees.",
            )
        self._placed = True
        west, south, east, north = (float(value) for value in found)
        center, zoom = fitting((west, south, east, north), self._size())
        with self.hold_sync():
            self.center, self.zoom = list(center), zoom
        return self

    def inspect(self, on: bool = True) -> Inspector:
        """Show the values of every visible layer where the map is clicked; `inspect(False)` ends it."""
        if self._inspector is None:
            self._inspector = Inspector(self)
        if on:
            self._inspector.start()
        else:
            self._inspector.stop()
        return self._inspector

    def split(self, left: Any, right: Any) -> ipyleaflet.SplitMapControl:
        """Compare two layers with a divider to drag; `unsplit` ends it.

        Parameters
        ----------
        left, right
            Names of layers, layers, or images (added as "left" and "right").
        """
        self.unsplit()
        sides = [
            self.layer(side)
            if isinstance(side, str) or any(side is one for one in self.overlays)
            else self.add_layer(side, name=name)
            for side, name in ((left, "left"), (right, "right"))
        ]
        return self.compare(*sides)

    def draw(self) -> Map:
        """Show the tools for drawing; what is drawn is in `drawn`."""
        if self._draw is None:
            self._draw = ipyleaflet.GeomanDrawControl(position="topleft")
        if self._draw not in self.controls:
            self.add(self._draw)
        return self

    @property
    def drawn(self) -> dict[str, Any]:
        """What the user drew, as a GeoJSON FeatureCollection; `draw` shows the tools."""
        features = [] if self._draw is None else [dict(feature) for feature in self._draw.data]
        return {"type": "FeatureCollection", "features": features}

    @property
    def messages(self) -> tuple[str, ...]:
        """What went wrong, and what functions printed, in words."""
        return self._messages.texts

    def say(self, source: str, message: str, **how: Any) -> None:
        """Show a message on the map, unless it is there already; `how` is `Messages.say`'s."""
        self._messages.say(source, message, titled=self.find(source) is not None, **how)

    def unsay(self, source: str) -> None:
        """Take the messages of one source off the map."""
        self._messages.unsay(source)

    def close(self) -> None:
        """Close the map; the engine is no longer listened to on its behalf."""
        if self._watch is not None:
            self._watch.leave(self)
        super().close()

    def __repr__(self) -> str:
        names = ", ".join(repr(layer.name) for layer in self.overlays)
        lat, lon = self.center
        return f"Map(center=({lat:.4f}, {lon:.4f}), zoom={self.zoom:g}, layers=[{names}])"

    def _engine(self) -> Any:
        if self._watch is None:
            self._watch = _connect(None)
            self.unsay(AWAY)
            if self._base_name == OFFLINE:
                self.set_basemap(OFFLINE)
        return self._watch.engine

    def _listen(self) -> None:
        if self._watch is not None:
            self._watch.join(self)

    def _image_layer(
        self, image: Any, look: Mapping[str, Any], name: str | None, traits: Mapping[str, Any]
    ) -> ImageLayer:
        engine = self._engine()
        assert self._watch is not None
        label = name or self.free_name(label_of(image))
        layer = layer_class(image)(engine, self._watch.base, name=label, **traits)
        try:
            layer.draw(image, **look)
        except BaseException:
            layer.close()
            raise
        return layer

    def _same_image(self, image: Any) -> ImageLayer | None:
        return next(
            (layer for layer in self.image_layers if getattr(layer.given, "key", None) == image.key), None
        )

    def _size(self) -> tuple[float, float]:
        if self.right > self.left and self.bottom > self.top:
            return self.right - self.left, self.bottom - self.top
        height = str(self.layout.height or HEIGHT)
        pixels = float(height[:-2]) if height.endswith("px") and height[:-2].isdigit() else ASSUMED_SIZE[1]
        return ASSUMED_SIZE[0], pixels


def _connect(engine: Any) -> Watch:
    if engine is None:
        from geoloom.engine_client import connect

        engine = connect()
    base: Callable[[], str] | None = getattr(engine, "tiles_base", None)
    return watch_for(engine, base or (lambda: tiles_base(engine.endpoint)))


def _is_image(item: Any) -> bool:
    return hasattr(item, "chain") and hasattr(item, "profile")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _apply(layer: ipyleaflet.Layer, traits: Mapping[str, Any]) -> None:
    for trait, value in traits.items():
        if layer.has_trait(trait):
            setattr(layer, trait, value)
