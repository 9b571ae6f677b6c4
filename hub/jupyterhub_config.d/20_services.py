"""The engine and the usage page, as the hub's proxy shows them.

Neither is started by the hub, so neither ends with it.
"""

import os

import jupyterhub

# The hub starts all the same where they do not answer yet. Version 5 waits a second anyway.
patience = {"timeout": 1} if jupyterhub.version_info >= (6,) else {}

# Tiles are opened by the rights in their addresses: the engine holds no token of the hub, and asks no login.
c.JupyterHub.services.append(
    {
        "name": "tiles",
        "url": os.environ.get("GEOLOOM_HUB_ENGINE_URL", "http://127.0.0.1:8080"),
        "display": False,
        **patience,
    }
)

usage_url = os.environ.get("GEOLOOM_HUB_USAGE_URL", "")
if usage_url:
    c.JupyterHub.services.append(
        {
            "name": "usage",
            "url": usage_url,
            "api_token": os.environ["GEOLOOM_HUB_USAGE_TOKEN"],
            "oauth_no_confirm": True,
            "display": True,
            **patience,
        }
    )
    c.JupyterHub.load_roles.append(
        {
            "name": "geoloom-usage",
            "description": "The usage page asks the engine for its figures",
            "scopes": ["custom:geoloom:admin", "access:services!service=tiles"],
            "services": ["usage"],
        }
    )
