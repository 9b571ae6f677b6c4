"""Whether values are among some."""

from __future__ import annotations

from typing import Any

from geoloom.block import Array, Block
from geoloom.grid import Grid
from geoloom.op import Image, Number, Op, Output, Profile, image, op, param
from geoloom.ops.elementwise import between_classes
from geoloom.ops.remap import among


def _sorted(value: Any) -> Any:
    """``(3, 8)`` and ``([3, 8],)`` as ascending numbers, each once."""
    if (
        isinstance(value, tuple | list)
        and len(value) == 1
        and isinstance(value[0], tuple | list | set | range)
    ):
        value = value[0]
    if isinstance(value, set | range):
        value = tuple(value)
    if isinstance(value, tuple | list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in value
    ):
        return tuple(sorted(set(value)))
    return value


@op
class Isin(Op):
    """True where the image has one of the values: ``scl.isin(3, 8, 9)`` or ``scl.isin([3, 8, 9])``."""

    classes: Image = image(doc="The image.")
    values: tuple[Number, ...] = param(
        doc="The values to look for.",
        unit="same as the image",
        variadic=True,
        coerce=_sorted,
        min_length=1,
        example=(3, 8),
    )
    bandwise = True
    pointwise = True
    function = True
    output = Output(dtype="bool", range=(0, 1))

    def sampling(self, asked: str | None) -> str | None:
        """Nearest or mode: a value between two classes is no class."""
        return between_classes(asked)

    def profile(self, *inputs: Profile) -> Profile:
        """A bool image."""
        return Profile(inputs[0].names, "bool", range=(0.0, 1.0))

    def kernel(self, classes: Block, grid: Grid) -> Array:
        """Look every value up."""
        return among(classes.data, self.values)
