"""Items as stac-geoparquet: what is written comes back, whatever is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from geoloom.errors import SourceNotFound, SourceUnreadable
from geoloom_engine.catalog.geoparquet import read_items, write_items


def item(number: int, **properties: Any) -> dict[str, Any]:
    box = [20.0 + number, 40.0, 21.0 + number, 41.0]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "id": f"item-{number}",
        "collection": "made-up",
        "geometry": json.loads(shapely.to_geojson(shapely.box(*box))),
        "bbox": box,
        "properties": {"datetime": "2016-07-13T09:20:32.024Z", "eo:cloud_cover": 1.5 * number, **properties},
        "links": [{"rel": "collection", "href": "../collection.json"}],
        "assets": {
            "B04": {
                "href": f"/data/{number}/B04.tif",
                "roles": ["data"],
                "bands": [{"name": "B04", "data_type": "uint16", "nodata": 0}],
                "proj:shape": [10980, 10980],
            }
        },
    }


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    items = [item(1), item(2, **{"proj:code": "EPSG:32634", "start_datetime": "2016-07-13T00:00:00Z"})]
    write_items(tmp_path / "part.parquet", items)
    assert read_items(tmp_path / "part.parquet") == items
    assert [path.name for path in tmp_path.iterdir()] == ["part.parquet"]


def test_what_has_no_common_type_comes_back(tmp_path: Path) -> None:
    odd = [
        item(1, mixed=1, empty={}, datetime=None),
        item(2, mixed="one", nested=[{"a": {}}], datetime="2016-07-13T00:00:00Z"),
        item(3, mixed=[1], type="hidden", big=1 << 70),
    ]
    odd[1]["assets"] = {}
    odd[2]["assets"]["B04"]["bands"][0]["nodata"] = "nan"
    write_items(tmp_path / "part.parquet", odd)
    assert read_items(tmp_path / "part.parquet") == odd


def test_broken_geometries_are_missing(tmp_path: Path) -> None:
    first, second = item(1), item(2)
    first["geometry"] = {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}
    second["geometry"] = None
    write_items(tmp_path / "part.parquet", [first, second])
    found = read_items(tmp_path / "part.parquet")
    assert [one["geometry"] for one in found] == [None, None]
    assert [one["bbox"] for one in found] == [first["bbox"], second["bbox"]]


def test_no_items_are_a_file_too(tmp_path: Path) -> None:
    write_items(tmp_path / "part.parquet", [])
    assert read_items(tmp_path / "part.parquet") == []


def test_the_file_says_that_it_is_geoparquet(tmp_path: Path) -> None:
    write_items(tmp_path / "part.parquet", [item(1)])
    metadata = pq.read_schema(tmp_path / "part.parquet").metadata
    column = json.loads(metadata[b"geo"])["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Polygon"]
    assert column["bbox"] == [21, 40, 22, 41]
    assert json.loads(metadata[b"stac-geoparquet"])["version"] == "1.0.0"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_items(tmp_path / "part.parquet", [item(1)])
    with pytest.raises(KeyError):
        write_items(tmp_path / "part.parquet", [{"properties": {}}])
    assert [one["id"] for one in read_items(tmp_path / "part.parquet")] == ["item-1"]
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no file"):
        read_items(tmp_path / "none.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceUnreadable, match=r"cut\.parquet cannot be read"):
        read_items(tmp_path / "cut.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(SourceUnreadable, match="holds no STAC items"):
        read_items(tmp_path / "other.parquet")
