"""Colours of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Block, joint
from geoloom.colour import LEVELS, parse
from geoloom.errors import ParameterError
from geoloom.grid import Grid
from geoloom.op import Band, Look, Op, Output, Profile, band, op, param
from geoloom.ops.elementwise import between_classes
from geoloom.ops.remap import exchanged


def _entries(value: Any) -> Any:
    """``{1: ("water", "blue"), 2: "green"}`` as (value, label, colour) by value."""
    if hasattr(value, "items"):
        entries = [
            (number, *entry)
            if isinstance(entry, tuple | list) and len(entry) == 2
            else (number, str(number), entry)
            for number, entry in value.items()
        ]
    elif isinstance(value, tuple | list) and all(
        isinstance(one, tuple | list) and len(one) == 3 for one in value
    ):
        entries = [tuple(one) for one in value]
    else:
        return value
    found = [(number, label, parse(shade)) for number, label, shade in entries]
    return tuple(sorted(found, key=lambda one: one[0] if isinstance(one[0], int | float) else 0))


@op
class Palette(Op):
    """Colours of classes: ``palette({1: ("water", "blue"), 2: ("forest", "darkgreen")})``.

    Values without a class become invalid, that is transparent.
    """

    values: Band = band(doc="A band of classes.")
    classes: tuple[tuple[int, str, str], ...] = param(
        doc="Label and colour, or just colour, of each class's value.",
        unit="class",
        coerce=_entries,
        min_length=1,
        example=((1, "water", "#0000ffff"), (2, "forest", "#006400ff")),
    )
    pointwise = True
    output = Output(dtype="uint8", range=(0, 254))

    def check(self) -> None:
        """At most as many classes as a palette has colours, each once."""
        if len(self.classes) > LEVELS:
            raise ParameterError(f"palette() got {len(self.classes)} classes; at most {LEVELS} can be shown.")
        numbers = [value for value, _, _ in self.classes]
        if len(set(numbers)) != len(numbers):
            raise ParameterError("palette(): a class's value is given twice.")

    def sampling(self, asked: str | None) -> str | None:
        """Nearest or mode: a value between two classes is no class."""
        return between_classes(asked)

    def profile(self, *inputs: Profile) -> Profile:
        """Indices into the classes' colours."""
        source = inputs[0]
        lut = tuple(shade for _, _, shade in self.classes)
        labels = tuple((label, shade) for _, label, shade in self.classes)
        look = Look("palette", lut=lut, labels=labels, unit=source.unit, name=source.names[0])
        return Profile(source.names, "uint8", range=(0.0, 254.0), look=look)

    def effort(self, grid: Grid) -> float:
        """Each pixel is looked up."""
        return 4.0

    def kernel(self, values: Block, grid: Grid) -> Block:
        """The place of each value among the classes."""
        keys = tuple(value for value, _, _ in self.classes)
        data, found = exchanged(values.data, keys, tuple(range(len(keys))), np.dtype(np.uint8))
        return Block.of(data, joint(values.valid, found))
