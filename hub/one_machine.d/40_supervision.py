"""What the supervisor and the culler may ask of the hub: `geoloom_hub` starts both."""

import os

for name, scopes in {
    # A proxy that was started anew learns its routes at once.
    "supervisor": ["proxy"],
    "culler": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
}.items():
    token = os.environ.get(f"GEOLOOM_HUB_{name.upper()}_TOKEN", "")
    if token:
        c.JupyterHub.services.append({"name": name, "api_token": token, "display": False})
        c.JupyterHub.load_roles.append({"name": f"geoloom-{name}", "scopes": scopes, "services": [name]})
