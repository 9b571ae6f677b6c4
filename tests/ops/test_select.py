"""Select: bands by name."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError, ParameterError
from geoloom.op import registry
from geoloom.profile import Profile


def test_bands_in_the_order_asked(run, three) -> None:
    image = np.arange(12, dtype="uint16").reshape(3, 2, 2)
    found = run("select", image, profiles=(three,), bands=("blue", "red"))
    assert np.array_equal(found, image[[2, 0]])


def test_profile(profile, three) -> None:
    assert profile("select", three, bands=("blue", "red")) == Profile(("blue", "red"), "uint16", unit="1")
    assert profile("select", three, bands=("red", "red")).names == ("red", "red_2")


def test_unknown_bands_are_answered_with_the_known(profile, three) -> None:
    with pytest.raises(BandError, match=r"no band 'nir'.*red, green, blue"):
        profile("select", three, bands=("nir",))


def test_bad_names() -> None:
    with pytest.raises(ParameterError, match="at least 1"):
        registry()["select"](bands=())
    with pytest.raises(ParameterError, match="a band's name"):
        registry()["select"](bands=(1,))


def test_a_look_survives_only_whole(profile, grey) -> None:
    assert profile("select", grey, bands=("ndvi",)).look == grey.look
    assert profile("select", Profile(("a", "b"), "uint8", look=grey.look), bands=("a",)).look is None
