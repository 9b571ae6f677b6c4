from __future__ import annotations

import pytest

from geoloom_engine.addresses import parse_url


@pytest.mark.parametrize(
    ("prefix", "url"),
    [
        ("http://data.example/a", "http://data.example/a/b.tif"),
        ("http://data.example/a/", "http://data.example:80/a"),
        ("https://data.example", "HTTPS://DATA.example./x/y"),
        ("http://data.example/a b"[:-2], "http://data.example/%61/c"),
        ("https://data.example", "https://ｄata。example/x"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example/x"),
        ("s3://bucket/a", "s3://bucket/a/b/c.tif"),
    ],
)
def test_what_lies_below(prefix: str, url: str) -> None:
    assert parse_url(prefix).covers(parse_url(url))


@pytest.mark.parametrize(
    ("prefix", "url"),
    [
        ("http://data.example/a", "http://data.example/ab"),
        ("http://data.example/a", "https://data.example/a"),
        ("http://data.example/a", "http://data.example:81/a"),
        ("http://data.example/a", "http://data.example.evil/a"),
        ("http://data.example/a", "http://data.example/"),
        ("s3://bucket/a", "s3://bucket2/a"),
        ("s3://bucket/a", "s3://bucket/%61"),
    ],
)
def test_what_does_not(prefix: str, url: str) -> None:
    assert not parse_url(prefix).covers(parse_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "http:///b",
        "http://u:p@a/b",
        "http://a/b#c",
        "http://a/b c",
        "http://a:x/b",
        f"http://{'a' * 70}/b",
        "http://a/../b",
        "http://a/%2e%2e/b",
        "http://a/b%2Fc",
        "http://a\\b/c",
        "s3://b",
        "s3://bucket/a/../b",
        "s3://bucket/a#b",
    ],
)
def test_odd_ones_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no|holds|no proper|climbs"):
        parse_url(url)
