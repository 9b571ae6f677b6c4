"""Who takes what of the engine, for admins."""

from __future__ import annotations

import re

from geoloom.errors import RequestError
from geoloom_engine.allowances import BEHIND_A_HUB, limit
from geoloom_engine.routes.base import Handler
from geoloom_engine.usage import DAYS


class Usage(Handler):
    """``GET /usage?days=7``: what each user took by day, and keeps in the store."""

    route = "usage"

    async def get(self) -> None:
        """Usage of the last days, what users keep, and the limits of each."""
        await self.need_admin()
        asked = self.get_query_argument("days", "1")
        if not (re.fullmatch(r"[0-9]{1,3}", asked) and 1 <= int(asked) <= DAYS):
            raise RequestError(f"days must be a whole number from 1 to {DAYS}.")
        services = self.services
        days = await services.usage.days(int(asked))
        owners = await services.usage.owners()
        kept = await services.quotas.kept(list(owners))
        self.answer(
            {
                "days": days,
                "kept": [
                    {"name": name, **kept[owner]}
                    for owner, name in sorted(owners.items(), key=lambda one: one[1])
                    if any(kept[owner].values())
                ],
                "limits": {name: limit(services.settings, name) for name in BEHIND_A_HUB},
            }
        )
