from __future__ import annotations

from typing import Any

import ipywidgets
import pytest

from geoloom.errors import EngineOverloaded, ParameterError
from geoloom.interaction import interact
from geoloom.profile import Look


@pytest.fixture
def threshold(paper: Any) -> Any:
    """A function from a slider's value to an image, which remembers what it was asked."""

    def function(threshold: float) -> Any:
        function.asked.append(threshold)
        return paper(href=f"/{threshold}.tif", look=Look("grey"))

    function.asked = []
    return function


def test_the_layer_is_there_at_once_and_follows_the_slider(
    new_map: Any, threshold: Any, eventually: Any
) -> None:
    m = new_map()
    shown = interact(threshold, map=m, threshold=(0.0, 1.0))
    assert [layer.name for layer in m.overlays] == ["function"]
    first = m.image_layers[0].key
    shown.controls["threshold"].value = 0.75
    eventually(lambda: m.image_layers[0].key != first)
    assert threshold.asked[-1] == 0.75
    assert len(m.overlays) == 1


def test_only_the_last_of_many_moves_is_drawn(new_map: Any, threshold: Any, eventually: Any) -> None:
    shown = interact(threshold, map=new_map(), name="mask", threshold=(0, 1000))
    for value in range(100):
        shown.controls["threshold"].value = value
    eventually(lambda: threshold.asked[-1] == 99)
    assert len(threshold.asked) < 10


@pytest.mark.parametrize("error", [EngineOverloaded("The engine is <busy>."), ValueError("<busy>")])
def test_what_fails_is_told_beside_the_sliders(new_map: Any, error: Exception) -> None:
    def fail(threshold: float) -> Any:
        raise error

    shown = interact(fail, map=new_map(), threshold=(0.0, 1.0))
    assert "&lt;busy&gt;" in shown._told.value


def test_any_control_of_ipywidgets_can_be_given(new_map: Any, paper: Any) -> None:
    def image(a: int, b: str, c: bool, d: int) -> Any:
        return paper(href=f"/{a}{b}{c}{d}.tif", look=Look("grey"))

    shown = interact(image, map=new_map(), a=(0, 10, 2), b=["x", "y"], c=True, d=ipywidgets.IntText(4))
    assert shown.values == {"a": 4, "b": "x", "c": True, "d": 4}


@pytest.mark.parametrize("controls", [{}, {"threshold": object()}])
def test_without_controls_it_says_how(threshold: Any, controls: Any) -> None:
    with pytest.raises(ParameterError, match=r"gl\.interact|Give \(low, high\)"):
        interact(threshold, **controls)
