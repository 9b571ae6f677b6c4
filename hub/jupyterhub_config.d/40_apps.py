"""The apps: their login is the hub's, and what they ask of the engine they ask with a token of their own.

The service itself is started by whoever runs the hub: ``python -m geoloom_hub.apps``.
"""

import os

import jupyterhub

apps_url = os.environ.get("GEOLOOM_HUB_APPS_URL", "")
if apps_url:
    # The hub starts all the same where the apps do not answer yet. Version 5 waits a second anyway.
    patience = {"timeout": 1} if jupyterhub.version_info >= (6,) else {}
    c.JupyterHub.services.append(
        {
            "name": "apps",
            "url": apps_url,
            "api_token": os.environ["GEOLOOM_HUB_APPS_TOKEN"],
            "oauth_no_confirm": True,
            "display": True,
            **patience,
        }
    )
    # No user's rights: an app shows the same data to all who may open it.
    c.JupyterHub.load_roles.append(
        {
            "name": "geoloom-apps",
            "description": "Apps speak to the engine",
            "scopes": ["access:services!service=tiles"],
            "services": ["apps"],
        }
    )
    # Users' servers show the apps in their launcher: where they are for browsers, and which there are.
    tiles_url = os.environ.get("GEOLOOM_HUB_TILES_URL", "/services/tiles")
    launcher = {
        "GEOLOOM_APPS_URL": tiles_url.rstrip("/").removesuffix("tiles") + "apps/",
        "GEOLOOM_APPS_FOLDER": os.environ.get("GEOLOOM_APPS_FOLDER", ""),
    }
    for section in (c.Spawner, c.KubeSpawner):
        section.environment.update(launcher)
