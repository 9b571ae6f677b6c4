"""Lay images over each other: what the first lacks comes from the next."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoloom.block import Block, everywhere
from geoloom.errors import BandError
from geoloom.grid import Grid
from geoloom.op import Image, Images, Op, Profile, image, images, op
from geoloom.ops.elementwise import common_unit
from geoloom.profile import common_dtype


@op
class CombineFirst(Op):
    """The first image that is valid, chosen for each pixel and band: a mosaic.

    The images have as many bands each and are combined in their order, as by xarray's method of this
    name; the bands keep the names of the first. A number fills what is left, in all bands.
    """

    values: Image = image(doc="The image on top.")
    others: Images = images(doc="Images or numbers below it, the uppermost first.")
    bandwise = True
    pointwise = True
    function = True

    def profile(self, *inputs: Profile) -> Profile:
        """The bands of the first image, in the dtype that holds all.

        Raises
        ------
        BandError
            If images have different numbers of bands.
        """
        images = [one for one in inputs if one.constant is None] or list(inputs)
        first = images[0]
        for one in images[1:]:
            if one.bands != first.bands:
                raise BandError(
                    f"combine_first: images of {_counted(first)} and of {_counted(one)} cannot be combined.",
                    hint="Choose the same bands of each, as image.bands(…).",
                )
        look = first.look if all(one.look == first.look for one in inputs) else None
        return Profile(first.names, common_dtype(*inputs), unit=common_unit(*inputs), look=look)

    def kernel(self, values: Block, *others: Block, grid: Grid, dtype: np.dtype[Any]) -> Block:
        """Add what is missing, image by image, until nothing is."""
        found = _as(dtype, values)
        for below in others:
            if everywhere(found.valid):
                break
            found = _combined(found, _as(dtype, below))
        bands = max(one.bands for one in (values, *others))
        return Block(np.broadcast_to(found.data, (bands, *found.data.shape[1:])), found.valid)


def _counted(profile: Profile) -> str:
    names = ", ".join(profile.names[:5]) + (", …" if profile.bands > 5 else "")
    return f"{profile.bands} band{'s' * (profile.bands != 1)} ({names})"


def _as(dtype: np.dtype[Any], block: Block) -> Block:
    if block.data.dtype == dtype:
        return block
    return Block.of(block.data.astype(dtype), block.valid)  # a large float64 may not be finite in float32


def _combined(top: Block, below: Block) -> Block:
    """What is invalid in `top` is 0 there, so the bits of both can be joined.

    For 256² pixels of uint16 that takes 20 µs whatever the pattern; `numpy.copyto` takes 30 to 460.
    """
    bits = f"u{top.data.dtype.itemsize}"
    data = below.data.view(bits) * ~top.valid
    return Block((data | top.data.view(bits)).view(top.data.dtype), top.valid | below.valid)
