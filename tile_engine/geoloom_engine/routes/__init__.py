"""HTTP handlers, one file per noun; `routes` lists them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoloom_engine.services import Services


def routes(services: Services) -> list[tuple[Any, ...]]:
    """The paths of the engine and who answers them."""
    from geoloom_engine.routes.basemap import BasemapTile
    from geoloom_engine.routes.chains import Blob, Blobs, Chains, SavedChain, StoredChain
    from geoloom_engine.routes.events import Events, Layers, Session
    from geoloom_engine.routes.health import Health, Metrics, Ready
    from geoloom_engine.routes.layers import Legend, LegendPicture, TileJson
    from geoloom_engine.routes.search import Collections, Search
    from geoloom_engine.routes.tiles import ChainTile
    from geoloom_engine.routes.usage import Usage
    from geoloom_engine.routes.values import Explain, Info, Point, Series, Statistics, Window
    from geoloom_engine.routes.vectors import Features, FeatureValues, Identify, Zonal

    part = "([^/]+)"
    tile = rf"{part}/{part}/([^/@]+?)(@[^/]*)?\.png"
    paths = {
        rf"/tiles/{part}/{tile}": ChainTile,
        rf"/basemap/{tile}": BasemapTile,
        r"/legend/([^/@]+?)(@[^/]*)?\.png": LegendPicture,
        rf"/legend/{part}": Legend,
        rf"/tilejson/{part}": TileJson,
        r"/chains": Chains,
        rf"/chains/{part}": StoredChain,
        rf"/chains/{part}/saved": SavedChain,
        r"/blobs": Blobs,
        rf"/blobs/{part}": Blob,
        r"/info": Info,
        r"/point": Point,
        r"/series": Series,
        r"/statistics": Statistics,
        r"/explain": Explain,
        r"/window": Window,
        r"/search": Search,
        r"/collections": Collections,
        r"/features": Features,
        r"/features/values": FeatureValues,
        r"/identify": Identify,
        r"/zonal": Zonal,
        r"/events": Events,
        rf"/sessions/{part}": Session,
        rf"/callers/{part}/layers": Layers,
        r"/usage": Usage,
        r"/healthz": Health,
        r"/readyz": Ready,
        r"/metrics": Metrics,
    }
    return [(path, handler, {"services": services}) for path, handler in paths.items()]
