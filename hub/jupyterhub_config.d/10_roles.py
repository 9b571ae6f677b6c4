"""What users, their servers and admins may ask of the engine and of the apps.

A kernel speaks to the engine with its server's token. That token carries neither its owner's other rights
nor an admin's: what runs in a notebook is data from everywhere.
"""

import os


def names(variable):
    """Names in a variable, between commas."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


c.JupyterHub.custom_scopes = {
    "custom:geoloom:admin": {"description": "See what everybody uses of the tile engine, and revoke layers"}
}
tiles, apps = "access:services!service=tiles", "access:services!service=apps"
c.JupyterHub.load_roles.append(
    {
        "name": "user",
        "description": "A user's own things, the engine, the apps",
        "scopes": ["self", tiles, apps],
    }
)
c.JupyterHub.load_roles.append(
    {
        "name": "server",
        "description": "What a user's server and its kernels need",
        "scopes": ["users:activity!user", "access:servers!server", tiles],
    }
)
c.JupyterHub.load_roles.append(
    {
        "name": "geoloom-admin",
        "description": "The usage page, and the engine's operation",
        "scopes": ["custom:geoloom:admin", "access:services!service=usage", tiles],
        "users": names("GEOLOOM_HUB_ADMINS"),
        "groups": names("GEOLOOM_HUB_ADMIN_GROUPS"),
    }
)
