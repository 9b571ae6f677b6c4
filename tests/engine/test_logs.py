from __future__ import annotations

import json
import logging
import sys

import pytest

from geoloom_engine import logs
from geoloom_engine.logs import JsonFormatter, with_fields


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "geoloom_engine")
    caplog.handler.setFormatter(JsonFormatter())
    return caplog


def told(lines: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines.text.splitlines()]


def test_an_entry_is_one_line_whatever_is_in_it(lines: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        exc_info = sys.exc_info()
    logs.log.error("first\nsecond", exc_info=exc_info, extra=with_fields("0123456789ab~map", key="a\nb"))
    (entry,) = told(lines)
    assert entry["message"] == "first\nsecond"
    assert (entry["level"], entry["owner"], entry["session"]) == ("error", "0123456789ab", "0123456789ab~map")
    assert entry["key"] == "a\nb"
    assert str(entry["traceback"]).endswith("ValueError: two\nlines")


def test_what_is_not_known_is_left_out() -> None:
    assert with_fields("alone", incident=None)["fields"] == {"session": "alone"}
    assert with_fields(None, route="tiles")["fields"] == {"route": "tiles"}


def test_defects_and_full_accounts_are_told_always(lines: pytest.LogCaptureFixture) -> None:
    lines.set_level(logging.INFO, "geoloom_engine")
    for status in (200, 404, 429, 500, 503):
        logs.request("GET", "/tiles/k", "tiles", status, 0.0123, "0123456789ab~map", "EngineFault", "ab12")
    found = told(lines)
    assert [entry["status"] for entry in found] == [429, 500]
    assert found[1] | {"time": 0, "pid": 0} == {
        "time": 0,
        "level": "info",
        "logger": "geoloom_engine",
        "pid": 0,
        "message": "GET /tiles/k 500 12.3 ms",
        "session": "0123456789ab~map",
        "owner": "0123456789ab",
        "method": "GET",
        "path": "/tiles/k",
        "route": "tiles",
        "status": 500,
        "ms": 12.3,
        "error": "EngineFault",
        "incident": "ab12",
    }


def test_all_are_told_for_debugging(lines: pytest.LogCaptureFixture) -> None:
    logs.request("GET", "/readyz", "health", 200, 0.001, None)
    (entry,) = told(lines)
    assert (entry["level"], entry["status"]) == ("debug", 200)
    assert not {"owner", "session", "error", "incident"} & set(entry)
