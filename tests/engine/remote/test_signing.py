"""S3-compatible stores: where objects lie, who asks, and that nobody else learns it.

The signature is held against botocore's, and against moto's server, which checks it.
"""

from __future__ import annotations

import logging
import os
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

from geoloom.errors import GeoloomError, SourceNotFound, SourceRefused, SourceUnreadable
from geoloom_engine.readers import SourcePool, Window
from geoloom_engine.readers import signing as module
from geoloom_engine.readers.access import Access
from geoloom_engine.readers.ranges import Remote
from geoloom_engine.readers.signing import Store

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "a-very/secret+key"}
NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("environment", "href", "url"),
    [
        ({}, "s3://bucket/a/b.tif", "https://bucket.s3.us-east-1.amazonaws.com/a/b.tif"),
        ({"AWS_REGION": "eu-west-1"}, "s3://b.c/k", "https://s3.eu-west-1.amazonaws.com/b.c/k"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "s3://bbb/k", "https://bbb.s3.eu-west-1.amazonaws.com/k"),
        ({"AWS_S3_ENDPOINT": "store:9000"}, "s3://bucket/k", "https://store:9000/bucket/k"),
        ({"AWS_S3_ENDPOINT": "store:9000", "AWS_HTTPS": "NO"}, "s3://bucket/k", "http://store:9000/bucket/k"),
        ({"AWS_S3_ENDPOINT": "http://store/x/"}, "s3://bucket/k", "http://store/x/bucket/k"),
        ({"AWS_ENDPOINT_URL": "http://store"}, "s3://bucket/k", "http://store/bucket/k"),
        (
            {"AWS_S3_ENDPOINT": "http://store", "AWS_VIRTUAL_HOSTING": "TRUE"},
            "s3://bucket/k",
            "http://bucket.store/k",
        ),
        (
            {"AWS_S3_ENDPOINT": "http://s"},
            "s3://bucket/ä b+c%2F(1)~.tif",
            "http://s/bucket/%C3%A4%20b%2Bc%252F%281%29~.tif",
        ),
    ],
)
def test_where_an_object_lies(environment: dict[str, str], href: str, url: str) -> None:
    assert Store.of(environment).request(href) == (url, {})


@pytest.mark.parametrize("token", ["", "session/token=="])
@pytest.mark.parametrize("key", ["k.tif", "deep/ä b+c(1).tif", "a//b.tif"])
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "https://store.example:443", ""])
def test_the_signature_is_botocores(
    monkeypatch: pytest.MonkeyPatch, token: str, key: str, endpoint: str
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return NOW

    monkeypatch.setattr(module, "datetime", Clock)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None))
    environment = {**KEYS, "AWS_SESSION_TOKEN": token, "AWS_S3_ENDPOINT": endpoint, "AWS_REGION": "eu-west-3"}
    url, headers = Store.of(environment).request(f"s3://bucket/{key}")
    theirs = AWSRequest("GET", url, headers={"x-amz-content-sha256": headers["x-amz-content-sha256"]})
    credentials = Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], token or None)
    S3SigV4Auth(credentials, "s3", "eu-west-3").add_auth(theirs)
    assert headers["x-amz-date"] == theirs.headers["X-Amz-Date"]
    assert headers["Authorization"] == theirs.headers["Authorization"]


def test_unsigned_requests_carry_nothing() -> None:
    store = Store.of({**KEYS, "AWS_SESSION_TOKEN": "t", "AWS_NO_SIGN_REQUEST": "YES"})
    assert store.request("s3://bucket/k")[1] == {}
    assert not store.signed


def test_who_pays_is_signed_too() -> None:
    headers = Store.of({**KEYS, "AWS_REQUEST_PAYER": "requester"}).request("s3://bucket/k")[1]
    assert headers["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" in headers["Authorization"]


def test_a_store_does_not_show_its_keys() -> None:
    shown = repr(Store.of({**KEYS, "AWS_SESSION_TOKEN": "token"}))
    assert not any(secret in shown for secret in (*KEYS.values(), "token'"))


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_S3_ENDPOINT": "ftp://store"},
        {"AWS_S3_ENDPOINT": "store:99999"},
        {"AWS_S3_ENDPOINT": "http://[::1"},
        {"AWS_S3_ENDPOINT": "http://user:password@store"},
        {"AWS_ACCESS_KEY_ID": "key"},
        {"AWS_SECRET_ACCESS_KEY": "key"},
    ],
)
def test_settings_without_sense_are_said_to_who_reads_from_s3(environment: dict[str, str]) -> None:
    access = Access(("s3://bucket",))
    remote = Remote(access, environment=environment)
    with pytest.raises(
        SourceRefused, match=r"a\.tif: the engine's settings for S3 are wrong: AWS_"
    ) as caught:
        remote.read(access.resolve("s3://bucket/a.tif"), 0, 10)
    assert "password" not in str(caught.value)
    remote.close()


# A store that checks ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(cog: tuple[bytes, np.ndarray]) -> Iterator[dict[str, str]]:
    """A store with a scene in a private bucket, and the environment of an engine that may read it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server._server.server_port}"
    root = {"aws_access_key_id": "root", "aws_secret_access_key": "root", "region_name": "us-east-1"}
    made = boto3.client("s3", endpoint_url=endpoint, **root)
    made.create_bucket(Bucket="scenes")
    for key in ("deep/ä scene (1).tif", "scene.tif"):
        made.put_object(Bucket="scenes", Key=key, Body=cog[0])
    users = boto3.client("iam", endpoint_url=endpoint, **root)
    users.create_user(UserName="engine")
    allowed = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    users.put_user_policy(UserName="engine", PolicyName="read", PolicyDocument=allowed)
    key = users.create_access_key(UserName="engine")["AccessKey"]

    def unchecked(requests: bytes) -> None:
        """How many requests from now on need no signature."""
        order = urllib.request.Request(
            f"{endpoint}/moto-api/reset-auth", requests, {"Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(order, timeout=10) as answer:
            assert answer.status == 200

    unchecked(b"0")
    yield {
        "AWS_S3_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    unchecked(b"inf")
    server.stop()


def pool_in(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *allowed: str) -> SourcePool:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return SourcePool(allowed or ("s3://scenes",), read_timeout=20, recheck=0.0)


@pytest.mark.parametrize("key", ["scene.tif", "deep/ä scene (1).tif"])
def test_a_scene_in_a_private_bucket(
    monkeypatch: pytest.MonkeyPatch, store: dict[str, str], cog: tuple[bytes, np.ndarray], key: str
) -> None:
    pool = pool_in(monkeypatch, store)
    source = pool.open(f"s3://scenes/{key}")
    pixels, _ = source.read(0, (0,), Window(300, 200, 400, 500))
    assert np.array_equal(pixels[0], cog[1][200:700, 300:700])
    assert source.info.href == f"s3://scenes/{key}"
    shown = repr(source.info) + repr(pool.__dict__)
    assert store["AWS_SECRET_ACCESS_KEY"] not in shown
    pool.close()


@pytest.mark.parametrize(
    ("change", "href", "kind", "words"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            "s3://scenes/scene.tif",
            SourceUnreadable,
            "403.*SignatureDoesNotMatch",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "AKIAWRONG"},
            "s3://scenes/scene.tif",
            SourceUnreadable,
            "403.*InvalidAccessKeyId",
        ),
        ({"AWS_NO_SIGN_REQUEST": "YES"}, "s3://scenes/scene.tif", SourceUnreadable, "403"),
        ({}, "s3://scenes/none.tif", SourceNotFound, "404.*NoSuchKey"),
        ({}, "s3://scenes2/scene.tif", SourceNotFound, "404.*NoSuchBucket"),
        ({}, "s3://others/scene.tif", SourceRefused, "in the bucket others, outside"),
    ],
)
def test_what_a_store_refuses(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    store: dict[str, str],
    change: dict[str, str],
    href: str,
    kind: type[GeoloomError],
    words: str,
) -> None:
    environment = {**store, **change}
    pool = pool_in(monkeypatch, environment, "s3://scenes", "s3://scenes2")
    with caplog.at_level(logging.DEBUG), pytest.raises(kind, match=words) as caught:
        pool.open(href)
    said = repr(caught.value.to_json()) + "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("geoloom")
    )
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        assert environment[name] not in said
    assert caught.value.hint
    pool.close()


# What leaves ----------------------------------------------------------------------------------------------


def test_a_redirect_gets_no_credentials(server: Any, other_server: Any) -> None:
    access = Access(("s3://bucket", other_server.base))
    other_server.put("/b.tif", b"content")
    server.put("/bucket/a.tif", b"", server.status(307, Location=other_server.base + "/b.tif"), lasting=True)
    remote = Remote(access, environment={**KEYS, "AWS_S3_ENDPOINT": server.base})
    assert remote.read(access.resolve("s3://bucket/a.tif"), 0, 7).content == b"content"
    assert "Authorization" in server.sent_headers[0]
    assert not {"authorization", "x-amz-date"} & {name.lower() for name in other_server.sent_headers[0]}
    remote.close()


def test_no_credentials_for_plain_addresses(server: Any) -> None:
    access = Access((server.base,))
    remote = Remote(access, environment={**KEYS, "AWS_S3_ENDPOINT": server.base})
    remote.read(access.resolve(server.put("/bucket/a.tif", b"content")), 0, 7)
    assert "Authorization" not in server.sent_headers[0]
    remote.close()


def test_a_store_may_tell_the_region(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    """Amazon's own; here it is asked for by another name."""
    asked: list[str | None] = []
    whole = Store.request

    def request(self: Store, href: str, region: str | None = None) -> tuple[str, dict[str, str]]:
        asked.append(region)
        _, headers = whole(self, href, region)
        return server.base + "/a.tif", headers

    monkeypatch.setattr(Store, "request", request)
    server.put("/a.tif", b"content", server.status(400, **{"x-amz-bucket-region": "eu-central-1"}))
    access = Access(("s3://",))
    remote = Remote(access, environment=KEYS)
    place = access.resolve("s3://bucket/a.tif")
    for _ in range(2):
        assert remote.read(place, 0, 7).content == b"content"
    assert asked == [None, "eu-central-1", "eu-central-1"]
    assert "/eu-central-1/s3/" in server.sent_headers[-1]["Authorization"]
    remote.close()
