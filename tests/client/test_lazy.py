"""Lazy: each refusal names the way that works."""

from __future__ import annotations

import pytest

from geoloom.errors import ImageUseError
from geoloom.lazy import Lazy


@pytest.mark.parametrize(
    ("use", "hint"),
    [
        (bool, "image.mask(condition)"),
        (iter, "image.bands"),
        (len, "band_names"),
        (lambda lazy: 3 in lazy, "isin"),
        (float, "image.point"),
        (int, "image.point"),
        (lambda lazy: lazy.__array__(), "image.statistics"),
    ],
)
def test_refusals(use, hint):
    with pytest.raises(ImageUseError) as caught:
        use(Lazy())
    assert hint in (caught.value.hint or "")
