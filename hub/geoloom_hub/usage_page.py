"""The page for admins: who uses how much of the engine. ``python -m geoloom_hub.usage_page``."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

import tornado.web
from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated

__all__ = ["application"]


class Health(tornado.web.RequestHandler):
    """Whether the page is there."""

    def get(self) -> None:
        """Say so."""
        self.finish({"status": "ok"})


class Page(HubOAuthenticated, tornado.web.RequestHandler):
    """The page."""

    @tornado.web.authenticated
    def get(self) -> None:
        """Show it."""
        self.finish("<h1>Usage</h1>")


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
    application(os.environ["JUPYTERHUB_SERVICE_PREFIX"]).listen(url.port or 80, url.hostname or "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
