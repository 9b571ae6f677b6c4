from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from geoloom import newest
from geoloom.controls import Slider, tick
from geoloom.errors import ParameterError
from geoloom.form import Gui
from geoloom.image import Image
from geoloom.ops.open import Open
from geoloom.profile import Profile

NDVI = Image(Open(href="/data/ndvi.tif").chain(), Profile(("ndvi",), "float32"), {})


class Threshold(Gui):
    """As a GUI looks that somebody adds."""

    def __init__(self, map: Any, read: Any = None) -> None:
        self.limit = Slider("Limit", 0, 1, 0.5, 0.01)
        self.only = tick("Only those above")
        self.drawn: list[float] = []
        super().__init__(map, "Threshold", [self.limit, self.only], read)

    def image(self) -> Image:
        self.drawn.append(self.limit.value)
        if self.limit.value == 1:
            raise ParameterError("Nothing is <above> 1.", hint="Choose less.")
        if self.limit.value == 0:
            raise ZeroDivisionError("<oops>")
        found = NDVI.mask(NDVI > self.limit.value) if self.only.value else NDVI
        return found.scale(0, self.limit.value)

    def known(self) -> Any:
        return {NDVI.key: ("ndvi", 'gl.open("ndvi.tif")')}

    def suit(self) -> None:
        self.only.layout.display = "none" if self.limit.value < 0.1 else None


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "QUIET_SECONDS", 0.0)


@pytest.fixture
def settled(eventually: Any) -> Callable[[Gui], None]:
    return lambda gui: eventually(lambda: not gui._drawing.busy)


def test_the_layer_is_there_at_once_and_follows_the_controls(new_map: Any, settled: Any) -> None:
    m = new_map()
    gui = Threshold(m)
    assert [layer.name for layer in m.overlays] == ["Threshold"]
    first = gui.layer.key
    gui.limit.value = 0.75
    gui.only.value = True
    settled(gui)
    assert gui.layer.key != first
    assert len(m.overlays) == 1
    assert gui.layer.image.equals(NDVI.mask(NDVI > 0.75).scale(0, 0.75))
    assert gui.message == ""


def test_the_code_follows_and_is_shown_when_it_is_asked_for(new_map: Any, settled: Any) -> None:
    gui = Threshold(new_map())
    gui.limit.value = 0.25
    settled(gui)
    assert gui.code.splitlines() == [
        "import geoloom as gl",
        "",
        'ndvi = gl.open("ndvi.tif")',
        "image = ndvi.scale(0, 0.25)",
        "",
        "m = gl.Map()",
        'm.add_layer(image, name="Threshold")',
        "m",
    ]
    assert "ndvi.scale(0, 0.25)" in gui._text.value
    assert gui._text.layout.display == "none"
    gui.show_code.value = True
    assert gui._text.layout.display is None


def test_only_the_controls_that_matter_are_shown(new_map: Any, settled: Any) -> None:
    gui = Threshold(new_map())
    assert gui.only.layout.display is None
    gui.limit.value = 0.05
    assert gui.only.layout.display == "none"
    settled(gui)


def test_what_fails_is_told_in_a_sentence_and_the_layer_stays(new_map: Any, settled: Any) -> None:
    gui = Threshold(new_map())
    before = gui.layer.key
    gui.limit.value = 1.0
    settled(gui)
    assert gui.message == "Nothing is <above> 1. Choose less."
    assert "&lt;above&gt;" in gui._told.value
    gui.limit.value = 0.0
    settled(gui)
    assert gui.message == "ZeroDivisionError: <oops>"
    assert gui.layer.key == before
    gui.limit.value = 0.5
    settled(gui)
    assert gui.message == gui._told.value == ""


def test_the_engine_may_be_away(new_map: Any, paper_engine: Any, settled: Any) -> None:
    m = new_map()
    paper_engine.go_away()
    gui = Threshold(m)
    assert "No engine answers" in gui.message
    assert gui.layer is None
    paper_engine.failure = None
    gui.limit.value = 0.25
    settled(gui)
    assert gui.layer is not None


def test_equal_choices_are_drawn_once_and_a_removed_layer_comes_back(new_map: Any, settled: Any) -> None:
    m = new_map()
    gui = Threshold(m)
    layer = gui.layer
    gui.draw()
    assert gui.layer is layer
    m.remove_layer("Threshold")
    gui.limit.value = 0.25
    settled(gui)
    assert [one.name for one in m.overlays] == ["Threshold"]


def test_what_a_gui_sets_itself_draws_nothing(new_map: Any, settled: Any) -> None:
    gui = Threshold(new_map())
    with gui.setting():
        gui.limit.value = 0.25
    assert not gui._drawing.busy
    assert gui.drawn == [0.5]


def test_a_cell_that_is_run_again_takes_the_place_of_the_first(new_map: Any, settled: Any) -> None:
    m = new_map()
    first = Threshold(m, lambda lon, lat, zoom: [])
    again = Threshold(m, lambda lon, lat, zoom: [])
    assert [layer.name for layer in m.overlays] == ["Threshold"]
    assert first.pointer.marker not in m.layers
    assert again.pointer.marker in m.layers
    first.limit.value = 0.25
    settled(first)
    assert first.drawn == [0.5]


def test_map_and_marker_go_where_the_image_is(new_map: Any, paper_engine: Any) -> None:
    gui = Threshold(new_map(), lambda lon, lat, zoom: [])
    west, south, east, north = paper_engine.bounds
    lon, lat = gui.pointer.place
    assert west < lon < east
    assert south < lat < north
    assert gui.map.center == [lat, lon]


def test_a_map_that_is_there_already_stays(new_map: Any) -> None:
    gui = Threshold(new_map(center=(40.7, -112.6), zoom=11), lambda lon, lat, zoom: [])
    assert (gui.map.center, gui.map.zoom) == ([40.7, -112.6], 11)
    assert gui.pointer.place == pytest.approx((-112.6, 40.7))


def test_the_map_is_fitted_again_when_its_size_is_known(new_map: Any) -> None:
    m = new_map()
    gui = Threshold(m)
    gui.go((10.0, 40.0, 12.0, 41.0))
    wide = m.zoom
    with m.hold_trait_notifications():
        for edge, place in {"left": 0.0, "right": 200.0, "top": 0.0, "bottom": 200.0}.items():
            m.set_trait(edge, place)
    assert m.zoom < wide
    m.zoom = 3
    m.set_trait("right", 300.0)
    assert m.zoom == 3


def test_a_map_of_its_own_is_made(monkeypatch: pytest.MonkeyPatch, paper_engine: Any) -> None:
    monkeypatch.setattr("geoloom.engine_client.connect", lambda: paper_engine)
    gui = Threshold(None)
    assert gui.map.panel is None
    assert gui.layer is not None
    gui.map.close()
