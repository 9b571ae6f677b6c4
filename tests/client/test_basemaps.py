from __future__ import annotations

from typing import Any

import ipyleaflet
import pytest

from geoloom.basemaps import base_layer
from geoloom.errors import EngineUnreachable, ParameterError
from geoloom.layers import BLANK
from geoloom.map import Map


def test_the_default_is_drawn_by_the_engine(new_map: Any) -> None:
    m = new_map()
    assert [layer.url for layer in m.layers] == ["/lab/proxy/20123/basemap/{z}/{x}/{y}{r}.png"]
    assert m.layers[0].base


def test_no_address_beyond_this_machine_is_in_the_map(new_map: Any) -> None:
    m = new_map()
    state = [widget.get_state() for widget in (m, *m.layers, *m.controls)]
    assert "http" not in str(state).replace("http://www.w3.org", "")


def test_online_ones_by_name(new_map: Any) -> None:
    m = new_map(basemap="esri")
    assert m.layers[0].url.startswith("https://server.arcgisonline.com/")
    m.set_basemap("osm")
    assert "openstreetmap" in m.layers[0].url
    m.set_basemap("none")
    assert m.layers[0].url == BLANK
    m.set_basemap(ipyleaflet.TileLayer(url="/mine/{z}/{x}/{y}.png", name="mine"))
    assert m.base_name == "mine"
    assert len(m.layers) == 1


def test_changing_it_keeps_the_layers(new_map: Any, styled_image: Any) -> None:
    m = new_map()
    layer = m.add_layer(styled_image)
    m.set_basemap("osm")
    assert m.layers[1:] == (layer,)


@pytest.mark.parametrize("name", ["no such map", "Thunderforest.Landscape"])
def test_unknown_ones_list_those_there_are(name: str) -> None:
    with pytest.raises(ParameterError, match=r"There is no base map .*offline, osm, esri"):
        base_layer(name, None)


def test_without_an_engine_the_map_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(engine: Any) -> Any:
        raise EngineUnreachable("The embedded engine did not start.")

    monkeypatch.setattr("geoloom.map._connect", refuse)
    m = Map()
    assert m.messages == ("The embedded engine did not start.",)
    assert m.layers[0].url == BLANK
    m.close()
