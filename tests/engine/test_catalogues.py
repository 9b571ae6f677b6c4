"""Catalogues on this machine: found, searched, resolved; what is wrong is said and does not stop the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import shapely

from geoloom.errors import NotFound, RequestError, SourceUnreadable
from geoloom.query import Query
from geoloom_engine.catalog import write_items
from geoloom_engine.catalog.catalogues import Catalogues

Json = dict[str, Any]


def item(number: int, **properties: Any) -> Json:
    box = shapely.box(20 + number, 44, 21 + number, 45)
    transform = [10.0, 0.0, 399960.0, 0.0, -10.0, 4900020.0]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"scene-{number}",
        "geometry": json.loads(shapely.to_geojson(box)),
        "bbox": list(box.bounds),
        "properties": {
            "datetime": f"2016-07-{number + 1:02d}T09:20:32Z",
            "eo:cloud_cover": number * 10,
            "proj:code": "EPSG:32634",
            **properties,
        },
        "links": [],
        "assets": {
            "B04": {
                "href": f"./scene-{number}/B04.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "proj:transform": transform,
                "proj:shape": [10980, 10980],
                "bands": [{"name": "red", "data_type": "uint16", "nodata": 0}],
                "geoloom:mark": "0123456789",
                "geoloom:overviews": [[5490, 5490]],
            },
            "thumbnail": {"href": "./t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
        },
    }


def collection(id_: str, **more: Any) -> Json:
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    return {"type": "Collection", "stac_version": "1.1.0", "id": id_, "extent": extent, "links": [], **more}


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    put(folder / "s2" / "collection.json", collection("s2", title="Sentinel", keywords=["Forêt"]))
    (folder / "s2" / "items").mkdir()
    write_items(folder / "s2" / "items" / "a.parquet", [item(1), item(2), item(3)])
    return folder


def catalogues(root: Path, recheck: float = 0.0) -> Catalogues:
    return Catalogues([f"local={root}"], root.parent / "indexes", recheck=recheck)


def test_a_query_finds_items_in_its_order(root: Path) -> None:
    found = catalogues(root)
    query = Query("s2", where=(("eo:cloud_cover", "<", 30),), sort=(("eo:cloud_cover", "asc"),))
    assert found.count(query) == 2
    count, items = found.items(Query("local/s2", limit=2))
    assert count == 2
    assert [one["id"] for one in items] == ["scene-3", "scene-2"]
    assert items[0]["date"] == "2016-07-04T09:20:32Z"


def test_a_selection_has_what_the_items_say(root: Path) -> None:
    selection, problems = catalogues(root).selection(Query("s2"))
    assert problems == []
    assert selection.collection == "local/s2"
    assert selection.ids == ("scene-3", "scene-2", "scene-1")
    assert [(band.name, band.dtype, band.nodata) for band in selection.bands] == [("B04", "uint16", 0.0)]
    (asset,) = selection.item(0).assets
    assert asset.href == str(root / "s2" / "scene-3" / "B04.tif")
    assert asset.transform == (399960.0, 10.0, 0.0, 4900020.0, 0.0, -10.0)
    assert (asset.crs, asset.shape, asset.overviews) == ("EPSG:32634", (10980, 10980), ((5490, 5490),))
    assert asset.mark == "0123456789"
    assert selection.resolution == 10


def test_what_changed_on_disk_is_noticed(root: Path) -> None:
    found = catalogues(root)
    assert found.count(Query("s2")) == 3
    write_items(root / "s2" / "items" / "b.parquet", [item(4), item(1, **{"eo:cloud_cover": 99})])
    assert found.count(Query("s2")) == 4
    assert found.count(Query("s2", where=(("eo:cloud_cover", "==", 99),))) == 1
    (root / "s2" / "items" / "b.parquet").unlink()
    assert found.count(Query("s2", where=(("eo:cloud_cover", "==", 99),))) == 0
    put(root / "other" / "collection.json", collection("other"))
    assert found.count(Query("other")) == 0


def test_what_was_indexed_is_taken_from_the_older_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoloom_engine.catalog import keeping

    found = catalogues(root)
    assert found.count(Query("s2")) == 3
    read = []
    original = keeping.read_table

    def noted(path: Path, *rest: Any) -> Any:
        read.append(Path(path).name)
        return original(path, *rest)

    monkeypatch.setattr(keeping, "read_table", noted)
    write_items(root / "s2" / "items" / "b.parquet", [item(4)])
    assert found.count(Query("s2", where=(("eo:cloud_cover", ">", 20),))) == 2
    assert read == ["b.parquet"]


def test_one_index_serves_all_who_look(root: Path) -> None:
    assert catalogues(root).count(Query("s2")) == 3
    made = list((root.parent / "indexes").glob("*/*.arrow"))
    assert catalogues(root).count(Query("s2")) == 3
    assert list((root.parent / "indexes").glob("*/*.arrow")) == made
    assert len(made) == 1


def test_a_broken_part_is_said_and_the_others_are_found(root: Path) -> None:
    (root / "s2" / "items" / "b.parquet").write_bytes(b"PAR1 and no more")
    found = catalogues(root)
    assert found.count(Query("s2")) == 3
    (problem,) = found.collections()["problems"]
    assert "b.parquet cannot be read" in problem


def test_json_items_are_found_by_links_and_in_the_items_folder(root: Path) -> None:
    links = [{"rel": "item", "href": "./far/one.json"}, {"rel": "item", "href": "./far/missing.json"}]
    put(root / "j" / "collection.json", collection("j", links=links))
    put(root / "j" / "far" / "one.json", item(1))
    put(root / "j" / "items" / "many.json", {"type": "FeatureCollection", "features": [item(2), item(3)]})
    (root / "j" / "items" / "lines.ndjson").write_text(f"{json.dumps(item(4))}\n{json.dumps(item(5))}\n")
    (root / "j" / "items" / "broken.json").write_text("{")
    found = catalogues(root)
    selection, _ = found.selection(Query("j", ids=("scene-1", "scene-2")))
    assert selection.item(0).assets[0].href == str(root / "j" / "items" / "scene-2" / "B04.tif")
    assert selection.item(1).assets[0].href == str(root / "j" / "far" / "scene-1" / "B04.tif")
    assert found.count(Query("j")) == 5
    problems = " ".join(found.collections()["problems"])
    assert "missing.json is not there" in problems
    assert "broken.json holds no STAC items" in problems


def test_a_catalogue_file_leads_to_its_collections(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    children = [{"rel": "child", "href": "./deep/catalog.json"}, {"rel": "child", "href": "../outside.json"}]
    put(root / "catalog.json", {"type": "Catalog", "id": "root", "links": children})
    deeper = [{"rel": "child", "href": "./c/collection.json"}, {"rel": "child", "href": "../catalog.json"}]
    put(root / "deep" / "catalog.json", {"type": "Catalog", "id": "deep", "links": deeper})
    put(root / "deep" / "c" / "collection.json", collection("c"))
    put(tmp_path / "outside.json", collection("outside"))
    told = catalogues(root).collections()
    assert [one["id"] for one in told["collections"]] == ["c"]
    assert "outside.json lies outside of the catalogue" in " ".join(told["problems"])


def test_collections_are_told_with_what_the_index_knows(root: Path) -> None:
    (told,) = catalogues(root).collections("foret SENTINEL")["collections"]
    assert (told["id"], told["catalog"], told["items"]) == ("s2", "local", 3)
    assert told["bbox"] == pytest.approx([21, 44, 24, 45], abs=1e-5)
    assert told["interval"] == ["2016-07-02T09:20:32Z", "2016-07-04T09:20:32Z"]
    assert told["properties"]["eo:cloud_cover"] == {"minimum": 10, "maximum": 30}
    assert catalogues(root).collections("ocean")["collections"] == []


def test_telling_collections_does_not_wait_for_a_large_index(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoloom_engine.catalog import keeping

    monkeypatch.setattr(keeping, "_QUICK_BYTES", 10)
    found = catalogues(root)
    assert found.collections()["collections"][0]["items"] is None
    assert found.count(Query("s2")) == 3
    assert found.collections()["collections"][0]["items"] == 3
    assert catalogues(root).collections()["collections"][0]["items"] == 3


def test_items_that_cannot_be_used_are_left_out_and_said(root: Path) -> None:
    bare, nowhere, dateless, broken = item(4), item(5), item(6), item(7)
    bare["assets"] = {}
    nowhere |= {"geometry": None, "bbox": None}
    dateless["properties"]["datetime"] = None
    broken["geometry"] = {"type": "Polygon", "coordinates": [[[1, 2]]]}
    write_items(root / "s2" / "items" / "b.parquet", [bare, nowhere, dateless, broken])
    selection, problems = catalogues(root).selection(Query("s2"))
    assert selection.ids == ("scene-7", "scene-3", "scene-2", "scene-1", "scene-6")
    assert selection.item(4).date is None
    assert selection.footprints[0].equals(shapely.box(27, 44, 28, 45))
    assert sorted(problems) == [
        "Item 'scene-4' is left out: it has no raster files.",
        "Item 'scene-5' is left out: it has no footprint with an area.",
    ]


def test_a_collection_that_is_not_there_is_said_with_the_nearest(root: Path) -> None:
    with pytest.raises(NotFound, match="Did you mean 's2'"):
        catalogues(root).count(Query("s2a"))
    with pytest.raises(RequestError, match="No item"):
        catalogues(root).items(Query("s2", sort=(("cloud", "asc"),)))


def test_a_catalogue_that_is_not_there_has_no_collections(tmp_path: Path) -> None:
    told = catalogues(tmp_path / "none").collections()
    assert told == {"collections": [], "problems": []}


def test_an_index_that_cannot_be_kept_is_one_sentence(root: Path) -> None:
    (root.parent / "file").write_text("in the way")
    found = Catalogues([f"local={root}"], root.parent / "file" / "indexes")
    with pytest.raises(SourceUnreadable, match=r"cannot be kept in .*: Not a directory"):
        found.count(Query("s2"))
