"""Geometries as images: masks, without an engine."""

from __future__ import annotations

import json

import pytest
from shapely.geometry import box

from geoloom import blobs
from geoloom.chain import Chain
from geoloom.errors import ImageUseError, ParameterError
from geoloom.image import Image
from geoloom.ops.burn import Burn
from geoloom.profile import Profile
from geoloom.stencil import area, painted

SCENE = Image(
    Chain.extend("open", 1, {"href": "/data/a.tif", "fingerprint": None}),
    Profile(("red",), "uint16"),
    {
        "/data/a.tif": {
            "bounds": [10.0, 45.0, 12.0, 46.0],
            "crs": "EPSG:32632",
            "resolution": [10.0, 10.0],
            "ground_resolution": 10.0,
        }
    },
)


def test_a_geometry_masks_an_image() -> None:
    masked = SCENE.mask(box(10.5, 45.2, 11, 45.6))
    burn = masked.chain.nodes[masked.chain.node.inputs[1]]
    assert burn.op == "burn"
    told = json.loads(blobs.known(str(burn.params["blob"])) or b"")
    assert told["features"][0]["geometry"]["type"] == "Polygon"
    assert masked.resolution == (10.0, 10.0)
    assert masked.crs == "EPSG:32632"
    assert blobs.needed(masked.chain) == (burn.params["blob"],)


def test_equal_geometries_are_equal_masks() -> None:
    geometry = box(10.5, 45.2, 11, 45.6)
    assert SCENE.mask(geometry).equals(SCENE.mask(geometry.__geo_interface__))


def test_it_says_where_it_is() -> None:
    found = area(box(10.5, 45.2, 11, 45.6))
    assert found is not None
    assert found.bounds == (10.5, 45.2, 11.0, 45.6)
    assert found.resolution is None
    assert "10.5° E to 11° E, 45.2° N to 45.6° N<" in found._repr_html_()
    assert painted(Burn(href="/a.gpkg"), "/a.gpkg", None, None).bounds is None


def test_other_things_are_none() -> None:
    assert area("a.gpkg") is None
    with pytest.raises(ImageUseError, match="mask combines images and numbers, not str"):
        SCENE.mask("a.gpkg")
    with pytest.raises(ParameterError, match="not in degrees"):
        SCENE.mask(box(500_000, 0, 500_100, 100))
