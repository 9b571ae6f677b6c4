"""Colours of classes."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError, ParameterError
from geoloom.op import registry
from geoloom.profile import Look

CLASSES = {2: ("forest", "darkgreen"), 1: ("water", "blue")}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "int64", "float32"])
def test_values_become_places(run, dtype) -> None:
    image = np.ma.array([[1, 2, 0, 1]], mask=[[0, 0, 0, 1]], dtype=dtype)
    assert run("palette", image, classes=CLASSES)[0, 0].tolist() == [0, 1, None, None]


def test_look(profile) -> None:
    labels = (("water", "#0000ffff"), ("forest", "#006400ff"))
    expected = Look("palette", lut=("#0000ffff", "#006400ff"), labels=labels, name="b1")
    assert profile("palette", "uint8", classes=CLASSES).look == expected
    assert profile("palette", "uint8", classes={7: "red"}).look.labels == (("7", "#ff0000ff"),)


def test_forms_are_one() -> None:
    palette = registry()["palette"]
    expected = palette(classes=CLASSES)
    assert palette(classes=dict(reversed(CLASSES.items()))) == expected
    assert palette(classes=[(2, "forest", "darkgreen"), (1, "water", "#00f")]) == expected
    assert palette(classes=expected.classes) == expected
    assert palette(classes={1: (0, 0, 255)}).classes == ((1, "1", "#0000ffff"),)


@pytest.mark.parametrize(
    "classes",
    [
        {},
        {1: ("water", "nocolour")},
        {1: 5},
        {1: ()},
        {"a": "red"},
        {1.5: "red"},
        dict.fromkeys(range(256), "red"),
        [(1, "a", "red"), (1, "b", "blue")],
        [(1, "a")],
        5,
    ],
)
def test_bad_classes(classes) -> None:
    with pytest.raises(ParameterError):
        registry()["palette"](classes=classes)


def test_one_band(profile, three) -> None:
    with pytest.raises(BandError, match="red, green, blue"):
        profile("palette", three, classes=CLASSES)
    assert registry()["palette"](classes=CLASSES).sampling(None) == "nearest"
