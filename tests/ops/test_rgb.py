"""Bands shown as red, green and blue."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError
from geoloom.profile import Profile

SCENE = ("B02", "B03", "B04", "B08")
TRUE_COLOUR = {"red": "B04", "green": "B03", "blue": "B02"}


def test_three_bands_in_order(run) -> None:
    image = np.arange(16, dtype="uint16").reshape(4, 2, 2)
    found = run("rgb", image, profiles=(Profile(SCENE, "uint16"),), **TRUE_COLOUR)
    assert np.array_equal(found, image[[2, 1, 0]])


def test_look_only_of_bytes(profile) -> None:
    found = profile("rgb", Profile(SCENE, "uint16"), **TRUE_COLOUR)
    assert (found.names, found.dtype, found.look) == (("B04", "B03", "B02"), "uint16", None)
    look = profile("rgb", Profile(SCENE, "uint8"), **TRUE_COLOUR).look
    assert (look.kind, look.limits) == ("rgb", ((0.0, 255.0),) * 3)


def test_a_band_may_serve_twice(profile) -> None:
    assert profile("rgb", Profile(("vv", "vh"), "uint8"), red="vv", green="vh", blue="vv").names == (
        "vv",
        "vh",
        "vv_2",
    )


def test_unknown_band(profile) -> None:
    with pytest.raises(BandError, match=r"no band 'B11'.*B02, B03, B04, B08"):
        profile("rgb", Profile(SCENE, "uint8"), red="B11", green="B03", blue="B02")
