"""What a GeoTIFF's tags say of when it was made and of its clouds."""

from __future__ import annotations

from pathlib import Path

import pytest
from osgeo import gdal

from geoloom_engine.readers.tags import Tags, tags

gdal.UseExceptions()


def tagged(path: Path, driver: str = "GTiff", **values: str) -> str:
    made = gdal.GetDriverByName("MEM").Create("", 4, 4, 1)
    for name, value in values.items():
        made.SetMetadataItem(name, value)
    gdal.GetDriverByName(driver).CreateCopy(str(path), made).Close()
    return str(path)


@pytest.mark.parametrize("name", ["CLOUD_COVER", "CLOUD_COVERAGE_ASSESSMENT", "CLOUDY_PIXEL_PERCENTAGE"])
def test_clouds_stand_under_the_names_that_archives_use(tmp_path: Path, name: str) -> None:
    assert tags(tagged(tmp_path / "a.tif", **{name: "17.25"})).clouds == 17.25


@pytest.mark.parametrize("text", ["-1", "101", "nan", "many", ""])
def test_what_is_no_percentage_is_not_known(tmp_path: Path, text: str) -> None:
    assert tags(tagged(tmp_path / "a.tif", CLOUD_COVER=text)).clouds is None


def test_dates_and_layout(tmp_path: Path) -> None:
    dated = tagged(tmp_path / "a.tif", TIFFTAG_DATETIME="2016:07:13 09:20:31")
    assert tags(dated) == Tags("2016:07:13 09:20:31")
    assert tags(tagged(tmp_path / "b.tif", "COG")).cog


def test_other_files_have_none(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"nothing")
    assert tags(str(tmp_path / "a.tif")) == Tags()
    assert tags("https://example.org/a.tif") == Tags()
