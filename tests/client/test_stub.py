"""image.pyi is what the registry says today."""

from __future__ import annotations

import ast
from pathlib import Path

from geoloom import image
from geoloom.op import registry
from geoloom.stub import stub


def test_the_stub_is_fresh():
    written = Path(image.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert written == stub(), "run: python -m geoloom.stub > client_lib/geoloom/image.pyi"


def test_the_stub_names_every_method():
    tree = ast.parse(stub())
    (declared,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = {item.name for item in declared.body if isinstance(item, ast.FunctionDef)}
    assert {name for name, cls in registry().items() if cls.method and cls.inputs} <= methods
    assert {"__add__", "__radd__", "__eq__", "key", "save"} <= methods
