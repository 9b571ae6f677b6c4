"""Images over the items of a selection: the placeholder of one item, and what makes one image of all."""

from __future__ import annotations

from difflib import get_close_matches
from typing import get_args

from geoloom import blobs
from geoloom.errors import BandError, ParameterError
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.composite import Composite, Method, Reduction
from geoloom.ops.coverage import Coverage
from geoloom.ops.item import Item
from geoloom.ops.quality import Quality
from geoloom.ops.stack import Stack
from geoloom.selection import Selection


def item(selection: Selection) -> Image:
    """The item of a selection that is being evaluated; stands for each of them in turn."""
    key = blobs.keep(selection.to_bytes())
    info = selection.info()
    return Image(Item(selection=key).chain(), Profile.of_source(info), {key: info})


def composite(
    each: Image, selection: Selection, method: str, start: str | None = None, end: str | None = None
) -> Image:
    """Many items as one image.

    Parameters
    ----------
    each
        What is computed of each item, from `item`.
    method
        ``first``, ``last``, ``min``, ``max``, ``mean``, ``median``, ``count`` or ``std``.
    start, end
        Only items from a moment on, and before another: UTC, as ``2016-07-01T00:00:00Z``.
    """
    if method not in (methods := get_args(Method)):
        near = get_close_matches(str(method), methods, n=1)
        raise ParameterError(
            f"{method!r} is no method of a composite.",
            hint=f"{f'Did you mean {near[0]!r}? ' if near else ''}There are {', '.join(methods)}.",
        )
    key = blobs.keep(selection.to_bytes())
    return _reduced(Composite(selection=key, how=method, start=start, end=end), each)


def quality(
    each: Image, score: Image, selection: Selection, start: str | None = None, end: str | None = None
) -> Image:
    """Of each pixel the item whose score, one band over `item`, is highest."""
    if len(score.band_names) != 1:
        raise BandError(
            f"quality(): the score has {len(score.band_names)} bands: {', '.join(score.band_names)}.",
            hint="Give a function that makes one band of an item, such as a vegetation index.",
        )
    key = blobs.keep(selection.to_bytes())
    best = Quality(selection=key, start=start, end=end, dtype=each.dtype)
    return _reduced(best, each.apply(Stack(), score))


def coverage(selection: Selection) -> Image:
    """How many footprints of a selection hold each pixel."""
    key = blobs.keep(selection.to_bytes())
    info = selection.info()
    painted = Coverage(selection=key)
    return Image(painted.chain(), painted.profile(), {key: info})


def _reduced(reduction: Reduction, each: Image) -> Image:
    return Image(reduction.chain(each=each.chain), reduction.described(each.profile), each.sources)
