"""The page for admins: who takes how much of the engine. ``python -m geoloom_hub.usage_page``.

A service of the hub, which logs people in and lets admins through. It asks the engine for the figures with
its own token, and shows them as one table without scripts.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from html import escape
from typing import Any
from urllib.parse import urlsplit

import tornado.httpclient
import tornado.web
from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated

from geoloom_hub.listening import listen

__all__ = ["application", "page"]

PERIODS = (1, 7, 30)
"""Days that can be looked at."""

COUNTS = {
    "tiles": "Tiles",
    "hits": "of them from caches",
    "bytes": "MB sent",
    "questions": "Questions",
    "cpu_seconds": "Processor (s)",
    "function_calls": "Calls of functions",
    "function_seconds": "Functions (s)",
    "refused": "Refused",
    "failed": "Failed",
}
LIMITS = {
    "chains": "{} chains",
    "blobs": "{} blobs",
    "bytes": "{} MB in the store",
    "requests": "{} requests at once",
    "function_time": "{} s of functions a minute",
}
OTHERS = {"secret": "the engine itself, operator"}
"""Who is no user: what the engine's own secret asked for, such as its first tiles after a start."""

KEPT = {"chains": "Chains kept", "blobs": "Blobs kept", "bytes": "MB kept"}

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1d2733; background: #fff }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #dde3ea }
th:first-child, td:first-child { text-align: left }
thead th { white-space: normal; vertical-align: bottom; color: #52606d; font-weight: 600 }
nav a, nav b { margin-right: 1rem }
tfoot td { font-weight: 600 }
.note { color: #52606d }
@media (prefers-color-scheme: dark) {
  body { background: #16191d; color: #e4e8ec } th, td { border-color: #333b44 }
  thead th, .note { color: #9aa5b1 } a { color: #7db4ff }
}
"""


def page(found: dict[str, Any], days: int) -> str:
    """The page of what ``GET /usage`` answers: one row a user, whoever took most processor time first."""
    totals: dict[str, Counter[str]] = {}
    for day in found["days"]:
        for user in day["users"]:
            counts = totals.setdefault(str(user["name"]), Counter())
            counts.update({name: user.get(name, 0) for name in COUNTS})
    kept = {str(user["name"]): user for user in found["kept"]}
    names = sorted(totals | kept, key=lambda name: (-totals.get(name, Counter())["cpu_seconds"], name))
    heads = "".join(f"<th>{escape(text)}</th>" for text in ["Who", *COUNTS.values(), *KEPT.values()])
    rows = [_row(name, totals.get(name, Counter()), kept.get(name, {})) for name in names]
    every: Counter[str] = Counter()
    for counts in totals.values():
        every.update(counts)
    stored: Counter[str] = Counter()
    for user in kept.values():
        stored.update({name: user.get(name, 0) for name in KEPT})
    choice = "".join(
        f"<b>{_period(one)}</b>" if one == days else f'<a href="?days={one}">{_period(one)}</a>'
        for one in PERIODS
    )
    table = (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
        f"<tfoot>{_row('All', every, stored)}</tfoot></table>"
        if names
        else "<p>Nobody has used the engine.</p>"
    )
    limits = [
        text.format(_number(found["limits"][name] / (1e6 if name == "bytes" else 1)))
        for name, text in LIMITS.items()
        if found["limits"].get(name)
    ]
    note = f"Each user may take: {', '.join(limits)}." if limits else "Users have no limits."
    return _document(f"<nav>{choice}</nav>{table}<p class=note>{note}</p>")


def _row(name: str, counts: Counter[str], kept: dict[str, Any] | Counter[str]) -> str:
    cells = [_cell(key, counts[key], counts) for key in COUNTS]
    cells += [_cell(key, kept.get(key, 0), counts) for key in KEPT]
    return (
        f"<tr><td>{escape(OTHERS.get(name, name))}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _cell(key: str, value: float, counts: Counter[str]) -> str:
    if key == "bytes":
        return _number(value / 1e6)
    if key == "hits":
        return f"{100 * value / counts['tiles']:.0f} %" if counts["tiles"] else "–"
    return _number(value)


def _number(value: float) -> str:
    return f"{value:,.1f}" if value % 1 and value < 100 else f"{value:,.0f}"


def _period(days: int) -> str:
    return "Today" if days == 1 else f"{days} days"


def _document(content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Usage – Geoloom</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>Who takes how much</h1>{content}</body></html>"
    )


class Health(tornado.web.RequestHandler):
    """Whether the page is there."""

    def get(self) -> None:
        """Say so."""
        self.finish({"status": "ok"})


class Page(HubOAuthenticated, tornado.web.RequestHandler):
    """The page; the hub lets in whoever has access to this service."""

    def set_default_headers(self) -> None:
        """Nothing is loaded, framed or kept."""
        self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")

    @tornado.web.authenticated
    async def get(self) -> None:
        """Show it."""
        asked = self.get_query_argument("days", "1")
        days = int(asked) if asked in map(str, PERIODS) else 1
        try:
            found = await _usage(days)
        except (tornado.httpclient.HTTPError, OSError, ValueError) as error:
            self.set_status(502)
            self.finish(_document(f"<p>The engine gave no figures: {escape(str(error))}.</p>"))
            return
        self.finish(page(found, days))


async def _usage(days: int) -> dict[str, Any]:
    token = os.environ[os.environ.get("GEOLOOM_TOKEN_FROM", "JUPYTERHUB_API_TOKEN")]
    answer = await tornado.httpclient.AsyncHTTPClient().fetch(
        f"{os.environ['GEOLOOM_ENGINE_URL']}/usage?days={days}",
        headers={"Authorization": f"Bearer {token}"},
        connect_timeout=3.0,
        request_timeout=10.0,
    )
    found: dict[str, Any] = json.loads(answer.body)
    return found


def application(prefix: str) -> tornado.web.Application:
    """The page below a path that ends with a slash."""
    return tornado.web.Application(
        [
            (prefix, Page),
            (prefix + "health", Health),
            (prefix + "oauth_callback", HubOAuthCallbackHandler),
        ],
        cookie_secret=os.urandom(32),
    )


async def serve() -> None:
    """Serve until ended."""
    url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    served = application(os.environ["JUPYTERHUB_SERVICE_PREFIX"])
    listen(served, url.port or 80, url.hostname or "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
