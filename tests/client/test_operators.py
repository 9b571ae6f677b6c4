"""Symbols of ops become Python's special methods."""

from __future__ import annotations

import operator

import pytest

from geoloom.op import registry
from geoloom.operators import REVERSED, operators


@pytest.mark.parametrize(
    ("op", "methods"),
    [
        ("add", ("__add__", "__radd__")),
        ("shift_right", ("__rshift__", "__rrshift__")),
        ("less", ("__lt__",)),
        ("invert", ("__invert__",)),
        ("sqrt", ()),
    ],
)
def test_methods_of_a_symbol(op, methods):
    assert operators(registry()[op]) == methods


def test_python_knows_every_method():
    for cls in registry().values():
        for name in set(operators(cls)) - REVERSED:
            assert hasattr(operator, name)
    assert "__rshift__" not in REVERSED
