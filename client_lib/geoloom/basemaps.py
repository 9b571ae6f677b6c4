"""Base maps: the one the engine draws, which works offline, and the usual online ones."""

from __future__ import annotations

import ipyleaflet
import xyzservices

from geoloom.errors import ParameterError
from geoloom.layers import BLANK, MAX_ZOOM

OFFLINE = "offline"
NONE = "none"
ONLINE = {
    "osm": "OpenStreetMap.Mapnik",
    "esri": "Esri.WorldImagery",
    "topo": "OpenTopoMap",
    "light": "CartoDB.Positron",
    "dark": "CartoDB.DarkMatter",
}
LABELS = {
    OFFLINE: "Natural Earth (offline)",
    "osm": "OpenStreetMap (online)",
    "esri": "Satellite, Esri (online)",
    "topo": "OpenTopoMap (online)",
    "light": "Light, Carto (online)",
    "dark": "Dark, Carto (online)",
    NONE: "None",
}
NATURAL_EARTH = "Base map: Natural Earth, GeoNames"


def base_layer(name: str, base: str | None) -> ipyleaflet.TileLayer:
    """The tile layer of a base map.

    Only the online ones make the browser talk to anything but the engine.

    Parameters
    ----------
    name
        One of `LABELS`, or the name of an xyzservices provider such as ``"Esri.WorldTopoMap"``.
    base
        URL under which the browser finds the engine; None if there is none.

    Raises
    ------
    ParameterError
        If there is no such base map; names those there are.
    """
    if name == NONE or (name == OFFLINE and base is None):
        layer = ipyleaflet.TileLayer(url=BLANK, max_zoom=MAX_ZOOM, name=LABELS.get(name, name))
    elif name == OFFLINE:
        layer = ipyleaflet.TileLayer(
            url=f"{str(base).rstrip('/')}/basemap/{{z}}/{{x}}/{{y}}{{r}}.png",
            max_zoom=MAX_ZOOM,
            attribution=NATURAL_EARTH,
            name=LABELS[name],
        )
    else:
        layer = ipyleaflet.basemap_to_tiles(_provider(name))
        layer.max_native_zoom, layer.max_zoom = layer.max_zoom, MAX_ZOOM
        layer.name = LABELS.get(name, name)
    layer.base = True
    return layer


def _provider(name: str) -> xyzservices.TileProvider:
    try:
        provider = xyzservices.providers.query_name(ONLINE.get(name, name))
    except ValueError:
        provider = None
    if provider is None or provider.requires_token():
        key = ", which needs a key of your own" if provider is not None else ""
        raise ParameterError(
            f"There is no base map {name!r}{key}.",
            hint=f"Use {', '.join(LABELS)}, or a provider's name from xyzservices; "
            "any other ipyleaflet.TileLayer can be given itself.",
        )
    return provider
