"""A running engine and a bucket: a tile without a login in the notebook, and credentials that stay inside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoloom.chain import Chain
from geoloom.errors import SourceNotFound, SourceRefused, SourceUnreadable
from geoloom.grid import Tile
from geoloom.ops.open import Open

SECRETS = ("AKIDENGINESOWN", "a-very-secret-key", "a-session-token")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, new_raster: Any) -> Iterator[Any]:
    """A file server that is asked as a store; `scenes/a.tif` is there."""
    from tests.engine.remote.conftest import FileServer

    made = FileServer()
    path: Path = new_raster(tmp_path_factory.mktemp("bucket") / "a.tif")
    made.put("/scenes/a.tif", path.read_bytes())
    yield made
    made.close()


@pytest.fixture(scope="module")
def s3_engine(start_engine: Any, valkey: str, tmp_path_factory: pytest.TempPathFactory, bucket: Any) -> Any:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    given = dict(zip(names, SECRETS, strict=True)) | {"AWS_S3_ENDPOINT": bucket.base}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in given.items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("none")
        return start_engine(
            valkey,
            folder,
            sources="s3://scenes",
            source_recheck="0",
            read_timeout="10s",
            read_retries="0",
            log_level="debug",
        )


def scene(name: str) -> Chain:
    return Open(href=f"s3://scenes/{name}").chain()


def test_a_tile_of_a_bucket(s3_engine: Any, bucket: Any) -> None:
    registered = s3_engine.client().register(scene("a.tif"))
    tile = Tile.at(15.05, 45.1, 11)
    path = registered.tiles.replace("{z}/{x}/{y}", f"{tile.z}/{tile.x}/{tile.y}")
    answer = s3_engine.ask("GET", path, token=False)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert bucket.sent_headers
    assert all("Signature=" in headers["Authorization"] for headers in bucket.sent_headers)
    stored = s3_engine.client().chain(registered.key).to_json()
    assert "s3://scenes/a.tif" in str(stored)


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("none.tif", None, SourceNotFound),
        ("denied.tif", 403, SourceUnreadable),
        ("broken.tif", 500, SourceUnreadable),
        ("../other/a.tif", None, SourceRefused),
    ],
)
def test_nothing_that_is_told_holds_a_credential(
    s3_engine: Any, bucket: Any, name: str, status: int | None, kind: type[Exception]
) -> None:
    client = s3_engine.client()
    registered = None
    if status is not None:
        bucket.put(f"/scenes/{name}", bucket.files["/scenes/a.tif"])
        registered = client.register(scene(name))
        # Stores repeat who asked, and what they would have signed.
        said = f"<Error><Code>AccessDenied</Code><AWSAccessKeyId>{SECRETS[0]}</AWSAccessKeyId></Error>"
        bucket.faults[f"/scenes/{name}"].extend([bucket.status(status, said.encode())] * 50)
    with pytest.raises(kind) as caught:
        client.info(f"s3://scenes/{name}")
    told = [json.dumps(caught.value.to_json())]
    answer = s3_engine.ask("POST", "/info", json.dumps({"href": f"s3://scenes/{name}"}).encode())
    told += [answer.body.decode("utf-8", "replace"), str(answer.headers)]
    if registered is not None:
        path = registered.tiles.replace("{z}/{x}/{y}", "11/1110/733")
        failed = s3_engine.ask("GET", path, token=False)
        assert failed.status >= 400
        told += [failed.body.decode("utf-8", "replace"), str(failed.headers)]
        told.append(json.dumps(s3_engine.wait_until(lambda: client.events("0-0", timeout=1)["events"])))
        assert f"{name} cannot be read" in told[-1]
    told.append(s3_engine.log.read_text())
    told.append(s3_engine.ask("GET", "/metrics").body.decode())
    for text in told:
        assert not any(secret in text for secret in (*SECRETS, "Signature", "AWS4-HMAC"))
