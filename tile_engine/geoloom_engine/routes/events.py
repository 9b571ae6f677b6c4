"""Events of a session by long poll; the end of a session's layers, and of all of a user's."""

from __future__ import annotations

import math

from geoloom.errors import RequestError
from geoloom_engine import sessions
from geoloom_engine.callers import Caller
from geoloom_engine.events import START
from geoloom_engine.routes.base import Handler

LONGEST_POLL = 60.0


class Events(Handler):
    """``GET /events?after=ID&timeout=25``: what failed, was refused or printed."""

    route = "events"
    waits = True

    async def get(self) -> None:
        """Answer with events after an id, waiting for one up to the timeout."""
        await self.need_caller()
        after = self.get_query_argument("after", "") or START
        try:
            asked = float(self.get_query_argument("timeout", "25"))
        except ValueError:
            asked = math.nan
        if math.isnan(asked):
            raise RequestError("timeout must be a number of seconds.")
        timeout = min(max(asked, 0.0), LONGEST_POLL)
        follow = self.services.events.follow(self.session, after, timeout)
        self.answer(await self.attentive(self.services.until_stopped(follow)))


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
