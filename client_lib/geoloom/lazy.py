"""What a lazy object refuses, and what to do instead."""

from __future__ import annotations

from typing import Any

from geoloom.errors import ImageUseError

NO_NUMBERS = "Show it on a map, or ask for numbers: image.point(lon, lat), image.statistics()."


class Lazy:
    """Base of `Image`: refuses to be used as if it were numbers."""

    __slots__ = ()

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
