"""What the engine writes into its log, as text or as JSON: one line per entry.

A line of JSON holds more than its message: who asked (``owner``, ``session``), for what (``method``,
``path``, ``route``), what came of it (``status``, ``ms``, ``error``), and the ``incident`` under which a
defect is told in the tile, in the notebook and here. A query is never logged: it may hold a capability.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from geoloom_engine.sessions import owner_of

log = logging.getLogger("geoloom_engine")

TEXT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure(level: str, form: str) -> None:
    """Log to stderr from now on: ``text`` or ``json``."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Tornado tells of every malformed request, which is the client's business.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)


def with_fields(session: str | None = None, **fields: Any) -> dict[str, Any]:
    """What `logging` takes as ``extra``: fields for lines of JSON, without those that are None."""
    if session is not None:
        owner = owner_of(session)
        fields["session"] = session
        if owner != session:
            fields["owner"] = owner
    return {"fields": {name: value for name, value in fields.items() if value is not None}}


def request(
    method: str | None,
    path: str,
    route: str,
    status: int,
    seconds: float,
    session: str | None,
    error: str | None = None,
    incident: str | None = None,
) -> None:
    """Log an answered request: defects and full accounts always, all others for debugging.

    A busy engine refuses hundreds in a second: /metrics counts them.

    Parameters
    ----------
    path
        Without the query.
    error
        Class of the error that it was answered with.
    """
    level = logging.INFO if status in (429, 500) else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(
            level,
            "%s %s %d %.1f ms",
            method,
            path,
            status,
            seconds * 1000,
            extra=with_fields(
                session,
                method=method,
                path=path,
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                error=error,
                incident=incident,
            ),
        )
