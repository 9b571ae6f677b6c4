"""Whether the engine lives, is ready, and what it has done."""

from __future__ import annotations

import os
import time

from prometheus_client import CONTENT_TYPE_LATEST

from geoloom.errors import EngineUnreachable
from geoloom_engine.auth import same_secret
from geoloom_engine.routes.base import Handler


class Health(Handler):
    """``GET /healthz``: this process answers; ``engine`` is the same in all workers of an engine."""

    route = "health"
    guarded = False

    def get(self) -> None:
        """Answer at once."""
        services = self.services
        self.answer(
            {
                "engine": services.settings.nonce,
                "version": services.version,
                "pid": os.getpid(),
                "uptime": round(time.time() - services.started, 3),
            }
        )


class Ready(Handler):
    """``GET /readyz``: 200 once compiled code is warm and the store answers, else 503."""

    route = "health"
    guarded = False

    async def get(self) -> None:
        """Answer what is missing, if anything is."""
        problem = await self.services.problem()
        if problem:
            raise EngineUnreachable(problem)
        self.answer({"ready": True})


class Metrics(Handler):
    """``GET /metrics``: counters of all workers for Prometheus."""

    route = "health"
    guarded = False

    async def get(self) -> None:
        """All counters, for who has the token for them; without one, behind a hub, for admins."""
        services = self.services
        wanted = services.settings.metrics_token
        scheme, _, token = self.authorization.partition(" ")
        if not (wanted and scheme.lower() == "bearer" and same_secret(token.strip(), wanted)) and (
            wanted or services.hub is not None
        ):
            await self.need_admin()
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(self.services.metrics.text())
