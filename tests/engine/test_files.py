"""Catalogues in a bucket and on a web server, both on loopback."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest
import shapely
from moto.server import ThreadedMotoServer

from geoloom.errors import SourceRefused, SourceUnreadable
from geoloom.query import Query
from geoloom_engine.catalog import files as catalogue_files
from geoloom_engine.catalog import write_items
from geoloom_engine.catalog.catalogues import Catalogues
from geoloom_engine.catalog.files import Files


def item(number: int) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"scene-{number}",
        "geometry": json.loads(shapely.to_geojson(shapely.box(number, 0, number + 1, 1))),
        "properties": {"datetime": f"2016-07-0{number + 1}T00:00:00Z"},
        "assets": {"B04": {"href": "./B04.tif", "type": "image/tiff"}},
        "links": [],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of one collection: a part as parquet, an item as JSON, and one that is missing."""
    root = tmp_path / "catalog"
    (root / "s2" / "items").mkdir(parents=True)
    links = [{"rel": "item", "href": "./items/one.json"}, {"rel": "item", "href": "./none.json"}]
    assets = {"items": {"href": "./items/a.parquet"}, "outside": {"href": "/elsewhere/b.parquet"}}
    described = {"type": "Collection", "id": "s2", "extent": {}, "links": links, "assets": assets}
    (root / "s2" / "collection.json").write_text(json.dumps(described))
    catalog = {"type": "Catalog", "id": "root", "links": [{"rel": "child", "href": "./s2/collection.json"}]}
    (root / "catalog.json").write_text(json.dumps(catalog))
    write_items(root / "s2" / "items" / "a.parquet", [item(1), item(2)])
    (root / "s2" / "items" / "one.json").write_text(json.dumps(item(3)))
    return root


@pytest.fixture
def bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The catalogue in a bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    catalogue_files._s3.cache_clear()
    store = pafs.S3FileSystem(
        access_key="key",
        secret_key="secret",
        endpoint_override=f"{host}:{port}",
        scheme="http",
        allow_bucket_creation=True,
    )
    store.create_dir("bucket")
    for path in folder.rglob("*.*"):
        with store.open_output_stream(f"bucket/stac/{path.relative_to(folder)}") as file:
            file.write(path.read_bytes())
    yield "s3://bucket/stac"
    server.stop()
    catalogue_files._s3.cache_clear()


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """The catalogue on a web server."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *rest: Any) -> None:
            super().__init__(*rest, directory=str(folder))

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_bucket_is_a_catalogue(bucket: str, tmp_path: Path) -> None:
    found = Catalogues([f"store={bucket}"], tmp_path / "indexes", recheck=0.0)
    assert found.count(Query("s2")) == 3
    selection, problems = found.selection(Query("store/s2"))
    assert (selection.ids, problems) == (("scene-3", "scene-2", "scene-1"), [])
    assert selection.item(0).assets[0].href == "s3://bucket/stac/s2/items/B04.tif"
    assert selection.item(1).assets[0].href == "s3://bucket/stac/s2/B04.tif"
    (problem,) = found.collections()["problems"]
    assert "none.json is not there" in problem


def test_a_web_server_is_a_catalogue(web: str, tmp_path: Path) -> None:
    found = Catalogues([f"web={web}/catalog.json"], tmp_path / "indexes", recheck=0.0)
    assert found.count(Query("s2")) == 3
    selection, _ = found.selection(Query("s2", ids=("scene-3",)))
    assert selection.item(0).assets[0].href == f"{web}/s2/items/B04.tif"


def test_a_folder_of_a_web_server_is_a_catalogue(web: str, tmp_path: Path) -> None:
    assert Catalogues([f"web={web}/"], tmp_path / "indexes").count(Query("s2")) == 3


def test_a_bucket_that_is_not_there_is_one_sentence(bucket: str, tmp_path: Path) -> None:
    told = Catalogues(["store=s3://none/stac"], tmp_path, recheck=0.0).collections()
    assert told["collections"] == []
    assert len(told["problems"]) <= 1


def test_a_server_that_stalls_is_one_sentence() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/catalog.json"
        with pytest.raises(SourceUnreadable, match=r"did not answer within 0\.2 seconds"):
            Files(place, timeout=0.2).read(place)


def test_nothing_outside_is_read(folder: Path) -> None:
    files = Files(str(folder))
    for href in ("/etc/hosts", f"{folder}/../x.json", f"{folder}x/y.json", "s3://bucket/x"):
        with pytest.raises(SourceRefused, match="outside"):
            files.read(href)
    with pytest.raises(SourceRefused, match="outside"):
        Files("http://127.0.0.1:9/a").read("http://127.0.0.1:10/a")


def test_addresses_are_made_absolute() -> None:
    local, store = Files("/data/catalog"), Files("s3://bucket/stac")
    assert local.join("/data/catalog/s2/collection.json", "../x/y.json") == "/data/catalog/x/y.json"
    assert local.join("/data/catalog/a.json", "file:///data/b.tif") == "/data/b.tif"
    assert local.join("/data/catalog/a.json", "https://x.example/b.tif") == "https://x.example/b.tif"
    assert store.join("s3://bucket/stac/s2/a.json", "./b.tif") == "s3://bucket/stac/s2/b.tif"
    assert store.join("s3://bucket/stac/s2/a.json", "../../../b.tif") == "s3://bucket/b.tif"
