"""A server that answers nobody is left alone for a while; one with a bad file is not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from geoloom.errors import SourceNotFound, SourceUnreadable
from geoloom_engine.readers.access import Access
from geoloom_engine.readers.ranges import Remote
from geoloom_engine.readers.silence import Silence


def test_after_some_files_in_a_row() -> None:
    silence = Silence(60)
    for file in "aabbccab":
        silence.failed("s", file, time.monotonic())
        assert "s" not in silence
    silence.answered("s")
    for file in "abcd":
        assert "s" not in silence
        silence.failed("s", file, time.monotonic())
    assert "s" in silence
    assert "t" not in silence
    silence.answered("s")
    assert "s" not in silence


def test_files_that_wait_while_others_are_given_are_bad_themselves() -> None:
    silence = Silence(60)
    begun = time.monotonic()
    silence.answered("s")
    for file in "abcdefgh":
        silence.failed("s", file, begun)
    assert "s" not in silence


def test_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence(5)
    for file in "abcd":
        silence.failed("s", file, time.monotonic())
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 6)
    assert "s" not in silence
    silence.failed("s", "e", now + 6)
    assert "s" in silence


def test_no_more_is_remembered_than_is_good() -> None:
    silence = Silence(60)
    for number in range(5000):
        silence.failed(str(number), "a", time.monotonic())
    assert len(silence._servers) < 2000


def test_a_hundred_files_at_a_dead_server(server: Any, access: Access) -> None:
    remote = Remote(access, timeout=0.1, retries=0, environment={})
    places = [access.resolve(server.put(f"/{number}.tif", b"x", server.silence())) for number in range(100)]
    for place in places:
        with pytest.raises(SourceUnreadable) as caught:
            remote.read(place, 0, 1)
        assert caught.value.message.startswith(place.name)
    assert len(server.asked) == 4
    assert "several reads without an answer" in caught.value.message
    remote.close()


def test_refusals_are_answers(server: Any, access: Access) -> None:
    remote = Remote(access, retries=0, environment={})
    for number in range(8):
        bad = access.resolve(server.put(f"/{number}.tif", b"x", server.reset(), server.reset()))
        busy = access.resolve(server.put(f"/busy{number}.tif", b"x", server.status(503)))
        for place, kind, words in (
            (bad, SourceUnreadable, "does not answer"),
            (access.resolve(server.base + "/none.tif"), SourceNotFound, "answered 404"),
            (bad, None, ""),
            (busy, SourceUnreadable, "answered 503"),
        ):
            if kind is None:
                assert remote.read(place, 0, 1).content == b"x"
            else:
                with pytest.raises(kind, match=words):
                    remote.read(place, 0, 1)
    remote.close()
