"""Who visits: a user of the hub, or a guest where the operator lets them in."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.identity import IdentityProvider
from jupyterhub.services.auth import HubOAuth
from jupyterhub.singleuser.extension import (
    JupyterHubIdentityProvider,
    JupyterHubOAuthCallbackHandler,
)

__all__ = ["Guests", "HubUsers", "visitors"]

GUEST_COOKIE = "geoloom-guest"


class HubUsers(JupyterHubIdentityProvider):
    """Users of the hub who may open this service; all others are sent to the hub's login or refused."""

    # Pages are rendered with the provider's token at hand; this service's own must not get into one.
    token = ""

    def handlers(self) -> list[tuple[Any, ...]]:
        """Where the hub's login comes back to, below the service's prefix."""
        return [("oauth_callback", JupyterHubOAuthCallbackHandler, {"hub_auth": self.hub_auth})]


class Guests(IdentityProvider):
    """Anybody: a random name in a signed cookie tells one guest's apps from another's."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{
                **kwargs,
                "token": "",
                "cookie_name": GUEST_COOKIE,
                "cookie_options": {"samesite": "Lax", "expires_days": None},
            }
        )

    @property
    def auth_enabled(self) -> bool:
        """Not enabled: who has no cookie gets one."""
        return False

    def handlers(self) -> list[tuple[Any, ...]]:
        """Nothing: there is no login."""
        return []


def visitors(guests: bool, prefix: str, **kwargs: Any) -> HubUsers | Guests:
    """Who is let in to what is below a prefix.

    Raises
    ------
    ValueError
        Users of the hub are, but the hub's variables are not all there.
    """
    if guests:
        return Guests(**kwargs)
    hub = HubOAuth(base_url=prefix)
    missing = [
        name
        for name, value in {
            "JUPYTERHUB_API_TOKEN": hub.api_token,
            "JUPYTERHUB_CLIENT_ID": hub.oauth_client_id,
            "JUPYTERHUB_SERVICE_NAME": hub.access_scopes,
        }.items()
        if not value
    ]
    if missing:
        raise ValueError(
            f"The hub's login needs {', '.join(missing)}, which the hub gives its services. "
            "GEOLOOM_APPS_GUESTS=1 opens the apps to everybody instead."
        )
    return HubUsers(hub_auth=hub, **kwargs)
