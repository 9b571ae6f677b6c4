"""Images over the items of a selection are small chains that name it."""

from __future__ import annotations

import json

import pytest
import shapely

from geoloom import blobs
from geoloom.chain import Chain
from geoloom.errors import BandError, ParameterError
from geoloom.per_item import composite, coverage, item, quality
from geoloom.selection import Asset, Item, SelectedBand, Selection


@pytest.fixture(scope="module")
def selection() -> Selection:
    bands = [SelectedBand("B04", "uint16"), SelectedBand("SCL", "uint8", resampling="nearest")]
    return Selection.of(
        "s2",
        bands,
        [
            Item(
                f"S2_{i}",
                i * 86400.0,
                shapely.box(10, 45, 11, 46),
                (Asset(f"/d/{i}.tif", ((0, 0), (1, 1))),),
                10,
            )
            for i in range(500)
        ],
    )


def test_the_chain_is_small_whatever_the_number_of_scenes(selection: Selection) -> None:
    each = item(selection)
    image = composite(each.mask(~each["SCL"].isin(3, 8))["B04"], selection, "median")
    assert image.band_names == ("B04",)
    assert image.dtype == "float32"
    assert len(image.chain.to_json()) < 2500
    assert blobs.needed(image.chain) == (selection.key,)
    assert blobs.known(selection.key) == selection.to_bytes()
    assert image.bounds is not None
    assert [round(edge, 3) for edge in image.bounds] == [10, 45, 11, 46]


def test_it_travels_with_its_items(selection: Selection) -> None:
    image = composite(item(selection), selection, "first")
    told = json.loads(blobs.to_json(image.chain, lambda key: b""))
    assert set(told["blobs"]) == {selection.key}
    assert blobs.from_json(json.dumps(told)) == image.chain
    assert Chain.from_json(image.chain.to_json()) == image.chain


def test_equal_selections_give_equal_keys(selection: Selection) -> None:
    again = Selection.from_bytes(selection.to_bytes())
    assert composite(item(again), again, "max").key == composite(item(selection), selection, "max").key
    assert composite(item(again), again, "min").key != composite(item(selection), selection, "max").key


def test_a_wrong_method_is_named_as_it_was_given(selection: Selection) -> None:
    with pytest.raises(ParameterError, match=r"'medain' is no method .* Did you mean 'median'"):
        composite(item(selection), selection, "medain")
    with pytest.raises(ParameterError, match=r"^3 is no method of a composite\. There are first, last"):
        composite(item(selection), selection, 3)  # type: ignore[arg-type]


def test_bands_of_a_collection_are_named(selection: Selection) -> None:
    with pytest.raises(BandError, match="B04, SCL"):
        item(selection)["B08"]


def test_quality_keeps_the_dtype_of_the_bands(selection: Selection) -> None:
    each = item(selection)
    assert quality(each, each["B04"] / 2, selection).dtype == "uint16"


def test_coverage_needs_no_item(selection: Selection) -> None:
    assert coverage(selection).band_names == ("coverage",)
    assert len(coverage(selection).chain.nodes) == 1
