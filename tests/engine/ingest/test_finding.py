"""Files are found in folders, lists, pages of links and buckets."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer
from tests.engine.ingest.conftest import Collection, ramp, write_raster

from geoloom_engine.ingest.finding import Found, find, root_of
from geoloom_engine.readers import buckets, signing


def found(source: str | Path) -> tuple[list[Found], list[str]]:
    told: list[str] = []
    return list(find(str(source), lambda name, reason: told.append(f"{name}: {reason}"))), told


@pytest.fixture
def served(data: Path) -> Iterator[str]:
    """A web server that lists folders as pages of links."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *rest: object) -> None:
            super().__init__(*rest, directory=str(data))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

        def send_head(self) -> object:  # type: ignore[override]
            text = self.headers.get("Range")
            path = Path(self.translate_path(self.path))
            if text is None or not path.is_file():
                return super().send_head()
            content = path.read_bytes()
            first, last = (int(word) for word in text.removeprefix("bytes=").split("-"))
            last = min(last, len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
            self.end_headers()
            self.wfile.write(content[first : last + 1])
            return None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of an S3-compatible store."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_folder_is_searched_with_all_below_it(data: Path) -> None:
    for name in (
        "b/2.tif",
        "b/c/1.TIF",
        "a.tiff",
        "b/notes.txt",
        ".hidden.tif",
        ".cache/x.tif",
        "z.zarr/0/c.tif",
    ):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"12345")
    (data / "again").symlink_to(data / "b")
    (data / "b" / "loop").symlink_to(data)
    files, told = found(data)
    names = {Path(one.href).name for one in files}
    assert names == {"2.tif", "1.TIF", "a.tiff", "z.zarr"}
    assert len(files) == 4
    assert told == []
    one = next(one for one in files if one.href.endswith("a.tiff"))
    assert (one.path, one.size) == ("data/a.tiff", 5)
    assert one.changed == (data / "a.tiff").stat().st_mtime_ns


def test_wildcards_and_lists_name_files(data: Path) -> None:
    for name in ("x1.tif", "x2.tif", "y.tif"):
        (data / name).write_bytes(b"1")
    assert [Path(one.href).name for one in found(data / "x*.tif")[0]] in (
        ["x1.tif", "x2.tif"],
        ["x2.tif", "x1.tif"],
    )
    listed = data / "list.txt"
    listed.write_text(
        "# what there is\nx1.tif\n\nhttps://example.org/a/b.tif?v=2&X-Amz-Signature=1\nmissing.tif\n"
    )
    files, told = found(listed)
    assert [one.href for one in files] == [str(data / "x1.tif"), "https://example.org/a/b.tif?v=2"]
    assert files[1].path == "a/b.tif"
    assert "missing.tif" in told[0]


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(OSError, match="/no/such/folder is not there"):
        found("/no/such/folder")


def test_roots_tell_what_a_source_covers(data: Path) -> None:
    (data / "a.tif").write_bytes(b"")
    assert root_of(str(data)) == f"{data}/"
    assert root_of(str(data / "a.tif")) == str(data / "a.tif")
    assert root_of(str(data / "b*.tif")) == str(data / "b")
    assert root_of("http://x/y") == "http://x/y/"
    assert root_of("http://x/y.txt") == ""
    assert root_of("s3://bucket/a") == "s3://bucket/a/"


def test_pages_of_links_are_followed_below_the_first(data: Path, served: str) -> None:
    for name in ("in/a.tif", "in/deep/b.tif", "out/c.tif"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"1")
    files, told = found(f"{served}/in/")
    assert [one.href for one in files] == [f"{served}/in/a.tif", f"{served}/in/deep/b.tif"]
    assert told == []
    with pytest.raises(OSError, match="404"):
        found(f"{served}/nowhere/")


def test_files_behind_a_listing_are_taken_in_and_left_alone_afterwards(
    collection: Collection, data: Path, served: str
) -> None:
    write_raster(data / "S2A_34TFQ_20200101_B04.tif", ramp())
    done = collection.ingest(f"{served}/")
    (item,) = collection.items().values()
    assert item["assets"]["B04"]["href"] == f"{served}/S2A_34TFQ_20200101_B04.tif"
    assert "1 files used" in done.stdout
    assert "1 unchanged" in collection.ingest(f"{served}/").stdout
    (data / "urls.txt").write_text(f"{served}/S2A_34TFQ_20200101_B04.tif\n{served}/gone.tif\n")
    done = collection.ingest(f"{served}/urls.txt")
    assert "1 unchanged, 1 could not be used" in done.stdout
    assert "gone.tif: it is not there" in done.stderr
    done = collection.ingest(f"{served}/", "--optimize")
    assert Path(collection.items()["S2A_34TFQ_20200101"]["assets"]["B04"]["href"]).exists()


def test_buckets_are_listed_and_their_files_taken_in(
    collection: Collection, data: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_S3_ENDPOINT", store),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
    ):
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=store, region_name="us-east-1")
    client.create_bucket(Bucket="scenes")
    content = write_raster(data / "a.tif", ramp()).read_bytes()
    keys = [f"year 2020/S2A_34TFQ_202001{day:02d}_B04.tif" for day in range(1, 4)]
    for key in (
        *keys,
        "year 2020/notes.txt",
        "other/x.tif",
        "year 2020/c.zarr/0.0",
        "year 2020/c.zarr/.zgroup",
    ):
        client.put_object(Bucket="scenes", Key=key, Body=content)
    files, _ = found("s3://scenes/year 2020/")
    assert [one.href for one in files] == [
        *(f"s3://scenes/{key}" for key in keys),
        "s3://scenes/year 2020/c.zarr",
    ]
    assert files[0].size == len(content)
    done = collection.run(f"s3://scenes/{keys[0]}", f"s3://scenes/{keys[1]}")
    assert "2 files used" in done.stdout
    assert len(collection.items()) == 2
    done = collection.run("s3://scenes/year 2020/")
    assert "1 files used" in done.stdout
    assert "c.zarr" in done.stderr
    with pytest.raises(OSError, match="NoSuchBucket"):
        found("s3://nothing-here/")


def test_long_listings_come_in_pages(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_S3_ENDPOINT", store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.client("s3", endpoint_url=store, region_name="us-east-1")
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="many")
    monkeypatch.setattr(buckets, "_KEYS", 3)
    keys = [f"s3://many/{number:03d} +.tif" for number in range(10)]
    for key in keys:
        client.put_object(Bucket="many", Key=key[10:], Body=b"")
    assert [name for name, *_ in buckets.listed("s3://many/")] == keys


def test_a_listing_is_signed_as_botocore_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return now

    monkeypatch.setattr(signing, "datetime", Clock)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now.replace(tzinfo=None))
    store = signing.Store.of({"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"})
    query = {"list-type": "2", "prefix": "ä b/+c", "continuation-token": "a/b+c=="}
    url, headers = store.request("s3://bucket/", None, query)
    request = AWSRequest("GET", url, headers={"x-amz-content-sha256": headers["x-amz-content-sha256"]})
    S3SigV4Auth(Credentials("AKID", "secret"), "s3", "us-east-1").add_auth(request)
    assert headers["Authorization"] == request.headers["Authorization"]
