"""The order of a map's layers: base map, layers by name, a split view, marks on top."""

from __future__ import annotations

from typing import Any

import ipyleaflet

from geoloom.errors import ParameterError
from geoloom.leaflet import as_text


class LayerStack(ipyleaflet.Map):
    """An ipyleaflet map that knows its layers by name and keeps them in order."""

    def __init__(self, **traits: Any) -> None:
        self._comparison: ipyleaflet.SplitMapControl | None = None
        self._order_before: tuple[ipyleaflet.Layer, ...] = ()
        super().__init__(**traits)

    @property
    def overlays(self) -> tuple[ipyleaflet.Layer, ...]:
        """The layers above the base map, lowest first, those of a split view included."""
        plain = [layer for layer in self.layers if not layer.base and not is_mark(layer)]
        if self._comparison is not None:
            plain += [self._comparison.left_layer, self._comparison.right_layer]
        return tuple(plain)

    def layer(self, name: str | ipyleaflet.Layer) -> ipyleaflet.Layer:
        """The layer of a name.

        Raises
        ------
        ParameterError
            If there is no such layer; names those there are.
        """
        found = self.find(name) if isinstance(name, str) else name if name in self.overlays else None
        if found is None:
            names = ", ".join(repr(layer.name) for layer in self.overlays)
            shown = repr(name) if isinstance(name, str) else "of that kind"
            raise ParameterError(
                f"There is no layer {shown} on this map.",
                hint=f"The layers are {names}." if names else "It has no layers yet.",
            )
        return found

    def put(self, layer: ipyleaflet.Layer, old: ipyleaflet.Layer | None = None) -> None:
        """Add a layer on top, or in the place of an old one."""
        if old is not None and old not in self.layers:
            self.unsplit()
        order = [one for one in self.overlays if one in self.layers]
        if old is None:
            order.append(layer)
        else:
            order[order.index(old)] = layer
        self._arrange(order)

    def move_layer(self, name: str | ipyleaflet.Layer, steps: int) -> None:
        """Move a layer up (`steps` > 0) or down among the others."""
        layer = self.layer(name)
        order = [one for one in self.layers if one in self.overlays]
        if layer not in order:
            return
        at = order.index(layer)
        order.remove(layer)
        order.insert(min(max(at + steps, 0), len(order)), layer)
        self._arrange(order)

    def mark(self, layer: ipyleaflet.Layer) -> None:
        """Put a mark of the map's own above all layers; it is no layer of the panel."""
        layer.geoloom_mark = True
        super().add(layer)

    def compare(self, left: ipyleaflet.Layer, right: ipyleaflet.Layer) -> ipyleaflet.SplitMapControl:
        """Show two layers side by side of a divider.

        Raises
        ------
        ParameterError
            If they are the same.
        """
        if left is right:
            raise ParameterError("Two different layers are needed to compare.")
        # ipyleaflet's control adds its layers itself, so they must not be among the map's.
        control = as_text(ipyleaflet.SplitMapControl(left_layer=left, right_layer=right))
        self._order_before = self.overlays
        self._comparison = control
        self._arrange([layer for layer in self.overlays if layer not in (left, right)])
        return control

    def unsplit(self) -> None:
        """End the split view; its layers are ordinary ones again."""
        if self._comparison is None:
            return
        control, self._comparison = self._comparison, None
        if control in self.controls:
            super().remove(control)
        sides = (control.left_layer, control.right_layer)
        before = {layer: place for place, layer in enumerate(self._order_before)}
        self._arrange(sorted((*self.overlays, *sides), key=lambda layer: before.get(layer, len(before))))

    def find(self, name: str) -> ipyleaflet.Layer | None:
        """The layer of a name, if there is one."""
        return next((layer for layer in self.overlays if name and layer.name == name), None)

    def free_name(self, wanted: str) -> str:
        """A name that no layer has yet, made of the one wanted."""
        taken = {layer.name for layer in self.overlays}
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted} {count}"
        return name

    def _arrange(self, order: list[ipyleaflet.Layer]) -> None:
        bases = [layer for layer in self.layers if layer.base]
        marks = [layer for layer in self.layers if is_mark(layer)]
        split = self._comparison
        if split is not None and split in self.controls:
            super().remove(split)
        self.set_trait("layers", (*bases, *order, *marks))
        if split is not None:
            # The control draws its layers once, when it is added: after every change of the others.
            super().add(split)


def is_mark(layer: Any) -> bool:
    """Whether a layer is a mark of the map's own."""
    return getattr(layer, "geoloom_mark", False) is True
