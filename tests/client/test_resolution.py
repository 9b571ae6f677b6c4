from __future__ import annotations

from typing import Any

import pytest

from geoloom.errors import ParameterError, SourceNotFound, SourceUnreadable
from geoloom.lazy_collection import Collection
from geoloom.query import Query


@pytest.fixture
def s2(paper_catalogue: Any) -> Collection:
    """All scenes of ``local/s2``."""
    return Collection(Query("local/s2"))


def why(narrowed: Collection) -> str:
    with pytest.raises(SourceNotFound) as caught:
        narrowed.mosaic()
    return str(caught.value)


def test_the_filter_that_leaves_nothing_is_named(s2: Collection) -> None:
    said = why(s2.filter_rect(23, 44, 24, 45).filter_date("2017").filter("eo:cloud_cover", "<", 20))
    assert said.startswith("No item of local/s2 is left of 6: in the box 23, 44, 24, 45; in 2017; ")
    assert "Without “in 2017” there would be 2." in said
    assert "without “eo:cloud_cover" not in said
    assert "Its items are from 2016-04-13 to 2016-09-13, within 23, 44, 24, 45." in said


def test_two_filters_that_exclude_each_other_are_both_named(s2: Collection) -> None:
    said = why(s2.filter_date("2016-07").filter_date(month=8))
    assert "Without “in 2016-07” there would be 1; without “in August of any year” there would be 1." in said


def test_several_filters_that_leave_nothing_each(s2: Collection) -> None:
    said = why(s2.filter_date("2017").filter("eo:cloud_cover", "<", -1))
    assert "“in 2017” leaves none" in said


def test_exchanged_coordinates_are_recognised(s2: Collection) -> None:
    said = why(s2.filter_rect(44.2, 23.5, 44.6, 23.8).filter_date("2016-07"))
    assert said.startswith("No item of local/s2 lies in the box 44.2, 23.5")
    assert "longitude comes first" in said


def test_a_collection_without_items(s2: Collection, paper_catalogue: Any) -> None:
    paper_catalogue.items = []
    # The command takes an id without its catalogue.
    assert "geoloom ingest … --collection s2 adds some" in why(s2.filter_date("2017"))


def test_few_questions_are_asked(s2: Collection, paper_catalogue: Any) -> None:
    narrowed = s2.filter_date("2017")
    for cloud in range(40):
        narrowed = narrowed.filter("eo:cloud_cover", "<", cloud + 1)
    why(narrowed)
    assert paper_catalogue.asked() < 80


def test_a_table_of_items(s2: Collection, paper_catalogue: Any) -> None:
    table = s2.to_dataframe()
    assert list(table.columns) == ["id", "date", "eo:cloud_cover", "geometry"]
    assert list(table["eo:cloud_cover"]) == [0, 10, 20, 30, 40, 50]
    assert str(table["date"].dt.tz) == "UTC"
    assert table["geometry"][0].bounds == (23, 44, 24, 45)
    paper_catalogue.items = [{**paper_catalogue.items[0], "id": str(n)} for n in range(1200)]
    with pytest.warns(UserWarning, match=r"first 1,000 of 1,200"):
        assert len(s2.to_dataframe()) == 1000


def test_a_frozen_collection_asks_nothing(s2: Collection, paper_catalogue: Any) -> None:
    frozen = Collection.of(s2.selection())
    paper_catalogue.questions.clear()
    assert len(frozen) == 6
    assert frozen.mosaic().band_names == ("red", "nir", "scl")
    assert paper_catalogue.questions == []
    with pytest.raises(ParameterError, match="no properties"):
        frozen.to_dataframe()


def test_items_that_cannot_be_used_are_named(s2: Collection, paper_catalogue: Any) -> None:
    paper_catalogue.unusable = ["s2-06"]
    with pytest.warns(UserWarning, match="Item 's2-06' is left out"):
        assert len(s2.selection()) == 5
    with pytest.raises(SourceUnreadable, match="Item 's2-06' is left out"):
        s2.ids("s2-06").mosaic()
