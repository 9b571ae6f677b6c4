"""Named ramps."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.colour import lut, ramp
from geoloom.errors import BandError, ParameterError
from geoloom.op import registry
from geoloom.ops.colormap import indices
from geoloom.paint import GREY_TO_INDEX
from geoloom.profile import Look, Profile


def test_indices_are_those_of_painting() -> None:
    assert np.array_equal(indices(np.arange(256, dtype="uint8")), GREY_TO_INDEX)


def test_first_and_last_colour(run, grey) -> None:
    image = np.ma.array([[0, 127, 128, 255, 9]], mask=[[0, 0, 0, 0, 1]], dtype="uint8")
    found = run("colormap", image, profiles=(grey,), ramp="viridis")
    assert found[0, 0].tolist() == [0, 127, 127, 254, None]


def test_look(profile, grey) -> None:
    look = profile("colormap", grey, ramp="RdYlGn").look
    assert look == Look("palette", ((-0.2, 1.0),), lut(ramp("rdylgn")), unit="1", name="ndvi")
    assert profile("colormap", grey, ramp="viridis_r").look.lut == lut(ramp("viridis"))[::-1]
    assert registry()["colormap"](ramp=" Viridis ") == registry()["colormap"](ramp="viridis")


def test_bytes_need_no_scale(profile) -> None:
    assert profile("colormap", "uint8", ramp="viridis").look.limits == ((0.0, 255.0),)


def test_bad_input(profile, grey, three) -> None:
    with pytest.raises(ParameterError, match=r"no colour ramp 'virids'.*viridis"):
        registry()["colormap"](ramp="virids")
    with pytest.raises(ParameterError, match="text"):
        registry()["colormap"](ramp=3)
    with pytest.raises(ParameterError, match=r"needs shades.*scale\(low, high\)"):
        profile("colormap", "float32", ramp="viridis")
    with pytest.raises(ParameterError, match=r"true and false.*palette\("):
        profile("colormap", "bool", ramp="viridis")
    with pytest.raises(BandError, match="red, green, blue"):
        profile("colormap", three, ramp="viridis")
    coloured = profile("colormap", grey, ramp="viridis")
    with pytest.raises(ParameterError, match="colours already"):
        profile("colormap", Profile(("a",), "uint8", look=coloured.look), ramp="viridis")
