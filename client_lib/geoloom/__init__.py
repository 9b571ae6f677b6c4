"""Geoloom: explore the Earth's image archives from a notebook as if they were on your desk.

::

    import geoloom as gl

    image = gl.open("scene.tif")
    ndvi = image.normalized_difference("B4", "B3")
    m = gl.Map(center=(40.8, -112.7), zoom=10)
    m.add_layer(ndvi.scale(-0.2, 1).colormap("rdylgn"), name="NDVI")

Names are loaded when they are first used, so that the import itself is quick.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from geoloom._version import __version__

if TYPE_CHECKING:
    from geoloom import gui
    from geoloom.catalog import collection, collections
    from geoloom.contents import variables
    from geoloom.engine_client import engine
    from geoloom.features import Vector, vector
    from geoloom.function import test_execute
    from geoloom.image import Image
    from geoloom.interaction import interact
    from geoloom.lazy_collection import Collection
    from geoloom.map import Map
    from geoloom.opening import diff, from_json, functions, load, open, trust  # noqa: A004
    from geoloom.steps import time_steps

_HOMES = {
    "Collection": "lazy_collection",
    "Image": "image",
    "Map": "map",
    "Vector": "features",
    "collection": "catalog",
    "collections": "catalog",
    "diff": "opening",
    "engine": "engine_client",
    "from_json": "opening",
    "functions": "opening",
    "interact": "interaction",
    "load": "opening",
    "open": "opening",
    "test_execute": "function",
    "time_steps": "steps",
    "trust": "opening",
    "variables": "contents",
    "vector": "features",
}
"""Public names and the modules they live in. Functions of ops (gl.sqrt, gl.where…) come from the registry."""

_ROOMS = frozenset({"gui"})
"""Public names that are packages of their own."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        value: Any = importlib.import_module(f"geoloom.{name}")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"geoloom.{_HOMES[name]}"), name)
    else:
        value = _function(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from geoloom.op import registry

    return sorted({*globals(), *_HOMES, *_ROOMS, *(name for name, cls in registry().items() if cls.function)})


def _function(name: str) -> Any:
    """The function of an op that has one, such as ``gl.sqrt``."""
    import inspect

    # `from geoloom import store` asks for the attribute first and loads the module if there is none.
    if importlib.util.find_spec(f"geoloom.{name}") is not None:
        raise AttributeError(f"geoloom.{name} is a module that was not imported yet")
    from geoloom.image import function
    from geoloom.op import registry

    cls = None if name.startswith("_") else registry().get(name)
    if cls is None or not cls.function:
        raise AttributeError(f"module 'geoloom' has no attribute {name!r}")
    called = function(cls)
    first, *rest = inspect.signature(called).parameters.values()
    named = inspect.signature(called).replace(parameters=[first.replace(name=cls.inputs[0].name), *rest])
    called.__signature__ = named  # type: ignore[attr-defined]
    return called


__all__ = [
    "Collection",
    "Image",
    "Map",
    "Vector",
    "__version__",
    "collection",
    "collections",
    "diff",
    "engine",
    "from_json",
    "functions",
    "gui",
    "interact",
    "load",
    "open",
    "test_execute",
    "time_steps",
    "trust",
    "variables",
    "vector",
]
