"""Files written anew: the same pixels in blocks of 512 with overviews, or nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal
from tests.engine.ingest.conftest import Collection, ramp, write_raster

from geoloom.errors import SourceUnreadable
from geoloom_engine.readers import SourcePool, cog


def pixels(path: Path, number: int = 1, overview: int | None = None) -> np.ndarray:
    handle = gdal.Open(str(path))
    band = handle.GetRasterBand(number)
    found: np.ndarray = (band if overview is None else band.GetOverview(overview)).ReadAsArray()
    return found


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_pixels_nodata_and_names_are_kept(tmp_path: Path, dtype: str) -> None:
    values = np.stack([ramp(700, 600, dtype), ramp(700, 600, dtype)[::-1]])
    values[:, :90, :80] = 7
    source = write_raster(
        tmp_path / "a.tif",
        values,
        nodata=7,
        edit=lambda made: (made.GetRasterBand(1).SetDescription("red"), made.GetRasterBand(2).SetScale(0.5)),
    )
    cog.write(str(source), str(tmp_path / "b.tif"), (False, False))
    made = gdal.Open(str(tmp_path / "b.tif"))
    assert made.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE") == "COG"
    assert made.GetMetadataItem("COMPRESSION", "IMAGE_STRUCTURE") == "ZSTD"
    assert made.GetMetadataItem("PREDICTOR", "IMAGE_STRUCTURE") == ("3" if dtype == "float32" else "2")
    np.testing.assert_array_equal(made.ReadAsArray(), values)
    red, other = made.GetRasterBand(1), made.GetRasterBand(2)
    assert (red.GetNoDataValue(), red.GetDescription(), other.GetScale()) == (7, "red", 0.5)
    assert red.GetBlockSize() == [512, 512]
    assert red.GetOverviewCount() == 1
    assert made.GetGeoTransform() == gdal.Open(str(source)).GetGeoTransform()


def test_overviews_are_averages_of_quantities_and_samples_of_classes(tmp_path: Path) -> None:
    values = np.tile(np.array([[10, 10], [10, 50]], "uint8"), (300, 300))
    source = write_raster(tmp_path / "a.tif", np.stack([values, values]), nodata=None)
    for nearest in ((False, False), (True, True), (False, True)):
        path = tmp_path / f"{nearest}.tif"
        cog.write(str(source), str(path), nearest)
        for number, one in enumerate(nearest, 1):
            below = np.unique(pixels(path, number, 0))
            assert set(below) == ({10} if one else {20}), nearest
    assert sorted(p.name for p in tmp_path.iterdir() if "overviews" in p.name) == []


def test_averages_leave_out_what_is_invalid(tmp_path: Path) -> None:
    values = np.tile(np.array([[10, 10], [10, 0]], "uint8"), (300, 300))
    source = write_raster(tmp_path / "a.tif", values, nodata=0)
    cog.write(str(source), str(tmp_path / "b.tif"), (False,))
    assert set(np.unique(pixels(tmp_path / "b.tif", 1, 0))) == {10}


def test_masks_are_kept(tmp_path: Path) -> None:
    def mask(made: gdal.Dataset) -> None:
        made.CreateMaskBand(gdal.GMF_PER_DATASET)
        made.GetRasterBand(1).GetMaskBand().WriteArray(np.eye(600, dtype="uint8") * 255)

    with gdal.config_option("GDAL_TIFF_INTERNAL_MASK", "YES"):
        source = write_raster(tmp_path / "a.tif", ramp(600, 600), edit=mask)
    cog.write(str(source), str(tmp_path / "b.tif"), (False,))
    made = gdal.Open(str(tmp_path / "b.tif"))
    np.testing.assert_array_equal(made.GetRasterBand(1).GetMaskBand().ReadAsArray() > 0, np.eye(600) > 0)


def test_a_truncated_file_leaves_nothing(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "a.tif", ramp(600, 600), options=("COMPRESS=DEFLATE",))
    source.write_bytes(source.read_bytes()[:2000])
    with pytest.raises(SourceUnreadable, match="cannot be read to its end"):
        cog.write(str(source), str(tmp_path / "b.tif"), (False,))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_what_does_not_read_back_the_same_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_raster(tmp_path / "a.tif", ramp(60, 60))
    translate = cog._translate

    def damaging(handle: gdal.Dataset, path: str, *rest: object) -> None:
        translate(handle, path, *rest)
        other = write_raster(tmp_path / "other.tif", ramp(60, 60) + np.uint16(1))
        Path(path).write_bytes(other.read_bytes())

    monkeypatch.setattr(cog, "_translate", damaging)
    with pytest.raises(SourceUnreadable, match="does not read back the same"):
        cog.write(str(source), str(tmp_path / "b.tif"), (False,))
    assert not (tmp_path / "b.tif").exists()


def test_items_point_to_the_optimised_files(collection: Collection, data: Path) -> None:
    source = write_raster(data / "x_20200101_B04.tif", ramp(600, 700), options=())
    write_raster(data / "x_20200101_SCL.tif", ramp(600, 700, "uint8"), options=())
    done = collection.ingest(data, "--optimize")
    assert "Optimised" in done.stdout
    (item,) = collection.items().values()
    asset = item["assets"]["B04"]
    path = Path(asset["href"])
    assert path.parent == collection.folder / "files" / "x_20200101"
    assert asset["geoloom:origin"] == str(source)
    assert asset["geoloom:mark"] == SourcePool(("/",)).fingerprint(str(path))[:10]
    assert asset["geoloom:overviews"] == [[350, 300]]
    assert "profile=cloud-optimized" in asset["type"]
    np.testing.assert_array_equal(pixels(path), ramp(600, 700))
    assert "2 unchanged" in collection.ingest(data, "--optimize").stdout
    assert "2 unchanged" in collection.ingest(data).stdout


def test_a_changed_file_is_optimised_anew_and_the_old_one_goes(collection: Collection, data: Path) -> None:
    source = write_raster(data / "x_20200101_B04.tif", ramp(60, 70))
    collection.ingest(data)
    collection.ingest(data, "--optimize", data.parent / "better")
    (first,) = (data.parent / "better").rglob("*.tif")
    # What an ended process left behind.
    (first.parent / ".unfinished-1-x.tif").write_bytes(b"")
    write_raster(source, ramp(80, 70))
    os.utime(source, ns=(1, 1))
    collection.ingest(data, "--optimize", data.parent / "better")
    (second,) = [path for path in (data.parent / "better").rglob("*") if path.is_file()]
    assert second.name != first.name
    (item,) = collection.items().values()
    assert item["assets"]["B04"]["href"] == str(second)


def test_a_folder_that_cannot_be_written_to_is_said(collection: Collection, data: Path) -> None:
    write_raster(data / "x_20200101.tif", ramp())
    blocked = data.parent / "blocked"
    with contextlib.suppress(OSError):
        blocked.write_text("a file stands here")
    done = collection.ingest(data, "--optimize", blocked, status=1)
    assert "x_20200101.tif: " in done.stderr
    assert "blocked" in done.stderr
