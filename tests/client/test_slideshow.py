from __future__ import annotations

import re
from typing import Any

import pytest

from geoloom.errors import ParameterError
from geoloom.layers import BLANK, ImageLayer
from geoloom.profile import Look
from geoloom.slideshow import AnimatedLayer
from geoloom.timeline import Animation, Frame

GREY = Look("grey")


@pytest.fixture
def animation(paper: Any) -> Any:
    """Makes animations of five dates: `animation(look=…)`."""

    def make(look: Look | None = GREY, count: int = 5, **image: Any) -> Animation:
        return Animation(
            [
                Frame(
                    f"{day} July 2016",
                    f"2016-07-0{day}T00:00:00Z",
                    f"2016-07-0{day + 1}T00:00:00Z",
                    day,
                    paper(href=f"/{day}.tif", look=look, **image),
                )
                for day in range(1, count + 1)
            ]
        )

    return make


@pytest.fixture
def added(new_map: Any, animation: Any) -> AnimatedLayer:
    """An animated layer on a map, whose browser loads whatever it is told."""
    layer = new_map().add_layer(animation(), name="Season")
    layer.patience = 60.0
    arrive(layer)
    return layer


def arrive(layer: AnimatedLayer) -> None:
    """What the browser does: it loads the frame that is shown."""
    layer.set_trait("loading", True)
    layer.set_trait("loading", False)


def load(layer: AnimatedLayer) -> None:
    """What the browser does: it loads the coming frame."""
    layer.ahead.set_trait("loading", True)
    layer.ahead.set_trait("loading", False)


def chain_of(url: str) -> str:
    found = re.search(r"/tiles/([0-9a-f]{32})/", url)
    return found.group(1) if found else ""


def key(layer: AnimatedLayer, frame: int) -> str:
    return str(layer.frames[frame].image.key)


def test_the_first_frame_is_shown_and_the_second_is_loaded_unseen(added: AnimatedLayer) -> None:
    assert (added.shown, added.name) == (0, "Season")
    assert chain_of(added.url) == key(added, 0) == added.key
    assert chain_of(added.ahead.url) == key(added, 1)
    assert added.ahead.opacity == 0


def test_a_frame_that_has_arrived_is_shown_at_once_by_the_same_address(added: AnimatedLayer) -> None:
    load(added)
    coming = added.ahead.url
    added.slider.forth.click()
    assert added.shown == 1
    assert added.url == coming
    assert chain_of(added.ahead.url) == key(added, 2)


def test_the_old_frame_stays_until_the_new_one_has_loaded(added: AnimatedLayer) -> None:
    added.slider.place.value = 3
    assert (added.wanted, added.shown) == (3, 0)
    assert chain_of(added.url) == key(added, 0)
    assert "loading" in added.slider.label.value
    added.ahead.set_trait("loading", True)
    assert added.shown == 0
    added.ahead.set_trait("loading", False)
    assert added.shown == 3
    assert chain_of(added.url) == key(added, 3)
    assert "loading" not in added.slider.label.value


def test_only_the_last_of_many_moves_is_shown(added: AnimatedLayer) -> None:
    for place in (1, 2, 3, 4, 2):
        added.slider.place.value = place
    load(added)
    assert added.shown == 2
    assert chain_of(added.url) == key(added, 2)


def test_frames_are_registered_when_they_are_needed_and_once(new_map: Any, animation: Any) -> None:
    m = new_map()
    layer = m.add_layer(animation())
    layer.patience = 60.0
    registered = layer.engine.registered
    assert set(registered) == {key(layer, 0)}
    arrive(layer)
    assert set(registered) == {key(layer, 0), key(layer, 1)}
    for _ in range(12):
        load(layer)
        layer.step(1)
    assert sorted(registered) == sorted({key(layer, frame) for frame in range(5)})


def test_what_is_looked_at_loads_first(added: AnimatedLayer) -> None:
    load(added)
    added.set_trait("loading", True)
    assert added.ahead.url == BLANK
    added.set_trait("loading", False)
    assert chain_of(added.ahead.url) == key(added, 1)
    # A frame that is waited for is loaded all the same.
    added.step(2)
    added.set_trait("loading", True)
    assert chain_of(added.ahead.url) == key(added, 2)
    load(added)
    assert added.shown == 2


def test_nobody_looking_does_not_hold_it_up(added: AnimatedLayer, eventually: Any) -> None:
    added.patience = 0.01
    added.slider.place.value = 4
    eventually(lambda: added.shown == 4)


def test_playing_goes_round_and_pauses(added: AnimatedLayer, eventually: Any) -> None:
    added.patience = added.interval = 0.01
    seen = []
    added.observe(lambda change: seen.append(chain_of(change["new"])), "url")
    added.slider.playing.value = True
    eventually(lambda: len(seen) >= 7)
    added.slider.playing.value = False
    assert not added.playing
    assert added._timer is None
    order = [key(added, frame % 5) for frame in range(1, 8)]
    assert seen[:7] == order


def test_a_step_by_hand_ends_the_playing(added: AnimatedLayer) -> None:
    added.slider.playing.value = True
    assert added.slider.playing.icon == "pause"
    added.slider.back.click()
    assert not added.playing
    assert added.slider.playing.icon == "play"


def test_the_date_is_told_in_words(added: AnimatedLayer) -> None:
    assert "<b>1 July 2016</b>" in added.slider.label.value
    assert "1 scene, 1 of 5" in added.slider.label.value
    added.slider.back.click()
    assert "<b>5 July 2016</b>" in added.slider.label.value
    assert "5 scenes, 5 of 5" in added.slider.label.value
    assert added.slider.place.value == 4


def test_hidden_it_asks_for_nothing(added: AnimatedLayer) -> None:
    added.play()
    added.visible = False
    assert not added.playing
    assert added.url == added.ahead.url == BLANK
    assert added.slider.layout.display == "none"
    added.visible = True
    assert chain_of(added.url) == key(added, 0)
    assert added.slider.layout.display is None


def test_the_slider_goes_with_the_layer(new_map: Any, animation: Any) -> None:
    m = new_map()
    before = (m.layers, m.controls)
    layer = m.add_layer(animation(), name="Season")
    assert layer.ahead in m.layers
    assert [one.name for one in m.overlays] == ["Season"]
    assert len(m.controls) == len(before[1]) + 1
    m.remove_layer("Season")
    assert (m.layers, m.controls) == before


@pytest.mark.parametrize("act", ["clear", "replace"])
def test_it_goes_however_the_layer_goes(new_map: Any, animation: Any, styled_image: Any, act: str) -> None:
    m = new_map()
    controls = m.controls
    layer = m.add_layer(animation(), name="Season")
    layer.play()
    if act == "clear":
        m.clear()
    else:
        assert type(m.add_layer(styled_image, name="Season")) is ImageLayer
    assert m.controls == controls
    assert layer.ahead not in m.layers
    assert not layer.playing
    assert layer._timer is None


def test_adding_it_again_keeps_layer_and_date(new_map: Any, animation: Any) -> None:
    m = new_map()
    layer = m.add_layer(animation())
    layer.patience = 60.0
    layer.slider.place.value = 3
    load(layer)
    assert m.add_layer(animation()) is layer
    assert layer.shown == 3
    shorter = animation(count=2)
    assert m.add_layer(shorter, name=layer.name) is layer
    assert layer.shown == 1
    assert layer.slider.place.max == 1
    assert len(m.controls) == len(set(m.controls))


def test_an_image_gives_way_to_an_animation(new_map: Any, animation: Any, styled_image: Any) -> None:
    m = new_map()
    m.add_layer(styled_image, name="a")
    layer = m.add_layer(animation(), name="a")
    assert isinstance(layer, AnimatedLayer)
    assert m.overlays == (layer,)


def test_frames_without_a_look_share_limits_from_several(
    new_map: Any, animation: Any, paper_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    limits = iter([(0.1, 0.4), (0.3, 0.9), (0.2, 0.5)])

    def statistics(key: str, bbox: Any = None) -> dict[str, Any]:
        asked.append(key)
        low, high = next(limits)
        return {"bands": {"ndvi": {"percentiles": {"2": low, "50": 0.3, "98": high}, "min": 0, "max": 1}}}

    monkeypatch.setattr(paper_engine, "statistics", statistics)
    layer = new_map().add_layer(animation(look=None), name="NDVI")
    assert asked == [key(layer, frame) for frame in (0, 2, 4)]
    assert layer.note == "stretched 0.1–0.9 (2–98 %)"
    for frame in layer.frames:
        drawn = layer._look(frame.image)
        scale = drawn.chain.nodes[drawn.chain.node.inputs[0]]
        assert scale.params["limits"] == (0.1, 0.9)
    assert len(asked) == 3


def test_a_look_can_be_given_and_not_twice(new_map: Any, animation: Any) -> None:
    m = new_map()
    layer = m.add_layer(animation(look=None), name="NDVI", vmin=0, vmax=1, colormap="rdylgn")
    assert layer.note == "stretched 0–1"
    with pytest.raises(ParameterError, match="already has a look"):
        m.add_layer(animation(), name="other", vmin=0)


def test_an_engine_that_goes_away_is_told_and_stops_it(added: AnimatedLayer, paper_engine: Any) -> None:
    added.play()
    paper_engine.go_away()
    added.slider.place.value = 4
    assert "No engine answers" in added.messages[0]
    assert (added.wanted, added.shown, added.playing) == (0, 0, False)
    assert added.slider.place.value == 0


def test_what_went_wrong_while_a_frame_was_loaded_unseen_is_told_with_it(
    new_map: Any, animation: Any, paper_engine: Any, eventually: Any
) -> None:
    m = new_map()
    layer = m.add_layer(animation(), name="Season")
    layer.patience = 60.0
    arrive(layer)
    event = {"type": "error", "key": key(layer, 1), "error": "SourceUnreadable", "message": "b is broken."}
    paper_engine.happened.put(event)
    eventually(paper_engine.happened.empty)
    polls = paper_engine.polls
    eventually(lambda: paper_engine.polls > polls)
    assert layer.messages == m.messages == ()
    load(layer)
    layer.step(1)
    assert "b is broken." in layer.messages[0]
    assert "b is broken." in m.messages[0]
    load(layer)
    layer.step(1)
    assert layer.messages == m.messages == ()


def test_renewing_gives_fresh_rights_to_frames_to_come(added: AnimatedLayer) -> None:
    load(added)
    before = added.url
    added.renew()
    assert added.url != before
    assert chain_of(added.url) == key(added, 0)
    load(added)
    added.step(1)
    assert added.shown == 1


def test_no_representation_shows_a_right_to_read(added: AnimatedLayer) -> None:
    assert repr(added) == "AnimatedLayer('Season', '1 July 2016', 5 frames)"
    assert "c3VwZXItc2VjcmV0" not in f"{added!r} {added.slider!r} {added._repr_mimebundle_()}"
