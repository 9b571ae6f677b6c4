from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
import shapely

from geoloom import blobs
from geoloom.errors import (
    BandError,
    EngineUnreachable,
    ImageUseError,
    ParameterError,
    RequestError,
    SourceNotFound,
)
from geoloom.image import Image
from geoloom.lazy_collection import Collection
from geoloom.query import Query

BOX = (23.5, 44.2, 23.8, 44.6)


@pytest.fixture
def s2(paper_catalogue: Any) -> Collection:
    """All scenes of ``local/s2``."""
    return Collection(Query("local/s2"))


def test_filters_ask_nothing(s2: Collection, paper_catalogue: Any) -> None:
    paper_catalogue.failure = EngineUnreachable("No engine.")
    narrowed = (
        s2.filter_rect(*BOX)
        .filter_geometry(shapely.box(*BOX), buffer_km=2)
        .filter_location(23.6, 44.4, buffer_km=5)
        .filter_date("2016-06-01", "2016-09-30")
        .filter_date(month=[6, "July"])
        .filter("eo:cloud_cover", "<", 20)
        .ids("s2-06", "s2-07")
        .sort("eo:cloud_cover")
        .nearest("2016-07-13")
        .limit(10)
        .map(lambda img: img["red"])
        .select("red")
    )
    for one in (s2, narrowed):
        assert repr(one)
        assert one._repr_html_()
        assert str(one)
        assert dir(one)
    assert paper_catalogue.questions == []


def test_a_query_says_what_was_asked(s2: Collection) -> None:
    query = (
        s2.filter_rect(*BOX)
        .filter_date("2016-07-13")
        .filter_date("2016-06-01", "2016-09-30")
        .filter_date(month=range(6, 10))
        .filter_date(month="July")
        .filter("eo:cloud_cover", "<", 20)
        .filter("platform", "in", {"b", "a"})
        .ids(["a", "b"], "c")
        .ids("c", "a")
        .sort("id")
        .sort("eo:cloud_cover", descending=True)
        .sort("date")
        .nearest("2016-07-13T10:00Z")
        .limit(20)
        .limit(10)
        .limit(30)
        .query
    )
    assert query.to_json() == {
        "collection": "local/s2",
        "areas": [shapely_json(shapely.box(*BOX))],
        "dates": [
            ["2016-07-13T00:00:00Z", "2016-07-14T00:00:00Z"],
            ["2016-06-01T00:00:00Z", "2016-10-01T00:00:00Z"],
        ],
        "months": [7],
        "where": [["eo:cloud_cover", "<", 20], ["platform", "in", ["a", "b"]]],
        "ids": ["c", "a"],
        "sort": [["datetime", "asc"], ["eo:cloud_cover", "desc"], ["id", "asc"]],
        "near": "2016-07-13T10:00:00Z",
        "limit": 10,
    }
    assert s2.query == Query("local/s2")


def shapely_json(geometry: Any) -> Any:
    return json.loads(json.dumps(shapely.geometry.mapping(geometry)))


def test_words(s2: Collection) -> None:
    narrowed = s2.filter_rect(*BOX).filter_date("2016-07").filter("eo:cloud_cover", "<", 20.0).limit(3)
    assert repr(narrowed.map(lambda img: img)) == (
        "<Collection local/s2: in the box 23.5, 44.2, 23.8, 44.6; in 2016-07; eo:cloud_cover < 20; "
        "newest first; no more than 3; through a function>"
    )
    html = narrowed._repr_html_()
    assert "eo:cloud_cover &lt; 20" in html
    assert "collection.count()" in html
    assert s2.filter_location(23.6, 44.4, 5).filters() == ("within 5 km of 23.6, 44.4",)
    assert s2.filter_geometry(shapely.Point(23.6, 44.4)).filters() == (
        "meeting a point in the box 23.6, 44.4, 23.6, 44.4",
    )


def test_counts(s2: Collection, paper_catalogue: Any) -> None:
    assert len(s2) == s2.count() == 6
    assert s2.filter_date("2016-07", "2016-08").count() == 2
    assert s2.filter("eo:cloud_cover", "<=", 20).limit(2).count() == 2


def test_one_resolution_serves_all_images(s2: Collection, paper_catalogue: Any) -> None:
    summer = s2.filter_date(month=[6, 7, 8])
    mosaic = summer.mosaic()
    assert isinstance(mosaic, Image)
    assert mosaic.band_names == ("red", "nir", "scl")
    images = [
        summer.mosaic(),
        summer.bands("red", "nir"),
        summer.map(lambda img: img.mask(img["scl"] == 4)).median(),
        summer.quality("nir"),
        summer.coverage(),
        summer.select("red").composite("count"),
    ]
    assert summer.count() == 3
    assert images[0].equals(mosaic)
    assert len({one.key for one in images}) == len(images)
    assert paper_catalogue.asked() == 1
    key = summer.selection().key
    assert all(key in blobs.needed(one.chain) for one in images)
    assert blobs.kept(key) == summer.selection().to_bytes()
    assert "3" in summer._repr_html_()


def test_each_item_goes_through_one_small_chain(s2: Collection) -> None:
    def clear(img: Image) -> Image:
        return img.mask(~img["scl"].isin(3, 8))

    few, many = (s2.limit(n).map(clear).map(lambda img: img["red"]).median() for n in (1, 6))
    assert many.band_names == ("red",)
    assert len(few.chain.nodes) == len(many.chain.nodes)
    assert any(node.each for node in many.chain.nodes.values())


def test_statistics_of_all_items(s2: Collection) -> None:
    for method in ("min", "max", "mean", "median", "std"):
        assert getattr(s2, method)().equals(s2.composite(method))
    assert s2.composite("count").unit == "1"
    with pytest.raises(ParameterError, match="first"):
        s2.composite("mode")


def test_quality_takes_a_band_or_a_function(s2: Collection) -> None:
    ndvi = s2.quality(lambda img: img.normalized_difference("nir", "red"))
    assert ndvi.band_names == ("red", "nir", "scl")
    assert s2.quality("nir").equals(s2.quality(lambda img: img["nir"]))
    with pytest.raises(ParameterError, match="quality takes a function"):
        s2.quality(3)  # type: ignore[arg-type]


def test_the_first_item(s2: Collection, paper_catalogue: Any) -> None:
    first = s2.sort("datetime").first()
    assert isinstance(first, Image)
    assert paper_catalogue.questions[-1][1]["query"]["limit"] == 1
    frozen = Collection.of(s2.selection())
    assert frozen.first().equals(Collection(Query("local/s2", limit=1)).mosaic())


def test_a_collection_stands_for_its_mosaic(s2: Collection) -> None:
    other = s2.limit(2).mosaic()
    assert other.combine_first(s2).equals(other.combine_first(s2.mosaic()))


def test_errors_in_a_function_are_raised_at_its_line(s2: Collection) -> None:
    broken = s2.map(lambda img: img["red"]).map(
        lambda img: img["nir"],  # this line
    )
    with pytest.raises(BandError) as caught:
        broken.mosaic()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert any("this line" in (frame.line or "") for frame in frames)
    assert "given to map(); it got the image of an item, with bands red" in caught.value.__notes__[0]


@pytest.mark.parametrize(("made", "said"), [(None, "NoneType instead of an image"), (3, "int instead")])
def test_a_function_returns_an_image(s2: Collection, made: Any, said: str) -> None:
    with pytest.raises(ImageUseError, match=said):
        s2.map(lambda img: made).mosaic()


@pytest.mark.parametrize("f", [None, 3, "median"])
def test_map_takes_a_function(s2: Collection, f: Any) -> None:
    with pytest.raises(ParameterError, match="map takes a function"):
        s2.map(f)


def test_map_does_not_take_an_image(s2: Collection) -> None:
    with pytest.raises(ParameterError, match="not Image"):
        s2.map(s2.mosaic())  # type: ignore[arg-type]


def test_a_selection_becomes_a_collection_again(s2: Collection, paper_catalogue: Any) -> None:
    selection = s2.filter_date("2016-07").selection()
    assert selection.ids == ("s2-07",)
    asked = paper_catalogue.asked()
    frozen = Collection.of(selection)
    assert frozen.count() == 1
    assert frozen.mosaic().equals(s2.filter_date("2016-07").mosaic())
    assert frozen.map(lambda img: img["red"]).median().band_names == ("red",)
    assert paper_catalogue.asked() == asked + 1
    with pytest.raises(RequestError, match="fixed"):
        frozen.limit(1)
    with pytest.raises(ParameterError, match="no properties"):
        frozen.to_dataframe()


def test_footprints(s2: Collection) -> None:
    told = s2.filter_date("2016-07").footprints()
    assert told["type"] == "FeatureCollection"
    (feature,) = told["features"]
    assert feature["properties"] == {"id": "s2-07", "date": "2016-07-13T09:30:00.000Z"}
    assert shapely.geometry.shape(feature["geometry"]).equals(shapely.box(23, 44, 24, 45))
    assert json.dumps(told)


def test_series_and_animation(s2: Collection) -> None:
    frames = s2.filter_date(month=[6, 7]).animate(lambda img: img["red"], by="month")
    assert len(frames) == 2
    assert frames.band_names == ("red",)
    with pytest.raises(ParameterError, match="series takes a function"):
        s2.series(23.6, 44.4, "red")  # type: ignore[arg-type]


def test_what_it_is_not(s2: Collection) -> None:
    with pytest.raises(ImageUseError, match="cannot be iterated"):
        list(s2)
    with pytest.raises(ImageUseError, match=r"collection.bands"):
        s2["red"]
    with pytest.raises(AttributeError, match=r"collection.mosaic\(\).rgb"):
        s2.rgb("red", "nir", "scl")
    with pytest.raises(AttributeError, match="Did you mean filter_date"):
        s2.filter_dates("2016")
    assert not hasattr(s2, "__array__")


def test_what_a_map_asks(s2: Collection, new_map: Any) -> None:
    assert tuple(s2.bounds) == (23, 44, 24, 45)
    assert s2.picture.equals(s2.mosaic())
    m = new_map()
    m.add_layer(s2.limit(2), name="s2", vmin=0, vmax=1)
    assert m.layer("s2").image.chain.nodes.keys() >= s2.limit(2).mosaic().chain.nodes.keys()
    m.fit(s2)
    assert 44 < m.center[0] < 45


def test_a_snippet_needs_an_entry(s2: Collection) -> None:
    with pytest.raises(ParameterError, match=r"gl.collection\('local/s2'\).snippet"):
        s2.snippet()


def test_nothing_left_is_an_error_of_images_alone(s2: Collection) -> None:
    none = s2.filter_date("2017")
    assert none.count() == 0
    assert len(none.to_dataframe()) == 0
    for ask in (none.mosaic, none.selection, none.first, none.footprints, none.coverage):
        with pytest.raises(SourceNotFound, match="is left"):
            ask()
