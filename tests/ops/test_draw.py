"""Features as a picture: its bands and its legend."""

from __future__ import annotations

import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry
from geoloom.profile import Look
from geoloom.symbols import By, Category, Style


def test_a_picture_of_four_bands(profile) -> None:
    found = profile("draw", href="/data/parcels.gpkg")
    assert (found.names, found.dtype) == (("red", "green", "blue", "alpha"), "uint8")
    assert found.look == Look("rgba", labels=(("parcels", Style().fill),))


def test_the_legend_names_layer_and_line(profile) -> None:
    style = Style.of("none", "red", 1, 4)
    found = profile("draw", href="/data/a.gpkg", layer="roads", style=style.to_json())
    assert found.look.labels == (("roads", "#ff0000ff"),)
    clear = Style.of("#ff000000", "red", 1, 4)
    assert profile("draw", blob="0" * 32, style=clear.to_json()).look.labels == (("features", "#ff0000ff"),)
    assert profile("draw", blob="0" * 32, style=Style(None, None).to_json()).look.labels == ()
    assert profile("draw", blob="0" * 32).look.labels[0][0] == "features"


def test_the_legend_of_classes(profile) -> None:
    by = By("crop", (Category("wheat", "#e8c468ff", ("wheat",)),), "#999999ff")
    look = profile("draw", href="/data/a.gpkg", style=Style(by=by).to_json()).look
    assert look == Look("rgba", labels=(("wheat", "#e8c468ff"), ("other", "#999999ff")), name="crop")


def test_a_style_is_one() -> None:
    with pytest.raises(ParameterError, match="is no style"):
        registry()["draw"](href="/data/a.gpkg", style="{}")
    with pytest.raises(ParameterError, match="either href or blob"):
        registry()["draw"]()
