from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import geoloom.colour as colour
from geoloom.profile import Look, Profile
from geoloom_engine.legend import legend, legend_png, number, ticks

NDVI = Profile(("ndvi",), "uint8", unit="1")
RAMP = Look("palette", ((-0.2, 1.0),), colour.lut(colour.ramp("ndvi")))
CLASSES = Look(
    "palette", (), ("#0000ffff", "#006400ff"), (("Water", "#0000ffff"), ("Forest", "#006400ff")), name="Cover"
)
LOOKS = [
    None,
    RAMP,
    CLASSES,
    Look("grey", ((0.0, 3000.0),), unit="m", name="Height"),
    Look("grey"),
    Look("rgb", ((0.0, 3000.0),) * 3),
    Look("rgb"),
    Look("rgba", opacity=0.4),
    Look("palette", ((5.0, 5.0),), ("#ff0000ff",)),
    Look("palette"),
]


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def test_a_ramp() -> None:
    got = legend(RAMP, NDVI)
    assert got["kind"] == "ramp"
    assert (got["name"], got["unit"], got["limits"]) == ("ndvi", "1", [[-0.2, 1.0]])
    assert got["colors"] == list(RAMP.lut)
    assert got["labels"] == []


def test_classes_and_what_the_look_says_itself() -> None:
    got = legend(CLASSES, NDVI)
    assert (got["kind"], got["name"]) == ("classes", "Cover")
    assert got["labels"] == [["Water", "#0000ffff"], ["Forest", "#006400ff"]]


def test_a_picture_whose_colours_mean_classes() -> None:
    drawn = Look("rgba", labels=(("wheat", "#ffd700ff"),), name="crop")
    got = legend(drawn, Profile(("red", "green", "blue", "alpha"), "uint8", look=drawn))
    assert (got["kind"], got["name"], got["labels"]) == ("classes", "crop", [["wheat", "#ffd700ff"]])


@pytest.mark.parametrize(
    ("look", "kind"),
    [(None, "none"), (Look("rgba"), "none"), (Look("rgb"), "rgb"), (Look("grey"), "grey"), (RAMP, "ramp")],
)
def test_kinds(look: Look | None, kind: str) -> None:
    assert legend(look, NDVI)["kind"] == kind
    assert legend(look)["kind"] == kind


def test_colours_of_grey_and_bands_of_rgb() -> None:
    assert legend(Look("grey"))["colors"] == ["#000000ff", "#ffffffff"]
    assert legend(Look("rgb"), Profile(("B04", "B03", "B02"), "uint8"))["bands"] == ["B04", "B03", "B02"]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("ratio", [1, 2])
def test_every_look_has_json_and_a_picture(look: Look | None, ratio: int) -> None:
    content = json.loads(json.dumps(legend(look, NDVI), allow_nan=False))
    picture = pixels(legend_png(content, ratio))
    assert picture.shape[1] == 260 * ratio
    assert 20 * ratio < picture.shape[0] < 200 * ratio
    assert picture[..., :3].min() < 150, "something is written"


def test_the_bar_shows_the_ramp() -> None:
    picture = pixels(legend_png(legend(RAMP, NDVI)))
    row = picture[10 + 18 + 7]
    assert np.abs(row[12].astype(int) - colour.components(RAMP.lut[2])).max() <= 3
    assert np.abs(row[130].astype(int) - colour.components(RAMP.lut[127])).max() <= 6


def test_many_classes_and_long_names_stay_in_bounds() -> None:
    labels = tuple((f"Class {n} " + "very long " * 20, "#336699ff") for n in range(200))
    picture = pixels(legend_png(legend(Look("palette", labels=labels))))
    assert picture.shape[0] < 1000
    assert (picture[:, -8:, :3] > 240).all()


@given(
    st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-9),
    st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-9),
)
def test_ticks_are_few_ordered_and_end_at_the_limits(low: float, high: float) -> None:
    got = ticks(low, high)
    assert got[0] == low
    assert len(got) <= 9
    if low != high:
        assert got[-1] == high
        assert got == sorted(got, reverse=low > high)


def test_ticks_are_round() -> None:
    assert ticks(0, 3000) == [0, 500, 1000, 1500, 2000, 2500, 3000]
    assert ticks(math.inf, 1) == [math.inf]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (3000.0, "3,000"), (-0.2, "-0.2"), (0.30000000000000004, "0.3"), (1234567.0, "1,235,000"),
     (1e-6, "1e-06"), (2.5e9, "2.5e+09"), (1 / 3, "0.3333"), (100.0, "100")],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
