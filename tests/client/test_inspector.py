from __future__ import annotations

import threading
from typing import Any

import pytest

from geoloom.errors import EngineOverloaded
from geoloom.inspector import HINT, measured
from geoloom.ops.draw import Draw
from geoloom.profile import Look
from geoloom.stencil import painted


@pytest.fixture
def shown(new_map: Any, paper: Any) -> Any:
    m = new_map(zoom=10)
    m.add_layer(paper(href="/a.tif", look=Look("palette")), name="NDVI")
    return m


def click(m: Any, lon: float = -112.7, lat: float = 40.8) -> None:
    m._interaction_callbacks(type="click", coordinates=[lat, lon], event="interaction")


def test_a_click_reads_every_visible_layer_at_both_resolutions(
    shown: Any, paper: Any, paper_engine: Any, eventually: Any
) -> None:
    shown.add_layer(paper(href="/b.tif", look=Look("palette")), name="second")
    shown.add_layer(paper(href="/c.tif", look=Look("palette")), name="hidden", visible=False)
    inspector = shown.inspect()
    assert HINT in inspector.result.value
    click(shown)
    eventually(lambda: "0.25" in inspector.result.value and "reading" not in inspector.result.value)
    text = inspector.result.value
    assert "112.70000° W, 40.80000° N" in text
    assert text.index("second") < text.index("NDVI")
    assert "hidden" not in text
    assert "map, zoom 10 (153 m)" in text
    assert "full resolution (30 m)" in text
    assert [zoom for _, _, _, zoom in paper_engine.points] == [10, None, 10, None]


def test_reading_does_not_block_and_says_so(shown: Any, paper_engine: Any, eventually: Any) -> None:
    paper_engine.point_gate = threading.Event()
    inspector = shown.inspect()
    click(shown)
    assert "reading" in inspector.result.value
    paper_engine.point_gate.set()
    eventually(lambda: "0.25" in inspector.result.value)


def test_a_newer_click_wins(shown: Any, paper_engine: Any, eventually: Any) -> None:
    paper_engine.point_gate = threading.Event()
    inspector = shown.inspect()
    first, second = inspector.read(1.0, 2.0), inspector.read(3.0, 4.0)
    paper_engine.point_gate.set()
    first.join(10)
    second.join(10)
    assert "3.00000° E, 4.00000° N" in inspector.result.value


def test_a_failure_is_told_in_words(shown: Any, paper_engine: Any, eventually: Any) -> None:
    inspector = shown.inspect()
    paper_engine.failure = EngineOverloaded("The engine is <busy>.", hint="Try again.")
    click(shown)
    eventually(lambda: "The engine is &lt;busy&gt;. Try again." in inspector.result.value)


def test_even_a_defect_is_told(shown: Any, paper_engine: Any, eventually: Any) -> None:
    inspector = shown.inspect()
    paper_engine.point = lambda *_: {}
    click(shown)
    eventually(lambda: "KeyError" in inspector.result.value)


def test_without_layers_it_says_so(new_map: Any, eventually: Any) -> None:
    m = new_map()
    inspector = m.inspect()
    click(m)
    eventually(lambda: "No layer is shown." in inspector.result.value)


def test_it_can_be_switched_off_and_leaves_nothing(shown: Any, paper_engine: Any, eventually: Any) -> None:
    before = (shown.layers, shown.controls)
    inspector = shown.inspect()
    click(shown)
    eventually(lambda: "0.25" in inspector.result.value and "reading" not in inspector.result.value)
    assert len(shown.layers) == len(before[0]) + 1
    assert len(shown.overlays) == 1
    shown.inspect(False)
    assert (shown.layers, shown.controls) == before
    asked = len(paper_engine.points)
    click(shown)
    assert len(paper_engine.points) == asked


def test_far_round_the_world_is_the_same_place(shown: Any, eventually: Any) -> None:
    inspector = shown.inspect()
    click(shown, lon=-112.7 + 360)
    eventually(lambda: "112.70000° W" in inspector.result.value)


class TestMeasured:
    """The chains below a look; with real images."""

    @pytest.fixture
    def image(self) -> Any:
        from geoloom.image import Image
        from geoloom.ops.open import Open
        from geoloom.profile import Profile

        bands = [
            {"name": name, "dtype": "uint8", "unit": None, "palette": None, "categories": ()}
            for name in ("B3", "B4")
        ]
        info = {"bands": bands, "dtype": "uint8", "resampling": "bilinear"}
        op = Open(href="/data/scene.tif")
        return Image(op.chain(), Profile.of_source(info), {op.href: info})

    def test_below_a_ramp_lies_the_quantity(self, image: Any) -> None:
        ndvi = image.normalized_difference("B4", "B3")
        assert [one.root for one in measured(ndvi.scale(-1, 1).colormap("rdylgn"))] == [ndvi.key]

    def test_below_a_masked_ramp_too(self, image: Any) -> None:
        look = image["B4"].scale(0, 255).colormap("viridis")
        assert [one.root for one in measured(look.mask(image["B3"] > 3))] == [image["B4"].key]

    def test_a_blend_has_several(self, image: Any) -> None:
        a, b = image["B3"].scale(0, 9).colormap("viridis"), image["B4"].scale(0, 9)
        assert [one.root for one in measured(a.blend(b, opacity=0.5))] == [image["B3"].key, image["B4"].key]

    def test_without_a_look_it_is_itself(self, image: Any) -> None:
        assert [one.root for one in measured(image)] == [image.key]


def test_of_features_it_shows_the_attributes(new_map: Any, paper_engine: Any, eventually: Any) -> None:
    op = Draw(href="/data/parcels.gpkg", where="area > 2")
    m = new_map(zoom=10)
    m.add_layer(painted(op, "/data/parcels.gpkg", (23.0, 44.0, 23.2, 44.1), None), name="Parcels")
    paper_engine.features = [{"properties": {"code": 7, "owner": "<Ana>", "area": 2.5, "note": None}}]
    inspector = m.inspect()
    click(m, 23.1, 44.05)
    eventually(lambda: "&lt;Ana&gt;" in inspector.result.value)
    assert "Parcels" in inspector.result.value
    asked = {"href": "/data/parcels.gpkg", "where": "area > 2", "lon": pytest.approx(23.1), "lat": 44.05}
    assert paper_engine.asked == [("/identify", {**asked, "zoom": 10})]
    assert paper_engine.points == []
    paper_engine.features = []
    click(m, 23.1, 44.05)
    eventually(lambda: "No feature here." in inspector.result.value)
