"""What S3-compatible stores list: the objects below a prefix, a page at a time."""

from __future__ import annotations

import os
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import datetime
from http.client import HTTPException
from typing import Any

from geoloom_engine.readers.connections import Connections
from geoloom_engine.readers.signing import Store
from geoloom_engine.readers.wire import Deadline

_SECONDS = 30.0
_TRIES = 4
_PAGE = 64 << 20
_KEYS = 1000
_PASSING = (408, 425, 429, 500, 502, 503, 504)


def listed(url: str) -> Iterator[tuple[str, int, int]]:
    """Address, bytes and time of change (ns since 1970) of the objects below ``s3://bucket/prefix``.

    Raises
    ------
    OSError
        If the store does not list them; the message is a sentence.
    """
    bucket, _, prefix = url[5:].partition("/")
    try:
        store = Store.of(os.environ)
    except ValueError as error:
        raise OSError(f"{url} cannot be listed: {error}.") from None
    connections = Connections()
    query = {"list-type": "2", "max-keys": str(_KEYS), "prefix": prefix}
    region: str | None = None
    try:
        while True:
            root, region = _page(connections, store, bucket, query, region, url)
            for entry in _children(root, "Contents"):
                key = _text(entry, "Key")
                if key and not key.endswith("/"):
                    yield (
                        f"s3://{bucket}/{key}",
                        int(_text(entry, "Size") or 0),
                        _moment(_text(entry, "LastModified")),
                    )
            token = _text(root, "NextContinuationToken")
            if _text(root, "IsTruncated") != "true" or not token:
                return
            query["continuation-token"] = token
    finally:
        connections.close()


def _page(
    connections: Connections, store: Store, bucket: str, query: dict[str, str], region: str | None, url: str
) -> tuple[Any, str | None]:
    """One page, and the region that the bucket turned out to be in."""
    reason = ""
    for tried in range(_TRIES):
        if tried:
            time.sleep(0.2 * 4 ** (tried - 1))
        address, headers = store.request(f"s3://{bucket}/", region, query)
        try:
            deadline = Deadline(time.monotonic() + _SECONDS, _SECONDS / 2)
            answer = connections.get(address, headers, deadline, lambda *_: True)
            try:
                content = answer.read(_PAGE)
            finally:
                answer.close()
        except (OSError, HTTPException) as error:
            reason = f"its server does not answer ({type(error).__name__})"
            continue
        if answer.status == 200:
            try:
                return ET.fromstring(content), region
            except ET.ParseError:
                reason = "the answer is no listing"
                continue
        other = answer.headers.get("x-amz-bucket-region")
        if other and other != region and store.endpoint is None:
            region = str(other)
            continue
        code = content.partition(b"<Code>")[2].partition(b"</Code>")[0].decode("ascii", "replace")[:60]
        reason = f"the server answered {answer.status}" + (f" ({code})" if code else "")
        if answer.status not in _PASSING:
            break
    raise OSError(f"{url} cannot be listed: {reason}.")


def _children(root: Any, name: str) -> Iterator[Any]:
    return (child for child in root if child.tag.rpartition("}")[2] == name)


def _text(root: Any, name: str) -> str:
    return next((child.text or "" for child in _children(root, name)), "")


def _moment(text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).timestamp()) * 1_000_000_000
    except ValueError:
        return 0
