"""What names of files say by themselves."""

from __future__ import annotations

import pytest

from geoloom_engine.ingest.dates import find
from geoloom_engine.ingest.naming import guess, scene_name


@pytest.mark.parametrize(
    ("path", "scene", "band", "date"),
    [
        (
            "S2A_MSIL2A_20160713T093042_N0204_R136_T34TFQ/R10m/T34TFQ_20160713T093042_B04_10m.tif",
            "T34TFQ_20160713T093042",
            "B04",
            "2016-07-13T09:30:42Z",
        ),
        (
            "LC08_L2SP_183029_20160713_20200906_02_T1_SR_B4.TIF",
            "LC08_L2SP_183029_20160713_20200906_02_T1",
            "SR_B4",
            "2016-07-13T00:00:00Z",
        ),
        (
            "34/T/FQ/2016/7/S2A_34TFQ_20160713_0_L2A/B04.tif",
            "S2A_34TFQ_20160713_0_L2A",
            "B04",
            "2016-07-13T00:00:00Z",
        ),
        (
            "s1a-iw-grd-vv-20160713t044500-20160713t044525-012.tif",
            "s1a-iw-grd-20160713t044500-20160713t044525-012",
            "vv",
            "2016-07-13T04:45:00Z",
        ),
        ("MOD13.A2016195.h19v04.tif", "MOD13.A2016195.h19v04", None, "2016-07-13T00:00:00Z"),
        ("lc/corine_2018.tif", "corine_2018", None, "2018-01-01T00:00:00Z"),
        ("archive/2016/07/13/scene.tif", "scene", None, "2016-07-13T00:00:00Z"),
        ("dem.tif", "dem", None, None),
        ("tile_2000m.tif", "tile_2000m", None, None),
    ],
)
def test_scene_band_and_date_are_guessed(path: str, scene: str, band: str | None, date: str | None) -> None:
    found = guess(path)
    assert scene_name(found.scene) == scene
    assert found.band == band
    assert (found.moment and found.moment.properties()["datetime"]) == date


def test_the_platform_and_tile_are_properties() -> None:
    assert guess("S2B_MSIL2A_20200101T000000_T34TFQ/B04.tif").properties == {
        "platform": "sentinel-2b",
        "constellation": "sentinel-2",
        "grid:code": "MGRS-34TFQ",
    }


def test_equal_names_in_other_folders_are_other_scenes() -> None:
    assert guess("a/dem.tif").scene != guess("b/dem.tif").scene


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("x_2016-07-13", "2016-07-13T00:00:00Z"),
        ("2016:07:13 09:30:42", "2016-07-13T09:30:42Z"),
        ("20160713_250000", "2016-07-13T00:00:00Z"),
        ("2016_7_3", "2016-07-03T00:00:00Z"),
        ("20161332", None),
        ("0123456789", None),
        ("1999_2000", None),
    ],
)
def test_dates_are_found_in_texts(text: str, date: str | None) -> None:
    found = find(text)
    assert (found and found.properties()["datetime"]) == date
