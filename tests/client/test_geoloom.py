"""The package's public names: there when asked for, and hidden by no module."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys

import pytest

import geoloom as gl
from geoloom.errors import ParameterError
from geoloom.op import registry

FUNCTIONS = sorted(name for name, cls in registry().items() if cls.function)


def test_no_module_takes_a_public_name():
    modules = {module.name for module in pkgutil.iter_modules(gl.__path__)}
    assert not modules & {*gl._HOMES, *FUNCTIONS}


@pytest.mark.parametrize("name", [*gl._HOMES, *FUNCTIONS])
def test_public_names_are_there(name):
    assert name in dir(gl)
    found = getattr(gl, name)
    assert callable(found)
    assert found.__doc__


def test_functions_stay_functions_once_every_module_is_loaded():
    code = (
        "import importlib, pkgutil, geoloom as gl\n"
        "for module in pkgutil.iter_modules(gl.__path__):\n"
        "    importlib.import_module(f'geoloom.{module.name}')\n"
        f"assert all(callable(getattr(gl, name)) for name in {[*gl._HOMES, *FUNCTIONS]!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_unknown_names_are_refused_as_python_does():
    with pytest.raises(AttributeError, match="nosuch"):
        gl.nosuch
    with pytest.raises(AttributeError):
        gl._private


def test_functions_name_their_first_image():
    assert list(inspect.signature(gl.where).parameters) == ["condition", "chosen", "other"]
    with pytest.raises(ParameterError, match=r"where\(condition, chosen, other\)"):
        gl.where(1)


def test_a_function_without_method_explains_all_its_inputs():
    assert "condition\n    What decides" in gl.where.__doc__
