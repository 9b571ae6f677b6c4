from __future__ import annotations

from typing import Any

import ipyleaflet
import pytest

from geoloom.errors import ParameterError
from geoloom.image import Image
from geoloom.map import Map
from geoloom.ops.open import Open
from geoloom.profile import Look, Profile

POINT = {"type": "Point", "coordinates": [12.0, 45.0]}


def names(m: Map) -> list[str]:
    return [layer.name for layer in m.overlays]


def test_split_takes_its_layers_off_and_gives_them_back(new_map: Any, styled_image: Any) -> None:
    m = new_map()
    m.add_layer(POINT, name="below")
    m.add_layer(styled_image, name="a")
    m.add_layer(POINT, name="b")
    control = m.split("a", "b")
    assert control in m.controls
    assert [layer.name for layer in m.layers if not layer.base] == ["below"]
    assert set(names(m)) == {"below", "a", "b"}
    m.add_layer(POINT, name="c")
    assert control in m.controls
    m.unsplit()
    assert control not in m.controls
    assert names(m) == ["below", "a", "b", "c"]


def test_split_takes_images(new_map: Any, styled_image: Any, paper: Any) -> None:
    m = new_map()
    m.split(styled_image, paper(href="/b.tif", look=Look("grey")))
    assert names(m) == ["left", "right"]
    with pytest.raises(ParameterError, match="Two different layers"):
        m.split("left", "left")


def test_split_takes_images_beside_other_layers(new_map: Any, styled_image: Any) -> None:
    m = new_map()
    m.add_layer(styled_image, name="below")
    # Real images: == of them builds a chain, and refuses layers.
    sides = [Image(Open(href=f"/{name}.tif").chain(), Profile(("a",), "uint8"), {}) for name in "ab"]
    m.split(*(side.scale(0, 1) for side in sides))
    assert {layer.name for layer in m.overlays} == {"below", "left", "right"}


def test_removing_a_side_ends_the_split(new_map: Any, styled_image: Any) -> None:
    m = new_map()
    m.add_layer(styled_image, name="a")
    m.add_layer(POINT, name="b")
    m.split("a", "b")
    m.remove_layer("a")
    assert names(m) == ["b"]


def test_drawn_is_geojson(new_map: Any) -> None:
    m = new_map()
    assert m.drawn == {"type": "FeatureCollection", "features": []}
    m.draw()
    feature = {"type": "Feature", "properties": {}, "geometry": POINT}
    (control,) = (one for one in m.controls if isinstance(one, ipyleaflet.GeomanDrawControl))
    control.data = [feature]
    assert m.drawn["features"][0]["geometry"] == POINT
