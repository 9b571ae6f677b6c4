"""How a module, or a function of one, is imported by the text that goes to the engine."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from geoloom.capture.refusal import Unsendable, is_a, named, type_name

OWN_PACKAGES = frozenset({"geoloom", "geoloom_engine"})

_FILES = "There are no files in the engine: read them in the notebook, and use what was read."

_INSTEAD = {
    "time": "How long it takes, gl.test_execute(f, image=…) tells.",
    "logging": "What print(…) writes reaches the notebook.",
    "warnings": "What print(…) writes reaches the notebook.",
    "random": "numpy.random has random numbers.",
    "statistics": "numpy has mean, median, std and more.",
    "itertools": "Loops and numpy do the same.",
    "pandas": "What it gets are numpy arrays already.",
    "xarray": "What it gets are numpy arrays already.",
    "rasterio": "What it gets are the image's pixels already.",
    "cv2": "scipy.ndimage and skimage have such filters.",
    "os": _FILES,
    "pathlib": _FILES,
    "requests": "There is no network in the engine: fetch it in the notebook, and use what came.",
    "urllib": "There is no network in the engine: fetch it in the notebook, and use what came.",
    "matplotlib": "Colours come afterwards: image.execute(f).scale(0, 1).colormap('viridis').",
}
"""What to do instead of using a module."""


@dataclass(frozen=True, order=True, slots=True)
class Import:
    """A module, or what a module calls `name`."""

    module: str
    name: str = ""

    @property
    def top(self) -> str:
        """What the operator allows or does not."""
        return self.module.partition(".")[0]

    def line(self, bound: str) -> str:
        """The statement that binds it to a name."""
        module, name = (self.module, self.name) if self.name else self._split()
        renamed = "" if bound == name else f" as {bound}"
        return f"from {module} import {name}{renamed}" if module else f"import {name}{renamed}"

    def _split(self) -> tuple[str, str]:
        module, _, name = self.module.rpartition(".")
        return module, name


def name_of(module: ModuleType) -> str:
    """A module's full name, without asking the module."""
    return str(_content(module).get("__name__"))


def importable(value: object, modules: Collection[str]) -> Import | None:
    """Where one of the allowed modules, or something in one of them, is imported from; None if it is neither.

    Parameters
    ----------
    value
        Any object. Only objects of the allowed modules' own types are asked for their names.
    modules
        The allowed ones, by the first part of their names.
    """
    if is_a(value, ModuleType):
        name = name_of(value)  # type: ignore[arg-type]
        allowed = name.partition(".")[0] in modules and sys.modules.get(name) is value
        return Import(name) if allowed else None
    module, name = named(value)
    if module.partition(".")[0] in modules and name:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            if _member(".".join(parts[:end]), name) is value:
                return Import(".".join(parts[:end]), name)
    owner = value.__self__ if is_a(value, MethodType, BuiltinFunctionType) else value  # type: ignore[attr-defined]
    if type_name(owner)[0].partition(".")[0] in modules:
        return next(_places(value, modules), None)
    return None


def submodules(module: ModuleType, attributes: Sequence[str]) -> Iterator[str]:
    """Full names of the modules that ``module.a.b`` passes through: `import` has to name them."""
    for attribute in attributes:
        found = _content(module).get(attribute)
        name = f"{name_of(module)}.{attribute}"
        if found is None and "__path__" in _content(module) and name not in sys.modules:
            # Packages load such parts when they are first asked for.
            if PathFinder.find_spec(name, _content(module)["__path__"]) is not None:
                yield name
            return
        found = sys.modules.get(name) if found is None else found
        if not is_a(found, ModuleType) or sys.modules.get(name) is not found:
            return
        yield name
        module = found  # type: ignore[assignment]


def is_installed(file: str | None) -> bool:
    """Whether a file belongs to Python or to an installed package, and is not a person's own."""
    if file is None or file.startswith("<frozen"):
        return True
    if file.startswith("<"):
        return False
    parts = PurePath(file).parts
    return any(one in parts for one in ("site-packages", "dist-packages")) or file.startswith(_libraries())


def is_foreign(function: FunctionType) -> bool:
    """Whether a function belongs to a library, Python's or geoloom's, and is not a person's own."""
    top = named(function)[0].partition(".")[0]
    return top in OWN_PACKAGES or is_installed(function.__code__.co_filename)


def is_library(module: str) -> bool:
    """Whether a loaded module is one of a library."""
    found = sys.modules.get(module)
    if found is None or module in ("builtins", "__main__"):
        return False
    return module.partition(".")[0] in OWN_PACKAGES or is_installed(_content(found).get("__file__"))


def is_notebooks(value: object) -> bool:
    """Whether IPython put something among the names of a notebook, such as its own `open`."""
    if type(value) is FunctionType:
        return str(value.__globals__.get("__name__")).startswith("IPython.")
    owner = value.__self__ if is_a(value, MethodType) else value  # type: ignore[attr-defined]
    return type_name(owner)[0].partition(".")[0] in ("IPython", "ipykernel")


def of_module(module: str, modules: Collection[str], what: str = "") -> Unsendable:
    """Why a module, or something of it, cannot be used.

    Parameters
    ----------
    module
        Its full name.
    modules
        Those that can be used.
    what
        What is used of it; empty for the module itself.
    """
    top = module.partition(".")[0]
    used = f"{what}, which is of {module}" if what else module
    if top in OWN_PACKAGES:
        return Unsendable(
            f"it uses {used}, and geoloom works on images",
            "A function gets plain numpy arrays and uses numpy on them.",
        )
    if is_own(top):
        return Unsendable(
            f"it imports {module} by itself, and that is a file of yours",
            "Import it in the notebook, outside the function: what is used of it then comes along.",
        )
    hint = f"{_INSTEAD[top]} " if top in _INSTEAD else ""
    hint += f"Functions may use {', '.join(modules)}. If the engine's operator allows it more "
    hint += f'(GEOLOOM_FUNCTION_MODULES), say so: image.execute(f, modules="{top}").'
    return Unsendable(f"it uses {used}, and functions may not use that in the engine", hint)


def is_own(module: str) -> bool:
    """Whether a module is a file of the person's own."""
    if module in sys.builtin_module_names or module in sys.stdlib_module_names:
        return False
    found = sys.modules.get(module)
    if is_a(found, ModuleType):
        file = _content(found).get("__file__")  # type: ignore[arg-type]
        return module != "__main__" and file is not None and not is_installed(file)
    spec = PathFinder.find_spec(module)
    return spec is not None and spec.origin is not None and not is_installed(spec.origin)


def _content(module: ModuleType) -> dict[str, Any]:
    content: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return content


def _member(module: str, name: str) -> Any:
    """What an allowed module calls a name; those that load their parts late are asked for it."""
    found = sys.modules.get(module)
    if found is None:
        return None
    if name in _content(found) or "__getattr__" not in _content(found):
        return _content(found).get(name)
    try:
        return getattr(found, name)
    except (AttributeError, ImportError):
        return None


def _places(value: object, modules: Collection[str]) -> Iterator[Import]:
    """Where loaded modules hold an object that has no name of its own: public and shortest first."""
    loaded = [name for name in list(sys.modules) if name.partition(".")[0] in modules]
    for module in sorted(loaded, key=lambda name: ("._" in name, name.count("."), name)):
        found = sys.modules.get(module)
        if is_a(found, ModuleType):
            held = [name for name, one in list(_content(found).items()) if one is value]  # type: ignore[arg-type]
            yield from (Import(module, name) for name in sorted(held))


@cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({paths[one].rstrip("/") + "/" for one in ("stdlib", "platstdlib", "purelib", "platlib")})
