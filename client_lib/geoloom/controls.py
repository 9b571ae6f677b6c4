"""Controls of the GUIs: each in a line, with a label that belongs to a field, so that keys alone will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets
import traitlets

LABEL = "96px"
"""Width of the labels, so that controls stand in line."""

FIELD = "64px"
"""Width of a field for a number, without its label."""


def text(label: str, value: str, placeholder: str, suggestions: Sequence[str] = ()) -> ipywidgets.Combobox:
    """A field for text, which counts when Enter is pressed or the field is left."""
    return ipywidgets.Combobox(
        description=label,
        value=value,
        placeholder=placeholder,
        options=tuple(suggestions),
        ensure_option=False,
        continuous_update=False,
        **_in_line(),
    )


def choice(label: str, options: Sequence[Any], value: Any = None) -> ipywidgets.Dropdown:
    """One of some; `options` are values, or pairs of words and value."""
    return ipywidgets.Dropdown(description=label, options=options, value=value, **_in_line())


def tick(label: str, value: bool = False) -> ipywidgets.Checkbox:
    """Yes or no."""
    return ipywidgets.Checkbox(
        description=label,
        value=value,
        style={"description_width": LABEL},
        layout=ipywidgets.Layout(width="auto", margin="0"),
    )


class Slider(ipywidgets.HBox):
    """A number between two: a field with the label, and a slider.

    A slider alone has no name for those who do not see it.
    """

    value = traitlets.Float()

    def __init__(self, label: str, low: float, high: float, value: float, step: float = 1.0) -> None:
        limits = {"min": low, "max": high, "step": step, "value": value}
        self.field = _number(label, **limits)
        self.slider = ipywidgets.FloatSlider(**limits, readout=False, layout=_filling())
        super().__init__([self.field, self.slider], value=value)
        self.slider.observe(lambda change: self._slide(change["new"]), "value")
        self.field.observe(lambda change: self.set_trait("value", change["new"]), "value")
        self.observe(lambda _: self._follow(), "value")

    def _slide(self, place: float) -> None:
        # What was typed may lie between two steps of the slider.
        if (found := _tidy(place, self.slider.step)) != _tidy(self.value, self.slider.step):
            self.value = found

    def _follow(self) -> None:
        self.field.value = self.value
        # While it is dragged it is not set back.
        if _tidy(self.slider.value, self.slider.step) != _tidy(self.value, self.slider.step):
            self.slider.value = self.value


class Span(ipywidgets.HBox):
    """Two numbers between two: a field each, and a slider with two handles in between."""

    value = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 1.0))

    def __init__(self, label: str, low: float, high: float) -> None:
        self.low, self.high = (_number(words, min=low, max=high) for words in (label, "to"))
        self.high.style.description_width = "auto"
        self.high.layout.width = "auto"
        # The slider's right handle is as wide as this beyond its end.
        self.high.layout.margin = "2px 0 2px 10px"
        self.slider = ipywidgets.FloatRangeSlider(min=low, max=high, readout=False, layout=_filling())
        super().__init__([self.low, self.slider, self.high])
        self.low.observe(lambda change: self._type(change["new"], self.value[1]), "value")
        self.high.observe(lambda change: self._type(self.value[0], change["new"]), "value")
        self.slider.observe(lambda change: self._slide(*change["new"]), "value")
        self.observe(lambda _: self._follow(), "value")
        self.limit(low, high, 1.0)

    def limit(self, low: float, high: float, step: float, value: tuple[float, float] | None = None) -> None:
        """Set the limits, and the value within them."""
        for control in (self.slider, self.low, self.high):
            with control.hold_sync():
                # Never is the least above the most.
                control.max = max(high, control.max)
                control.min, control.max, control.step = low, high, step
        self.value = (low, high) if value is None else value
        self._follow()

    def _slide(self, *places: float) -> None:
        if (found := self._tidy(places)) != self._tidy(self.value):
            self.value = found

    def _type(self, low: float, high: float) -> None:
        if low < high:
            self.value = (low, high)
        self._follow()

    def _follow(self) -> None:
        self.low.value, self.high.value = self.value
        if self._tidy(self.slider.value) != self._tidy(self.value):
            self.slider.value = self.value

    def _tidy(self, places: Sequence[float]) -> tuple[float, float]:
        return _tidy(places[0], self.slider.step), _tidy(places[1], self.slider.step)


def shown(control: Any, on: bool) -> None:
    """Show a control, or hide it."""
    control.layout.display = None if on else "none"


def _tidy(place: float, step: float) -> float:
    """A slider's place as a number of steps: browsers tell 44.99999999999999."""
    return round(round(place / step) * step, 9)


def _number(label: str, **limits: float) -> ipywidgets.BoundedFloatText:
    width = f"calc({LABEL} + {FIELD} + 4px)"
    return ipywidgets.BoundedFloatText(
        description=label,
        continuous_update=False,
        **limits,
        style={"description_width": LABEL},
        layout=ipywidgets.Layout(width=width, flex="0 0 auto", margin="2px 0"),
    )


def _filling() -> ipywidgets.Layout:
    return ipywidgets.Layout(width="auto", flex="1 1 0", min_width="0", margin="2px 0 2px 6px")


def _in_line() -> dict[str, Any]:
    return {
        "style": {"description_width": LABEL},
        "layout": ipywidgets.Layout(width="auto", margin="2px 0"),
    }
