"""What patterns make of names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from geoloom_engine.ingest.pattern import Pattern


def test_parts_of_a_name_become_scene_band_date_and_properties() -> None:
    found = Pattern("{tile}_{date:%Y%m%d}_{band}.tif").match("some/folder/T34_TFQ_20160713_B04.TIF")
    assert found is not None
    assert found.scene == "T34_TFQ_20160713"
    assert found.band == "B04"
    assert found.moment is not None
    assert found.moment.start == datetime(2016, 7, 13, tzinfo=UTC)
    assert found.properties == {"tile": "T34_TFQ"}


def test_files_of_other_bands_are_of_the_same_scene() -> None:
    pattern = Pattern("{tile}_{band}.tif")
    one, other = pattern.match("a/x_red.tif"), pattern.match("b/x_nir.tif")
    assert one is not None
    assert other is not None
    assert one.scene == other.scene


def test_folders_may_hold_the_date_in_pieces() -> None:
    found = Pattern("{date:%Y}/{date:%m}/{date:%d}/{tile}.tif").match("archive/2016/07/13/T1.tif")
    assert found is not None
    assert found.moment is not None
    assert found.moment.start == datetime(2016, 7, 13, tzinfo=UTC)


def test_a_date_and_a_time_are_one_moment() -> None:
    found = Pattern("{date:%Y%m%d}_{time:%H%M}_*.tif").match("20200301_1745_x.tif")
    assert found is not None
    assert found.moment is not None
    assert found.moment.start == datetime(2020, 3, 1, 17, 45, tzinfo=UTC)


def test_a_month_is_a_span() -> None:
    found = Pattern("sst_{date:%Y%m}.nc").match("sst_202002.nc")
    assert found is not None
    assert found.moment is not None
    assert found.moment.properties() == {
        "datetime": "2020-02-01T00:00:00Z",
        "start_datetime": "2020-02-01T00:00:00Z",
        "end_datetime": "2020-02-29T23:59:59Z",
    }


def test_numbers_ids_wildcards_and_properties_with_colons() -> None:
    found = Pattern("{eo:cloud_cover:d}/**/{id}_*.tif").match("20/a/b/S2A_0.tif")
    assert found is not None
    assert (found.scene, found.properties) == ("S2A", {"eo:cloud_cover": 20})


def test_a_part_named_twice_is_the_same_twice() -> None:
    pattern = Pattern("{tile}/{tile}_{band}.tif")
    assert pattern.match("T1/T1_red.tif") is not None
    assert pattern.match("T1/T2_red.tif") is None


@pytest.mark.parametrize(
    "name", ["T1_20160713.tif", "T1_2016071_B04.tif", "T1_20161313_B04.tif", "T1_20160713_B04.tiff"]
)
def test_other_names_are_not_of_the_pattern(name: str) -> None:
    assert Pattern("{tile}_{date:%Y%m%d}_{band}.tif").match(name) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("*.tif", "names no part"),
        ("{tile", "brace without its partner"),
        ("{}.tif", "is not {name}"),
        ("{date:%Q}.tif", "is none of"),
        ("{tile:%Y}.tif", "only {date:…}"),
        ("{band:d}.tif", "is no whole number"),
    ],
)
def test_a_wrong_pattern_says_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        Pattern(text)
