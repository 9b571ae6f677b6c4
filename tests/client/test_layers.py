from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from geoloom.layers import BLANK, ImageLayer, label_of
from geoloom.ops.draw import Draw
from geoloom.profile import Look, Profile
from geoloom.stencil import painted

SECRET = "c3VwZXItc2VjcmV0"


@pytest.fixture
def layer(paper_engine: Any, styled_image: Any) -> ImageLayer:
    layer = ImageLayer(paper_engine, paper_engine.tiles_base, name="NDVI")
    layer.draw(styled_image)
    return layer


def test_its_url_is_the_browsers_address_and_serves_dense_screens(layer: ImageLayer) -> None:
    assert layer.url.startswith(f"/lab/proxy/20123/tiles/{layer.key}/{{z}}/{{x}}/{{y}}{{r}}.png?c=")
    assert not layer.detect_retina


def test_what_is_drawn_in_pixels_is_as_large_on_dense_screens(paper_engine: Any) -> None:
    layer = ImageLayer(paper_engine, paper_engine.tiles_base, name="Parcels")
    layer.draw(painted(Draw(href="/data/parcels.gpkg"), "/data/parcels.gpkg", None, None))
    assert "{r}" not in layer.url


def test_the_browser_asks_only_where_the_image_is(layer: ImageLayer) -> None:
    assert [tuple(corner) for corner in layer.bounds] == [(40.6, -112.9), (41.0, -112.5)]
    assert layer.max_zoom == 24
    assert layer.max_native_zoom is None
    assert layer.bbox == (-112.9, 40.6, -112.5, 41.0)


@pytest.mark.parametrize("bounds", [None, (170.0, -10.0, -170.0, 10.0)])
def test_over_the_antimeridian_it_asks_everywhere(paper_engine: Any, styled_image: Any, bounds: Any) -> None:
    paper_engine.bounds = bounds
    layer = ImageLayer(paper_engine, paper_engine.tiles_base)
    layer.draw(styled_image)
    assert layer.bounds is None


def test_a_hidden_layer_asks_for_nothing(layer: ImageLayer) -> None:
    url = layer.url
    layer.visible = False
    assert layer.url == BLANK
    layer.renew()
    assert layer.url == BLANK
    layer.visible = True
    assert layer.url != url
    assert "/tiles/" in layer.url


def test_no_representation_shows_the_right_to_read(layer: ImageLayer) -> None:
    assert SECRET in layer.url
    shown = repr(layer) + str(layer) + str(layer._repr_mimebundle_())
    assert SECRET not in shown
    assert layer.key in shown


def test_names_and_messages_are_escaped(layer: ImageLayer) -> None:
    layer.name = "<img src=x>"
    layer.say("<script>")
    html = layer._repr_mimebundle_()["text/html"]
    assert "<img" not in html
    assert "<script" not in html


def test_renewing_changes_the_right_and_nothing_else(layer: ImageLayer) -> None:
    before = layer.url
    layer.renew()
    assert before.partition("?")[0] == layer.url.partition("?")[0]
    assert before != layer.url


def test_it_is_renewed_before_the_right_expires(paper_engine: Any, layer: ImageLayer) -> None:
    assert time.time() < layer.renew_at < time.time() + paper_engine.lifetime


def test_a_retry_changes_the_url_so_that_no_cache_answers(layer: ImageLayer) -> None:
    first = layer.url
    layer.retry()
    layer.retry()
    assert layer.url == f"{first}&v=2"


def test_a_message_is_said_once(layer: ImageLayer) -> None:
    assert layer.say("gone")
    assert not layer.say("gone")
    assert layer.messages == ("gone",)


def test_a_message_about_the_same_takes_the_place_of_the_one_before(layer: ImageLayer) -> None:
    assert layer.say("It failed in 1 tile.", about=("FunctionFailed", "stubble"))
    assert layer.say("gone")
    assert not layer.say("It failed in 2 tiles.", about=("FunctionFailed", "stubble"))
    assert layer.messages == ("It failed in 2 tiles.", "gone")


def test_a_layer_that_begins_hidden_never_asks(paper_engine: Any, styled_image: Any) -> None:
    layer = ImageLayer(paper_engine, paper_engine.tiles_base, visible=False)
    urls = []
    layer.observe(lambda change: urls.append(change["new"]), "url")
    layer.draw(styled_image)
    assert urls == []


def test_drawing_another_image_asks_for_every_tile_again(
    layer: ImageLayer, paper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(layer, "send", sent.append)
    layer.draw(layer.image)
    assert sent == []
    layer.draw(paper(href="/data/other.tif", look=Look("grey")))
    assert sent == [{"msg": "redraw"}]


def test_drawing_another_image_forgets_the_messages(layer: ImageLayer, paper: Any) -> None:
    layer.say("gone")
    key = layer.key
    layer.draw(paper(href="/data/other.tif", look=Look("grey")))
    assert layer.key != key
    assert layer.messages == ()
    assert layer.key in layer.url


def test_a_blend_shows_the_legends_of_its_parts(paper_engine: Any, paper: Any) -> None:
    image = paper(look=Look("rgba")).step("blend", Look("rgba"))
    top = image.key
    legend = paper_engine.legend

    def legends(key: str) -> dict[str, Any]:
        return {"kind": "none"} if key == top else legend(key)

    paper_engine.legend = legends
    layer = ImageLayer(paper_engine, paper_engine.tiles_base)
    layer.draw(image)
    assert layer.legend["kind"] == "group"
    assert layer.legend["parts"][0]["name"] == "NDVI"


@pytest.mark.parametrize(
    ("names", "sources", "label"),
    [
        (("NDVI",), ("/data/a.tif",), "NDVI"),
        (("b1",), ("/data/B05.tif",), "B05"),
        (("red", "green"), ("https://host/scene.tif",), "scene"),
        (("b1",), ("/a.tif", "/b.tif"), "image"),
    ],
)
def test_layers_without_a_name_are_called_after_band_or_file(names, sources, label):
    image = SimpleNamespace(profile=Profile(names, "uint8"), sources=dict.fromkeys(sources))
    assert label_of(image) == label
