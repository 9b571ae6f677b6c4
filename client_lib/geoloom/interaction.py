"""Sliders that rebuild a layer while they are moved."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets

from geoloom.errors import GeoloomError, ParameterError
from geoloom.map import Map
from geoloom.newest import Newest
from geoloom.wording import in_words, one_line


class Interaction(ipywidgets.VBox):
    """Controls above a map; made by `interact`.

    Parameters
    ----------
    function
        Gives an `Image` for the controls' values.
    map
        Where the layer goes.
    name
        Of the layer.
    controls
        A widget for each argument of the function.
    """

    def __init__(
        self, function: Callable[..., Any], map: Map, name: str, controls: dict[str, Any], show: bool
    ) -> None:
        self.map = map
        self.name = name
        self.controls = controls
        self.layer: Any = None
        self._function = function
        self._drawing = Newest(self._draw, "geoloom-interact")
        self._told = ipywidgets.HTML()
        for control in controls.values():
            control.observe(lambda _: self._drawing.ask(), "value")
        super().__init__([*controls.values(), self._told, *([map] if show else [])])
        self._draw()

    @property
    def values(self) -> dict[str, Any]:
        """The controls' values, by argument."""
        return {name: control.value for name, control in self.controls.items()}

    def __repr__(self) -> str:
        return f"Interaction({self.name!r}, {self.values})"

    def _draw(self) -> None:
        try:
            image = self._function(**self.values)
            self.layer = self.map.add_layer(image, name=self.name)
        except GeoloomError as error:
            self._tell(in_words(error))
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises is shown beside its sliders
            self._tell(one_line(f"{type(error).__name__}: {error}"))
        else:
            self._told.value = ""

    def _tell(self, message: str) -> None:
        self._told.value = f'<div style="color:#b00020">⚠ {escape(message)}</div>'


def interact(
    function: Callable[..., Any], *, map: Map | None = None, name: str | None = None, **controls: Any
) -> Interaction:
    """Sliders that rebuild a layer while they are moved.

    Parameters
    ----------
    function
        Gives an `Image` for the controls' values.
    map
        Where the layer goes; by default a new map below the controls.
    name
        Of the layer; by default the function's.
    controls
        For each argument what ipywidgets' `interact` takes: (low, high), (low, high, step), a list of
        choices, a bool, a text, or a widget.

    Returns
    -------
    Interaction
        To be shown as the last line of a cell.

    Raises
    ------
    ParameterError
        If no control can be made of a value.
    """
    made = {argument: _control(argument, value) for argument, value in controls.items()}
    if not made:
        raise ParameterError(
            "interact() needs at least one control.",
            hint="For example gl.interact(f, threshold=(0.0, 1.0)).",
        )
    label = name or str(getattr(function, "__name__", "image")).strip("<>")
    shown = Map() if map is None else map
    interaction = Interaction(function, shown, label, made, show=map is None)
    if map is None and interaction.layer is not None:
        shown.fit(interaction.layer)
    return interaction


def _control(argument: str, value: Any) -> Any:
    control = value
    if not isinstance(value, ipywidgets.DOMWidget):
        try:
            control = ipywidgets.interactive.widget_from_abbrev(value)
        except (TypeError, ValueError):
            control = None
    if control is None or not control.has_trait("value"):
        raise ParameterError(
            f"No control can be made of {argument}={value!r}.",
            hint="Give (low, high), a list of choices, a bool, a text or a widget.",
        )
    if not control.description:
        control.description = argument
    return control
