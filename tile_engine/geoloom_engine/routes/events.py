"""Events of a session by long poll; the end of a session's layers, and of all of a user's."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from geoloom.errors import RequestError
from geoloom_engine import sessions
from geoloom_engine.callers import Caller
from geoloom_engine.events import START
from geoloom_engine.routes.base import Handler

LONGEST_POLL = 60.0

LOOK = 2.0
"""Seconds between two looks of a poll at whether a worker died."""


class Events(Handler):
    """``GET /events?after=ID&timeout=25``: what failed, was refused or printed.

    ``lives`` tells of workers that died: what they were computing is never answered.
    """

    route = "events"
    waits = True

    async def get(self) -> None:
        """Answer with events after an id, waiting for one up to the timeout, or until a worker died."""
        await self.need_caller()
        after = self.get_query_argument("after", "") or START
        try:
            asked = float(self.get_query_argument("timeout", "25"))
        except ValueError:
            asked = math.nan
        if math.isnan(asked):
            raise RequestError("timeout must be a number of seconds.")
        timeout = min(max(asked, 0.0), LONGEST_POLL)
        self.answer(await self.attentive(self.services.until_stopped(self._news(after, timeout))))

    async def _news(self, after: str, timeout: float) -> dict[str, Any]:
        metrics = self.services.metrics
        lives = metrics.lives
        follow = asyncio.ensure_future(self.services.events.follow(self.session, after, timeout))
        try:
            while not follow.done() and metrics.lives == lives:
                await asyncio.wait({follow}, timeout=LOOK)
            found = await follow if follow.done() else {"events": [], "last": after}
        finally:
            follow.cancel()
        return found | {"lives": metrics.lives}


class Session(Handler):
    """``DELETE /sessions/{session}``: voids every layer URL that was given to the session."""

    route = "events"

    async def delete(self, session: str) -> None:
        """Revoke the capabilities of one of the caller's own sessions."""
        await self.need_caller()
        name = sessions.internal(self.caller.owner, sessions.given(session))
        await self.services.revocations.revoke(name)
        self.answer({"session": session, "revoked": True})


class Layers(Handler):
    """``DELETE /callers/{label}/layers``: voids every layer URL that a user or service was given."""

    route = "events"

    async def delete(self, label: str) -> None:
        """Revoke the capabilities of ``user:NAME`` or ``service:NAME``; for admins."""
        await self.need_admin()
        kind, colon, name = label.partition(":")
        if not colon or not name or kind not in ("user", "service"):
            raise RequestError(f"{label[:80]!r} is neither user:NAME nor service:NAME.")
        caller = Caller("user" if kind == "user" else "service", name)
        await self.services.revocations.revoke(caller.owner)
        self.answer({"caller": caller.label, "revoked": True})
