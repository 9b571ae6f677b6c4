"""Give bands other names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from geoloom.errors import BandError, ParameterError
from geoloom.op import BandName, Image, Op, Profile, image, op, param


def _entries(value: Any) -> Any:
    """``("red", "nir")`` and ``({"B04": "red"},)`` as tuples of one or two names."""
    if isinstance(value, tuple | list) and len(value) == 1 and isinstance(value[0], Mapping):
        return tuple(value[0].items())
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, tuple | list):
        return tuple((one,) if isinstance(one, str) else one for one in value)
    return value


@op
class Rename(Op):
    """The same bands under other names: ``rename("red", "nir")`` or ``rename({"B04": "red"})``."""

    values: Image = image(doc="The image.")
    names: tuple[tuple[BandName, ...], ...] = param(
        doc="A name for every band, or a dict of old and new names.",
        variadic=True,
        min_length=1,
        coerce=_entries,
        example=("red",),
    )

    def check(self) -> None:
        """All entries are new names, or all are pairs of an old and a new name."""
        lengths = {len(entry) for entry in self.names}
        if lengths not in ({1}, {2}):
            raise ParameterError(
                "rename() takes a name for every band, or one dict of old and new names.",
                hint='For example rename("red", "nir") or rename({"B04": "red"}).',
            )
        if any(not name for entry in self.names for name in entry):
            raise ParameterError("rename(): a band's name cannot be empty.")

    def profile(self, *inputs: Profile) -> Profile:
        """The new names; raises BandError if they do not fit the bands."""
        source = inputs[0]
        if len(self.names[0]) == 2:
            names = list(source.names)
            for old, new in self.names:
                names[source.index(old)] = new
        else:
            names = [entry[0] for entry in self.names]
            if len(names) != source.bands:
                raise BandError(
                    f"rename() got {len(names)} names for {source.bands} bands.",
                    hint=f"The bands are: {', '.join(source.names)}.",
                )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BandError(f"rename() would give two bands the name {twice[0]!r}.")
        return replace(source, names=tuple(names), constant=None)

    def routes(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, int]]:
        """The bands stay where they are."""
        return [(0, i) for i in bands]
