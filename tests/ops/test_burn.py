"""Features burnt into pixels: where they come from, and what the pixels can be."""

from __future__ import annotations

import pytest

from geoloom.errors import ParameterError
from geoloom.op import registry

FILE = "/data/parcels.gpkg"


def burn(**params: object) -> object:
    return registry()["burn"](**params)


def test_the_band_is_named_after_what_is_burnt(profile) -> None:
    plain = profile("burn", href=FILE)
    assert (plain.names, plain.dtype) == (("burn",), "uint8")
    crops = profile("burn", blob="0" * 32, attribute="yield", dtype="float32")
    assert (crops.names, crops.dtype) == (("yield",), "float32")


def test_an_engine_paints_it() -> None:
    cls = registry()["burn"]
    assert cls.painted
    assert not cls.inputs
    assert not cls.method


@pytest.mark.parametrize("given", [{}, {"href": FILE, "blob": "0" * 32}])
def test_features_come_from_one_place(given: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match=r"burn\(\) takes either href or blob"):
        burn(**given)


@pytest.mark.parametrize("where", ["", "   ", "a" * 10_001])
def test_a_condition_says_something(where: str) -> None:
    with pytest.raises(ParameterError, match="empty or longer than 10,000"):
        burn(href=FILE, where=where)


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 256), ("uint8", -1), ("uint8", 0.5), ("bool", 2), ("float32", 1e39)]
)
def test_the_dtype_holds_the_value(dtype: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"is no {dtype}"):
        burn(href=FILE, dtype=dtype, value=value)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 255), ("bool", 0), ("float32", 0.1), ("int16", -4)])
def test_a_value_that_fits(dtype: str, value: float) -> None:
    assert burn(href=FILE, dtype=dtype, value=value).value == value


def test_dtypes_are_an_images() -> None:
    with pytest.raises(ParameterError, match="'text' is not the dtype of an image"):
        burn(href=FILE, dtype="text")


def test_a_step_of_a_chain_can_be_read() -> None:
    assert repr(burn(href=FILE, where="area > 2", table="0" * 32)) == "burn(parcels.gpkg, where='area > 2')"
    assert repr(burn(blob="0" * 32, value=3)) == "burn(features, value=3.0)"
    assert repr(registry()["draw"](href=FILE)) == "draw(parcels.gpkg)"
