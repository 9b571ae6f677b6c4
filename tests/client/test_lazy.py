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


class Banded(Lazy):
    """Something lazy with bands and a method."""

    band_names = ("B4", "nir")

    def slope(self):
        """As of an op."""


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("slop", "Did you mean slope?"),
        ("nirr", "Did you mean image['nir']?"),
        ("B4", "Bands are image['B4']."),
        ("mean", "image.statistics"),
        ("shape", "image.point"),
        ("quite_unlike_all", "attribute 'quite_unlike_all'."),
        ("_private", "attribute '_private'."),
    ],
)
def test_unknown_attributes_say_what_may_have_been_meant(name, advice):
    with pytest.raises(AttributeError) as caught:
        getattr(Banded(), name)
    assert str(caught.value).startswith(f"'Banded' object has no attribute {name!r}.")
    assert advice in str(caught.value)
