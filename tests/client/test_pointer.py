from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from geoloom import newest
from geoloom.errors import EngineOverloaded
from geoloom.pointer import Pointer

Read = Callable[[float, float, int], list[tuple[str, str]]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "QUIET_SECONDS", 0.0)


@pytest.fixture
def pointer(new_map: Any) -> Callable[[Read], Pointer]:
    """Makes a pointer on a map at 40° N 10° E, zoom 5."""
    return lambda read: Pointer(new_map(center=(40.0, 10.0), zoom=5), read, "Drag me")


def echo(lon: float, lat: float, zoom: int) -> list[tuple[str, str]]:
    return [("Place", f"{lon:g} {lat:g} at {zoom}")]


def test_it_reads_in_the_middle_of_the_map_then_where_it_is_dragged(pointer: Any, eventually: Any) -> None:
    one = pointer(echo)
    assert one.marker in one._map.layers
    assert one.marker not in one._map.overlays
    eventually(lambda: "<dt>Place</dt><dd>10 40 at 5</dd>" in one.told.value)
    one.marker.location = [41.5, 12.25]
    eventually(lambda: "12.25 41.5 at 5" in one.told.value)
    assert (one.latitude.value, one.longitude.value) == (41.5, 12.25)


def test_fields_clicks_and_the_button_move_it(pointer: Any, eventually: Any) -> None:
    one = pointer(echo)
    one.latitude.value = 42.0
    eventually(lambda: "10 42 at 5" in one.told.value)
    one._map._handle_leaflet_event(
        one._map, {"event": "interaction", "type": "click", "coordinates": [43.0, 11.0]}, []
    )
    eventually(lambda: "11 43 at 5" in one.told.value)
    one.here.click()
    assert one.place == (10.0, 40.0)


def test_it_reads_at_the_maps_zoom_and_on_this_side_of_the_world(pointer: Any, eventually: Any) -> None:
    one = pointer(echo)
    one._map.zoom = 9
    eventually(lambda: "at 9" in one.told.value)
    one.marker.location = [40.0, 370.0]
    assert one.place == (10.0, 40.0)


def test_nobody_waits_and_the_newest_place_wins(pointer: Any, eventually: Any) -> None:
    gate, begun = threading.Event(), threading.Event()
    asked: list[float] = []

    def slow(lon: float, lat: float, zoom: int) -> list[tuple[str, str]]:
        asked.append(lon)
        begun.set()
        assert gate.wait(30)
        return echo(lon, lat, zoom)

    one = pointer(slow)
    assert begun.wait(30)
    for lon in range(11, 60):
        one.move(40.0, lon)
    shown: list[str] = []
    one.told.observe(lambda change: shown.append(change["new"]), "value")
    gate.set()
    eventually(lambda: "59 40 at 5" in one.told.value)
    assert len(shown) == 1, "what was read at places that were left is not shown"
    assert len(asked) < 10


@pytest.mark.parametrize("error", [EngineOverloaded("The engine is <busy>."), ValueError("<busy>")])
def test_what_fails_is_told_in_words(pointer: Any, eventually: Any, error: Exception) -> None:
    def fail(lon: float, lat: float, zoom: int) -> Any:
        raise error

    one = pointer(fail)
    eventually(lambda: "&lt;busy&gt;" in one.told.value)


def test_what_was_read_is_escaped(pointer: Any, eventually: Any) -> None:
    one = pointer(lambda lon, lat, zoom: [("<b>", "<script>")])
    eventually(lambda: "<dt>&lt;b&gt;</dt><dd>&lt;script&gt;</dd>" in one.told.value)


def test_it_leaves_nothing_on_the_map(pointer: Any, eventually: Any) -> None:
    one = pointer(echo)
    eventually(lambda: "at 5" in one.told.value)
    one.leave()
    assert one.marker not in one._map.layers
    one._map.zoom = 8
    assert not one._reading.busy
