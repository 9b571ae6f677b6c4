from __future__ import annotations

import pytest

from geoloom.controls import Slider, Span, choice, shown, text, tick


def test_field_and_slider_are_one_number() -> None:
    control = Slider("Light from, °", 0, 360, 315, 5)
    told = []
    control.observe(lambda change: told.append(change["new"]), "value")
    control.slider.value = 90.0
    assert (control.value, control.field.value) == (90.0, 90.0)
    control.field.value = 45.0
    assert (control.value, control.slider.value) == (45.0, 45.0)
    control.value = 10.0
    assert (control.field.value, control.slider.value) == (10.0, 10.0)
    assert told == [90.0, 45.0, 10.0]


@pytest.mark.parametrize(("place", "value"), [(44.99999999999999, 45.0), (0.30000000000000004, 0.3)])
def test_a_sliders_place_is_a_number_of_steps(place: float, value: float) -> None:
    control = Slider("Steepest", 0, 90, 10, 1.0 if value == 45 else 0.1)
    control.slider.value = place
    assert control.value == control.field.value == value
    assert control.slider.value == place, "while it is dragged it is not set back"


def test_what_is_typed_may_lie_between_steps_but_not_outside() -> None:
    control = Slider("Exaggerate", 0.5, 10, 1, 0.5)
    control.field.value = 1.7
    assert control.value == 1.7
    control.field.value = 99
    assert control.value == 10


def test_both_ends_of_a_span_are_fields_and_handles() -> None:
    control = Span("Heights", 0, 4000)
    control.slider.value = (100.0, 2000.0)
    assert (control.low.value, control.high.value) == (100.0, 2000.0) == control.value
    control.low.value = 150.5
    assert control.value == (150.5, 2000.0)
    control.high.value = 3000.0
    assert control.slider.value == (150.5, 3000.0)


def test_ends_the_wrong_way_round_are_put_back() -> None:
    control = Span("Heights", 0, 4000)
    control.value = (100.0, 2000.0)
    control.low.value = 2500.0
    assert control.value == (100.0, 2000.0)
    assert control.low.value == 100.0


@pytest.mark.parametrize("limits", [(5000.0, 9000.0), (-400.0, -10.0), (0.0, 0.5)])
def test_limits_may_lie_anywhere(limits: tuple[float, float]) -> None:
    control = Span("Heights", 0, 4000)
    low, high = limits
    middle = (low + high) / 2
    control.limit(low, high, (high - low) / 100, (low, middle))
    assert control.value == pytest.approx((low, middle))
    assert control.slider.value == pytest.approx((low, middle))
    assert (control.low.min, control.high.max) == limits


def test_every_control_has_a_label_of_a_field() -> None:
    made = [text("Source", "", "a file"), choice("Show", ["a", "b"], "a"), tick("Reversed")]
    sliders = [Slider("Light", 0, 1, 0.5), Span("Heights", 0, 1)]
    assert [one.description for one in made] == ["Source", "Show", "Reversed"]
    assert [one.children[0].description for one in sliders] == ["Light", "Heights"]


def test_a_hidden_control_takes_no_place() -> None:
    control = tick("Reversed")
    shown(control, False)
    assert control.layout.display == "none"
    shown(control, True)
    assert control.layout.display is None
