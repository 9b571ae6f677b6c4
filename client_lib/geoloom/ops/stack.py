"""Put the bands of several images into one."""

from __future__ import annotations

from collections.abc import Sequence

from geoloom.op import Image, Images, Op, Profile, image, images, op
from geoloom.ops.elementwise import common_unit
from geoloom.profile import common_dtype


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names, of which repeated ones get the suffix _2, _3 and so on."""
    found: list[str] = []
    for name in names:
        candidate, count = name, 1
        while candidate in found:
            count += 1
            candidate = f"{name}_{count}"
        found.append(candidate)
    return tuple(found)


@op
class Stack(Op):
    """One image of the bands of several; a repeated band name gets the suffix _2, _3 and so on.

    The dtype is the one that holds the values of all.
    """

    values: Image = image(doc="The image whose bands come first.")
    others: Images = images(doc="Images whose bands follow.")
    function = True

    def profile(self, *inputs: Profile) -> Profile:
        """All bands, one after the other."""
        names = unique([name for one in inputs for name in one.names])
        return Profile(names, common_dtype(*inputs), unit=common_unit(*inputs))

    def routes(self, bands: tuple[int, ...], inputs: tuple[Profile, ...]) -> list[tuple[int, int]]:
        """Where each band comes from."""
        places = [(i, j) for i, one in enumerate(inputs) for j in range(one.bands)]
        return [places[band] for band in bands]
