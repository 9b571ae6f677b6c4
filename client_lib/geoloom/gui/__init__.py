"""Ready-made GUIs for people who do not program: ``gl.gui.elevation(m)``.

Each is one file in this folder, named as the GUI, with a class of that name in capitals: ``elevation.py``
holds ``class Elevation(Gui)``. There is no list to edit; docs/apps.md says how to add one.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType
from typing import Any


def names() -> tuple[str, ...]:
    """Names of all GUIs, in alphabetical order; loads none of them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class _Package(ModuleType):
    """What a GUI's name gives here is its class, not the module of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing geoloom.gui.elevation, by whomever, hangs the module here.
        if isinstance(value, ModuleType) and value.__name__ == f"{__name__}.{name}":
            value = getattr(value, name.title().replace("_", ""))
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in names():
            raise AttributeError(f"There is no GUI {name!r}. There are: {', '.join(names())}.")
        importlib.import_module(f"{__name__}.{name}")
        return vars(self)[name]

    def __dir__(self) -> list[str]:
        return list(names())


sys.modules[__name__].__class__ = _Package
