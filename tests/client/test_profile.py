from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geoloom.errors import BandError, ParameterError
from geoloom.profile import (
    Look,
    Profile,
    check_band_count,
    combined_names,
    common_dtype,
    dtype_of_number,
    float_dtype,
    integer_dtype,
    integer_range,
    is_float,
)


def image(dtype: str, bands: int = 1) -> Profile:
    return Profile(tuple(f"b{i + 1}" for i in range(bands)), dtype)


def number(value: int | float) -> Profile:
    return Profile(("constant",), dtype_of_number(value), constant=value)


def test_bands_by_name() -> None:
    profile = Profile(("B04", "B08"), "uint16")
    assert profile.bands == 2
    assert profile.index("B08") == 1
    with pytest.raises(BandError) as caught:
        profile.index("B05")
    assert str(caught.value) == "There is no band 'B05'. The bands are: B04, B08."


def test_picking_bands_drops_the_look_of_all() -> None:
    profile = Profile(("r", "g", "b"), "uint8", unit="1", look=Look("rgb"))
    assert profile.pick((0, 1, 2)) is profile
    picked = profile.pick((2, 0))
    assert (picked.names, picked.look, picked.unit) == (("b", "r"), None, "1")


def band(**changed: Any) -> dict[str, Any]:
    return {"name": "b1", "unit": None, "palette": None, "categories": (), **changed}


def test_the_profile_of_a_file() -> None:
    info = {"dtype": "uint16", "bands": [band(unit="m"), band(name="b2", unit="m")]}
    assert Profile.of_source(info) == Profile(("b1", "b2"), "uint16", unit="m")
    info["bands"][1]["unit"] = "ft"
    assert Profile.of_source(info).unit is None


def test_a_files_own_colours_are_its_look() -> None:
    table = ((0, 0, 0, 0), (0, 0, 255, 255), (0, 100, 0, 255))
    info = {
        "dtype": "uint8",
        "bands": [band(name="class", palette=table, categories=("", "water", "forest"))],
    }
    look = Profile.of_source(info).look
    assert look is not None
    assert look.kind == "palette"
    assert look.lut == ("#00000000", "#0000ffff", "#006400ff")
    assert look.labels == (("water", "#0000ffff"), ("forest", "#006400ff"))
    assert look.name == "class"


@pytest.mark.parametrize("change", [{"dtype": "uint16"}, {"bands": [band(palette=((0, 0, 0, 0),)), band()]}])
def test_no_look_where_values_cannot_be_indices(change: dict[str, Any]) -> None:
    info = {"dtype": "uint8", "bands": [band(palette=((0, 0, 0, 0),))], **change}
    assert Profile.of_source(info).look is None


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(0, "int32"), (-(2**31), "int32"), (2**31 - 1, "int32"), (2**31, "int64"), (-(2**63), "int64")],
)
def test_the_dtype_of_whole_numbers(value: int, dtype: str) -> None:
    assert dtype_of_number(value) == dtype


def test_the_dtype_of_other_numbers() -> None:
    assert np.dtype(dtype_of_number(0.5)).kind == "f"
    with pytest.raises(ParameterError, match="64 bits"):
        dtype_of_number(2**63)


@pytest.mark.parametrize(
    ("profiles", "dtype"),
    [
        ([image("uint8")], "uint8"),
        ([image("uint8"), image("uint16")], "uint16"),
        ([image("uint8"), image("int8")], "int16"),
        ([image("uint16"), image("int16")], "int32"),
        ([image("int32"), image("float32")], "float32"),
        ([image("float32"), image("float64")], "float64"),
        ([image("int64"), image("uint64")], "float64"),
        ([image("bool"), image("uint8")], "uint8"),
        ([image("bool"), image("bool")], "bool"),
        ([image("uint8"), number(0)], "uint8"),
        ([image("uint8"), number(255)], "uint8"),
        ([image("uint8"), number(256)], "uint16"),
        ([image("uint8"), number(-1)], "int16"),
        ([image("uint8"), number(0.5)], "float32"),
        ([image("float64"), number(0.5)], "float64"),
        ([image("float32"), number(3)], "float32"),
        ([image("bool"), number(0)], "bool"),
        ([image("bool"), number(2)], "uint8"),
        ([number(1), number(2)], "int32"),
    ],
)
def test_the_dtype_that_holds_all(profiles: list[Profile], dtype: str) -> None:
    assert common_dtype(*profiles) == dtype
    assert common_dtype(*reversed(profiles)) == dtype


@pytest.mark.parametrize(
    ("profiles", "dtype"),
    [
        ([image("uint8")], "float32"),
        ([image("float64"), image("uint8")], "float64"),
        ([image("float32"), number(0.5)], "float32"),
        ([image("int64"), number(2)], "float32"),
    ],
)
def test_quotients_are_float32_unless_an_image_is_float64(profiles: list[Profile], dtype: str) -> None:
    assert float_dtype(*profiles) == dtype
    assert is_float(*profiles) == any(one.dtype.startswith("float") for one in profiles)


def test_what_integers_can_hold() -> None:
    assert integer_range(image("uint8")) == (0, 255)
    assert integer_range(image("bool")) == (0, 1)
    assert integer_range(number(7)) == (7, 7)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 510, "int32"), (-(2**31), 2**31 - 1, "int32"), (0, 2**31, "int64"), (0, 2**63, "float64")],
)
def test_sums_never_wrap(low: int, high: int, dtype: str) -> None:
    assert integer_dtype(low, high) == dtype


def test_names_of_images_combined() -> None:
    one, three = Profile(("x",), "uint8"), Profile(("r", "g", "b"), "uint8")
    constant = Profile(("constant",), "int32", constant=1)
    assert combined_names("add", one, three) == ("r", "g", "b")
    assert combined_names("add", constant, one) == ("x",)
    assert combined_names("add", constant, constant) == ("constant",)
    with pytest.raises(BandError, match="add: images of 3 and 2 bands cannot be combined"):
        combined_names("add", three, three.pick((0, 1)))


def test_bands_are_counted() -> None:
    check_band_count("stack", 1000, 1000)
    with pytest.raises(BandError, match="stack would take or give 1,001 bands; at most 1,000"):
        check_band_count("stack", 1001, 1000)


def test_what_a_block_tells() -> None:
    assert Profile.of_block(np.zeros((2, 3, 4), np.uint8)) == Profile(("b1", "b2"), "uint8")
    assert Profile.of_block(np.full((1, 1, 1), 0.5)).constant == 0.5
