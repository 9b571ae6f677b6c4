"""Whole ingests, as real processes, of made-up files good and bad."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
from tests.engine.ingest.conftest import PLACE, Collection, ramp, write_raster

from geoloom_engine.ingest import rounds, summary
from geoloom_engine.readers import SourcePool


def scenes(data: Path, count: int, bands: tuple[str, ...] = ("B04", "B08"), size: int = 30) -> None:
    for number in range(count):
        for band in bands:
            transform = (500000.0 + 400 * number, *PLACE[1:])
            path = data / f"S2A_34TFQ_2020{1 + number // 28:02d}{1 + number % 28:02d}_{band}.tif"
            write_raster(path, ramp(size, size), transform=transform)


def test_files_of_one_scene_become_one_item(collection: Collection, data: Path) -> None:
    write_raster(
        data / "S2A_34TFQ_20200105_B04.tif",
        ramp(),
        nodata=0,
        edit=lambda made: (made.GetRasterBand(1).SetScale(0.0001), made.GetRasterBand(1).SetUnitType("1")),
        overviews=(2,),
    )
    write_raster(
        data / "S2A_34TFQ_20200105_SCL.tif",
        ramp(20, 25, "uint8"),
        transform=(500000.0, 20.0, 0, 5e6, 0, -20.0),
    )
    done = collection.run(data, "--title", "Two bands")
    assert "2 files used in 1 items" in done.stdout
    item = collection.items()["S2A_34TFQ_20200105"]
    assert item["properties"]["datetime"] == "2020-01-05T00:00:00Z"
    assert item["properties"]["platform"] == "sentinel-2a"
    assert item["properties"]["proj:code"] == "EPSG:32633"
    red, classes = item["assets"]["B04"], item["assets"]["SCL"]
    assert red["href"] == str(data / "S2A_34TFQ_20200105_B04.tif")
    assert red["proj:shape"] == [40, 50]
    assert red["proj:transform"] == [10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0]
    assert red["geoloom:mark"] == SourcePool(("/",)).fingerprint(red["href"])[:10]
    assert red["geoloom:overviews"] == [[25, 20]]
    assert red["file:size"] == Path(red["href"]).stat().st_size
    band = red["bands"][0]
    assert (band["name"], band["data_type"], band["nodata"], band["unit"]) == ("B04", "uint16", 0, "1")
    assert band["raster:scale"] == pytest.approx(0.0001)
    assert band["geoloom:resampling"] == "bilinear"
    assert band["statistics"]["maximum"] == 200
    assert classes["bands"][0]["geoloom:resampling"] == "nearest"


def test_the_collection_is_valid_stac(collection: Collection, data: Path) -> None:
    scenes(data, 3)
    collection.ingest(data, "--title", "Scenes", "--description", "Three of them.")
    found = json.loads((collection.folder / "collection.json").read_text())
    read = pystac.Collection.from_dict(found)
    assert (read.id, read.title, read.description) == ("scenes", "Scenes", "Three of them.")
    assert read.extent.temporal.to_dict()["interval"] == [["2020-01-01T00:00:00Z", "2020-01-03T00:00:00Z"]]
    west, south, east, north = found["extent"]["spatial"]["bbox"][0]
    for item in collection.items().values():
        assert shapely.box(west, south, east, north).covers(shapely.geometry.shape(item["geometry"]))
        pystac.Item.from_dict(item)
    assert set(found["item_assets"]) == {"B04", "B08"}
    assert found["summaries"]["proj:code"] == ["EPSG:32633"]


def test_what_somebody_wrote_into_the_collection_stays(collection: Collection, data: Path) -> None:
    scenes(data, 1)
    collection.ingest(data, "--title", "First")
    path = collection.folder / "collection.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "license": "CC-BY-4.0", "keywords": ["made up"]})
    )
    scenes(data, 2)
    collection.ingest(data)
    found = json.loads(path.read_text())
    assert (found["license"], found["keywords"], found["title"]) == ("CC-BY-4.0", ["made up"], "First")


def test_each_file_that_cannot_be_used_is_named_with_its_reason(collection: Collection, data: Path) -> None:
    write_raster(data / "good_20200101.tif", ramp())
    whole = write_raster(
        data / "cut_20200101.tif", ramp(600, 600), options=("COMPRESS=DEFLATE",)
    ).read_bytes()
    (data / "cut_20200101.tif").write_bytes(whole[: len(whole) // 3])
    write_raster(data / "nowhere_20200101.tif", ramp(), crs=None)
    write_raster(data / "cornerless_20200101.tif", ramp(), transform=None)
    write_raster(data / "flat_20200101.tif", ramp(), transform=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    write_raster(data / "empty_20200101.tif", np.zeros((9, 9), "uint8"), nodata=0)
    (data / "text_20200101.tif").write_text("no picture")
    (data / "nothing_20200101.tif").write_bytes(b"")
    os.mkfifo(data / "pipe_20200101.tif")
    (data / "gone_20200101.tif").symlink_to(data / "not there")
    (data / "broken_20200101.nc").write_bytes(b"CDF\x01 and then nothing")
    done = collection.ingest(data)
    assert list(collection.items()) == ["good_20200101"]
    lines = {Path(line.split(": ", 1)[0]).name: line for line in done.stderr.splitlines()}
    assert set(lines) == {path.name for path in data.iterdir()} - {"good_20200101.tif"}
    assert "damaged or incomplete" in lines["cut_20200101.tif"]
    assert "coordinate system" in lines["nowhere_20200101.tif"]
    assert "corners" in lines["cornerless_20200101.tif"]
    assert "none of its pixels is valid" in lines["empty_20200101.tif"]
    assert "10 could not be used" in done.stdout


def test_a_folder_without_permission_is_named_and_others_are_used(collection: Collection, data: Path) -> None:
    if os.geteuid() == 0:
        # Who may read everything meets no such folder: a loop of links cannot be listed either.
        (data / "closed").symlink_to(data / "closed")
        (data / "closed.tif").symlink_to(data / "closed.tif")
    else:
        (data / "closed").mkdir()
        (data / "closed").chmod(0)
        (data / "closed.tif").write_bytes(b"")
    scenes(data / "open", 1)
    done = collection.ingest(data)
    assert "2 files used" in done.stdout
    assert "closed" in done.stderr


def test_odd_nodata_and_dateless_files_are_used(collection: Collection, data: Path) -> None:
    values = ramp(30, 30, "float32")
    values[:5] = np.nan
    write_raster(data / "nan.tif", values, nodata=float("nan"))
    write_raster(data / "outside.tif", ramp(30, 30, "uint8"), nodata=-9999)
    write_raster(data / "undeclared.tif", np.pad(ramp(20, 20), 5))
    write_raster(data / "tagged.tif", ramp(), tags={"TIFFTAG_DATETIME": "2019:05:06 07:08:09"})
    done = collection.ingest(data, "--nodata", "0")
    items = collection.items()
    assert items["tagged"]["properties"]["datetime"] == "2019-05-06T07:08:09Z"
    assert items["nan"]["properties"]["datetime"] is None
    assert items["nan"]["assets"]["data"]["bands"][0]["nodata"] == "nan"
    assert "3 items have no date" in done.stdout
    bands = items["undeclared"]["assets"]["data"]["bands"]
    assert bands[0]["nodata"] == 0
    assert bands[0]["statistics"]["valid_percent"] == pytest.approx(100 * 400 / 900, rel=1e-6)
    whole = shapely.geometry.shape(items["outside"]["geometry"]).area
    assert shapely.geometry.shape(items["undeclared"]["geometry"]).area < 0.6 * whole


def test_a_pattern_says_scenes_bands_and_dates(collection: Collection, data: Path) -> None:
    for band in ("red", "nir"):
        write_raster(data / band / f"{band}-T1-13072016.tif", ramp())
    write_raster(data / "other.tif", ramp())
    done = collection.ingest(data, "--pattern", "{band}-{tile}-{date:%d%m%Y}.tif")
    (item,) = collection.items().values()
    assert item["id"] == "T1_13072016"
    assert set(item["assets"]) == {"red", "nir"}
    assert item["properties"]["tile"] == "T1"
    assert item["properties"]["datetime"] == "2016-07-13T00:00:00Z"
    assert "other.tif: its name is not of the pattern" in done.stderr


def test_equal_names_are_told_apart_in_the_same_way_each_time(collection: Collection, data: Path) -> None:
    for folder in ("a", "b"):
        write_raster(data / folder / "dem.tif", ramp())
    collection.ingest(data)
    first = collection.items()
    assert len(first) == 2
    done = collection.ingest(data)
    assert "2 unchanged" in done.stdout
    write_raster(data / "b" / "dem.tif", ramp(60, 60))
    collection.ingest(data)
    assert set(collection.items()) == set(first)


def test_two_files_for_one_band_are_a_problem_of_the_second(collection: Collection, data: Path) -> None:
    for folder in ("a", "b"):
        write_raster(data / folder / "x_20200101_B04.tif", ramp())
    done = collection.ingest(data, "--pattern", "{id}_{band}.tif")
    assert len(collection.items()) == 1
    assert "the band B04 of one scene" in done.stderr


def test_a_second_ingest_looks_only_at_what_is_new_or_changed(collection: Collection, data: Path) -> None:
    scenes(data, 3)
    collection.ingest(data)
    before = collection.items()
    parts = {path: path.stat().st_mtime_ns for path in collection.parts()}
    assert "0 files used, 6 unchanged" in collection.ingest(data).stdout
    assert {path: path.stat().st_mtime_ns for path in collection.parts()} == parts
    write_raster(data / "S2A_34TFQ_20200102_B04.tif", ramp(50, 50))
    write_raster(data / "S2A_34TFQ_20200103_SCL.tif", ramp(10, 10, "uint8"))
    write_raster(data / "S2A_34TFQ_20200120_B04.tif", ramp())
    done = collection.ingest(data)
    assert "6 files used in 3 items, 2 unchanged" in done.stdout
    after = collection.items()
    assert len(after) == 4
    assert after["S2A_34TFQ_20200101"] == before["S2A_34TFQ_20200101"]
    assert after["S2A_34TFQ_20200102"]["assets"]["B04"]["proj:shape"] == [50, 50]
    assert set(after["S2A_34TFQ_20200103"]["assets"]) == {"B04", "B08", "SCL"}


def test_bands_that_come_from_elsewhere_join_their_scene(collection: Collection, data: Path) -> None:
    write_raster(data / "first" / "T1_20200101_red.tif", ramp())
    write_raster(data / "second" / "T1_20200101_nir.tif", ramp(), transform=(500400.0, *PLACE[1:]))
    pattern = ("--pattern", "{tile}_{date:%Y%m%d}_{band}.tif")
    collection.ingest(data / "first", *pattern)
    collection.ingest(data / "second", *pattern)
    (item,) = collection.items().values()
    assert set(item["assets"]) == {"red", "nir"}
    west, _, east, _ = item["bbox"]
    assert east - west > 0.01
    assert "1 unchanged" in collection.ingest(data / "first", *pattern).stdout


def test_another_pattern_makes_other_items_of_the_same_files(collection: Collection, data: Path) -> None:
    scenes(data, 2)
    collection.ingest(data, "--pattern", "{name}.tif")
    assert len(collection.items()) == 4
    collection.ingest(data, "--pattern", "{scene}_{band}.tif")
    assert sorted(collection.items()) == ["S2A_34TFQ_20200101", "S2A_34TFQ_20200102"]


def test_vanished_files_are_dropped_only_when_asked(collection: Collection, data: Path) -> None:
    scenes(data / "a", 2)
    write_raster(data / "b" / "elsewhere_20200101.tif", ramp())
    collection.ingest(data / "a", data / "b")
    for path in (data / "a").glob("*20200101*"):
        path.unlink()
    (data / "a" / "S2A_34TFQ_20200102_B08.tif").unlink()
    collection.ingest(data / "a")
    assert len(collection.items()) == 3
    done = collection.ingest(data / "a", "--prune")
    assert "1 items were dropped" in done.stdout
    items = collection.items()
    assert set(items) == {"S2A_34TFQ_20200102", "elsewhere_20200101"}
    assert set(items["S2A_34TFQ_20200102"]["assets"]) == {"B04"}
    shutil.rmtree(data / "a")
    (data / "a").mkdir()
    done = collection.ingest(data / "a", "--prune", status=1)
    assert "nothing is dropped" in done.stdout
    assert len(collection.items()) == 2


def test_netcdf_has_an_item_for_each_time(collection: Collection, data: Path) -> None:
    xarray = pytest.importorskip("xarray")
    path = data / "sst.nc"

    def write(times: int) -> None:
        shape = (times, 10, 20)
        values = np.random.default_rng(3).random(shape).astype("float32")
        variables = dict.fromkeys(("sst", "salinity"), (("time", "lat", "lon"), values))
        coordinates: dict[str, Any] = {
            "time": ("time", np.arange(times) * 31.0, {"units": "days since 2020-01-16"}),
            "lat": ("lat", np.linspace(40.0, 49.0, 10), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(0.0, 19.0, 20), {"units": "degrees_east"}),
        }
        path.unlink(missing_ok=True)
        xarray.Dataset(variables, coordinates).to_netcdf(path, engine="h5netcdf")

    write(3)
    collection.ingest(data)
    items = collection.items()
    assert sorted(items) == ["sst_20200116", "sst_20200216", "sst_20200318"]
    asset = items["sst_20200216"]["assets"]["sst"]
    assert asset["href"] == f"{path}#time=2020-02-16T00:00:00Z&variable=sst"
    assert items["sst_20200216"]["properties"]["datetime"] == "2020-02-16T00:00:00Z"
    assert items["sst_20200216"]["bbox"] == pytest.approx([-0.5, 39.5, 19.5, 49.5])
    pool = SourcePool(("/",))
    assert asset["geoloom:mark"] == pool.fingerprint(asset["href"])[:10]
    assert pool.open(asset["href"]).info.width == 20
    assert "1 unchanged" in collection.ingest(data).stdout
    assert "1 unchanged" in collection.ingest(data, "--optimize").stdout
    write(4)
    collection.ingest(data)
    assert len(collection.items()) == 4
    assert len(collection.parts()) == 1


@pytest.mark.parametrize("wanted", [1, 4, 8])
def test_a_killed_ingest_goes_on_without_loss_or_duplicate(
    collection: Collection, data: Path, wanted: int
) -> None:
    scenes(data, 12, bands=("B04",))
    collection.ingest(data / "S2A_34TFQ_20200101_B04.tif")
    for number in (1, 5):
        write_raster(data / f"S2A_34TFQ_202001{number:02d}_B04.tif", ramp(45, 45))
    # Writes after every item, so that there is something to fall into.
    code = (
        "import sys; from geoloom_engine.ingest import rounds; rounds.FLUSH_ITEMS = 1; rounds.MANY_PARTS = 2;"
        "from geoloom_engine.ingest.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = collection.command(data)
    slow = [command[0], "-P", "-c", f"if __name__ == '__main__':\n    {code}", *command[4:]]
    process = subprocess.Popen(
        slow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and len(collection.parts()) < wanted:
        time.sleep(0.001)
    process.kill()
    process.wait()
    collection.items()
    done = collection.ingest(data)
    assert len(collection.items()) == 12
    assert collection.items()["S2A_34TFQ_20200101"]["assets"]["B04"]["proj:shape"] == [45, 45]
    assert "0 could not be used" in done.stdout
    assert "12 unchanged" in collection.ingest(data).stdout
    assert [path.name for path in (collection.folder / "items").iterdir() if path.name.startswith(".")] == []


def test_an_interrupt_writes_what_is_done(collection: Collection, data: Path) -> None:
    scenes(data, 60, bands=("B04",))
    process = subprocess.Popen(
        collection.command(data, "--jobs", "1"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 60
    while not (collection.folder / "collection.json").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert "Traceback" not in said
    if process.returncode:
        assert process.returncode == 128 + signal.SIGINT
        assert "goes on from here" in said
    collection.ingest(data)
    assert len(collection.items()) == 60


def test_two_ingests_of_a_collection_take_turns(collection: Collection, data: Path) -> None:
    scenes(data / "a", 8)
    scenes(data / "b", 8)
    for path in (data / "b").iterdir():
        path.rename(path.with_name(path.name.replace("34TFQ", "35TFQ")))
    running = [
        subprocess.Popen(collection.command(data / name), stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum("this one waits" in text for text in said) == 1
    assert len(collection.items()) == 16


def test_a_file_that_ends_its_process_is_named_and_the_others_are_used(
    collection: Collection, data: Path
) -> None:
    scenes(data, 3)
    code = (
        "import os, sys, time\n"
        "from geoloom_engine.ingest import items\n"
        "look = items.Maker._look\n"
        "def dying(self, file, job):\n"
        "    if '20200102_B04' in file.href: os._exit(7)\n"
        "    if '20200103_B08' in file.href: time.sleep(600)\n"
        "    return look(self, file, job)\n"
        "items.Maker._look = dying\n"
        "if __name__ == '__main__':\n"
        "    from geoloom_engine.ingest.__main__ import main\n"
        "    sys.exit(main(sys.argv[1:]))\n"
    )
    script = data.parent / "dying.py"
    script.write_text(code)
    command = collection.command(data)
    done = subprocess.run(
        [command[0], str(script), *command[4:], "--file-timeout", "3s"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "S2A_34TFQ_20200102_B04.tif: looking into it ended the process (exit code 7)" in done.stderr
    items = collection.items()
    assert len(items) == 3
    assert set(items["S2A_34TFQ_20200102"]["assets"]) == {"B08"}
    assert "S2A_34TFQ_20200103_B08.tif: it took longer than 3 seconds" in done.stderr


def test_many_small_parts_become_few(collection: Collection, data: Path) -> None:
    for number in range(1, 10):
        write_raster(data / f"x_202001{number:02d}.tif", ramp(5, 5))
        collection.ingest(data, "--jobs", "1")
    assert len(collection.items()) == 9
    assert len(collection.parts()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("/no/such/place", "--collection", "c"), "/no/such/place is not there"),
        (("x", "--collection", "a/b"), "an id begins with"),
        (("x", "--collection", "c", "--pattern", "{a"), "brace without its partner"),
        (("x", "--collection", "c", "--jobs", "0"), "not between 1 and 256"),
        (("--collection", "c"), "name a folder"),
        (("x", "--collection", "c", "--every", "soon"), "is not a time"),
    ],
)
def test_wrong_use_is_one_sentence(collection: Collection, arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [*collection.command()[:4], "--catalog", str(collection.catalog), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_files_says_so(collection: Collection, data: Path) -> None:
    assert "No GeoTIFF, netCDF or Zarr file was found" in collection.ingest(data, status=1).stdout


def test_a_source_that_is_not_there_leaves_no_collection_but_empties_none(
    collection: Collection, data: Path
) -> None:
    assert "No collection was made." in collection.ingest(data / "misspelt", status=1).stdout
    assert not (collection.folder / "collection.json").exists()
    write_raster(data / "x_20200101.tif", ramp(5, 5))
    assert f"It lies in {collection.folder}." in collection.ingest(data).stdout
    assert f"It lies in {collection.folder}." in collection.ingest(data / "misspelt", status=1).stdout
    assert len(collection.items()) == 1


def test_a_collection_can_be_seen_while_it_grows(
    collection: Collection, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes(data, 4, bands=("B04",))
    seen: list[Any] = []
    write = summary.write

    def watched(folder: Path, content: Any) -> None:
        write(folder, content)
        seen.append(content)

    monkeypatch.setattr(summary, "write", watched)
    monkeypatch.setattr(rounds, "DESCRIBE_SECONDS", -1.0)
    monkeypatch.setattr(rounds, "FLUSH_ITEMS", 1)
    collection.ingest(data)
    assert [list(one["item_assets"]) for one in seen] == [[], *[["B04"]] * 5]
    assert seen[-1]["extent"] == seen[-2]["extent"]


def test_what_an_ingest_wrote_is_no_source(collection: Collection, data: Path) -> None:
    scenes(data, 1, bands=("B04",))
    inside = Collection(data / "catalog")
    inside.ingest(data, "--optimize")
    assert "0 files used, 1 unchanged" in inside.ingest(data, "--optimize").stdout


def test_a_name_that_is_no_text_is_a_problem(collection: Collection, data: Path) -> None:
    scenes(data, 1, bands=("B04",))
    Path(os.fsdecode(os.fsencode(data) + b"/x\xff_20200101.tif")).write_bytes(b"")
    done = collection.run(data)
    assert "is no text in UTF-8" in done.stderr
    assert len(collection.items()) == 1


def test_a_damaged_part_is_named(collection: Collection, data: Path) -> None:
    scenes(data, 1)
    collection.ingest(data)
    (part,) = collection.parts()
    part.write_bytes(part.read_bytes()[:100])
    done = collection.ingest(data, status=1)
    assert part.name in done.stderr
    assert "cannot be read as Parquet" in done.stderr


def test_what_is_no_collection_is_not_written_over(collection: Collection, data: Path) -> None:
    scenes(data, 1)
    collection.folder.mkdir(parents=True)
    (collection.folder / "collection.json").write_text('{"type": "Feature"}')
    assert "is no STAC collection" in collection.ingest(data, status=1).stderr
