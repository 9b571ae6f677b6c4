from __future__ import annotations

from typing import Any

import ipyleaflet
import pytest

from geoloom.errors import EngineUnreachable, ParameterError
from geoloom.feature_source import FeatureSource
from geoloom.features import Vector
from geoloom.layers import ImageLayer
from geoloom.map import Map
from geoloom.profile import Look

POINT = {"type": "Point", "coordinates": [12.0, 45.0]}
BOX = (-112.9, 40.6, -112.5, 41.0)


def names(m: Map) -> list[str]:
    return [layer.name for layer in m.overlays]


class TestLayers:
    def test_add_layer_returns_the_layer_and_puts_it_on_top(
        self, new_map: Any, styled_image: Any, paper: Any
    ) -> None:
        m = new_map()
        first = m.add_layer(styled_image, name="NDVI", opacity=0.5, visible=False)
        second = m.add_layer(paper(href="/b.tif", look=Look("grey")), name="other")
        assert isinstance(first, ImageLayer)
        assert (first.opacity, first.visible) == (0.5, False)
        assert m.overlays == (first, second)
        assert isinstance(m, ipyleaflet.Map)

    def test_the_same_name_again_replaces(self, new_map: Any, styled_image: Any, paper: Any) -> None:
        m = new_map()
        layer = m.add_layer(styled_image, name="NDVI", opacity=0.3)
        m.add_layer(POINT, name="place")
        again = m.add_layer(paper(href="/b.tif", look=Look("grey")), name="NDVI")
        assert again is layer
        assert names(m) == ["NDVI", "place"]
        assert layer.opacity == 0.3

    def test_unnamed_layers_get_names_of_their_own(self, new_map: Any, styled_image: Any, paper: Any) -> None:
        m = new_map()
        m.add_layer(styled_image)
        m.add_layer(styled_image)
        m.add_layer(paper(href="/b.tif", look=Look("grey")))
        m.add_layer(POINT)
        m.add(ipyleaflet.Marker(location=(1, 2)))
        assert names(m) == ["ndvi", "ndvi 2", "GeoJSON", "Marker"]

    def test_replace_keeps_place_and_name_across_kinds(self, new_map: Any, styled_image: Any) -> None:
        m = new_map()
        m.add_layer(styled_image, name="a")
        m.add_layer(POINT, name="b")
        m.replace_layer("a", POINT)
        m.replace_layer("b", styled_image)
        assert names(m) == ["a", "b"]
        assert isinstance(m.layer("a"), ipyleaflet.GeoJSON)
        assert isinstance(m.layer("b"), ImageLayer)

    def test_remove_takes_names_and_layers(self, new_map: Any, styled_image: Any) -> None:
        m = new_map()
        layer = m.add_layer(styled_image, name="a")
        m.add_layer(POINT, name="b")
        m.remove_layer(layer)
        m.remove_layer("b")
        assert m.overlays == ()

    @pytest.mark.parametrize("act", ["remove_layer", "layer", "fit"])
    def test_unknown_names_list_those_there_are(self, new_map: Any, styled_image: Any, act: str) -> None:
        m = new_map()
        with pytest.raises(ParameterError, match=r"no layer 'NDWI' on this map. It has no layers yet"):
            getattr(m, act)("NDWI")
        m.add_layer(styled_image, name="NDVI")
        with pytest.raises(ParameterError, match="The layers are 'NDVI'"):
            getattr(m, act)("NDWI")

    def test_clear_keeps_base_map_and_controls(self, new_map: Any, styled_image: Any) -> None:
        m = new_map()
        before = (m.layers, m.controls)
        m.add_layer(styled_image)
        m.say("x", "gone")
        m.clear()
        assert (m.layers, m.controls) == before
        assert m.messages == ()

    def test_layers_move(self, new_map: Any) -> None:
        m = new_map()
        for name in "abc":
            m.add_layer(POINT, name=name)
        m.move_layer("a", 1)
        assert names(m) == ["b", "a", "c"]
        m.move_layer("c", -5)
        assert names(m) == ["c", "b", "a"]

    def test_what_cannot_be_shown_says_what_can(self, new_map: Any) -> None:
        with pytest.raises(ParameterError, match=r"This dict cannot be shown on a map. Give an image"):
            new_map().add_layer({"type": "Nonsense"})
        with pytest.raises(ParameterError, match="vmin can be set for images only"):
            new_map().add_layer(POINT, vmin=3)

    def test_anything_with_geometry_becomes_geojson(self, new_map: Any) -> None:
        class Frame:
            crs = "EPSG:32632"

            def __init__(self, moved: bool = False) -> None:
                self.moved = moved

            def to_crs(self, code: int) -> Frame:
                assert code == 4326
                return Frame(moved=True)

            @property
            def __geo_interface__(self) -> dict[str, Any]:
                assert self.moved
                return {"type": "Feature", "geometry": POINT, "properties": None}

        layer = new_map().add_layer(Frame(), name="places")
        assert layer.data["features"][0]["geometry"] == POINT
        assert "properties" in layer.data["features"][0]

    def test_a_failure_leaves_no_layer(self, new_map: Any, paper_engine: Any, styled_image: Any) -> None:
        m = new_map()
        paper_engine.go_away()
        with pytest.raises(EngineUnreachable):
            m.add_layer(styled_image, name="NDVI")
        assert m.overlays == ()


class TestView:
    def test_fit_shows_all_of_it(self, new_map: Any, styled_image: Any) -> None:
        m = new_map()
        layer = m.add_layer(styled_image, name="NDVI")
        for item in (layer, "NDVI", styled_image, BOX):
            m.center, m.zoom = [0, 0], 1
            m.fit(item)
            west, south, east, north = m.bbox
            assert west <= BOX[0]
            assert south <= BOX[1]
            assert east >= BOX[2]
            assert north >= BOX[3]
            assert m.zoom == 10

    def test_fit_refuses_what_has_no_place(self, new_map: Any) -> None:
        m = new_map()
        m.add_layer(POINT, name="p")
        for item in ("p", (1, 2), None):
            with pytest.raises((ParameterError, TypeError)):
                m.fit(item)

    def test_bbox_is_what_the_browser_says(self, new_map: Any) -> None:
        m = new_map()
        for edge, value in zip(("west", "south", "east", "north"), (170.0, -10.0, 190.0, 10.0), strict=True):
            m.set_trait(edge, value)
        assert m.bbox == (170.0, -10.0, -170.0, 10.0)


class TestMessages:
    def test_each_is_said_once_and_escaped(self, new_map: Any) -> None:
        m = new_map()
        for _ in range(3):
            m.say("engine", "<b>gone</b>")
        assert m.messages == ("<b>gone</b>",)
        m.unsay("engine")
        assert m.messages == ()

    def test_replacing_a_layer_takes_its_messages_away(self, new_map: Any, styled_image: Any) -> None:
        m = new_map()
        m.add_layer(styled_image, name="NDVI")
        m.say("NDVI", "gone")
        m.say("other", "stays")
        m.add_layer(styled_image, name="NDVI")
        assert m.messages == ("stays",)


def test_no_representation_shows_a_right_to_read(new_map: Any, styled_image: Any) -> None:
    m = new_map()
    m.add_layer(styled_image, name="NDVI")
    shown = f"{m!r} {m} {m._repr_mimebundle_()} {m.panel!r} {m.controls!r} {m.layers!r}"
    assert "c3VwZXItc2VjcmV0" not in shown
    assert repr(m) == "Map(center=(40.8003, -112.7000), zoom=10, layers=['NDVI'])"


def test_the_first_image_decides_where_an_unplaced_map_looks(new_map, styled_image):
    m = new_map()
    m.add_layer(styled_image, name="NDVI")
    assert m.zoom > 5
    m.center, m.zoom = (0, 0), 3
    m.add_layer(styled_image, name="again")
    assert m.zoom == 3
    placed = new_map(center=(50, 10))
    placed.add_layer(styled_image)
    assert list(placed.center) == [50, 10]


@pytest.mark.parametrize("opacity", [40, -0.1, float("nan")])
def test_an_impossible_opacity_is_refused_in_words(new_map, styled_image, opacity):
    with pytest.raises(ParameterError, match="between 0"):
        new_map().add_layer(styled_image, opacity=opacity)


def test_a_path_is_to_be_opened_first(new_map):
    with pytest.raises(ParameterError, match=r"gl\.open"):
        new_map().add_layer("scene.tif")


def test_a_vector_is_drawn_by_the_engine(new_map):
    found = {"count": 4, "bounds": [23.0, 44.0, 23.2, 44.1], "columns": {}, "geometry": "Polygon"}
    parcels = Vector(FeatureSource(href="/data/parcels.gpkg"), found)
    m = new_map()
    layer = m.add_layer(parcels, opacity=0.5)
    assert isinstance(layer, ImageLayer)
    assert layer.name == "parcels"
    assert layer.drawn.chain.node.op == "draw"
    assert m.add_layer(parcels.style(fill="red"), name="parcels") is layer
    m.fit(parcels)
    assert m.center == [pytest.approx(44.05, abs=0.01), pytest.approx(23.1)]
