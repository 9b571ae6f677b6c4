"""Image: operators and methods build chains; wrong use is refused with what to do."""

from __future__ import annotations

import inspect
import operator

import numpy as np
import pytest

from geoloom.chain import Chain
from geoloom.errors import BandError, ImageUseError, ParameterError
from geoloom.image import Image, build
from geoloom.op import Profile, decode, registry
from geoloom.ops.constant import Constant
from geoloom.ops.open import Open

INFO = {
    "crs": "EPSG:32633",
    "resolution": [10.0, 10.0],
    "ground_resolution": 10.0,
    "bounds": [14.0, 49.0, 15.0, 50.0],
}


@pytest.fixture
def image() -> Image:
    profile = Profile(("B02", "B03", "B04"), "uint16")
    return Image(Open(href="/data/scene.tif").chain(), profile, {"/data/scene.tif": INFO})


def ops(image: Image) -> list[str]:
    return [node.op for node in image.chain.topological()]


def test_bands_by_name_number_list_and_slice(image):
    assert image["B03"].band_names == ("B03",)
    assert image[1].equals(image["B03"])
    assert image[-1].equals(image["B04"])
    assert image[["B04", "B02"]].band_names == ("B04", "B02")
    assert image["B04", "B02"].equals(image.bands("B04", "B02"))
    assert image[1:].band_names == ("B03", "B04")


@pytest.mark.parametrize("name", ["B99", 3, -4, 1.5, None, True])
def test_an_unknown_band_names_those_that_exist(image, name):
    with pytest.raises(BandError) as caught:
        image[name]
    if not isinstance(name, float | bool | None):
        assert "B02, B03, B04" in str(caught.value)


def test_algebra_builds_the_chain_and_shares_its_parts(image):
    red, nir = image["B04"], image["B03"]
    ndvi = (nir - red) / (nir + red)
    assert ops(ndvi).count("open") == 1
    assert ops(ndvi).count("select") == 2
    assert ndvi.dtype == "float32"
    again = (image["B03"] - image["B04"]) / (image["B03"] + image["B04"])
    assert ndvi.equals(again)
    assert ndvi.key == again.key
    assert hash(ndvi) == hash(again)


@pytest.mark.parametrize(
    "symbol",
    [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod],
)
def test_numbers_stand_on_either_side(image, symbol):
    left, right = symbol(image, 3), symbol(3, image)
    constant = Constant(value=3).chain()
    assert left.chain.node.inputs == (image.key, constant.root)
    assert right.chain.node.inputs == (constant.root, image.key)
    assert symbol(image, np.int16(3)).equals(left)


def test_comparisons_and_logic(image):
    red = image["B04"]
    chosen = (red > 100) & ~(red == 7) | (100 >= red)
    assert chosen.dtype == "bool"
    assert (100 < red).equals(red > 100)


def test_numpy_functions_build_ops(image):
    red = image["B04"]
    assert np.sqrt(red).equals(red.sqrt())
    assert np.add(red, 1).equals(red + 1)
    assert (np.float32(2.5) * red).chain.node.op == "multiply"
    assert (np.int64(2) * red).equals(2 * red)
    assert np.where(red > 5, red, 0).chain.node.op == "where"
    assert np.round(red, 1).equals(red.round(1))


@pytest.mark.parametrize(
    "use",
    [
        lambda image: np.percentile(image, 50),
        lambda image: np.mean(image),
        lambda image: np.add.reduce(image),
        lambda image: np.frexp(image),
        lambda image: np.asarray(image),
        lambda image: np.sqrt(image, out=np.zeros(3)),
        lambda image: bool(image),
        lambda image: 1 if image > 3 else 2,
        list,
        len,
        float,
        int,
        lambda image: 3 in image,
        lambda image: image + np.zeros((3, 3)),
        lambda image: image == "water",
        lambda image: image + "1",
    ],
)
def test_wrong_use_says_what_to_do(image, use):
    with pytest.raises(ImageUseError) as caught:
        use(image)
    assert len(str(caught.value)) > 20


def test_comparison_with_none_is_pythons(image):
    assert (image == None) is False  # noqa: E711
    assert (image != None) is True  # noqa: E711


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70])
def test_numbers_that_no_chain_can_hold(image, value):
    with pytest.raises(ParameterError):
        image + value


def test_bands_that_do_not_fit(image):
    with pytest.raises(BandError, match="3 and 2"):
        image + image[:2]
    with pytest.raises(BandError, match=r"one band.*B02"):
        image.slope()


def test_calls_that_do_not_fit_show_the_signature(image):
    with pytest.raises(ParameterError, match=r"slope\(.*z_factor"):
        image["B02"].slope(1, 2, 3)
    with pytest.raises(ParameterError):
        image["B02"].slope(z_fctor=2)


def test_every_method_is_a_class_attribute_with_signature_and_text():
    for name, cls in registry().items():
        if cls.method and cls.inputs:
            method = inspect.getattr_static(Image, name)
            assert inspect.signature(method) is not None
            assert method.__doc__


def test_every_node_decodes_to_what_was_built(image):
    styled = image["B04"].scale(0, 3000).colormap("viridis")
    for node in Chain.from_json(styled.to_json()).topological():
        decode(node)


def test_representations_ask_nobody(image):
    ndvi = image.normalized_difference("B04", "B03")
    assert "normalized_difference" in ndvi._repr_html_()
    assert ndvi.key[:8] in repr(ndvi)
    assert ndvi.key in ndvi._repr_html_()
    assert "<script>" not in image.bands("B02").rename("<script>")._repr_html_()
    assert "slope" in dir(ndvi)
    assert ndvi.bounds == (14.0, 49.0, 15.0, 50.0)
    assert ndvi.crs == "EPSG:32633"


def test_bounds_across_the_antimeridian():
    boxes = {
        "a": {**INFO, "bounds": [170.0, -20.0, 180.0, -10.0]},
        "b": {**INFO, "bounds": [179.0, -20.0, -175.0, -10.0]},
    }
    image = Image(Open(href="/a").chain(), Profile(("b1",), "uint8"), boxes)
    assert image.bounds == (170.0, -20.0, -175.0, -10.0)


def test_build_needs_fitting_inputs(image):
    with pytest.raises(ImageUseError):
        build(registry()["add"](), image, object())


def test_a_point_with_its_numbers_swapped_is_pointed_out(image, monkeypatch):
    class FakeEngine:
        def register(self, chain):
            pass

        def point(self, key, lon, lat, zoom):
            return {"values": {"B02": None if lon > 40 else 3}}

    monkeypatch.setattr("geoloom.image.connected", FakeEngine)
    with pytest.warns(UserWarning, match=r"point\(lon=14.5, lat=49.5\)"):
        image.point(49.5, 14.5)
    assert image.point(14.5, 49.5) == {"B02": 3}


def test_what_is_saved_can_be_given_up(image, monkeypatch):
    asked = []

    class FakeEngine:
        def register(self, chain):
            asked.append(("register", chain.root))

        def save(self, key, saved=True):
            asked.append((saved, key))

    monkeypatch.setattr("geoloom.image.connected", FakeEngine)
    assert image.save() == image.key
    image.unsave()
    assert asked == [("register", image.key), (True, image.key), (False, image.key)]
