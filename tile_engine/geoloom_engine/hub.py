"""JupyterHub, as the engine knows it: it tells whose a token is."""

from __future__ import annotations

import json
import logging
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from geoloom.errors import EngineUnreachable

log = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds to wait for the hub."""

LONGEST = 1 << 20
"""Bytes of an answer."""

AT_ONCE = 20
"""Questions under way."""


class Hub:
    """Asks JupyterHub's REST API; used from one event loop.

    The engine has no token of the hub: it shows the one that it was sent, and so can learn nothing else.

    Parameters
    ----------
    url
        Of the API, such as ``http://127.0.0.1:8081/hub/api``.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client: AsyncHTTPClient | None = None

    async def identify(self, token: str) -> dict[str, Any] | None:
        """The model of a token's user or service with the token's ``scopes``; None if the hub knows none.

        Raises
        ------
        EngineUnreachable
            The hub does not answer, or not as a hub does.
        """
        if not token.isascii() or not token.isprintable() or " " in token:
            return None
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(
                force_instance=True, max_clients=AT_ONCE, max_body_size=LONGEST
            )
        request = HTTPRequest(
            f"{self._url}/user",
            headers={"Authorization": f"token {token}"},
            connect_timeout=TIMEOUT,
            request_timeout=TIMEOUT,
            follow_redirects=False,
        )
        try:
            answer = await self._client.fetch(request)
            model = json.loads(answer.body)
        except HTTPClientError as error:
            if error.code in (401, 403):
                return None
            raise _away(f"it says {error.code}") from None
        except (OSError, ValueError) as error:
            raise _away(str(error) or type(error).__name__) from None
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            raise _away("what answers is no hub")
        return model

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


def _away(reason: str) -> EngineUnreachable:
    log.warning("JupyterHub does not tell whose a token is: %s", reason)
    return EngineUnreachable(
        f"JupyterHub does not answer ({reason}), so nobody can say whose token this is.",
        hint="Try again in a moment; layers that are on a map go on.",
    )
