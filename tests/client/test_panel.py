from __future__ import annotations

from typing import Any

import pytest

from geoloom.profile import Look

POINT = {"type": "Point", "coordinates": [12.0, 45.0]}


@pytest.fixture
def shown(new_map: Any, styled_image: Any) -> Any:
    m = new_map()
    m.add_layer(styled_image, name="NDVI", opacity=0.7)
    m.add_layer(POINT, name="place")
    return m


def titles(m: Any) -> list[str]:
    return [row.layer.name for row in m.panel.rows]


def test_rows_follow_the_layers_top_first(shown: Any, paper: Any) -> None:
    assert titles(shown) == ["place", "NDVI"]
    shown.add_layer(paper(href="/b.tif", look=Look("grey")), name="third")
    assert titles(shown) == ["third", "place", "NDVI"]
    shown.clear()
    assert titles(shown) == []


def test_rows_of_other_layers_stay_the_same_widgets(shown: Any) -> None:
    before = shown.panel.rows[1]
    shown.remove_layer("place")
    assert shown.panel.rows == (before,)


def test_opacity_and_visibility_are_linked_in_the_browser(shown: Any) -> None:
    row = shown.panel.rows[1]
    links = {link.source[1]: link.target for link in row._links}
    assert links == {"visible": (row.shown, "value"), "opacity": (row.opacity, "value")}
    assert all(link.source[0] is row.layer for link in row._links)


def test_buttons_move_and_remove(shown: Any) -> None:
    shown.panel.rows[0].down.click()
    assert titles(shown) == ["NDVI", "place"]
    shown.panel.rows[1].up.click()
    assert titles(shown) == ["place", "NDVI"]
    shown.panel.rows[0].drop.click()
    assert titles(shown) == ["NDVI"]


def test_a_row_shows_name_note_legend_and_messages_escaped(shown: Any) -> None:
    row = shown.panel.rows[1]
    layer = row.layer
    layer.name = "<b>NDVI</b>"
    layer.note = "stretched 1 < 2"
    layer.say("It is <gone>.")
    assert "&lt;b&gt;NDVI" in row.title.value
    assert "stretched 1 &lt; 2" in row.details.value
    assert "linear-gradient" in row.details.value
    assert "1 problem" in row.details.value
    assert "It is &lt;gone&gt;." in row.details.value


def test_loading_is_shown_in_row_and_head(shown: Any) -> None:
    row = shown.panel.rows[1]
    row.layer.set_trait("loading", True)
    assert "<svg" in row.title.value
    assert "loading" in shown.panel._progress.value
    row.layer.set_trait("loading", False)
    assert "<svg" not in row.title.value
    assert shown.panel._progress.value == ""


def test_a_busy_engine_is_told(shown: Any) -> None:
    row = shown.panel.rows[1]
    row.layer.waiting = True
    assert "the missing tiles come by themselves" in row.details.value
    row.layer.waiting = False
    assert "busy" not in row.details.value


def test_the_base_map_is_chosen_here_too(shown: Any) -> None:
    shown.panel._base.value = "osm"
    assert "openstreetmap" in shown.layers[0].url
    shown.set_basemap("offline")
    assert shown.panel._base.value == "offline"
    assert [layer.name for layer in shown.overlays] == ["NDVI", "place"]


def test_it_folds(shown: Any) -> None:
    shown.panel._toggle.value = False
    assert shown.panel._body.layout.display == "none"
    shown.panel._toggle.value = True
    assert shown.panel._body.layout.display is None


def test_a_map_can_do_without(new_map: Any, styled_image: Any) -> None:
    m = new_map(panel=False)
    m.add_layer(styled_image)
    assert m.panel is None
