"""What a lazy object refuses, and what to do instead."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from geoloom.errors import BandError, ImageUseError
from geoloom.profile import Profile

NO_NUMBERS = "Show it on a map, or ask for numbers: image.point(lon, lat), image.statistics()."
REDUCTIONS = frozenset({"mean", "min", "max", "std", "var", "median", "sum", "any", "all", "values", "shape"})
"""What an array has and an image cannot have."""


class Lazy:
    """Base of `Image`: refuses to be used as if it were numbers."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            message = f"{type(self).__name__!r} object has no attribute {name!r}."
            raise AttributeError(f"{message} {self._advice(name)}".rstrip())

    def _advice(self, name: str) -> str:
        """What somebody who asked for an unknown attribute may have meant."""
        if name.startswith("_"):
            return ""
        if name in REDUCTIONS:
            return NO_NUMBERS
        known = [one for one in dir(type(self)) if not one.startswith("_")]
        if name in (bands := getattr(self, "band_names", ())):
            return f"Bands are image[{name!r}]."
        near = get_close_matches(name, [*known, *bands], n=1)
        if not near:
            return ""
        return f"Did you mean image[{near[0]!r}]?" if near[0] in bands else f"Did you mean {near[0]}?"

    def __bool__(self) -> bool:
        raise ImageUseError(
            "An image is neither true nor false: its pixels are not computed yet.",
            hint="Combine conditions with & | ~, choose pixels with image.mask(condition) or gl.where(…).",
        )

    def __iter__(self) -> Any:
        raise ImageUseError(
            "An image cannot be iterated.", hint="Bands are image[0], image['name'] or image.bands(…)."
        )

    def __len__(self) -> int:
        raise ImageUseError("An image has no length.", hint="The number of bands is len(image.band_names).")

    def __contains__(self, item: object) -> bool:
        raise ImageUseError("An image cannot be searched.", hint="Compare pixels: image.isin(3, 8).")

    def __float__(self) -> float:
        raise ImageUseError("An image is not one number.", hint=NO_NUMBERS)

    def __int__(self) -> int:
        raise ImageUseError("An image is not one number.", hint=NO_NUMBERS)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ImageUseError("An image holds no pixels until a map asks for them.", hint=NO_NUMBERS)


def band_name(profile: Profile, which: Any) -> str:
    """A band's name, from its name or number (from 0, negative from the end); raises BandError."""
    if isinstance(which, str):
        return profile.names[profile.index(which)]
    if hasattr(which, "__index__") and not isinstance(which, bool | Lazy):
        number: int = which.__index__()
        if -profile.bands <= number < profile.bands:
            return profile.names[number]
        raise BandError(
            f"There is no band number {number}.",
            hint=f"The {profile.bands} bands are: {', '.join(profile.names)}; numbers count from 0.",
        )
    raise BandError(f"A band is named by text or number, not by {type(which).__name__}.")


def no_image(op_name: str, value: Any) -> ImageUseError:
    """Why an op cannot take a value."""
    shown = type(value).__name__
    return ImageUseError(
        f"{op_name} combines images and numbers, not {shown}.",
        hint="Arrays have no place on Earth; make them a GeoTIFF and gl.open it."
        if shown in ("ndarray", "DataArray")
        else None,
    )
